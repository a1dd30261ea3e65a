"""Pools in SQL: who reads together, what a reader may read there, and in which pool a case stands.

There is always a pool ``default``: whatever hospital was given no other sends to it, and everybody
who may claim reads everything there. A region makes pools with readers and keys of their own.
"""

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import Any

from sqlalchemy import Connection, Select, exists, insert, or_, select, text, update

from firstread.errors import UsageError
from serving.database.tables import pools, reader_keys, reading_keys, sites
from serving.errors import NotFound
from serving.worklist.keys import ReadingKey
from serving.worklist.urgency import DEFAULT_POOL

DEFAULT_NAME = "Default"
# Until somebody says otherwise: the conditions under which the order was proved begin with four.
DEFAULT_READERS = 4.0
DEFAULT_READING_MINUTES = 10.0


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool of readers.

    Attributes
    ----------
    is_open
        Everybody who may claim reads every key here.
    readers, reading_minutes
        How many read at the same time and how long they need for a case, on average.
    credit, version
        Of the token; how many decisions there were.
    """

    id: int
    code: str
    name: str
    is_open: bool
    readers: float
    reading_minutes: float
    credit: float
    version: int

    @property
    def cases_per_min(self) -> float:
        """What its readers can read."""
        return self.readers / self.reading_minutes


@dataclass(frozen=True, slots=True)
class Sender:
    """What a pool must know of the hospital that sends a case to it."""

    site_id: int
    tier: str
    contract_per_day: float
    pool: Pool


_COLUMNS = tuple(pools.c[name] for name in Pool.__dataclass_fields__)


def ensure_default_pool(connection: Connection, now: float) -> None:
    """Make the pool that always is, where it is not there; of two at once one makes it."""
    statement = text(
        "INSERT INTO pools (code, name, is_open, readers, reading_minutes, created_at) "
        "VALUES (:code, :name, true, :readers, :minutes, :now) ON CONFLICT DO NOTHING"
    )
    values = {"code": DEFAULT_POOL, "name": DEFAULT_NAME, "now": now}
    capacity = {"readers": DEFAULT_READERS, "minutes": DEFAULT_READING_MINUTES}
    connection.execute(statement, values | capacity)


def add_pool(
    connection: Connection,
    *,
    code: str,
    name: str,
    readers: float,
    reading_minutes: float,
    now: float,
    is_open: bool = False,
) -> int:
    """Add a pool and return its id.

    Raises
    ------
    UsageError
        ``usage``: there is one of this code.
    """
    if connection.execute(select(pools.c.id).where(pools.c.code == code)).first() is not None:
        raise UsageError(f"there is a pool {code} already")
    row = {"code": code, "name": name, "is_open": is_open, "created_at": now}
    capacity = {"readers": readers, "reading_minutes": reading_minutes}
    statement = insert(pools).values(**row, **capacity).returning(pools.c.id)
    return int(connection.execute(statement).scalar_one())


def list_pools(connection: Connection, user_id: int | None = None) -> tuple[Pool, ...]:
    """Return all pools by code, or those in which a user may read."""
    query = select(*_COLUMNS).order_by(pools.c.code)
    if user_id is not None:
        reads = exists().where(
            reader_keys.c.pool_id == pools.c.id, reader_keys.c.user_id == user_id
        )
        query = query.where(or_(pools.c.is_open, reads))
    return tuple(Pool(*row) for row in connection.execute(query))


def find_pool(connection: Connection, code: str, *, locked: bool = False) -> Pool:
    """Return the pool of a code.

    Parameters
    ----------
    locked
        Nobody else decides in this pool until the transaction ends; it has begun as a writing one.

    Raises
    ------
    NotFound
        ``pool-unknown``
    """
    return _one(connection, select(*_COLUMNS).where(pools.c.code == code), locked=locked)


def pool_by_id(connection: Connection, pool_id: int, *, locked: bool = False) -> Pool:
    """Return a pool; see :func:`find_pool`."""
    return _one(connection, select(*_COLUMNS).where(pools.c.id == pool_id), locked=locked)


class PoolUnknown(NotFound):
    """There is no pool of this code."""

    code = "pool-unknown"


def _one(connection: Connection, query: Select[Any], *, locked: bool) -> Pool:
    # Not the key: a case that arrives refers to the pool, and need not wait for a decision.
    found = connection.execute(query.with_for_update(key_share=True) if locked else query).first()
    if found is None:
        raise PoolUnknown("there is no such pool", advice="GET /api/v1/pools lists them")
    return Pool(*found)


def decided(connection: Connection, pool: Pool, credit: float) -> int:
    """Store the credit after a decision in a locked pool, and return the decision's number."""
    statement = (
        update(pools)
        .where(pools.c.id == pool.id, pools.c.version == pool.version)
        .values(credit=credit, version=pool.version + 1)
    )
    changed = connection.execute(statement).rowcount
    assert changed == 1, "a decision was made in a pool that was not locked"
    return pool.version + 1


def sender_of(connection: Connection, site_id: int, now: float) -> Sender:
    """Return a hospital as its pool sees it."""
    columns = (sites.c.tier, sites.c.contract_per_day, sites.c.pool_id)
    site = connection.execute(select(*columns).where(sites.c.id == site_id)).one()
    if site.pool_id is not None:
        pool = pool_by_id(connection, site.pool_id)
    else:
        try:
            pool = find_pool(connection, DEFAULT_POOL)
        except PoolUnknown:
            ensure_default_pool(connection, now)
            pool = find_pool(connection, DEFAULT_POOL)
    return Sender(site_id, site.tier, site.contract_per_day, pool)


def key_id(connection: Connection, key: ReadingKey) -> int:
    """Return the number of a key; one that is new gets one."""
    parts = dict(zip(ReadingKey.__dataclass_fields__, astuple(key), strict=True))
    query = select(reading_keys.c.id).filter_by(**parts)
    found = connection.execute(query).scalar_one_or_none()
    if found is None:
        statement = text(
            "INSERT INTO reading_keys (modality, body_part, age_group, special) VALUES "
            "(:modality, :body_part, :age_group, :special) ON CONFLICT DO NOTHING"
        )
        connection.execute(statement, parts)
        found = connection.execute(query).scalar_one()
    return int(found)


def let_read(connection: Connection, user_id: int, pool_id: int, keys: Iterable[int]) -> None:
    """Let a user read keys in a pool, beside those that it reads there."""
    known = select(reader_keys.c.key_id).filter_by(user_id=user_id, pool_id=pool_id)
    new = sorted(set(keys) - set(connection.execute(known).scalars()))
    if new:
        rows = [{"user_id": user_id, "pool_id": pool_id, "key_id": key} for key in new]
        connection.execute(insert(reader_keys), rows)


def keys_of(connection: Connection, user_id: int, pool: Pool) -> tuple[int, ...]:
    """Return the keys that a user reads in a pool; in an open one all that there are."""
    if pool.is_open:
        query = select(reading_keys.c.id)
    else:
        query = select(reader_keys.c.key_id).filter_by(user_id=user_id, pool_id=pool.id)
    return tuple(sorted(connection.execute(query).scalars()))
