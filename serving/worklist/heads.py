"""Who waits first, for each key and class: a few seeks in one index, however many cases wait."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import CompoundSelect, Connection, exists, literal, select, text, union_all

from serving.database.tables import ROUTED, cases, reading_keys
from serving.worklist.order import CLASSES, Key

# SQLite takes 500 selects in one.
_KEYS_AT_A_TIME = 500 // CLASSES

_COLUMNS = tuple(
    cases.c[name]
    for name in ("id", "site_id", "key_id", "class_rank", "fair_due_at", "arrived_at", "fence")
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A case that nobody has taken."""

    case_id: str
    site_id: int
    key_id: int
    class_rank: int
    fair_due_at: float
    arrived_at: float
    fence: int

    @property
    def key(self) -> Key:
        """Its place within its class."""
        return self.fair_due_at, self.arrived_at, self.case_id


def first_waiting(
    connection: Connection,
    pool_id: int,
    keys: Sequence[int],
    *,
    site_id: int | None = None,
    count: int = 1,
) -> tuple[tuple[Waiting, ...], ...]:
    """Return for each class rank the first ``count`` cases that may be read, in order.

    Parameters
    ----------
    keys
        That the reader reads here.
    site_id
        The only site that he may see; None: all.
    """
    ranks: list[list[Waiting]] = [[] for _ in range(CLASSES)]
    found = _with_cases(connection, pool_id, keys)
    for start in range(0, len(found), _KEYS_AT_A_TIME):
        part = found[start : start + _KEYS_AT_A_TIME]
        for row in connection.execute(heads_query(pool_id, part, site_id=site_id, count=count)):
            waiting = Waiting(*row)
            ranks[waiting.class_rank].append(waiting)
    return tuple(tuple(sorted(waiting, key=lambda one: one.key)[:count]) for waiting in ranks)


def heads_query(
    pool_id: int, keys: Sequence[int], *, site_id: int | None = None, count: int = 1
) -> CompoundSelect[Any]:
    """Return the query of the first cases of some keys; a test looks at its plan."""
    return union_all(*_stretches(pool_id, keys, site_id, count))


def _stretches(pool_id: int, keys: Sequence[int], site_id: int | None, count: int) -> Iterator[Any]:
    """Yield a query for each stretch of the index: one key, one class."""
    for key in keys:
        for rank in range(CLASSES):
            one = select(*_COLUMNS).where(
                # Word for word as the index says, or it is not used.
                text(ROUTED),
                cases.c.pool_id == pool_id,
                cases.c.key_id == key,
                cases.c.class_rank == rank,
            )
            if site_id is not None:
                one = one.where(cases.c.site_id == site_id)
            one = one.order_by(cases.c.fair_due_at, cases.c.arrived_at, cases.c.id).limit(count)
            yield select(one.subquery())


def _with_cases(connection: Connection, pool_id: int, keys: Sequence[int]) -> Sequence[int]:
    """Return those of the keys of which something waits at all."""
    waits = (
        exists(literal(1))
        .where(text(ROUTED), cases.c.pool_id == pool_id, cases.c.key_id == reading_keys.c.id)
        .correlate(reading_keys)
    )
    query = select(reading_keys.c.id).where(reading_keys.c.id.in_(keys), waits)
    return connection.execute(query.order_by(reading_keys.c.id)).scalars().all()
