"""The database that account commands work on, brought up to date."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sqlalchemy import Engine

DataOption = Annotated[
    Path | None,
    typer.Option("--data", help="Folder of the service's data; default FIRSTREAD_DATA, or ./var."),
]


@contextmanager
def opened(data: Path | None = None) -> Iterator["Engine"]:
    """Give the engine of the configured database, migrated.

    Parameters
    ----------
    data
        The folder that ``firstread up`` was given; None: as configured.

    Raises
    ------
    ConfigurationError
        ``configuration``, ``schema-newer``, ``network-filesystem``
    """
    from serving.database.engine import open_engine
    from serving.database.migrate import migrate
    from serving.settings import read_settings

    engine = open_engine(read_settings(data=data).database_url)
    try:
        migrate(engine)
        yield engine
    finally:
        engine.dispose()


def iso(at: float | None) -> str | None:
    """Return a time for lists: UTC, to the second."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
