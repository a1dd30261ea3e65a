"""What a database's own error means: its state now, which passes, or a mistake of ours.

=================== =========================================== ==================================
told as             SQLite                                      PostgreSQL (SQLSTATE, appendix A)
=================== =========================================== ==================================
``database-busy``   BUSY, LOCKED: held for longer than we wait  40...: a deadlock was broken, or two
                                                                writers met; 55P03, 57014: a lock or
                                                                a statement took too long
``unavailable``     FULL, IOERR, CANTOPEN, READONLY, PROTOCOL   08..., 53..., 57..., 58...: gone, no
                                                                room, stopping; 25006: a standby;
                                                                25P03; 28..., 3D000: does not let us
                                                                in; no code: no connection
itself              everything else                             everything else
=================== =========================================== ==================================

Nothing of the error's own text is told: it may name a user or quote a value. Of a connection that
is refused it is read whether the log-in or the database is wrong.
"""

import re
import sqlite3

from sqlalchemy.exc import DBAPIError, OperationalError

from serving.errors import DatabaseBusy, Unavailable

_SQLITE_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_SQLITE_STATES = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PROTOCOL,
    }
)
_BUSY = ("40", "55P03", "57014")
# Sentences of an English server; of another one it is "no connection".
_REFUSALS = {
    'FATAL: +database ".*" does not exist': "no such database",
    "FATAL: +(password authentication failed|role .* does not exist|no pg_hba.conf entry)": (
        "log-in refused"
    ),
    "no password supplied": "log-in refused",
}
_SET_UP = "look at FIRSTREAD_DATABASE; how it is set up: docs/archive.md"
_STATES = ("08", "53", "57", "58", "25006", "25P03", "28", "3D000")


def trouble(error: DBAPIError) -> Unavailable | None:
    """Return what is told of an error of the driver; None: it is a mistake of ours."""
    original = error.orig
    if isinstance(original, sqlite3.Error):
        return _of_sqlite(original)
    state: str | None = getattr(original, "sqlstate", None)
    if state is None:
        is_gone = error.connection_invalidated or isinstance(error, OperationalError)
        return _no_connection(str(original)) if is_gone else None
    if state.startswith(_BUSY):
        return _not_now(DatabaseBusy, state)
    return _not_now(Unavailable, state) if state.startswith(_STATES) else None


def _no_connection(said: str) -> Unavailable:
    """Return what a refused connection is told as; libpq gives no SQLSTATE, only a sentence."""
    for words, why in _REFUSALS.items():
        if re.search(words, said):
            return Unavailable(f"the database does not answer: {why}", advice=_SET_UP)
    return _not_now(Unavailable, "no connection")


def _of_sqlite(original: sqlite3.Error) -> Unavailable | None:
    # The lower byte is the kind, the rest its detail; the module's own errors have neither.
    kind = getattr(original, "sqlite_errorcode", -1) & 0xFF
    if kind in _SQLITE_BUSY:
        return _not_now(DatabaseBusy, original.sqlite_errorname)
    return _not_now(Unavailable, original.sqlite_errorname) if kind in _SQLITE_STATES else None


def _not_now(kind: type[Unavailable], why: str) -> Unavailable:
    return kind(f"the database does not answer: {why}", advice="send again later")
