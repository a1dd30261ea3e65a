"""Who looked at which case: rows that are only ever added."""

from dataclasses import dataclass

from sqlalchemy import Connection, Engine, func, insert, select

from serving.accounts.caller import Caller
from serving.database.engine import reading, writing
from serving.database.locks import Lock, hold
from serving.database.tables import tokens, users, views

# The 300 slices of a series are one look, and so is a page that keeps itself fresh.
SAME_LOOK_S = 60.0


@dataclass(frozen=True, slots=True)
class View:
    """One look: ``who`` is a user's name or a token's label."""

    kind: str
    who: str
    what: str
    at: float


def record_view(
    connection: Connection, caller: Caller, case_id: str, what: str, now: float
) -> None:
    """Record that the caller looked at something of a case; the same within a minute is one look.

    Parameters
    ----------
    what
        ``case``, ``seg.dcm``, ``key_images/1.png``, ``dicom``, ...: at most 64 characters, and
        nothing that names a patient.
    """
    # The slices of a series are asked for side by side.
    hold(connection, Lock.VIEWS)
    if not _has_looked(connection, caller, case_id, what, now):
        looker = {"user_id": None, "token_id": None, f"{caller.kind}_id": caller.id}
        connection.execute(insert(views).values(case_id=case_id, what=what, at=now, **looker))


def note_view(engine: Engine, caller: Caller, case_id: str, what: str, now: float) -> None:
    """Do as :func:`record_view`, and take the one writer only where there is something to add."""
    with reading(engine) as connection:
        if _has_looked(connection, caller, case_id, what, now):
            return
    with writing(engine) as connection:
        record_view(connection, caller, case_id, what, now)


def list_views(connection: Connection, case_id: str) -> tuple[View, ...]:
    """Return who looked at a case, in order."""
    query = (
        select(
            views.c.user_id,
            func.coalesce(users.c.name, tokens.c.label).label("who"),
            views.c.what,
            views.c.at,
        )
        .select_from(
            views.join(users, views.c.user_id == users.c.id, isouter=True).join(
                tokens, views.c.token_id == tokens.c.id, isouter=True
            )
        )
        .where(views.c.case_id == case_id)
        .order_by(views.c.at, views.c.id)
    )
    return tuple(
        View("token" if row.user_id is None else "user", row.who, row.what, row.at)
        for row in connection.execute(query)
    )


def _has_looked(
    connection: Connection, caller: Caller, case_id: str, what: str, now: float
) -> bool:
    column = views.c.user_id if caller.kind == "user" else views.c.token_id
    query = select(views.c.id).where(
        views.c.case_id == case_id,
        views.c.at > now - SAME_LOOK_S,
        column == caller.id,
        views.c.what == what,
    )
    return connection.execute(query.limit(1)).one_or_none() is not None
