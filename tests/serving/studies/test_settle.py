"""A study that cannot settle keeps the others from nothing, and ends where it is seen."""

from sqlalchemy import update

from serving.database import tables
from serving.database.engine import reading, writing
from serving.studies.life import give_up_settling, recover, settle
from serving.studies.retry import list_jobs, retry
from tests.serving.studies.a_study import (
    LEASE_S,
    NOW,
    PAUSE_S,
    QUIET_S,
    Archive,
    an_instance,
    rows_of,
)

LATER = NOW + QUIET_S


def hurt(archive: Archive, study_id: int) -> None:
    """Write votes that no decision can be made over."""
    of_hurt = tables.studies.c.id == study_id
    with writing(archive.engine) as connection:
        connection.execute(update(tables.studies).where(of_hurt).values(charset_votes={"": {}}))


def mend(archive: Archive, study_id: int) -> None:
    of_hurt = tables.studies.c.id == study_id
    with writing(archive.engine) as connection:
        connection.execute(update(tables.studies).where(of_hurt).values(charset_votes={}))


def states(archive: Archive) -> dict[int, str]:
    return {row["study_id"]: row["ai_state"] for row in rows_of(archive, tables.cases)}


def test_one_study_that_cannot_settle_undoes_no_other(archive: Archive) -> None:
    archive.receive(*(an_instance(1, study=f"s{number}") for number in range(3)))
    first, second, third = states(archive)
    hurt(archive, second)
    swept = settle(archive.engine, LATER, QUIET_S)
    assert swept.done == 2
    assert {study_id: type(error) for study_id, error in swept.failed.items()} == {second: KeyError}
    assert states(archive) == {first: "waiting", second: "receiving", third: "waiting"}


def test_a_study_that_was_left_alone_does_not_settle(archive: Archive) -> None:
    archive.receive(an_instance())
    (study_id,) = states(archive)
    assert settle(archive.engine, LATER, QUIET_S, but={study_id}).done == 0
    assert settle(archive.engine, LATER, QUIET_S).done == 1


def test_a_study_that_never_settles_ends_as_not_analysed_and_settles_when_tried_again(
    archive: Archive,
) -> None:
    archive.receive(an_instance())
    (study_id,) = states(archive)
    hurt(archive, study_id)
    case_id = give_up_settling(archive.engine, study_id, LATER, QUIET_S)
    (case,) = rows_of(archive, tables.cases)
    assert (case["id"], case["ai_state"]) == (case_id, "not-analysed")
    assert case["summary"]["reasons"] == [{"code": "analysis-failed"}]
    with reading(archive.engine) as connection:
        (listed,) = list_jobs(connection, LATER)
    assert (listed.case_id, listed.state, listed.error) == (
        case_id,
        "quarantined",
        "settling-failed",
    )
    assert retry(archive.engine, case_id, LATER) == (case_id,)
    assert states(archive) == {study_id: "receiving"}
    mend(archive, study_id)
    assert settle(archive.engine, LATER, QUIET_S).done == 1
    assert archive.claim(LATER) is not None


def test_a_study_that_has_settled_is_not_given_up(archive: Archive) -> None:
    archive.receive(an_instance())
    (study_id,) = states(archive)
    settle(archive.engine, LATER, QUIET_S)
    assert give_up_settling(archive.engine, study_id, LATER, QUIET_S) is None
    assert states(archive) == {study_id: "waiting"}


def test_later_images_bring_a_study_back_that_could_not_settle(archive: Archive) -> None:
    archive.receive(an_instance())
    (study_id,) = states(archive)
    give_up_settling(archive.engine, study_id, LATER, QUIET_S)
    archive.receive(an_instance(2), now=LATER)
    assert settle(archive.engine, LATER + QUIET_S, QUIET_S).done == 1
    assert states(archive) == {study_id: "waiting"}


def test_one_job_that_cannot_be_taken_back_keeps_no_other(archive: Archive) -> None:
    archive.receive(an_instance(study="a"), an_instance(study="b"))
    settle(archive.engine, LATER, QUIET_S)
    jobs = archive.claim(LATER), archive.claim(LATER)
    assert jobs[0] is not None
    assert jobs[1] is not None
    with writing(archive.engine) as connection:
        # From where no lease that ends leads back to waiting.
        of_first = tables.cases.c.study_id == jobs[0].study_id
        connection.execute(update(tables.cases).where(of_first).values(ai_state="scored"))
    now = LATER + LEASE_S + 1
    swept = recover(archive.engine, now, LEASE_S, 3, first_pause_s=PAUSE_S)
    assert (swept.done, list(swept.failed)) == (1, [jobs[0].id])
    assert (
        recover(archive.engine, now, LEASE_S, 3, first_pause_s=PAUSE_S, but=swept.failed).failed
        == {}
    )
    rows = {row["id"]: row["state"] for row in rows_of(archive, tables.jobs)}
    assert rows == {jobs[0].id: "leased", jobs[1].id: "queued"}
