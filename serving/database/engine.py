"""The engine and its two kinds of transaction.

SQLite, measured on this stack: a deferred transaction that reads and then writes fails with
SQLITE_BUSY at once, whatever the busy timeout; begun IMMEDIATE, none of 240 did. So a transaction
says at its start whether it will write. ``synchronous=FULL`` syncs every commit: what is
acknowledged is on disk.

A database that cannot answer now (locked by somebody for longer than the busy timeout, full, gone)
is :class:`serving.errors.Unavailable` to everybody; a wrong statement stays what it is.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection
from sqlalchemy.pool import ConnectionPoolEntry

from serving.errors import Unavailable

# A transaction takes milliseconds; who waits longer than this is told to come back.
BUSY_TIMEOUT_MS = 5000
WRITES = "writes"

# SQLite has one class of error for its state and for mistakes in a statement; these are its state.
_STATES = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PROTOCOL,
    }
)


def open_engine(url: str) -> Engine:
    """Return an engine for a database URL; SQLite gets WAL, full sync and foreign keys.

    Its errors do not say which values a statement had: they are patients'.

    Parameters
    ----------
    url
        ``sqlite:////absolute/path`` or ``postgresql+psycopg://...``.
    """
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True, hide_parameters=True)
    engine = create_engine(url, pool_size=16, max_overflow=48, hide_parameters=True)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Give a connection in a transaction that only reads; end it soon, it holds the log back.

    Raises
    ------
    Unavailable
        ``unavailable``: the database does not answer now.
    """
    with _unavailable(), engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Give a connection in a transaction that writes; committed at the end, undone by an error.

    One writer at a time is a property of SQLite: no file or network work inside.

    Raises
    ------
    Unavailable
        ``unavailable``: the database does not answer now; nothing of the block was kept.
    """
    with (
        _unavailable(),
        engine.connect().execution_options(**{WRITES: True}) as connection,
        connection.begin(),
    ):
        yield connection


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except NoConnection as error:
        raise _not_now("too many ask at once") from error
    except OperationalError as error:
        original = error.orig
        if isinstance(original, sqlite3.Error):
            # The lower byte is the kind, the rest its detail.
            if (original.sqlite_errorcode & 0xFF) not in _STATES:
                raise
            raise _not_now(original.sqlite_errorname) from error
        raise _not_now("no connection") from error


def _not_now(why: str) -> Unavailable:
    return Unavailable(f"the database does not answer: {why}", advice="send again later")


def _set_up_sqlite(dbapi_connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    assert isinstance(dbapi_connection, sqlite3.Connection)
    # The driver's own transaction control would begin deferred ones behind our back.
    dbapi_connection.isolation_level = None
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        dbapi_connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
