"""A study settles, is analysed, and its result is visible once; what is late changes that."""

import pytest
from sqlalchemy.exc import IntegrityError

from firstread.uids import uid_from
from inference.results.document import json_schema
from serving.archive.index import find_instances, find_studies
from serving.database.engine import reading, writing
from serving.database.tables import cases, events, instances, jobs, result_files, results, studies
from serving.errors import NotFound
from serving.jobs.queue import Job
from serving.studies.cases import case_detail
from serving.studies.life import (
    Outcome,
    begin,
    give_up,
    recover,
    requeue,
    settle,
)
from serving.studies.result_rows import input_digest
from serving.worklist.summary import Failure
from tests.serving.studies.a_study import (
    LEASE_S,
    NOW,
    PAUSE_S,
    QUIET_S,
    SR,
    Archive,
    a_document,
    an_instance,
    rows_of,
)

LATER = NOW + QUIET_S


def settled(archive: Archive, *files: bytes, now: float = NOW) -> Job:
    """Receive files, let the study settle, and claim its job."""
    archive.receive(*files, now=now)
    assert settle(archive.engine, now + QUIET_S, QUIET_S).done == 1
    job = archive.claim(now + QUIET_S)
    assert job is not None
    return job


def finished(
    archive: Archive, job: Job, *findings_mm: float, now: float = LATER, **how: object
) -> Outcome:
    analysed = archive.analysed(*findings_mm, **how)  # type: ignore[arg-type]
    return archive.finish(job, analysed, threshold=0.5, now=now)


def kinds(archive: Archive) -> list[str]:
    return [event["kind"] for event in rows_of(archive, events)]


def the_case(archive: Archive) -> dict[str, object]:
    (case,) = rows_of(archive, cases)
    return case


def visible(archive: Archive) -> list[dict[str, object]]:
    return [row for row in rows_of(archive, results) if row["is_visible"]]


def test_a_study_settles_when_it_has_been_quiet(archive: Archive) -> None:
    archive.receive(an_instance(1), now=NOW)
    archive.receive(an_instance(2), now=NOW + 15)
    assert settle(archive.engine, NOW + 34, QUIET_S).done == 0
    assert the_case(archive)["ai_state"] == "receiving"
    assert settle(archive.engine, NOW + 35, QUIET_S).done == 1
    assert the_case(archive)["ai_state"] == "waiting"
    (job,) = rows_of(archive, jobs)
    assert (job["state"], job["generation"]) == ("queued", 2)
    assert settle(archive.engine, NOW + 99, QUIET_S).done == 0


def test_a_study_settles_although_the_clock_was_set_back(archive: Archive) -> None:
    archive.receive(an_instance(1), now=NOW)
    assert settle(archive.engine, NOW - 3600, QUIET_S).done == 1


def test_a_result_of_somebody_else_never_settles(archive: Archive) -> None:
    archive.receive(an_instance(1, sop_class=SR, modality="SR"))
    assert settle(archive.engine, NOW + 999, QUIET_S).done == 0


def test_more_studies_than_fit_one_transaction_settle(archive: Archive) -> None:
    archive.receive(*(an_instance(1, study=f"s{number}") for number in range(60)))
    assert settle(archive.engine, LATER, QUIET_S).done == 60


def test_the_worker_is_told_the_images_and_nothing_else(archive: Archive) -> None:
    images = [an_instance(1), an_instance(2)]
    job = settled(archive, *images, an_instance(1, sop_class=SR, modality="SR"))
    begun = begin(archive.engine, job, LATER)
    assert begun is not None
    assert begun.objects == tuple(sorted(archive.store.put_bytes(one).sha256 for one in images))
    assert begun.study_uid == uid_from("study")
    assert the_case(archive)["ai_state"] == "analysing"


def test_a_finished_study_is_scored_with_all_that_belongs_to_it(archive: Archive) -> None:
    images = [an_instance(1), an_instance(2)]
    job = settled(archive, *images)
    begin(archive.engine, job, LATER)
    assert finished(archive, job, 8.0) is Outcome.DONE
    case = the_case(archive)
    assert case["ai_state"] == "scored"
    assert case["summary"]["findings"] == 1  # type: ignore[index]
    (result,) = visible(archive)
    keys = [archive.store.put_bytes(one).sha256 for one in images]
    assert result["input_sha256"] == input_digest(keys) == input_digest(keys[::-1])
    names = {file["name"] for file in rows_of(archive, result_files)}
    assert names == {"findings.json", "sr.dcm"}
    (job_row,) = rows_of(archive, jobs)
    assert job_row["state"] == "done"
    assert kinds(archive) == ["received", "settled", "analysing", "scored"]
    with reading(archive.engine) as connection:
        (study,) = find_studies(connection, 1)
    assert study.modalities == ("CT", "SR")


def test_our_own_results_start_no_analysis(archive: Archive) -> None:
    job = settled(archive, an_instance(1))
    finished(archive, job)
    (study,) = rows_of(archive, studies)
    assert study["generation"] == 1
    assert settle(archive.engine, NOW + 999, QUIET_S).done == 0


def test_our_own_results_that_come_back_are_known_and_start_nothing(archive: Archive) -> None:
    job = settled(archive, an_instance(1))
    finished(archive, job)
    before = [rows_of(archive, table) for table in (cases, jobs, instances, studies, events)]
    (sr,) = [row for row in rows_of(archive, instances) if row["result_id"]]
    (answer,) = archive.receive(archive.store.read(sr["sha256"]), now=NOW + 500)
    assert answer.outcome == "already"
    assert [
        rows_of(archive, table) for table in (cases, jobs, instances, studies, events)
    ] == before


def test_a_large_finding_raises_the_case(archive: Archive) -> None:
    job = settled(archive, an_instance(1))
    due_before = the_case(archive)["due_at"]
    finished(archive, job, 20.0)
    case = the_case(archive)
    assert case["urgency_class"] == "ai-critical"
    assert case["due_at"] < due_before  # type: ignore[operator]


def test_a_finding_raises_an_old_study_and_nothing_found_leaves_it_in_the_backlog(
    archive: Archive,
) -> None:
    old = {"StudyDate": "19700101"}
    finished(archive, settled(archive, an_instance(1, **old)))
    assert the_case(archive)["urgency_class"] == "backlog"
    job = settled(archive, an_instance(2, **old), now=NOW + 100)
    finished(archive, job, 20.0, says="second", now=NOW + 200)
    case = the_case(archive)
    assert (case["urgency_class"], case["due_at"]) == ("ai-critical", NOW + 30 * 60)
    last = next(row for row in reversed(rows_of(archive, events)) if row["kind"] == "scored")
    assert last["details"]["rules"] == archive.policy.version


def test_a_study_that_is_not_scored_says_why(archive: Archive) -> None:
    job = settled(archive, an_instance(1))
    assert finished(archive, job, scored=False) is Outcome.DONE
    case = the_case(archive)
    assert case["ai_state"] == "not-analysed"
    last = rows_of(archive, events)[-1]
    assert (last["kind"], last["details"]) == (
        "not-analysed",
        {"code": "not-chest", "rules": archive.policy.version},
    )
    assert len(visible(archive)) == 1


def test_an_analysis_without_a_score_takes_no_urgency_away(archive: Archive) -> None:
    finished(archive, settled(archive, an_instance(1)), 20.0)
    job = settled(archive, an_instance(2), now=NOW + 100)
    finished(archive, job, scored=False, says="second", now=NOW + 200)
    assert the_case(archive)["urgency_class"] == "ai-critical"


def test_a_late_slice_supersedes_the_result_and_keeps_the_old_one(archive: Archive) -> None:
    finished(archive, settled(archive, an_instance(1)), 8.0)
    archive.receive(an_instance(2), now=NOW + 100)
    assert the_case(archive)["ai_state"] == "receiving"
    # Until there is a newer one the old result is what is known.
    assert len(visible(archive)) == 1
    assert settle(archive.engine, NOW + 100 + QUIET_S, QUIET_S).done == 1
    job = archive.claim(NOW + 130)
    assert job is not None
    assert finished(archive, job, says="second", now=NOW + 140) is Outcome.DONE
    old, new = rows_of(archive, results)
    assert (old["is_visible"], old["superseded_at"]) == (False, NOW + 140)
    assert (new["is_visible"], new["generation"]) == (True, 2)
    assert old["input_sha256"] != new["input_sha256"]
    assert kinds(archive)[-2:] == ["scored", "superseded"]


def test_objects_of_a_superseded_result_are_no_longer_served(archive: Archive) -> None:
    finished(archive, settled(archive, an_instance(1)), says="first")
    finished(archive, settled(archive, an_instance(2), now=NOW + 100), says="second", now=NOW + 200)
    with reading(archive.engine) as connection:
        shown = [row for row in find_instances(connection, 1) if row.sop_class_uid == SR]
    assert [row.sop_instance_uid for row in shown] == [uid_from("study", "sr", "second")]
    assert len(rows_of(archive, instances)) == 4


def test_a_newer_result_that_says_the_same_shows_the_same_object(archive: Archive) -> None:
    finished(archive, settled(archive, an_instance(1)))
    finished(archive, settled(archive, an_instance(2), now=NOW + 100), now=NOW + 200)
    with reading(archive.engine) as connection:
        shown = [row for row in find_instances(connection, 1) if row.sop_class_uid == SR]
    assert len(shown) == 1


def test_other_bytes_under_the_uid_of_a_result_are_kept_apart(archive: Archive) -> None:
    uid = uid_from("study", "sr", "")
    forged = an_instance(1, sop_class=SR, modality="SR", uid=uid, content="forged")
    job = settled(archive, an_instance(1), forged)
    assert finished(archive, job) is Outcome.DONE
    detail = case_detail(archive.engine, str(the_case(archive)["id"]), 1)
    assert len(detail.conflicts) == 1
    assert detail.result is not None
    assert detail.result.files["sr.dcm"].sha256 == detail.conflicts[0].sha256


def test_a_result_of_fewer_images_than_there_are_is_dropped(archive: Archive) -> None:
    job = settled(archive, an_instance(1))
    begin(archive.engine, job, LATER)
    archive.receive(an_instance(2), now=NOW + 30)
    assert finished(archive, job) is Outcome.OVERTAKEN
    assert not rows_of(archive, results)
    assert the_case(archive)["ai_state"] == "receiving"
    assert [row["state"] for row in rows_of(archive, jobs)] == ["overtaken"]
    assert settle(archive.engine, NOW + 60, QUIET_S).done == 1


def test_a_job_that_was_overtaken_while_it_waited_is_not_begun(archive: Archive) -> None:
    job = settled(archive, an_instance(1))
    archive.receive(an_instance(2), now=NOW + 30)
    assert begin(archive.engine, job, NOW + 31) is None
    assert [row["state"] for row in rows_of(archive, jobs)] == ["overtaken"]


def test_the_end_of_a_job_counts_once(archive: Archive) -> None:
    job = settled(archive, an_instance(1))
    assert finished(archive, job) is Outcome.DONE
    before = [rows_of(archive, table) for table in (cases, results, instances, events, jobs)]
    assert finished(archive, job, says="again") is Outcome.LOST
    assert [
        rows_of(archive, table) for table in (cases, results, instances, events, jobs)
    ] == before


def test_a_worker_that_lost_its_lease_changes_nothing(archive: Archive) -> None:
    first = settled(archive, an_instance(1))
    assert recover(archive.engine, LATER + LEASE_S + 1, LEASE_S, 3, first_pause_s=PAUSE_S).done == 1
    second = archive.claim(LATER + LEASE_S + 2)
    assert second is not None
    before = [rows_of(archive, table) for table in (cases, results, instances, events, jobs)]
    assert begin(archive.engine, first, LATER) is None
    assert finished(archive, first) is Outcome.LOST
    assert give_up(archive.engine, first, Failure.FAILED, LATER) is Outcome.LOST
    assert requeue(archive.engine, first, LATER, "x") is Outcome.LOST
    assert [
        rows_of(archive, table) for table in (cases, results, instances, events, jobs)
    ] == before
    assert finished(archive, second) is Outcome.DONE
    assert len(visible(archive)) == 1


def test_a_lease_that_ended_puts_the_study_back_to_waiting(archive: Archive) -> None:
    job = settled(archive, an_instance(1))
    begin(archive.engine, job, LATER)
    assert recover(archive.engine, LATER + 1, LEASE_S, 3, first_pause_s=PAUSE_S).done == 0
    assert recover(archive.engine, LATER + LEASE_S + 1, LEASE_S, 3, first_pause_s=PAUSE_S).done == 1
    assert the_case(archive)["ai_state"] == "waiting"
    assert kinds(archive)[-1] == "requeued"


def test_a_job_that_ends_its_worker_three_times_is_quarantined_and_others_go_on(
    archive: Archive,
) -> None:
    archive.receive(an_instance(1), now=NOW)
    archive.receive(an_instance(1, study="other"), now=NOW + 1)
    settle(archive.engine, NOW + 30, QUIET_S)
    now = NOW + 30
    poison = archive.claim(now)
    # The first time at once: a restart is nobody's fault. Then others go first.
    for attempt, pause_s in ((1, 0.0), (2, PAUSE_S), (3, 0.0)):
        assert poison is not None
        assert poison.attempts == attempt
        now += LEASE_S + 1
        recover(archive.engine, now, LEASE_S, 3, first_pause_s=PAUSE_S)
        if attempt < 3:
            now += pause_s
            poison = archive.claim(now)
    assert sorted(row["state"] for row in rows_of(archive, jobs)) == ["quarantined", "queued"]
    (case,) = [row for row in rows_of(archive, cases) if row["ai_state"] == "not-analysed"]
    assert case["summary"]["reasons"] == [{"code": "analysis-crashed"}]
    other = archive.claim(now)
    assert other is not None
    assert finished(archive, other, study="other", now=now) is Outcome.DONE


def test_a_later_image_gives_a_quarantined_study_another_chance(archive: Archive) -> None:
    give_up(archive.engine, settled(archive, an_instance(1)), Failure.FAILED, LATER)
    assert the_case(archive)["ai_state"] == "not-analysed"
    job = settled(archive, an_instance(2), now=NOW + 100)
    assert finished(archive, job, now=NOW + 200) is Outcome.DONE


def test_giving_up_keeps_what_is_known(archive: Archive) -> None:
    finished(archive, settled(archive, an_instance(1)), 8.0)
    job = settled(archive, an_instance(2), now=NOW + 100)
    assert give_up(archive.engine, job, Failure.CRASHED, NOW + 200) is Outcome.DONE
    detail = case_detail(archive.engine, str(the_case(archive)["id"]), None)
    assert detail.ai_state == "not-analysed"
    assert detail.result is not None
    assert not detail.is_result_current


def test_character_sets_are_decided_again_when_the_study_settles(archive: Archive) -> None:
    # Alone, the first name (valid UTF-8 by accident) is taken for what it is not.
    first, others = "卢梅".encode("gbk"), "王小东".encode("gbk")
    archive.receive(an_instance(1, SpecificCharacterSet="ISO_IR 192", PatientName=first))
    early = rows_of(archive, studies)[0]["patient_name"]
    assert early != "卢梅"
    more = {"SpecificCharacterSet": "ISO_IR 192", "OperatorsName": others}
    archive.receive(an_instance(2, **more))  # type: ignore[arg-type]
    settle(archive.engine, LATER, QUIET_S)
    (study,) = rows_of(archive, studies)
    assert study["patient_name"] == "卢梅"
    assert study["codecs"] == {"ISO_IR 192": "gb18030"}
    assert "卢梅" in the_case(archive)["search"]  # type: ignore[operator]
    assert rows_of(archive, events)[-1]["details"]["charsets"] == {"ISO_IR 192": ["gb18030", 3]}


def test_chinese_names_tagged_as_latin_are_chinese(archive: Archive) -> None:
    raw = "王^伟".encode("gbk")
    archive.receive(an_instance(1, SpecificCharacterSet="ISO_IR 100", PatientName=raw))
    assert rows_of(archive, studies)[0]["patient_name"] == "王^伟"


def test_a_case_is_told_to_its_own_site_only(archive: Archive) -> None:
    archive.receive(an_instance(1))
    case_id = str(the_case(archive)["id"])
    assert case_detail(archive.engine, case_id, 1).site_code == "one"
    assert case_detail(archive.engine, case_id, None).study.image_count == 1
    for wrong_id, site in ((case_id, 2), ("0" * 32, 1)):
        with pytest.raises(NotFound):
            case_detail(archive.engine, wrong_id, site)


def test_the_history_counts_slices_that_came_one_by_one_together(archive: Archive) -> None:
    for number in range(1, 6):
        archive.receive(an_instance(number), now=NOW + number)
    settle(archive.engine, NOW + 99, QUIET_S)
    detail = case_detail(archive.engine, str(the_case(archive)["id"]), 1)
    assert [(event.kind, event.details["instances"]) for event in detail.history] == [
        ("received", 5),
        ("settled", 5),
    ]


def test_a_result_that_cannot_be_read_leaves_the_case_as_it_was(archive: Archive) -> None:
    job = settled(archive, an_instance(1))
    analysed = archive.analysed()
    archive.store.path(analysed.files["sr.dcm"].sha256).write_bytes(b"rot")
    with pytest.raises(Exception, match="meta-header-missing"):
        archive.finish(job, analysed, now=LATER)
    assert the_case(archive)["ai_state"] == "waiting"
    assert not rows_of(archive, results)


def test_a_second_visible_result_is_impossible(archive: Archive) -> None:
    finished(archive, settled(archive, an_instance(1)))
    (row,) = rows_of(archive, results)
    second = results.insert().values(**{**row, "id": None})
    with writing(archive.engine) as connection, pytest.raises(IntegrityError):
        connection.execute(second)


def test_a_document_of_the_tests_is_like_those_of_the_pipeline() -> None:
    document = a_document(8.0)
    assert document.keys() <= json_schema()["properties"].keys()
