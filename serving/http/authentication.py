"""Who asks is settled here, before any route is reached: what is not open, is closed.

=========================== ===================================================================
a request with              is
=========================== ===================================================================
``Authorization: Bearer``   the token's; a wrong one is 401, whatever else the request holds
a session's cookie          the user's; to change something it must also come from our own pages
                            and bring the session's CSRF token (``X-CSRF-Token``, or the field
                            ``csrf_token`` of a form)
neither                     401; a browser that asks for a page is led to the log-in
=========================== ===================================================================
"""

import hmac
from dataclasses import dataclass
from urllib.parse import parse_qs, quote

from anyio import to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.accounts.caller import Caller
from serving.accounts.sessions import Lifetime, Session, find_session, note_session
from serving.accounts.tokens import caller_of_token, note_use
from serving.database.engine import reading, writing
from serving.errors import NotAllowed, NotAuthenticated, TooLarge
from serving.http.dependencies import Service, get_service
from serving.http.origin import is_loopback, is_same_origin, local_path
from serving.http.problems import tell, wants_page
from serving.settings import Settings

LOG_IN = "/login"
# `/metrics` asks for a token of its own.
OPEN_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
# An open page asks for it by itself, which is no use of a session.
STREAM = "/events"
OPEN_FOLDER = "/static/"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CSRF_HEADER = "x-csrf-token"
CSRF_FIELD = "csrf_token"
FORM = "application/x-www-form-urlencoded"
MOST_FORM_BYTES = 64 * 1024


class NotFromOurPages(NotAllowed):
    """Something was to be changed, and nothing proves that our own page asked for it."""

    code = "csrf-refused"


class TokenRefused(NotAuthenticated):
    """The token is none of ours, or was revoked."""

    code = "token-refused"


@dataclass(frozen=True, slots=True)
class Known:
    """Who asks; ``session`` None: a token."""

    caller: Caller
    session: Session | None


class Authentication:
    """ASGI middleware: gives the request's state ``caller`` and ``session``, or answers itself."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on whom we know."""
        if scope["type"] == "websocket":
            # There are none; should there be one, it must not be open because of this omission.
            await send({"type": "websocket.close", "code": 1008})
            return
        path = scope.get("path", "")
        if scope["type"] != "http" or path in OPEN_PATHS or path.startswith(OPEN_FOLDER):
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        known = await identify(request, note=request.url.path != STREAM)
        if known is None and path != LOG_IN:
            await _send_away(request)(scope, receive, send)
            return
        if known is not None:
            request.state.caller = known.caller
            request.state.session = known.session
            if known.session is not None and path != LOG_IN:
                receive = await _proven(request, known.caller, receive)
        await self.app(scope, receive, send)


async def identify(request: Request, *, note: bool = True) -> Known | None:
    """Return who asks; also for a stream, to ask again while it lasts. None: nobody that we know.

    Parameters
    ----------
    note
        Whether to count as use: a session that is not used ends.

    Raises
    ------
    TokenRefused
        ``token-refused``
    """
    service = get_service(request)
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return await to_thread.run_sync(_by_token, service, secret.strip())
    cookie = request.cookies.get(session_cookie(service.settings))
    if cookie is None:
        return None
    return await to_thread.run_sync(_by_session, service, cookie, may_demonstrate(request), note)


def may_demonstrate(request: Request) -> bool:
    """Whether the account whose password is public may be used by who asks."""
    settings = get_service(request).settings
    return settings.demonstration and is_loopback(request, settings)


def session_cookie(settings: Settings) -> str:
    """Return the name of the session's cookie; the prefix makes browsers guard it (RFC 6265bis)."""
    return "__Host-firstread" if settings.secure_cookies else "firstread"


def lifetime(settings: Settings) -> Lifetime:
    """Return how long sessions last."""
    return Lifetime(settings.session_s, settings.session_longest_s)


def _by_token(service: Service, secret: str) -> Known:
    now = service.clock()
    with reading(service.engine) as connection:
        found = caller_of_token(connection, secret, now)
    if found is None:
        raise TokenRefused(
            "the token is unknown or was revoked", advice="firstread tokens add --site ..."
        )
    caller, is_due = found
    if is_due:
        with writing(service.engine) as connection:
            note_use(connection, caller.id, now)
    return Known(caller, None)


def _by_session(service: Service, cookie: str, may_demonstrate: bool, note: bool) -> Known | None:
    now = service.clock()
    with reading(service.engine) as connection:
        session = find_session(connection, cookie, now)
    if session is None or (session.is_demonstration and not may_demonstrate):
        return None
    if note and session.is_due:
        with writing(service.engine) as connection:
            note_session(connection, session, lifetime(service.settings), now)
    return Known(session.caller, session)


def _send_away(request: Request) -> Response:
    """Return 401, or the way to the log-in for a person."""
    # The path alone: a query may hold the name that somebody searched for.
    there = f"{LOG_IN}?next={quote(local_path(request.url.path))}"
    if request.method == "GET" and wants_page(request) and "hx-request" not in request.headers:
        return RedirectResponse(there, status_code=303)
    answer = tell(
        request,
        NotAuthenticated("nobody is logged in", advice="log in, or send a token of your site"),
    )
    if "hx-request" in request.headers:
        # A part of a page: the whole page must go.
        answer.headers["HX-Redirect"] = LOG_IN
    return answer


async def _proven(request: Request, caller: Caller, receive: Receive) -> Receive:
    """Return what gives the body, after it was proven that one of our pages sends it.

    Raises
    ------
    NotFromOurPages
        ``csrf-refused``
    """
    if request.method in SAFE_METHODS:
        return receive
    if not is_same_origin(request.headers):
        raise NotFromOurPages("the request comes from another origin")
    given = request.headers.get(CSRF_HEADER)
    if given is None and request.headers.get("content-type", "").partition(";")[0].strip() == FORM:
        body = await _read_form(receive)
        given = parse_qs(body.decode("utf-8", "replace")).get(CSRF_FIELD, [""])[0]
        receive = _again(body, receive)
    if given is None or not is_same_secret(given, caller.csrf_token or ""):
        raise NotFromOurPages(
            "the request does not bring its session's CSRF token", advice="load the page again"
        )
    return receive


def is_same_secret(given: str, expected: str) -> bool:
    """Whether two secrets are equal, in a time that tells nothing; an empty one equals none."""
    return bool(expected) and hmac.compare_digest(
        given.encode("utf-8", "surrogatepass"), expected.encode()
    )


async def _read_form(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        if len(body) > MOST_FORM_BYTES:
            raise TooLarge(f"a form has at most {MOST_FORM_BYTES} bytes")
        if not message.get("more_body", False):
            return bytes(body)


def _again(body: bytes, receive: Receive) -> Receive:
    """Return what gives a body that was read already, and then goes on."""
    is_given = False

    async def give() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return give
