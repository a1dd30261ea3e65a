"""What a route asks for: the service it belongs to, and who is asking.

Who asks was settled before any route is reached (``serving.http.authentication``); a route says
which rights it needs: ``Annotated[Caller, Depends(caller(Right.READ))]``.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from jinja2 import Environment
from sqlalchemy import Engine
from starlette.requests import Request

from serving.accounts.caller import Caller, Right
from serving.archive.store import Store
from serving.errors import NotAllowed, NotAuthenticated
from serving.events.hub import Hub
from serving.settings import Settings
from serving.worklist.urgency import UrgencyPolicy


@dataclass(frozen=True, slots=True)
class Service:
    """What the routes share, made once by ``create_app``.

    Attributes
    ----------
    engine
        Of the database: ``reading(engine)``, ``writing(engine)``.
    policy
        What is urgent.
    hub
        Tells open pages what changed.
    templates
        Of the pages.
    clock
        Seconds since 1970 in UTC: the routes' only source of ``now``.
    """

    settings: Settings
    engine: Engine
    store: Store
    policy: UrgencyPolicy
    hub: Hub
    templates: Environment
    clock: Callable[[], float]


def get_service(request: Request) -> Service:
    """Return the service of the application that was asked."""
    service: Service = request.app.state.service
    return service


def who_asks(request: Request) -> Caller:
    """Return who asks, whatever its rights.

    Raises
    ------
    NotAuthenticated
        ``not-authenticated``
    """
    known: Caller | None = getattr(request.state, "caller", None)
    if known is None:
        raise NotAuthenticated("nobody is logged in", advice="log in, or send a token of your site")
    return known


def caller(*rights: Right) -> Callable[[Request], Awaitable[Caller]]:
    """Return a dependency that gives who asks and refuses who lacks one of the rights.

    Raises
    ------
    NotAllowed
        ``not-allowed``, from the dependency.
    """

    # A coroutine, so that no thread is spent on it.
    async def dependency(request: Request) -> Caller:
        known = who_asks(request)
        for right in rights:
            if not known.may(right):
                raise NotAllowed(
                    f"role {known.role} lacks the right to {right}"
                    if right is not Right.SEND or known.site_id is not None
                    else "who sends must belong to a site",
                    advice="ask an administrator",
                )
        return known

    return dependency
