"""Who takes jobs: each worker says so every few seconds, and ``/readyz`` reads it."""

from sqlalchemy import Connection, delete, insert, select, update

from serving.database.tables import workers


def report(
    connection: Connection, owner: str, engine: str, *, is_healthy: bool, now: float
) -> None:
    """Note that a worker lives.

    Parameters
    ----------
    owner
        As in the leases of its jobs.
    engine
        ``inline`` or ``ray``.
    is_healthy
        Whether its engine would take a study now; an engine that starts would not.
    """
    values = {"is_healthy": is_healthy, "seen_at": now}
    known = update(workers).where(workers.c.owner == owner).values(values)
    if connection.execute(known).rowcount == 0:
        connection.execute(insert(workers).values(owner=owner, engine=engine, **values))


def leave(connection: Connection, owner: str) -> None:
    """Note that a worker has ended."""
    connection.execute(delete(workers).where(workers.c.owner == owner))


def forget_silent(connection: Connection, before: float) -> int:
    """Remove the workers that were last heard of before a time; return how many."""
    return connection.execute(delete(workers).where(workers.c.seen_at < before)).rowcount


def any_healthy(connection: Connection, since: float) -> bool:
    """Return whether a worker with a healthy engine was heard of after a time."""
    query = select(workers.c.owner).where(workers.c.is_healthy, workers.c.seen_at > since)
    return connection.execute(query.limit(1)).one_or_none() is not None


def last_heard(connection: Connection) -> dict[str, float]:
    """Return when each worker last said that it lives."""
    query = select(workers.c.owner, workers.c.seen_at)
    return {row.owner: row.seen_at for row in connection.execute(query)}
