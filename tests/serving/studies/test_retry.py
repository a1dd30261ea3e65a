"""The way back from quarantine, and the list of what has not ended."""

import pytest

from firstread.errors import UsageError
from serving.database.engine import reading
from serving.database.tables import cases, events, jobs
from serving.jobs.queue import Job, JobState
from serving.studies.life import Outcome, begin, give_up, requeue, settle
from serving.studies.retry import ListedJob, list_jobs, retry
from serving.worklist.summary import Failure
from tests.serving.studies.a_study import NOW, QUIET_S, Archive, an_instance, rows_of

LATER = NOW + QUIET_S


def quarantined(archive: Archive, *names: str) -> list[Job]:
    """Have studies analysed in vain; return their jobs as they were given up."""
    archive.receive(*(an_instance(study=name) for name in names))
    settle(archive.engine, LATER, QUIET_S)
    given_up = []
    for _ in names:
        job = archive.claim(LATER)
        assert job is not None
        begin(archive.engine, job, LATER)
        give_up(archive.engine, job, Failure.FAILED, LATER)
        given_up.append(job)
    return given_up


def listed(archive: Archive, now: float = LATER) -> tuple[ListedJob, ...]:
    with reading(archive.engine) as connection:
        return list_jobs(connection, now)


def case_ids(archive: Archive) -> list[str]:
    return [row["id"] for row in sorted(rows_of(archive, cases), key=lambda row: row["study_id"])]


def test_a_quarantined_study_waits_again_and_can_be_scored(archive: Archive) -> None:
    (job,) = quarantined(archive, "study")
    (case_id,) = case_ids(archive)
    # The sender can do nothing about it: the same images again are there already.
    (answer,) = archive.receive(an_instance(), now=LATER)
    assert answer.outcome == "already"
    assert retry(archive.engine, case_id, LATER + 9) == (case_id,)
    (case,) = rows_of(archive, cases)
    assert case["ai_state"] == "waiting"
    last = rows_of(archive, events)[-1]
    assert (last["kind"], last["version"], last["at"]) == ("retried", case["version"], LATER + 9)
    again = archive.claim(LATER + 9)
    assert again is not None
    assert (again.id, again.attempts) == (job.id, 1)
    begin(archive.engine, again, LATER + 9)
    analysed = archive.analysed(8.0)
    for one, outcome in ((job, Outcome.LOST), (again, Outcome.DONE)):
        ended = archive.finish(one, analysed, now=LATER)
        assert ended is outcome
    assert listed(archive) == ()


def test_all_are_tried_again_and_nothing_else_is_touched(archive: Archive) -> None:
    quarantined(archive, "a", "b")
    archive.receive(an_instance(study="c"))
    settle(archive.engine, LATER, QUIET_S)
    *bad, good = case_ids(archive)
    assert sorted(retry(archive.engine, None, LATER)) == sorted(bad)
    assert {row["state"] for row in rows_of(archive, jobs)} == {"queued"}
    assert [row["kind"] for row in rows_of(archive, events) if row["case_id"] == good] == [
        "received",
        "settled",
    ]
    assert retry(archive.engine, None, LATER) == ()


@pytest.mark.parametrize("case_id", ["waits", "unknown"])
def test_only_what_is_in_quarantine_is_tried_again(archive: Archive, case_id: str) -> None:
    archive.receive(an_instance())
    settle(archive.engine, LATER, QUIET_S)
    before = rows_of(archive, jobs), rows_of(archive, cases)
    asked = case_ids(archive)[0] if case_id == "waits" else case_id
    with pytest.raises(UsageError):
        retry(archive.engine, asked, LATER)
    assert (rows_of(archive, jobs), rows_of(archive, cases)) == before


def test_a_study_that_later_images_have_brought_back_is_not_tried_twice(archive: Archive) -> None:
    quarantined(archive, "study")
    archive.receive(an_instance(2), now=LATER)
    assert retry(archive.engine, None, LATER) == ()
    settle(archive.engine, LATER + QUIET_S, QUIET_S)
    assert retry(archive.engine, None, LATER) == ()
    assert [job.state for job in listed(archive)] == [JobState.QUEUED]


def test_the_list_says_what_was_wrong_and_when_it_goes_on(archive: Archive) -> None:
    archive.receive(an_instance())
    settle(archive.engine, LATER, QUIET_S)
    job = archive.claim(LATER)
    assert job is not None
    requeue(archive.engine, job, LATER + 3, "no-room", is_counted=False, pause_s=5.0)
    assert rows_of(archive, events)[-1]["kind"] == "postponed"
    (case_id,) = case_ids(archive)
    assert listed(archive) == (
        ListedJob(case_id, JobState.QUEUED, 0, "no-room", LATER, LATER, None, LATER + 8),
    )
    assert listed(archive, LATER + 8)[0].not_before is None
