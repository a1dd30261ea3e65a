"""uvicorn's HTTP/1.1 by h11, with the deadlines that it lacks.

uvicorn never closes a connection that says nothing, or that stops within its headers; and after an
answer that came before the end of a body it reads on for as long as somebody sends. h11, not
httptools: the latter takes headers without end (25 MB of them cost 361 MB).
"""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_S = 10.0
"""A whole header must have come so long after the connection, or after its own first byte."""

LINGER_S = 5.0
"""How long a sender may go on after it was answered, so that it can still read the answer."""


class DeadlineH11Protocol(H11Protocol):
    """One connection; give it to uvicorn as ``http=``."""

    header_s = HEADER_S
    linger_s = LINGER_S
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin with a deadline for the first header."""
        super().connection_made(transport)
        self._start(self.header_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """End with it."""
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; the deadline holds until a header is whole."""
        if self._timer is None and self.conn.their_state is h11.IDLE:
            self._start(self.header_s)
        super().data_received(data)
        # After an answer that came before the body's end, the timer is that of lingering.
        if self.conn.their_state is not h11.IDLE and self.conn.our_state is not h11.DONE:
            self._stop()

    def on_response_complete(self) -> None:
        """After an answer: who is still sending has a little time to read it."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:
            self._start(self.linger_s)

    def _start(self, seconds: float) -> None:
        self._stop()
        self._timer = self.loop.call_later(seconds, self._cut)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _cut(self) -> None:
        """End the connection: nobody may hold it for longer."""
        self._timer = None
        if not self.transport.is_closing():
            self.transport.close()
