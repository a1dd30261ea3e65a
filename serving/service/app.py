"""The web application: the routers of programs and people, composed.

Made once for each web process; the database must be migrated before (``firstread up`` does).
"""

import time
from collections.abc import Callable

from fastapi import FastAPI

from serving.archive.store import Store
from serving.database.engine import open_engine
from serving.events.hub import Hub
from serving.http.dependencies import Service
from serving.settings import Settings, read_settings
from serving.web import templating
from serving.worklist.urgency import read_policy


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
    app = FastAPI(
        title="Firstread",
        # Pages that load scripts from elsewhere; the description itself is served.
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
    )
    engine = open_engine(settings.database_url)
    app.state.service = Service(
        settings=settings,
        engine=engine,
        store=Store(settings.store_folder),
        policy=read_policy(settings.urgency),
        hub=Hub(engine, ping_every_s=settings.ping_s),
        templates=templating.environment(),
        clock=clock,
    )
    return app
