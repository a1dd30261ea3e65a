"""The queue of analyses: leases say who should work, tokens whose result counts.

::

               claim                 close
    queued ────────────> leased ────────────> done
     ^  ^                  │  │
     │  └──── release ─────┘  ├─────────────> overtaken      more images came: a newer job exists
     │                        └─────────────> quarantined    it failed too often
     └──────────────── retry ──────────────────────┘

A job that failed, or for which there was no room, waits for a pause that doubles each time, and
others go first meanwhile.

Every function belongs in a transaction of its caller: a job changes together with its case. Each
change is one UPDATE with the old state and the token in its WHERE; one that changes no row has lost
its lease, and whatever it wanted to write must not be written. A study has at most one job that is
queued or leased, held by a partial unique index.

Leases are measured by the clock of one machine. Set forward, it ends leases early: the token makes
that harmless. Set back by more than a lease, it would make one last for hours: a lease that ends
later than any could have been granted is over too.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, insert, or_, select, update

from serving.database.tables import jobs

ERROR_CHARACTERS = 200
LONGEST_PAUSE_S = 120.0


class JobState(StrEnum):
    """How far a job is."""

    QUEUED = "queued"
    LEASED = "leased"
    DONE = "done"
    OVERTAKEN = "overtaken"
    QUARANTINED = "quarantined"


class Setback(StrEnum):
    """What was wrong with a job where no error says it; each stands in docs/errors.md."""

    WORKER_DIED = "worker-died"
    LEASE_ENDED = "lease-ended"
    TOO_LONG = "analysis-too-long"
    # Its study never settled; it is in quarantine from the start.
    UNSETTLED = "settling-failed"


OPEN = (JobState.QUEUED.value, JobState.LEASED.value)


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it was claimed.

    Attributes
    ----------
    generation
        Of the study when the job was made: an analysis of fewer images than there are is dropped.
    attempts
        With this one.
    pauses
        How often it was put back because something was wrong, counted as an attempt or not.
    token
        Of this lease.
    """

    id: int
    study_id: int
    generation: int
    attempts: int
    pauses: int
    token: int
    owner: str | None


_COLUMNS = (
    jobs.c.id,
    jobs.c.study_id,
    jobs.c.generation,
    jobs.c.attempts,
    jobs.c.pauses,
    jobs.c.token,
    jobs.c.owner,
)


def enqueue(
    connection: Connection,
    study_id: int,
    generation: int,
    rank: int,
    now: float,
    *,
    kept_away: str | None = None,
) -> int:
    """Add a job and return its id; older jobs of the study that have not ended are overtaken.

    Parameters
    ----------
    rank
        Taken first where smaller.
    kept_away
        Why it is in quarantine from the start, as a stable word; None: it is queued.
    """
    connection.execute(
        update(jobs)
        .where(jobs.c.study_id == study_id, jobs.c.state.in_(OPEN))
        .values(state=JobState.OVERTAKEN.value, finished_at=now, lease_until=None)
    )
    is_kept_away = kept_away is not None
    statement = (
        insert(jobs)
        .values(
            study_id=study_id,
            generation=generation,
            state=(JobState.QUARANTINED if is_kept_away else JobState.QUEUED).value,
            rank=rank,
            queued_at=now,
            finished_at=now if is_kept_away else None,
            error=kept_away,
        )
        .returning(jobs.c.id)
    )
    return int(connection.execute(statement).scalar_one())


def pause_s(pauses: int, first_s: float) -> float:
    """Return how long a job waits that was put back so often before; below zero: not at all.

    Parameters
    ----------
    first_s
        How long it waits the first time.
    """
    return min(LONGEST_PAUSE_S, first_s * 2.0 ** min(pauses, 16)) if pauses >= 0 else 0.0


def has_work(connection: Connection, now: float) -> bool:
    """Whether a job could be claimed; a cheap look before a transaction that writes."""
    query = select(exists().where(_is_ready(now)))
    return bool(connection.execute(query).scalar_one())


def claim(connection: Connection, owner: str, now: float, lease_s: float) -> Job | None:
    """Take the first job that is in no pause: by rank, then by age; None where there is none.

    Parameters
    ----------
    owner
        Name of the worker; no other process has it.
    """
    first = (
        select(jobs.c.id)
        .where(_is_ready(now))
        .order_by(jobs.c.rank, jobs.c.queued_at, jobs.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    statement = (
        update(jobs)
        .where(jobs.c.id == first, jobs.c.state == JobState.QUEUED.value)
        .values(
            state=JobState.LEASED.value,
            owner=owner,
            lease_until=now + lease_s,
            started_at=now,
            token=jobs.c.token + 1,
            attempts=jobs.c.attempts + 1,
        )
        .returning(*_COLUMNS)
    )
    row = connection.execute(statement).one_or_none()
    return Job(**row._mapping) if row is not None else None


def is_held(connection: Connection, job: Job) -> bool:
    """Whether the lease is still the caller's; its row is locked where the database locks rows."""
    query = select(jobs.c.id).where(_is_held(job)).with_for_update()
    return connection.execute(query).first() is not None


def heartbeat(connection: Connection, job: Job, now: float, lease_s: float) -> bool:
    """Extend a lease; False: it is lost, and so is the result."""
    statement = update(jobs).where(_is_held(job)).values(lease_until=now + lease_s)
    return connection.execute(statement).rowcount == 1


def close(
    connection: Connection, job: Job, state: JobState, now: float, error: str | None = None
) -> bool:
    """End a job for good; False: the lease is lost, so undo the transaction.

    Parameters
    ----------
    state
        ``DONE``, ``OVERTAKEN`` or ``QUARANTINED``.
    error
        A stable word or code; never text of a study.
    """
    statement = (
        update(jobs)
        .where(_is_held(job))
        .values(state=state.value, finished_at=now, lease_until=None, error=_short(error))
    )
    return connection.execute(statement).rowcount == 1


def release(
    connection: Connection,
    job: Job,
    now: float,
    error: str | None,
    *,
    is_counted: bool = True,
    pause_s: float = 0.0,
) -> bool:
    """Put a leased job back into the queue, at its old place; False: the lease is another's.

    Parameters
    ----------
    error
        Why, as a stable word or code. None: it did not fail, so the attempt does not count.
    is_counted
        False: what was wrong is not the study's fault.
    pause_s
        Others go first for so long.
    """
    is_counted = is_counted and error is not None
    statement = (
        update(jobs)
        .where(_is_held(job))
        .values(
            state=JobState.QUEUED.value,
            owner=None,
            lease_until=None,
            attempts=jobs.c.attempts - (0 if is_counted else 1),
            pauses=jobs.c.pauses + (0 if error is None else 1),
            not_before=now + pause_s if pause_s else 0.0,
            error=_short(error),
        )
    )
    return connection.execute(statement).rowcount == 1


def retry(connection: Connection, job_id: int) -> bool:
    """Put a quarantined job back into the queue, as if it had never failed; False: it is not."""
    statement = (
        update(jobs)
        .where(jobs.c.id == job_id, jobs.c.state == JobState.QUARANTINED.value)
        .values(
            state=JobState.QUEUED.value,
            owner=None,
            attempts=0,
            pauses=0,
            not_before=0.0,
            finished_at=None,
            error=None,
        )
    )
    return connection.execute(statement).rowcount == 1


def forget(connection: Connection, job_id: int) -> None:
    """Remove a job that was in quarantine from the start: its study makes another one."""
    connection.execute(
        delete(jobs).where(jobs.c.id == job_id, jobs.c.error == Setback.UNSETTLED.value)
    )


def expired(connection: Connection, now: float, lease_s: float) -> tuple[Job, ...]:
    """Return the jobs whose lease has ended: their worker is dead, stopped or cut off.

    Each is released, or given up where its attempts are used up, by ``serving.studies.life``.
    """
    query = select(*_COLUMNS).where(_lease_is_over(now, lease_s)).order_by(jobs.c.id)
    return _jobs(connection.execute(query))


def is_over(connection: Connection, job: Job, now: float, lease_s: float) -> bool:
    """Whether a lease has ended and nobody has taken the job back yet."""
    query = select(jobs.c.id).where(_is_held(job), _lease_is_over(now, lease_s))
    return connection.execute(query).first() is not None


def held_by(connection: Connection, owner: str) -> tuple[Job, ...]:
    """Return the jobs that a worker has leased: for whoever knows that it is dead."""
    query = (
        select(*_COLUMNS)
        .where(jobs.c.state == JobState.LEASED.value, jobs.c.owner == owner)
        .order_by(jobs.c.id)
    )
    return _jobs(connection.execute(query))


def owners(connection: Connection) -> frozenset[str]:
    """Return the names of all workers that have leased a job."""
    query = select(jobs.c.owner).where(jobs.c.state == JobState.LEASED.value).distinct()
    return frozenset(connection.execute(query).scalars())


def _jobs(rows: Iterable[object]) -> tuple[Job, ...]:
    return tuple(Job(**row._mapping) for row in rows)  # type: ignore[attr-defined]


def _is_held(job: Job) -> ColumnElement[bool]:
    return and_(
        jobs.c.id == job.id,
        jobs.c.token == job.token,
        jobs.c.state == JobState.LEASED.value,
    )


def _is_ready(now: float) -> ColumnElement[bool]:
    # A pause that ends later than any could have begun: the clock was set back.
    ends = jobs.c.not_before
    return and_(
        jobs.c.state == JobState.QUEUED.value, or_(ends <= now, ends > now + LONGEST_PAUSE_S)
    )


def _lease_is_over(now: float, lease_s: float) -> ColumnElement[bool]:
    ends = jobs.c.lease_until
    return and_(jobs.c.state == JobState.LEASED.value, or_(ends < now, ends > now + 2 * lease_s))


def _short(error: str | None) -> str | None:
    return error[:ERROR_CHARACTERS] if error is not None else None
