"""Receiving: what is filed, what is known already, what is kept apart, what is refused."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from firstread.uids import uid_from
from serving.archive.index import (
    ALL,
    Filters,
    find_instances,
    find_series,
    find_studies,
    instance,
)
from serving.database.engine import open_engine, reading
from serving.database.tables import (
    cases,
    conflicts,
    events,
    instances,
    pools,
    reading_keys,
    series,
    studies,
)
from serving.errors import DatabaseBusy, Unavailable
from serving.studies.life import settle
from serving.studies.receive import NOT_AUTHORISED, PROCESSING_FAILURE, Kept, receive
from serving.worklist.store import Question, read_page
from tests.serving.databases import locked
from tests.serving.studies.a_study import NOW, QUIET_S, SEG, SR, Archive, an_instance, rows_of

TABLES = (studies, series, instances, conflicts, cases, events)


def outcomes(archive: Archive, *files: bytes, site_id: int = 1, now: float = NOW) -> list[Kept]:
    return [answer.outcome for answer in archive.receive(*files, site_id=site_id, now=now)]


def test_images_become_rows_a_case_and_an_event(archive: Archive) -> None:
    answers = archive.receive(an_instance(1), an_instance(2))
    assert [answer.outcome for answer in answers] == [Kept.STORED, Kept.STORED]
    assert [answer.sop_instance_uid for answer in answers] == [
        uid_from("study", "CT", "1"),
        uid_from("study", "CT", "2"),
    ]
    (study,) = rows_of(archive, studies)
    assert study["generation"] == 1
    assert study["image_received_at"] == NOW
    assert study["patient_name"] == "WANG^WEI"
    (case,) = rows_of(archive, cases)
    assert (case["ai_state"], case["reading_state"]) == ("receiving", "routed")
    assert (case["ordered_class"], case["urgency_class"]) == ("routine", "routine")
    assert case["arrived_at"] == NOW
    (event,) = rows_of(archive, events)
    assert (event["kind"], event["details"]) == (
        "received",
        {"instances": 2, "rules": archive.policy.version},
    )


def test_a_routine_case_of_an_old_study_waits_in_the_backlog(archive: Archive) -> None:
    archive.receive(an_instance(1, StudyDate="19700101"))
    (case,) = rows_of(archive, cases)
    assert (case["ordered_class"], case["urgency_class"]) == ("routine", "backlog")
    assert case["due_at"] == NOW + 1440 * 60
    assert case["reasons"][1] == {"code": "old-study", "values": {"days": 11}}


def test_every_stored_instance_lies_in_the_store_as_it_came(archive: Archive) -> None:
    data = an_instance(1)
    archive.receive(data)
    (row,) = rows_of(archive, instances)
    assert archive.store.read(row["sha256"]) == data


def test_a_request_sent_again_changes_nothing(archive: Archive) -> None:
    files = [an_instance(number) for number in (1, 2)]
    archive.receive(*files)
    before = [rows_of(archive, table) for table in TABLES]
    assert outcomes(archive, *files, now=NOW + 5) == [Kept.ALREADY, Kept.ALREADY]
    assert [rows_of(archive, table) for table in TABLES] == before


def test_an_instance_twice_in_one_request_is_filed_once(archive: Archive) -> None:
    assert outcomes(archive, an_instance(1), an_instance(1)) == [Kept.STORED, Kept.ALREADY]
    assert len(rows_of(archive, instances)) == 1


@pytest.mark.parametrize("together", [True, False])
def test_other_bytes_under_a_known_uid_are_kept_apart_and_flagged(
    archive: Archive, together: bool
) -> None:
    first, other = an_instance(1), an_instance(1, content="other")
    if together:
        answers = archive.receive(first, other)
    else:
        answers = archive.receive(first) + archive.receive(other)
    assert [answer.outcome for answer in answers] == [Kept.STORED, Kept.CONFLICT]
    assert answers[1].failure_reason == PROCESSING_FAILURE
    assert 0 < len(answers[1].comment) <= 64
    (kept,) = rows_of(archive, instances)
    assert archive.store.read(kept["sha256"]) == first
    (apart,) = rows_of(archive, conflicts)
    assert archive.store.read(apart["sha256"]) == other
    assert rows_of(archive, events)[-1]["kind"] == "conflict"


@pytest.mark.parametrize("site_id", [1, 2])
def test_the_same_data_set_in_another_file_is_no_conflict(archive: Archive, site_id: int) -> None:
    image = an_instance(1)
    passed_on = b"an archive's own".ljust(128) + image[128:]
    other_syntax = image.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0")
    archive.receive(image)
    (again,) = archive.receive(passed_on, site_id=site_id)
    assert again.outcome == (Kept.ALREADY if site_id == 1 else Kept.REFUSED)
    assert outcomes(archive, other_syntax) == [Kept.CONFLICT]
    (kept,) = rows_of(archive, instances)
    assert archive.store.read(kept["sha256"]) == image


def test_what_is_gone_from_the_store_is_a_conflict_with_all_but_itself(archive: Archive) -> None:
    image = an_instance(1)
    archive.receive(image)
    (kept,) = rows_of(archive, instances)
    archive.store.path(kept["sha256"]).unlink()
    assert outcomes(archive, b"an archive's own".ljust(128) + image[128:]) == [Kept.CONFLICT]
    assert outcomes(archive, image) == [Kept.ALREADY]
    assert archive.store.read(kept["sha256"]) == image


def test_a_conflict_sent_again_is_flagged_once(archive: Archive) -> None:
    archive.receive(an_instance(1))
    for _ in range(2):
        assert outcomes(archive, an_instance(1, content="other")) == [Kept.CONFLICT]
    assert len(rows_of(archive, conflicts)) == 1
    assert [event["kind"] for event in rows_of(archive, events)] == ["received", "conflict"]


def test_a_conflict_starts_no_new_analysis(archive: Archive) -> None:
    archive.receive(an_instance(1))
    archive.receive(an_instance(1, content="other"), now=NOW + 9)
    (study,) = rows_of(archive, studies)
    assert (study["generation"], study["image_received_at"]) == (1, NOW)


def test_the_uid_of_another_study_is_a_conflict_and_makes_no_study(archive: Archive) -> None:
    uid = uid_from("study", "CT", "1")
    archive.receive(an_instance(1))
    assert outcomes(archive, an_instance(1, study="other", uid=uid)) == [Kept.CONFLICT]
    assert len(rows_of(archive, studies)) == 1


def test_a_study_of_another_site_is_refused_and_untouched(archive: Archive) -> None:
    archive.receive(an_instance(1))
    before = [rows_of(archive, table) for table in TABLES]
    (same, new) = archive.receive(an_instance(1), an_instance(2), site_id=2)
    for answer in (same, new):
        assert (answer.outcome, answer.failure_reason) == (Kept.REFUSED, NOT_AUTHORISED)
    assert [rows_of(archive, table) for table in TABLES] == before


def test_an_instance_uid_of_another_site_is_refused_in_whatever_study(archive: Archive) -> None:
    archive.receive(an_instance(1))
    uid = uid_from("study", "CT", "1")
    other = an_instance(1, study="mine", uid=uid)
    assert outcomes(archive, other, an_instance(2, study="mine"), site_id=2) == [
        Kept.REFUSED,
        Kept.STORED,
    ]
    assert not rows_of(archive, conflicts)


def test_each_site_sees_its_own_studies_only(archive: Archive) -> None:
    archive.receive(an_instance(1, study="a"))
    archive.receive(an_instance(1, study="b"), site_id=2)
    with reading(archive.engine) as connection:
        for site_id, names in ((1, ["a"]), (2, ["b"]), (None, ["a", "b"])):
            uids = sorted(uid_from(name) for name in names)
            for find in (find_studies, find_series, find_instances):
                found = find(connection, site_id, ALL)
                assert sorted(row.study_uid for row in found) == uids
        assert (
            instance(connection, 2, uid_from("a"), uid_from("a", "CT"), uid_from("a", "CT", "1"))
            is None
        )


def test_several_studies_in_one_request_each_get_a_case(archive: Archive) -> None:
    archive.receive(*(an_instance(1, study=name) for name in "abc"))
    assert len(rows_of(archive, cases)) == 3


@pytest.mark.parametrize(("sop_class", "modality"), [(SEG, "SEG"), (SR, "SR")])
def test_results_from_elsewhere_are_kept_and_start_nothing(
    archive: Archive, sop_class: str, modality: str
) -> None:
    result = an_instance(1, sop_class=sop_class, modality=modality)
    assert outcomes(archive, result) == [Kept.STORED]
    assert not rows_of(archive, cases)
    (study,) = rows_of(archive, studies)
    assert (study["generation"], study["image_received_at"]) == (0, None)
    with reading(archive.engine) as connection:
        assert len(find_instances(connection, 1)) == 1


def test_the_first_image_says_whose_the_study_is(archive: Archive) -> None:
    archive.receive(an_instance(1, sop_class=SR, modality="SR", PatientName="ANONYMOUS"))
    archive.receive(an_instance(1))
    archive.receive(an_instance(2, PatientName="SOMEBODY^ELSE"))
    (study,) = rows_of(archive, studies)
    assert study["patient_name"] == "WANG^WEI"


def test_every_request_with_images_is_a_generation(archive: Archive) -> None:
    for number in (1, 2, 3):
        archive.receive(an_instance(number), now=NOW + number)
    (study,) = rows_of(archive, studies)
    assert (study["generation"], study["image_received_at"]) == (3, NOW + 3)
    (case,) = rows_of(archive, cases)
    assert (case["version"], case["arrived_at"]) == (3, NOW + 1)


def test_counts_and_modalities_are_those_of_what_is_there(archive: Archive) -> None:
    archive.receive(an_instance(1), an_instance(2), an_instance(1, sop_class=SR, modality="SR"))
    with reading(archive.engine) as connection:
        (study,) = find_studies(connection, 1)
    assert (study.modalities, study.series_count, study.instance_count) == (("CT", "SR"), 2, 3)


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (Filters(patient_name="wang*"), True),
        (Filters(patient_name="WANG^WEI"), True),
        (Filters(patient_name="王*"), True),
        (Filters(patient_name="WEI*"), False),
        (Filters(patient_name="%"), False),
        (Filters(patient_id="P?"), True),
        (Filters(patient_id="p1"), False),
        (Filters(study_date=("20260301", "20260301")), True),
        (Filters(study_date=("20260302", "")), False),
        (Filters(study_date=("", "20260228")), False),
        (Filters(modality_in_study="CT"), True),
        (Filters(modality_in_study="MR"), False),
        (Filters(study_uids=(uid_from("study"),)), True),
        (Filters(study_uids=("1.2.3",)), False),
        (Filters(study_uids=()), False),
        (Filters(series_uids=()), False),
    ],
)
def test_studies_are_found_by_value(archive: Archive, filters: Filters, found: bool) -> None:
    name = "WANG^WEI=王^伟".encode()
    archive.receive(an_instance(1, SpecificCharacterSet="ISO_IR 192", PatientName=name))
    with reading(archive.engine) as connection:
        assert bool(find_studies(connection, 1, filters)) is found


def test_pages_of_a_list_hold_everything_once(archive: Archive) -> None:
    archive.receive(*(an_instance(number) for number in range(1, 8)))
    with reading(archive.engine) as connection:
        pages = [find_instances(connection, 1, ALL, 3, offset) for offset in (0, 3, 6, 9)]
    numbers = [row.number for page in pages for row in page]
    assert numbers == list(range(1, 8))


def test_hostile_texts_are_kept_as_text_and_fit(archive: Archive) -> None:
    name = "<script>alert(1)</script>\u202e" + "王" * 2000
    archive.receive(
        an_instance(
            1,
            SpecificCharacterSet="ISO_IR 192",
            PatientName=name.encode()[:60000],
            PatientID=b"P\x001\x1b[2J",
        )
    )
    (study,) = rows_of(archive, studies)
    assert study["patient_name"].startswith("<script>")
    assert len(study["patient_name"]) <= 400
    assert len(study["search"]) <= 1000
    assert "\x00" not in study["patient_id"]


def test_a_locked_database_is_unavailable_and_nothing_is_filed(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrival = archive.arrival(an_instance(1))
    archive.engine.dispose()
    monkeypatch.setattr("serving.database.engine.BUSY_TIMEOUT_MS", 100)
    engine = open_engine(str(archive.engine.url.render_as_string(hide_password=False)))
    with locked(engine), pytest.raises(DatabaseBusy, match=r"SQLITE_BUSY|55P03"):
        receive(engine, archive.store, archive.policy, 1, [arrival], now=NOW)
    engine.dispose()
    assert not rows_of(archive, studies)
    assert [answer.outcome for answer in archive.file(arrival)] == [Kept.STORED]


def test_wrong_sql_stays_an_error_of_ours(archive: Archive) -> None:
    with (
        pytest.raises(Exception, match=r"no such table|does not exist") as error,
        reading(archive.engine) as connection,
    ):
        connection.exec_driver_sql("SELECT * FROM nowhere")
    assert not isinstance(error.value, Unavailable)


def test_two_senders_of_one_study_at_once_lose_nothing(archive: Archive) -> None:
    arrivals = [archive.arrival(an_instance(number)) for number in range(1, 41)]

    def send(places: range) -> None:
        for place in places:
            archive.file(arrivals[place])

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(send, (range(0, 40, 2), range(1, 40, 2), range(40))))
    assert len(rows_of(archive, instances)) == 40
    (study,) = rows_of(archive, studies)
    assert study["generation"] == 40


def test_a_folder_of_the_archive_may_have_any_name(database: str, tmp_path: Path) -> None:
    folder = tmp_path / "影像 100%"
    folder.mkdir()
    archive = Archive(folder)
    assert outcomes(archive, an_instance(1)) == [Kept.STORED]
    archive.close()


def test_a_case_stands_in_its_hospitals_pool_with_the_key_of_its_images(archive: Archive) -> None:
    archive.receive(an_instance(1, BodyPartExamined="CHEST", PatientBirthDate="20200101"))
    (case,), (pool,), (key,) = (rows_of(archive, table) for table in (cases, pools, reading_keys))
    assert (case["pool_id"], pool["code"]) == (pool["id"], "default")
    assert case["key_id"] == key["id"]
    assert (key["modality"], key["body_part"], key["age_group"]) == ("CT", "chest", "child")
    assert (case["holder_id"], case["fence"]) == (None, 0)


def test_a_dump_stands_behind_its_own_allowance_and_keeps_its_excess_when_it_is_raised(
    archive: Archive,
) -> None:
    for number in range(40):
        archive.receive(an_instance(number, study=f"dump {number}"))
    archive.receive(an_instance(1, study="other"), site_id=2)
    rows = rows_of(archive, cases)
    of_other = next(row for row in rows if row["site_id"] == 2)
    last = max(rows, key=lambda row: row["excess_min"])
    assert of_other["excess_min"] == 0 < last["excess_min"]
    assert last["fair_due_at"] == pytest.approx(last["due_at"] + last["excess_min"] * 60)
    settle(archive.engine, NOW + QUIET_S, QUIET_S)
    while (job := archive.claim(NOW + QUIET_S)) is not None:
        if job.study_id == last["study_id"]:
            break
    assert job is not None
    archive.finish(job, archive.analysed(20.0, study="dump 39"), threshold=0.5)
    (raised,) = [row for row in rows_of(archive, cases) if row["id"] == last["id"]]
    assert raised["urgency_class"] == "ai-critical"
    assert raised["excess_min"] == last["excess_min"]
    assert raised["due_at"] < last["due_at"]
    assert raised["fair_due_at"] == pytest.approx(raised["due_at"] + raised["excess_min"] * 60)
    with reading(archive.engine) as connection:
        listed = [row.case_id for row in read_page(connection, Question(), archive.policy).rows]
    assert listed[:2] == [raised["id"], min(rows, key=lambda row: row["fair_due_at"])["id"]]
