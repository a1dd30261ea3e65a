"""The database that account commands work on: that of ``FIRSTREAD_DATA``, brought up to date."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Engine


@contextmanager
def opened() -> Iterator["Engine"]:
    """Give the engine of the configured database, migrated.

    Raises
    ------
    ConfigurationError
        ``configuration``, ``schema-newer``, ``network-filesystem``
    """
    from serving.database.engine import open_engine
    from serving.database.migrate import migrate
    from serving.settings import read_settings

    engine = open_engine(read_settings().database_url)
    try:
        migrate(engine)
        yield engine
    finally:
        engine.dispose()


def iso(at: float | None) -> str | None:
    """Return a time for lists: UTC, to the second."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
