"""What one transaction does at a time, where the database lets several write.

SQLite has one writer, so nothing of this does anything there. On PostgreSQL these are advisory
locks (13.3.5), which end with their transaction.

Rows are locked in one order, so that nobody waits for somebody who waits for him: a site
(where a case may be opened), studies (by UID, where a transaction has several), cases, jobs; before
them at most one of the locks below, and ``EVENTS`` after everything else. A decision locks its pool
and then one case. What takes back several cases waits for none of them.
"""

from enum import IntEnum

from sqlalchemy import Connection, text

# Any number, the same in all processes: what else uses the database has others.
_OURS = 4_715_322


class Lock(IntEnum):
    """Its numbers are for ever: two versions may run on one database for a moment."""

    # Tables are brought up to date.
    MIGRATION = 1
    # Accounts that a service makes for itself when it starts.
    START = 2
    # Attempts to log in are counted, or forgiven.
    LOG_IN = 3
    # A look at a case is recorded.
    VIEWS = 4
    # Rows are added whose ids are counted on (shared), or counted.
    COUNTED = 5
    # Events get their ids, which pages take for an order.
    EVENTS = 6


def hold(connection: Connection, lock: Lock) -> None:
    """Be the only transaction with a lock until this one ends; waits for those who have it."""
    _take(connection, "pg_advisory_xact_lock", lock)


def share(connection: Connection, lock: Lock) -> None:
    """Keep others from holding a lock until this transaction ends, but not from sharing it."""
    _take(connection, "pg_advisory_xact_lock_shared", lock)


def set_limits(
    connection: Connection, *, lock_ms: int | None = None, statement_ms: int | None = None
) -> None:
    """Wait longer for a lock or a statement of this transaction, or less long; 0: for ever."""
    if connection.dialect.name == "postgresql":
        for name, limit_ms in (("lock_timeout", lock_ms), ("statement_timeout", statement_ms)):
            if limit_ms is not None:
                connection.execute(text(f"SET LOCAL {name} = {limit_ms:d}"))


def _take(connection: Connection, function: str, lock: Lock) -> None:
    if connection.dialect.name == "postgresql":
        statement = text(f"SELECT {function}(:ours, :lock)")
        connection.execute(statement, {"ours": _OURS, "lock": lock.value})
