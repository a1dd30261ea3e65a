"""The life of a study after it was received.

::

             receive              settle               begin               finish
    (none) ─────────> receiving ─────────> waiting ─────────> analysing ─────────> scored
                          ^                   ^                   │      └────────> not-analysed
                          │                   └── lease ended ────┤ give_up          ^
                          │                                       └──────────────────┘
                          └───── receive: a later image, from every state

    receiving ── give_up_settling ──────────────────> not-analysed
    not-analysed ── retry (serving.studies.retry) ──> waiting, or receiving if it never settled

Each step is one transaction that holds case, event and job together. It locks the study first: what
is decided about a study is decided by one at a time. A job carries the generation
of the study for which it was made and the token of its lease; a worker that lost its lease changes
nothing, and a result of fewer images than have come since is dropped (``overtaken``). A newer
result hides the older one, which is kept; a unique index makes a second visible one impossible.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, Select, or_, select

from serving.archive import filing
from serving.archive.store import Store, Stored
from serving.database.engine import reading, writing
from serving.database.tables import cases, studies
from serving.errors import Unavailable
from serving.events.log import Kind
from serving.faults import point
from serving.jobs import queue
from serving.jobs.engine import Analysed
from serving.jobs.queue import Job, JobState, Setback
from serving.studies.arrival import Arrival, read_facts
from serving.studies.case_rows import (
    Case,
    case_of_study,
    change_case,
    facts_of,
    place_columns,
    tell,
)
from serving.studies.result_rows import (
    add_result,
    file_object,
    hide_visible_result,
    result_columns,
)
from serving.studies.texts import decide_codecs, series_columns, study_columns
from serving.worklist.placing import CaseFacts, Score, Urgency, judge_urgency
from serving.worklist.states import AiState
from serving.worklist.summary import Failure, summarise, summarise_failure
from serving.worklist.urgency import UrgencyPolicy

# Results that are DICOM instances themselves, and so a part of their study.
OBJECTS = ("seg.dcm", "sr.dcm")

# Looked for at once, and settled each in a transaction of its own: others want to write, too.
_AT_A_TIME = 50


class Outcome(StrEnum):
    """What became of the end of an analysis."""

    DONE = "done"
    # More images came while it ran: its result is dropped, a new job follows when they settle.
    OVERTAKEN = "overtaken"
    # The lease is another's, or the job has ended: nothing was changed.
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Begun:
    """What a worker needs: the study, and the keys of its images in the store, sorted."""

    case_id: str
    study_uid: str
    objects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Swept:
    """What became of all that was due.

    Attributes
    ----------
    done
        How many there were without those that failed.
    failed
        By id what was raised; nothing of these was changed.
    """

    done: int
    failed: Mapping[int, Exception]


def settle(engine: Engine, now: float, quiet_s: float, but: Collection[int] = ()) -> Swept:
    """Let studies to which no image came for ``quiet_s`` wait for a worker.

    Quiet is no proof of completeness: the gate judges what is there, and a later image makes a new
    analysis.

    Parameters
    ----------
    but
        Ids of studies that are left alone.

    Raises
    ------
    Unavailable
        ``unavailable``
    """
    done = 0
    failed: dict[int, Exception] = {}
    while True:
        with reading(engine) as connection:
            due_now = _due(now, quiet_s).where(studies.c.id.not_in({*but, *failed}))
            due = connection.execute(due_now).scalars().all()
        if not due:
            return Swept(done, failed)
        swept = _sweep(due, lambda study_id: _settle_if_due(engine, study_id, now, quiet_s))
        done += swept.done
        failed |= swept.failed


def give_up_settling(engine: Engine, study_id: int, now: float, quiet_s: float) -> str | None:
    """Have a study that cannot settle end as not analysed, with a job in quarantine that says so.

    Returns
    -------
    Its case; None: it has settled, or images came.
    """
    with writing(engine) as connection:
        if not _is_due(connection, study_id, now, quiet_s):
            return None
        case = _fail(connection, study_id, Failure.FAILED, now)
        study = filing.study_by_id(connection, study_id)
        rank = _case(connection, study_id)["class_rank"]
        queue.enqueue(
            connection, study_id, study["generation"], rank, now, kept_away=Setback.UNSETTLED.value
        )
        return case.id


def _sweep(due: Iterable[int], act: Callable[[int], bool]) -> Swept:
    """Do something for each; one that fails keeps no other from its turn."""
    done = 0
    failed: dict[int, Exception] = {}
    for one in due:
        try:
            done += act(one)
        except Unavailable:
            # The database does not answer: it will not for the next one.
            raise
        except Exception as error:  # noqa: BLE001  (told by whoever asked)
            failed[one] = error
    return Swept(done, failed)


def _settle_if_due(engine: Engine, study_id: int, now: float, quiet_s: float) -> bool:
    with writing(engine) as connection:
        if not _is_due(connection, study_id, now, quiet_s):
            return False
        _settle_one(connection, study_id, now)
    return True


def begin(engine: Engine, job: Job, now: float) -> Begun | None:
    """Note that a worker has taken a study up.

    Returns
    -------
    None where there is nothing to do: more images came since the job was made, or the lease is
    another's.
    """
    with writing(engine) as connection:
        study = _study_of(connection, job)
        if study is None or _close_if_overtaken(connection, study, job, now):
            return None
        case = change_case(connection, job.study_id, {"ai_state": AiState.ANALYSING.value})
        tell(connection, case, Kind.ANALYSING, {"attempt": job.attempts}, now)
        objects = filing.source_objects(connection, job.study_id)
        return Begun(case.id, study["study_uid"], objects)


def finish(
    engine: Engine,
    store: Store,
    policy: UrgencyPolicy,
    job: Job,
    analysed: Analysed,
    *,
    threshold: float | None,
    now: float,
) -> Outcome:
    """Make an analysis the visible result of its case: all of it in one transaction, or nothing.

    Parameters
    ----------
    analysed
        Its files are durable in the store.
    threshold
        Score from which a large finding is critical, see
        :func:`serving.worklist.placing.alert_threshold`.

    Returns
    -------
    ``DONE`` once, however often and by whomever it is called for one job.
    """
    document = analysed.document
    # Files are read before the transaction: while it lasts nobody else can write.
    objects = [
        Arrival(read_facts(store.path(file.sha256)), Stored(file.sha256, file.size_bytes))
        for name in OBJECTS
        if (file := analysed.files.get(name)) is not None
    ]
    with writing(engine) as connection:
        study = _study_of(connection, job)
        if study is None:
            return Outcome.LOST
        if _close_if_overtaken(connection, study, job, now):
            return Outcome.OVERTAKEN
        case = _case(connection, job.study_id)
        superseded = hide_visible_result(connection, case["id"], now)
        files = {name: (file.sha256, file.size_bytes) for name, file in analysed.files.items()}
        columns = result_columns(connection, job, case["id"], document, now)
        result_id = add_result(connection, columns, files)
        for arrival in objects:
            file_object(connection, arrival, study, result_id, now)
        facts = facts_of(connection, case, study)
        urgency = _judge(policy, case, facts, document, threshold)
        changed = _tell_of_result(connection, case, document, urgency, now)
        if superseded is not None:
            tell(connection, changed, Kind.SUPERSEDED, {"package": superseded}, now)
        _close(connection, job, JobState.DONE, now)
        point("before-finish")
    point("after-finish")
    return Outcome.DONE


def requeue(
    engine: Engine,
    job: Job,
    now: float,
    error: str | None,
    *,
    is_counted: bool = True,
    pause_s: float = 0.0,
) -> Outcome:
    """Give a leased job back to the queue: its study waits again.

    Parameters
    ----------
    error, is_counted, pause_s
        See :func:`serving.jobs.queue.release`.
    """
    with writing(engine) as connection:
        return _requeue(connection, job, now, error, is_counted=is_counted, pause_s=pause_s)


def give_up(engine: Engine, job: Job, failure: Failure, now: float) -> Outcome:
    """Keep a job away from the queue for good; its case says that it was not analysed, and why.

    A result of earlier images stays visible with its urgency: it is what is known, and the AI never
    lowers a case.
    """
    with writing(engine) as connection:
        return _give_up(connection, job, failure, now)


def recover(
    engine: Engine,
    now: float,
    lease_s: float,
    attempts: int,
    *,
    first_pause_s: float,
    but: Collection[int] = (),
) -> Swept:
    """Take back the jobs whose lease has ended, and give up those that ended too many workers.

    Parameters
    ----------
    first_pause_s
        See :func:`serving.jobs.queue.pause_s`; after the first time a job waits for nothing.
    but
        Ids of jobs that are left alone.

    Raises
    ------
    Unavailable
        ``unavailable``
    """
    with reading(engine) as connection:
        over = {job.id: job for job in queue.expired(connection, now, lease_s)}

    def recover_one(job_id: int) -> bool:
        job = over[job_id]
        with writing(engine) as connection:
            if _study_of(connection, job) is None:
                return False
            # Once it is locked: a heartbeat may have come since.
            if not queue.is_over(connection, job, now, lease_s):
                return False
            if job.attempts >= attempts:
                _give_up(connection, job, Failure.CRASHED, now)
            else:
                pause_s = queue.pause_s(job.pauses - 1, first_pause_s)
                _requeue(
                    connection, job, now, Setback.LEASE_ENDED, is_counted=True, pause_s=pause_s
                )
        return True

    return _sweep([job_id for job_id in over if job_id not in but], recover_one)


def _requeue(
    connection: Connection,
    job: Job,
    now: float,
    error: str | None,
    *,
    is_counted: bool,
    pause_s: float,
) -> Outcome:
    study = _study_of(connection, job)
    if study is None:
        return Outcome.LOST
    if _close_if_overtaken(connection, study, job, now):
        return Outcome.OVERTAKEN
    released = queue.release(connection, job, now, error, is_counted=is_counted, pause_s=pause_s)
    assert released, "held since the transaction began"
    case = change_case(connection, job.study_id, {"ai_state": AiState.WAITING.value})
    tell(connection, case, Kind.REQUEUED if is_counted else Kind.POSTPONED, {}, now)
    return Outcome.DONE


def _give_up(connection: Connection, job: Job, failure: Failure, now: float) -> Outcome:
    study = _study_of(connection, job)
    if study is None:
        return Outcome.LOST
    if _close_if_overtaken(connection, study, job, now):
        return Outcome.OVERTAKEN
    _fail(connection, job.study_id, failure, now)
    _close(connection, job, JobState.QUARANTINED, now, failure.value)
    return Outcome.DONE


def _fail(connection: Connection, study_id: int, failure: Failure, now: float) -> Case:
    values = {"ai_state": AiState.NOT_ANALYSED.value, "summary": summarise_failure(failure)}
    case = change_case(connection, study_id, values)
    tell(connection, case, Kind.NOT_ANALYSED, {"code": failure.value}, now)
    return case


def _due(now: float, quiet_s: float) -> Select[int]:
    """Select studies that are quiet; one from the future is too: a clock was set back."""
    last = studies.c.image_received_at
    return (
        select(studies.c.id)
        .join(cases, cases.c.study_id == studies.c.id)
        .where(
            cases.c.ai_state == AiState.RECEIVING.value,
            or_(last <= now - quiet_s, last > now + quiet_s),
        )
        .order_by(last)
        .limit(_AT_A_TIME)
    )


def _is_due(connection: Connection, study_id: int, now: float, quiet_s: float) -> bool:
    """Ask again, in the transaction: another process may have settled it, or an image come."""
    filing.study_by_id(connection, study_id)
    query = _due(now, quiet_s).where(studies.c.id == study_id)
    return connection.execute(query).first() is not None


def _settle_one(connection: Connection, study_id: int, now: float) -> None:
    study = filing.study_by_id(connection, study_id)
    decisions = decide_codecs(study["charset_votes"])
    codecs = {key: decision.codec for key, decision in decisions.items()}
    texts = study_columns(study["texts_as_sent"], codecs)
    filing.change_study(connection, study_id, {"codecs": codecs, **texts})
    for row in filing.series_rows(connection, study_id):
        columns = series_columns(row["texts_as_sent"], codecs)
        if any(row[name] != value for name, value in columns.items()):
            filing.change_series(connection, row["id"], columns)
    case = change_case(
        connection, study_id, {"ai_state": AiState.WAITING.value, "search": texts["search"]}
    )
    details = {
        "instances": len(filing.source_objects(connection, study_id)),
        # By which step of the rule the texts were read (inference.dicom.charsets).
        "charsets": {key: [one.codec, one.step] for key, one in decisions.items()},
    }
    tell(connection, case, Kind.SETTLED, details, now)
    rank = _case(connection, study_id)["class_rank"]
    queue.enqueue(connection, study_id, study["generation"], rank, now)


def _study_of(connection: Connection, job: Job) -> RowMapping | None:
    """Return the job's study while its lease is the caller's; None: it is no longer."""
    study = filing.study_by_id(connection, job.study_id)
    return study if queue.is_held(connection, job) else None


def _close_if_overtaken(connection: Connection, study: RowMapping, job: Job, now: float) -> bool:
    """End a job for which more images came since it was made; return whether it was one."""
    if study["generation"] == job.generation:
        return False
    _close(connection, job, JobState.OVERTAKEN, now)
    return True


def _close(
    connection: Connection, job: Job, state: JobState, now: float, error: str | None = None
) -> None:
    closed = queue.close(connection, job, state, now, error)
    assert closed, "held since the transaction began"


def _case(connection: Connection, study_id: int) -> RowMapping:
    case = case_of_study(connection, study_id)
    assert case is not None, "a job is made for a study with a case only"
    return case


def _judge(
    policy: UrgencyPolicy,
    case: RowMapping,
    facts: CaseFacts,
    document: Mapping[str, Any],
    threshold: float | None,
) -> Urgency | None:
    """Return where the case stands now; None: only a score takes back what a score has raised."""
    score = Score(document["findings"], threshold) if document["scored"] else None
    urgency = judge_urgency(policy, facts, score)
    if score is None and case["class_rank"] < urgency.class_rank:
        return None
    return urgency


def _tell_of_result(
    connection: Connection,
    before: RowMapping,
    document: Mapping[str, Any],
    urgency: Urgency | None,
    now: float,
) -> Case:
    summary = summarise(document)
    state = AiState.SCORED if document["scored"] else AiState.NOT_ANALYSED
    values = {"ai_state": state.value, "summary": summary}
    rules: dict[str, Any] = {}
    if urgency is not None:
        values |= place_columns(urgency, before["excess_min"])
        rules = {"rules": urgency.rules}
    case = change_case(connection, before["study_id"], values)
    if document["scored"]:
        details = {"findings": summary["findings"], "package": summary["package"], **rules}
        tell(connection, case, Kind.SCORED, details, now)
    else:
        code = (
            summary["reasons"][0]["code"] if summary["reasons"] else document["verdict"]["status"]
        )
        tell(connection, case, Kind.NOT_ANALYSED, {"code": code, **rules}, now)
    return case
