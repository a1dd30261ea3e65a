"""The log of changes: written in the transaction that changes a case, read by pages in order.

============== ====================================== ==========================================
kind           details                                written when
============== ====================================== ==========================================
received       ``instances``: images new to us        a request added images to a study
settled        ``instances``: images in all           no image came for the quiet time
analysing      ``attempt``: 1 for the first           a worker took the study
requeued       none                                   an analysis broke off; the study waits again
postponed      none                                   no room for an analysis; the study waits
retried        none                                   an administrator took it out of quarantine
scored         ``findings``, ``package``              a result became visible
not-analysed   ``code``: first reason                 an analysis ended without a score
superseded     ``package``                            an older result gave way to a newer one
conflict       ``instances``                          an image came again with other bytes
claimed        ``user``, ``rule``                     a reader took the case
released       ``user``                               its reader gave it back
lease-ended    ``user``                               nothing was heard of its reader for a lease
============== ====================================== ==========================================

Ids rise in the order of commits: a reader that has seen an id has seen all before it. SQLite lets
one transaction write at a time; on PostgreSQL a transaction writes its events last, and one after
the other does so until it is committed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Select, func, insert, select

from serving.database.engine import at_the_end
from serving.database.locks import Lock, hold
from serving.database.tables import events


class Kind(StrEnum):
    """What can happen to a case; a sentence for each: ``page.event.<kind>``."""

    RECEIVED = "received"
    SETTLED = "settled"
    ANALYSING = "analysing"
    REQUEUED = "requeued"
    POSTPONED = "postponed"
    RETRIED = "retried"
    SCORED = "scored"
    NOT_ANALYSED = "not-analysed"
    SUPERSEDED = "superseded"
    CONFLICT = "conflict"
    CLAIMED = "claimed"
    RELEASED = "released"
    LEASE_ENDED = "lease-ended"


@dataclass(frozen=True, slots=True)
class Event:
    """One change of one case; ``version`` is the case's after it."""

    id: int
    case_id: str
    site_id: int
    version: int
    kind: str
    details: Mapping[str, Any]
    at: float


def record(
    connection: Connection,
    case_id: str,
    site_id: int,
    version: int,
    kind: Kind,
    *,
    details: Mapping[str, Any],
    at: float,
) -> None:
    """Add a change, at the end of the transaction that makes it."""
    row = {
        "case_id": case_id,
        "site_id": site_id,
        "version": version,
        "kind": kind.value,
        "details": dict(details),
        "at": at,
    }
    at_the_end(connection, _write, row)


def _write(connection: Connection, rows: list[dict[str, Any]]) -> None:
    hold(connection, Lock.EVENTS)
    connection.execute(insert(events), rows)


def tail(connection: Connection, after_id: int, limit: int) -> tuple[Event, ...]:
    """Return what changed after an event, the oldest first, at most ``limit`` of it."""
    query = select(events).where(events.c.id > after_id).order_by(events.c.id).limit(limit)
    return _events(connection, query)


def seen_since(
    connection: Connection, site_id: int | None, after_id: int, until_id: int, limit: int
) -> tuple[Event, ...]:
    """Return what changed after one event and until another, of one site or of all."""
    query = select(events).where(events.c.id > after_id, events.c.id <= until_id)
    if site_id is not None:
        query = query.where(events.c.site_id == site_id)
    return _events(connection, query.order_by(events.c.id).limit(limit))


def last_id(connection: Connection, site_id: int | None = None, until_id: int | None = None) -> int:
    """Return the id of the newest change, of one site or of all; 0 where nothing ever changed.

    Parameters
    ----------
    site_id
        Who sees one site alone is told its ids alone: others would count what he must not see.
    until_id
        None: now.
    """
    query = select(func.max(events.c.id))
    if site_id is not None:
        query = query.where(events.c.site_id == site_id)
    if until_id is not None:
        query = query.where(events.c.id <= until_id)
    return connection.execute(query).scalar() or 0


def history(connection: Connection, case_id: str) -> tuple[Event, ...]:
    """Return everything that happened to a case, the oldest first."""
    query = select(events).where(events.c.case_id == case_id).order_by(events.c.id)
    return _events(connection, query)


def _events(connection: Connection, query: Select[Any]) -> tuple[Event, ...]:
    return tuple(Event(**row._mapping) for row in connection.execute(query))
