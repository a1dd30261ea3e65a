"""The web application: the routers of programs and people, and what every request passes.

```
edge            host, security headers, errors told, one log line
  body limits   size, framing, least rate
    who asks    401, or the log-in; CSRF
      routers   what it may do is said by each route
```

Made once for each web process; the database must be migrated before (``firstread up`` does).
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from anyio import CapacityLimiter
from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from firstread.version import __version__
from serving.api import claims, dicomweb, metrics, views
from serving.api import worklist as worklist_api
from serving.api.pixel_work import PixelWork
from serving.api.stow import Uploads
from serving.archive.store import Store
from serving.database.engine import open_engine
from serving.events.hub import Hub
from serving.http import problems
from serving.http.authentication import OPEN_FOLDER, Authentication
from serving.http.dependencies import Service
from serving.http.edge import Edge
from serving.http.limits import BodyLimits
from serving.service import health
from serving.settings import Settings, read_settings
from serving.web import account, case, log_in, stream, templating, worklist
from serving.worklist.urgency import read_policy

# It would tell raw paths and texts of exceptions to whatever collector the environment names.
NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}
# Each takes 19 MiB and a core: a flood of log-ins must take neither.
PASSWORDS_AT_ONCE = 2

ROUTERS = (
    health.router,
    metrics.router,
    log_in.router,
    account.router,
    stream.router,
    dicomweb.router,
    worklist.router,
    case.router,
    worklist_api.router,
    claims.router,
    views.router,
)


def create_app(
    settings: Settings | None = None, *, clock: Callable[[], float] = time.time
) -> FastAPI:
    """Return the application.

    Parameters
    ----------
    settings
        None: from the environment.
    clock
        Seconds since 1970 in UTC.

    Raises
    ------
    ConfigurationError
        ``configuration``
    """
    settings = settings or read_settings()
    engine = open_engine(settings.database_url)
    service = Service(
        settings=settings,
        engine=engine,
        store=Store(settings.store_folder),
        policy=read_policy(settings.urgency),
        hub=Hub(engine, ping_every_s=settings.ping_s),
        templates=templating.environment(),
        clock=clock,
    )
    registry, figures = metrics.new_registry(service)
    app = FastAPI(
        title="Firstread",
        version=__version__,
        # The framework's own pages load scripts from elsewhere; the description is served.
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
        telemetry=NO_TELEMETRY,
        lifespan=_lifespan,
        middleware=[
            Middleware(Edge, settings, figures.observe),
            Middleware(BodyLimits, settings),
            Middleware(Authentication),
        ],
    )
    app.state.service = service
    app.state.figures = registry
    app.state.http_figures = figures
    app.state.uploads = Uploads()
    app.state.pixel_work = PixelWork()
    app.state.password_work = CapacityLimiter(PASSWORDS_AT_ONCE)
    problems.install(app)
    for router in ROUTERS:
        app.include_router(router)
    static = Static(packages=[("serving.web", "static")])
    app.mount(OPEN_FOLDER.rstrip("/"), static, name="static")
    return app


class Static(StaticFiles):
    """Our scripts and styles: a browser keeps them, and asks each time whether they are the same.

    Their names say no version, and they are nobody's: an answer of 304 costs a few bytes.
    """

    def file_response(self, *args: Any, **options: Any) -> Response:
        """Return a file, or that it has not changed."""
        answer = super().file_response(*args, **options)
        answer.headers["Cache-Control"] = "public, no-cache"
        return answer


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    service: Service = app.state.service
    service.store.close()
    service.engine.dispose()
