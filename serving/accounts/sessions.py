"""Sessions: who is logged in. The cookie holds 256 random bits, the database their SHA-256.

A session ends at the log-out, when its user's password, role or activity changes, after a time
without use, and after a longer time in any case. It begins anew with every log-in: what a browser
brought along is never taken over.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from serving.accounts.caller import Caller, Role
from serving.accounts.secret import digest, make_secret
from serving.database.tables import sessions, users

# A session in use is written once in so long, not with every request.
SEEN_STEP_S = 60.0


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long a session lasts: without use, and whatever its use."""

    idle_s: float
    longest_s: float

    def ends_at(self, created_at: float, seen_at: float) -> float:
        """Return when a session ends that was last used at ``seen_at``."""
        return min(seen_at + self.idle_s, created_at + self.longest_s)


@dataclass(frozen=True, slots=True)
class Session:
    """A session that was found.

    Attributes
    ----------
    is_demonstration
        Of a user whose password everybody knows.
    is_due
        Its use should be noted.
    """

    sha256: str
    caller: Caller
    created_at: float
    is_demonstration: bool
    is_due: bool


def start_session(connection: Connection, user_id: int, lifetime: Lifetime, now: float) -> str:
    """Begin a session and return its secret, for the cookie; those that ran out are removed."""
    connection.execute(delete(sessions).where(sessions.c.expires_at <= now))
    secret = make_secret()
    connection.execute(
        insert(sessions).values(
            sha256=digest(secret),
            user_id=user_id,
            csrf_token=make_secret(),
            created_at=now,
            seen_at=now,
            expires_at=lifetime.ends_at(now, now),
        )
    )
    return secret


def find_session(connection: Connection, secret: str, now: float) -> Session | None:
    """Return the session of a cookie; None: unknown, run out, or its user is active no more."""
    query = (
        select(
            sessions.c.sha256,
            sessions.c.created_at,
            sessions.c.seen_at,
            sessions.c.csrf_token,
            users.c.id,
            users.c.name,
            users.c.role,
            users.c.site_id,
            users.c.language,
            users.c.theme,
            users.c.is_demonstration,
        )
        .join_from(sessions, users)
        .where(sessions.c.sha256 == digest(secret), sessions.c.expires_at > now, users.c.is_active)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    caller = Caller(
        kind="user",
        id=row.id,
        name=row.name,
        role=Role(row.role),
        site_id=row.site_id,
        language=row.language,
        theme=row.theme,
        csrf_token=row.csrf_token,
    )
    return Session(
        sha256=row.sha256,
        caller=caller,
        created_at=row.created_at,
        is_demonstration=row.is_demonstration,
        is_due=now - row.seen_at >= SEEN_STEP_S,
    )


def note_session(connection: Connection, session: Session, lifetime: Lifetime, now: float) -> None:
    """Remember that a session was used: it ends later."""
    connection.execute(
        update(sessions)
        .where(sessions.c.sha256 == session.sha256)
        .values(seen_at=now, expires_at=lifetime.ends_at(session.created_at, now))
    )


def end_session(connection: Connection, sha256: str) -> None:
    """End one session: the log-out."""
    connection.execute(delete(sessions).where(sessions.c.sha256 == sha256))


def end_sessions(connection: Connection, user_id: int, *, keep: str | None = None) -> None:
    """End all sessions of a user, but for the one that is kept."""
    ended = delete(sessions).where(sessions.c.user_id == user_id)
    if keep is not None:
        ended = ended.where(sessions.c.sha256 != keep)
    connection.execute(ended)
