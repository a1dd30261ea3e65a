"""What a request's body may cost: its framing, its size, and the least rate at which it comes.

uvicorn waits for a stalled body for ever, and takes a request with two lengths. Both end here: the
limits stand around ``receive``, so whoever reads a body is told.
"""

import asyncio
import math
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from firstread.errors import FirstreadError
from serving.errors import BadRequest, TooLarge, TooSlow
from serving.settings import Settings

# The rate is an average over so long: thin lines stall for some seconds.
WINDOW_S = 30.0
# However steady it is: what a request holds is let go in the end. 8 GiB come at 0.6 MB/s in it.
LONGEST_S = 4 * 3600.0
# A form or a JSON document of ours is far smaller.
SMALL_BODY_BYTES = 1 << 20
# Bodies below this path are studies.
UPLOADS = "/dicom-web/"


class BodyLimits:
    """ASGI middleware: every body is bounded in size and in time.

    Only the time that we wait for the sender counts, never the time that our own disk takes.

    Parameters
    ----------
    window_s
        After each such span of waiting at least ``settings.min_rate_bytes_s`` times as many bytes
        must have come.
    longest_s
        Of waiting for one body in all.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        *,
        window_s: float = WINDOW_S,
        longest_s: float = LONGEST_S,
    ) -> None:
        self.app = app
        self._settings = settings
        self._window_s, self._longest_s = window_s, longest_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with a bounded body."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        is_upload = scope["path"].startswith(UPLOADS)
        body = _Body(
            receive,
            scope["headers"],
            self._settings.max_request_bytes if is_upload else SMALL_BODY_BYTES,
            "FIRSTREAD_MAX_REQUEST_BYTES" if is_upload else "what is not an upload",
            least_bytes=math.ceil(self._settings.min_rate_bytes_s * self._window_s),
            window_s=self._window_s,
            longest_s=self._longest_s,
        )
        await self.app(scope, body.receive, send)


class _Body:
    """One body on its way in."""

    def __init__(
        self,
        receive: Receive,
        headers: Iterable[tuple[bytes, bytes]],
        most_bytes: int,
        ceiling: str,
        *,
        least_bytes: int,
        window_s: float,
        longest_s: float,
    ) -> None:
        self._receive = receive
        self._most_bytes, self._ceiling = most_bytes, ceiling
        self._least_bytes, self._window_s = least_bytes, window_s
        self._longest_s, self._left_s = longest_s, longest_s
        self._bytes, self._waited_s, self._in_window_bytes = 0, 0.0, 0
        self._is_whole = False
        self._refusal = self._refusal_of(headers)

    def _refusal_of(self, headers: Iterable[tuple[bytes, bytes]]) -> FirstreadError | None:
        """Return why the body is not even begun."""
        stated = dict(headers)
        length = stated.get(b"content-length")
        if length is not None and b"transfer-encoding" in stated:
            # Two programs in a row that believe different ones see different requests.
            return BadRequest("Content-Length and Transfer-Encoding exclude each other")
        if length is not None and int(length) > self._most_bytes:
            return self._too_large()
        return None

    async def receive(self) -> Message:
        """Return the next message of the server.

        Raises
        ------
        BadRequest, TooLarge, TooSlow
            The body is refused, or has been too slow.
        """
        if self._refusal is not None:
            raise self._refusal
        # After the body, what is waited for is the client's leaving: it may take its time.
        message = await (self._receive() if self._is_whole else self._in_time())
        if message["type"] == "http.request":
            self._bytes += len(message.get("body", b""))
            self._in_window_bytes += len(message.get("body", b""))
            self._is_whole = not message.get("more_body", False)
            if self._bytes > self._most_bytes:
                raise self._too_large()
        return message

    async def _in_time(self) -> Message:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            try:
                wait_s = min(self._window_s - self._waited_s, self._left_s)
                async with asyncio.timeout(max(0.0, wait_s)):
                    message = await self._receive()
            except TimeoutError:
                self._left_s -= loop.time() - before
                if self._left_s <= 0:
                    raise TooSlow(
                        f"the body did not come within {self._longest_s:g} s",
                        advice="send fewer instances in one request",
                    ) from None
                if self._in_window_bytes < self._least_bytes:
                    raise TooSlow(
                        f"fewer than {self._least_bytes} bytes came in {self._window_s:g} s",
                        advice="send fewer instances in one request",
                    ) from None
                self._waited_s, self._in_window_bytes = 0.0, 0
            else:
                waited_s = loop.time() - before
                self._waited_s, self._left_s = self._waited_s + waited_s, self._left_s - waited_s
                return message

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"the body is larger than {self._most_bytes} bytes ({self._ceiling})",
            advice="send fewer instances in one request",
        )
