"""What has not ended: a list for whoever runs the service, and the way back from quarantine."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, and_, or_, select

from firstread.errors import UsageError
from serving.database.engine import writing
from serving.database.tables import cases, jobs, studies
from serving.events.log import Kind
from serving.jobs import queue
from serving.jobs.queue import JobState, Setback
from serving.studies.case_rows import change_case, tell
from serving.worklist.states import AiState


@dataclass(frozen=True, slots=True)
class ListedJob:
    """A job as it is told to whoever runs the service; nothing in it says who was examined.

    Attributes
    ----------
    error
        Of the last attempt that failed; None where none did.
    not_before
        The end of its pause; None where it is in none.
    """

    case_id: str
    state: JobState
    attempts: int
    error: str | None
    queued_at: float
    started_at: float | None
    finished_at: float | None
    not_before: float | None


def list_jobs(connection: Connection, now: float) -> tuple[ListedJob, ...]:
    """Return the jobs that are queued, leased or quarantined, as they would be taken."""
    columns = (jobs.c.attempts, jobs.c.error, jobs.c.queued_at, jobs.c.started_at)
    query = (
        select(cases.c.id, jobs.c.state, *columns, jobs.c.finished_at, jobs.c.not_before)
        .join(cases, cases.c.study_id == jobs.c.study_id)
        .join(studies, studies.c.id == jobs.c.study_id)
        .where(or_(jobs.c.state.in_(queue.OPEN), _is_kept_away()))
        .order_by(jobs.c.rank, jobs.c.queued_at, jobs.c.id)
    )
    return tuple(
        ListedJob(
            row.id,
            JobState(row.state),
            row.attempts,
            row.error,
            row.queued_at,
            row.started_at,
            row.finished_at,
            row.not_before if row.not_before > now else None,
        )
        for row in connection.execute(query)
    )


def retry(engine: Engine, case_id: str | None, now: float) -> tuple[str, ...]:
    """Put quarantined studies back into the queue, at their old place: all of them, or none.

    One that could not settle settles anew.

    Parameters
    ----------
    case_id
        None: all that are there.

    Returns
    -------
    The cases that wait again.

    Raises
    ------
    UsageError
        ``usage``: this case is in no quarantine.
    """
    query = (
        select(jobs.c.id, jobs.c.study_id, jobs.c.error)
        .join(studies, studies.c.id == jobs.c.study_id)
        .join(cases, cases.c.study_id == jobs.c.study_id)
        .where(_is_kept_away())
        # Locked in the order in which all lock studies; of what is locked the newest state counts.
        .order_by(studies.c.study_uid)
        .with_for_update(of=(studies, cases, jobs))
    )
    if case_id is not None:
        query = query.where(cases.c.id == case_id)
    with writing(engine) as connection:
        found = connection.execute(query).all()
        if case_id is not None and not found:
            raise UsageError("this case is in no quarantine", advice="firstread jobs list")
        return tuple(_retry_one(connection, row, now) for row in found)


def _is_kept_away() -> ColumnElement[bool]:
    """Quarantined, and no later image has given the study another job."""
    return and_(
        jobs.c.state == JobState.QUARANTINED.value,
        jobs.c.generation == studies.c.generation,
        cases.c.ai_state == AiState.NOT_ANALYSED.value,
    )


def _retry_one(connection: Connection, job: Row[Any, Any, Any], now: float) -> str:
    state = AiState.WAITING
    if job.error == Setback.UNSETTLED:
        state = AiState.RECEIVING
        queue.forget(connection, job.id)
    else:
        is_back = queue.retry(connection, job.id)
        assert is_back, "quarantined in this transaction"
    case = change_case(connection, job.study_id, {"ai_state": state.value})
    tell(connection, case, Kind.RETRIED, {}, now)
    return case.id
