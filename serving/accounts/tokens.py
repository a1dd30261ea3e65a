"""Tokens: how a site's programs say who they are (``Authorization: Bearer frst_...``).

A token may send its site's studies and read them back. It is shown once.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from firstread.errors import UsageError
from serving.accounts.caller import Caller, Role
from serving.accounts.secret import digest, make_secret
from serving.database.tables import sites, tokens

PREFIX = "frst_"
MOST_LABEL = 100
# "Last used" is told to the minute: not every request writes.
USED_STEP_S = 60.0


@dataclass(frozen=True, slots=True)
class Token:
    """A token as lists show it; its secret is not known any more."""

    id: int
    site_code: str
    label: str
    created_at: float
    used_at: float | None
    revoked_at: float | None


def issue_token(connection: Connection, *, site_id: int, label: str, now: float) -> tuple[int, str]:
    """Make a token for a site; return its id and the secret, which is shown once.

    Raises
    ------
    UsageError
        ``usage``: the label is empty or too long.
    """
    label = label.strip()
    if not label or len(label) > MOST_LABEL or not label.isprintable():
        raise UsageError(f"a label has 1 to {MOST_LABEL} printable characters")
    secret = PREFIX + make_secret()
    row = {"site_id": site_id, "label": label, "sha256": digest(secret), "created_at": now}
    made = connection.execute(insert(tokens).values(row).returning(tokens.c.id))
    return int(made.scalar_one()), secret


def list_tokens(connection: Connection) -> tuple[Token, ...]:
    """Return all tokens, revoked ones too, in the order in which they were made."""
    query = (
        select(
            tokens.c.id,
            sites.c.code,
            tokens.c.label,
            tokens.c.created_at,
            tokens.c.used_at,
            tokens.c.revoked_at,
        )
        .join_from(tokens, sites)
        .order_by(tokens.c.id)
    )
    return tuple(Token(*row) for row in connection.execute(query))


def revoke_token(connection: Connection, token_id: int, now: float) -> None:
    """Let a token do nothing from now on; once more changes nothing.

    Raises
    ------
    UsageError
        ``usage``: there is no such token.
    """
    changed = connection.execute(
        update(tokens)
        .where(tokens.c.id == token_id, tokens.c.revoked_at.is_(None))
        .values(revoked_at=now)
    ).rowcount
    known = select(tokens.c.id).where(tokens.c.id == token_id)
    if not changed and connection.execute(known).one_or_none() is None:
        raise UsageError(f"there is no token {token_id}", advice="firstread tokens list")


def caller_of_token(connection: Connection, secret: str, now: float) -> tuple[Caller, bool] | None:
    """Return who a token is, and whether its use should be noted; None: nobody, or revoked."""
    row = connection.execute(
        select(tokens.c.id, tokens.c.label, tokens.c.site_id, tokens.c.used_at).where(
            tokens.c.sha256 == digest(secret), tokens.c.revoked_at.is_(None)
        )
    ).one_or_none()
    if row is None:
        return None
    caller = Caller(kind="token", id=row.id, name=row.label, role=Role.SENDER, site_id=row.site_id)
    return caller, row.used_at is None or now - row.used_at >= USED_STEP_S


def note_use(connection: Connection, token_id: int, now: float) -> None:
    """Remember when a token was last used."""
    connection.execute(update(tokens).where(tokens.c.id == token_id).values(used_at=now))
