"""The log-in: one way through it for every name, so that an answer tells nothing about names."""

from dataclasses import dataclass

from argon2 import PasswordHasher
from sqlalchemy import Connection, Engine, select, update

from serving.accounts.caller import Caller
from serving.accounts.passwords import HASHER, hash_password, is_outdated, is_right
from serving.accounts.sessions import Lifetime, start_session
from serving.accounts.throttle import begin_attempt, forgive
from serving.accounts.users import normal_name, set_password
from serving.database.engine import reading, writing
from serving.database.tables import users
from serving.errors import NotAuthenticated

MOST_NAME = 200


@dataclass(frozen=True, slots=True)
class _Account:
    id: int
    password_hash: str
    is_active: bool
    is_demonstration: bool


class LogInRefused(NotAuthenticated):
    """Name or password are wrong; which one is not said."""

    code = "log-in-refused"


def log_in(
    engine: Engine,
    *,
    name: str,
    password: str,
    address: str,
    may_demonstrate: bool,
    lifetime: Lifetime,
    now: float,
    hasher: PasswordHasher = HASHER,
) -> str:
    """Return the secret of a new session.

    Parameters
    ----------
    address
        Of the client.
    may_demonstrate
        Whether an account whose password is public may be used from there.

    Raises
    ------
    LogInRefused
        ``log-in-refused``: also for who is not active any more.
    TooManyRequests
        ``too-many-requests``
    """
    name = normal_name(name[:MOST_NAME])
    with writing(engine) as connection:
        attempt = begin_attempt(connection, name, address, now)
    with reading(engine) as connection:
        found = _account(connection, name)
    right = is_right(password, found.password_hash if found else None, hasher)
    if found is None or not right:
        raise _refused()
    if not found.is_active or (found.is_demonstration and not may_demonstrate):
        raise _refused()
    fresh = hash_password(password, hasher) if is_outdated(found.password_hash, hasher) else None
    with writing(engine) as connection:
        forgive(connection, attempt)
        # Nothing was locked while the password was worked on: it may be another by now.
        if _account(connection, name, is_locked=True) != found:
            raise _refused()
        if fresh is not None:
            connection.execute(
                update(users).where(users.c.id == found.id).values(password_hash=fresh)
            )
        return start_session(connection, found.id, lifetime, now)


def change_password(
    engine: Engine,
    *,
    user: Caller,
    session_sha256: str,
    current: str,
    password: str,
    address: str,
    now: float,
    hasher: PasswordHasher = HASHER,
) -> None:
    """Change a user's own password; only the session in which it is changed goes on.

    Raises
    ------
    LogInRefused
        ``log-in-refused``: the current one is another. It is guessed no faster than at the log-in.
    UsageError
        ``usage``: the new one is too weak.
    TooManyRequests
        ``too-many-requests``
    """
    with writing(engine) as connection:
        attempt = begin_attempt(connection, user.name, address, now)
    with reading(engine) as connection:
        found = _account(connection, user.name)
    if found is None or not is_right(current, found.password_hash, hasher):
        raise _refused()
    fresh = hash_password(password, hasher)
    with writing(engine) as connection:
        forgive(connection, attempt)
        if _account(connection, user.name, is_locked=True) != found:
            raise _refused()
        set_password(connection, user.id, fresh, keep=session_sha256)


def _account(connection: Connection, name: str, *, is_locked: bool = False) -> _Account | None:
    """Return what is looked at; locked, nobody changes it until the transaction ends."""
    query = select(
        users.c.id, users.c.password_hash, users.c.is_active, users.c.is_demonstration
    ).where(users.c.name == name)
    if is_locked:
        query = query.with_for_update(key_share=True)
    row = connection.execute(query).one_or_none()
    return None if row is None else _Account(*row)


def _refused() -> LogInRefused:
    return LogInRefused("name or password are wrong", advice="try again")
