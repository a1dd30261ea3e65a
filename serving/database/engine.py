"""The engine and its two kinds of transaction, on SQLite and on PostgreSQL.

=========== ================================ =====================================================
transaction SQLite                           PostgreSQL
=========== ================================ =====================================================
reading     sees one state of everything     the same (REPEATABLE READ, READ ONLY)
writing     is the only one (IMMEDIATE)      is one of several (READ COMMITTED): it locks what it
                                             decides about, and only then looks at it
=========== ================================ =====================================================

SQLite, measured on this stack: a deferred transaction that reads and then writes fails with
SQLITE_BUSY at once, whatever the busy timeout; begun IMMEDIATE, none of 240 did. So a transaction
says at its start whether it will write. Every commit is synced on both: what is acknowledged is on
disk. What several writers must not do at once stands in :mod:`serving.database.locks`.

A database that cannot answer now is :class:`serving.errors.Unavailable` to everybody; a wrong
statement stays what it is.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnection
from sqlalchemy.pool import ConnectionPoolEntry

from firstread.errors import ConfigurationError
from serving.database.trouble import trouble
from serving.errors import DatabaseBusy

# A transaction takes milliseconds; who waits longer than this for another is told to come back.
BUSY_TIMEOUT_MS = 5000
# A statement that takes longer is a mistake of ours, and holds locks.
STATEMENT_TIMEOUT_MS = 60_000
# A process that was stopped in the middle lets go of its locks.
IDLE_TIMEOUT_MS = 30_000
# Connections of each process: kept, and for a moment. PostgreSQL takes 100 of all processes.
SQLITE_POOL = (16, 48)
POSTGRESQL_POOL = (8, 24)

_WRITES = "writes"
_AT_THE_END = "at_the_end"
_READING: dict[str, dict[str, Any]] = {
    "postgresql": {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
}

Row = TypeVar("Row")


def open_engine(url: str) -> Engine:
    """Return an engine for a database URL; it connects to nothing yet.

    Its errors do not say which values a statement had: they are patients'.

    Parameters
    ----------
    url
        ``sqlite:////absolute/path`` or ``postgresql+psycopg://user:password@host/database``.

    Raises
    ------
    ConfigurationError
        ``configuration``: the driver of PostgreSQL is not installed.
    """
    if url.startswith("sqlite"):
        engine = create_engine(url, hide_parameters=True, **_pool(*SQLITE_POOL))
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    try:
        return create_engine(
            url,
            **_pool(*POSTGRESQL_POOL),
            # A server that was started again is noticed before a statement fails.
            pool_pre_ping=True,
            isolation_level="READ COMMITTED",
            hide_parameters=True,
            connect_args=_postgresql_arguments(url),
        )
    except ImportError as error:
        raise ConfigurationError(
            "FIRSTREAD_DATABASE names PostgreSQL, and its driver is not installed",
            advice="in the clone: .venv/bin/pip install -e '.[postgresql]'",
        ) from error


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Give a connection in a transaction that only reads; end it soon, it holds the log back.

    Raises
    ------
    Unavailable
        ``unavailable`` or ``database-busy``: the database does not answer now.
    """
    options = _READING.get(engine.dialect.name, {})
    with (
        _told(),
        engine.connect().execution_options(**options) as connection,
        connection.begin(),
    ):
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Give a connection in a transaction that writes; committed at the end, undone by an error.

    On SQLite nobody else writes meanwhile: no file or network work inside.

    Raises
    ------
    Unavailable
        ``unavailable`` or ``database-busy``: the database does not answer now. Nothing of the block
        was kept, unless a server went away during the commit: then nobody knows.
    """
    acts: dict[Callable[..., None], list[Any]] = {}
    with (
        _told(),
        engine.connect().execution_options(**{_WRITES: True, _AT_THE_END: acts}) as connection,
        connection.begin(),
    ):
        yield connection
        for act, rows in acts.items():
            act(connection, rows)


def at_the_end(
    connection: Connection, act: Callable[[Connection, list[Row]], None], row: Row
) -> None:
    """Have something written last in a transaction, with everything else that is for the same act.

    For what others must not do meanwhile: they wait for the commit alone, and who waits for them
    holds no row that they still want.
    """
    acts = connection.get_execution_options()[_AT_THE_END]
    acts.setdefault(act, []).append(row)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except NoConnection as error:
        raise DatabaseBusy(
            "the database does not answer: too many ask at once", advice="send again later"
        ) from error
    except DBAPIError as error:
        told = trouble(error)
        if told is None:
            raise
        raise told from error


def _pool(size: int, more: int) -> dict[str, Any]:
    return {"pool_size": size, "max_overflow": more, "pool_timeout": BUSY_TIMEOUT_MS / 1000}


def _set_up_sqlite(dbapi_connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    assert isinstance(dbapi_connection, sqlite3.Connection)
    # The driver's own transaction control would begin deferred ones behind our back.
    dbapi_connection.isolation_level = None
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        # As PostgreSQL does: a patient's ID is matched with its case.
        "case_sensitive_like=ON",
    ):
        dbapi_connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgresql_arguments(url: str) -> dict[str, Any]:
    """Return how to connect (libpq 34.1.2), but for what the URL says itself."""
    said = make_url(url).query
    settings = {
        # Acknowledged is on disk, whatever the server is set to.
        "synchronous_commit": "on",
        "lock_timeout": BUSY_TIMEOUT_MS,
        "statement_timeout": STATEMENT_TIMEOUT_MS,
        "idle_in_transaction_session_timeout": IDLE_TIMEOUT_MS,
    }
    arguments = {
        "application_name": "firstread",
        "connect_timeout": 5,
        # A server that vanishes without a word is given up after about fifteen seconds.
        "keepalives_idle": 5,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        "tcp_user_timeout": 15_000,
        "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
    }
    return {name: value for name, value in arguments.items() if name not in said}
