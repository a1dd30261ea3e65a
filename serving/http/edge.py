"""The outermost layer of the application: hosts, headers, errors, and one log line a request.

Nothing that fails inside gets past it: the server below would log an exception with its text, and
an exception's text may quote what was sent.
"""

import logging
import time
from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.errors import Misdirected, NotFound
from serving.http.origin import is_known_host
from serving.http.problems import tell
from serving.search import has_controls
from serving.settings import Settings

log = logging.getLogger(__name__)

# As nginx writes it: the client left before the answer.
LEFT = 499

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: then browsers send `Origin: null` from our own forms (docs/accounts.md).
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# Behind TLS only: for a year, this name is not asked without it.
STRICT_TRANSPORT = "max-age=31536000"

Observe = Callable[[str, str, int, float], None]


class Edge:
    """ASGI middleware around everything else.

    Parameters
    ----------
    observe
        Told of every answer: method, route template, status, seconds.
    """

    def __init__(self, app: ASGIApp, settings: Settings, observe: Observe) -> None:
        self.app = app
        self._settings = settings
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; tell whatever comes back instead of an answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began_s = time.perf_counter()
        status = 0

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._protect(MutableHeaders(scope=message))
            await send(message)

        request = Request(scope, receive)
        try:
            if not is_known_host(request.headers.get("host"), self._settings):
                raise Misdirected(
                    "this service has another name", advice="add the name to FIRSTREAD_HOSTS"
                )
            if has_controls(scope["path"]):
                # No text of ours holds one, and PostgreSQL refuses to look for a NUL.
                raise NotFound("nothing has such an address")
            await self.app(scope, receive, send_on)
        except ClientDisconnect:
            status = status or LEFT
        except Exception as error:  # noqa: BLE001 - the process's edge
            answer = tell(request, error)
            # One that was begun already has no end: the server cuts the connection.
            if status == 0:
                await answer(scope, receive, send_on)
        finally:
            self._note(scope, status, time.perf_counter() - began_s)

    def _protect(self, headers: MutableHeaders) -> None:
        headers.update(HEADERS)
        if self._settings.secure_cookies:
            headers["Strict-Transport-Security"] = STRICT_TRANSPORT
        # What a route does not declare harmless is a person's: never stored.
        headers.setdefault("Cache-Control", "no-store")

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = route_template(scope)
        method = scope["method"] if scope["method"] in METHODS else "other"
        self._observe(method, route, status, seconds)
        log.info(
            "request",
            extra={
                "method": method,
                "route": route,
                "status": status,
                "ms": round(1000 * seconds, 1),
            },
        )


METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def route_template(scope: Scope) -> str:
    """Return the path of a request as its route writes it; the path itself holds UIDs."""
    route = scope.get("route")
    if route is not None:
        return str(route.path)
    if "endpoint" in scope:
        return f"{scope['root_path']}/*"
    return "none"
