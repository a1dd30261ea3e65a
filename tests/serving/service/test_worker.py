"""A real worker process, with the shipped package, on small chests."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from serving.database.engine import writing
from serving.database.tables import cases, events, instances, jobs, result_files, results, studies
from serving.jobs import queue
from tests.serving.service.scene import (
    Room,
    a_copy,
    a_room,
    nothing_is_lost_or_doubled,
    small_study,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with a_room(tmp_path) as made:
        yield made


def test_a_study_is_analysed_as_by_the_command_line_to_the_byte(room: Room, tmp_path: Path) -> None:
    folder = tmp_path / "sent"
    folder.mkdir()
    for number, data in enumerate(small_study()):
        (folder / f"{number}.dcm").write_bytes(data)
    command = [sys.executable, "-c", "from serving.cli import main; main()", "analyse"]
    out = tmp_path / "out"
    subprocess.run([*command, str(folder), "--out", str(out)], check=True, capture_output=True)
    room.receive(small_study())
    room.start_worker()
    room.wait(room.is_settled)
    nothing_is_lost_or_doubled(room)
    ours = {row["name"]: room.store.read(row["sha256"]) for row in room.rows(result_files)}
    theirs = {
        str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()
    }
    assert set(ours) == set(theirs)
    for files in (ours, theirs):
        files["findings.json"] = _without_timings(files["findings.json"])
    assert ours == theirs
    (result,) = room.rows(results)
    assert result["status"] == "accept"


def _without_timings(data: bytes) -> bytes:
    document = json.loads(data)
    del document["timings_s"]
    return json.dumps(document, ensure_ascii=False).encode()


def test_a_study_that_is_not_scored_is_an_end_like_any_other(room: Room) -> None:
    room.receive([*small_study()[:20], *small_study()[23:]])
    room.start_worker()
    room.wait(room.is_settled)
    (case,) = room.rows(cases)
    assert case["ai_state"] == "not-analysed"
    assert case["summary"]["status"] == "resend"
    assert [row["state"] for row in room.rows(jobs)] == ["done"]
    nothing_is_lost_or_doubled(room, findings=False)


def test_a_study_that_fails_in_python_is_given_up_after_three_and_others_go_on(room: Room) -> None:
    room.receive(a_copy(small_study(), 1))
    room.receive(a_copy(small_study(), 2))
    bad = room.rows(studies)[0]["id"]
    damaged = next(row for row in room.rows(instances) if row["study_id"] == bad)
    room.store.path(damaged["sha256"]).write_bytes(b"rotten")
    room.start_worker()
    room.wait(room.is_settled)
    first, second = room.rows(cases)
    if first["study_id"] != bad:
        first, second = second, first
    assert (first["ai_state"], second["ai_state"]) == ("not-analysed", "scored")
    assert first["summary"]["reasons"] == [{"code": "analysis-failed"}]
    assert {row["study_id"]: (row["state"], row["attempts"]) for row in room.rows(jobs)} == {
        first["study_id"]: ("quarantined", 3),
        second["study_id"]: ("done", 1),
    }
    assert {line["error"] for line in room.logged("analysis failed")} == {"object-damaged"}


def test_studies_that_cannot_settle_or_be_taken_back_end_no_worker(room: Room) -> None:
    for number in range(1, 5):
        room.receive(a_copy(small_study(), number))
    unsettled, untakeable = (row["id"] for row in room.rows(studies)[:2])
    with writing(room.database) as connection:
        votes = update(studies).where(studies.c.id == unsettled).values(charset_votes={"": {}})
        connection.execute(votes)
        # A lease that ended, of a case that may not wait again.
        of_case = cases.c.study_id == untakeable
        connection.execute(update(cases).where(of_case).values(ai_state="scored"))
        job_id = queue.enqueue(connection, untakeable, 1, 0, 1.0)
        assert queue.claim(connection, "nobody", 1.0, 1.0) is not None
    worker = room.start_worker()
    room.wait(lambda: worker.poll() is not None or room.is_settled())
    assert worker.poll() is None, room.log.read_text("utf-8")[-3000:]
    ended = {row["study_id"]: row["ai_state"] for row in room.rows(cases)}
    assert ended.pop(unsettled) == "not-analysed"
    assert set(ended.values()) == {"scored"}
    kept_away = [row for row in room.rows(jobs) if row["state"] == "quarantined"]
    assert [(row["study_id"], row["error"]) for row in kept_away] == [
        (unsettled, "settling-failed")
    ]
    told = room.logged("study cannot settle")
    assert [line["tries"] for line in told] == [1, 2, 3]
    assert {line["error"] for line in told} == {"KeyError"}
    assert all(line["places"] for line in told)
    told = room.logged("job cannot be taken back")
    assert {line["job"] for line in told} == {job_id}
    assert [line["tries"] for line in told] == list(range(1, len(told) + 1))
    assert len(told) < 10


def test_a_study_that_kills_its_process_is_given_up_after_three_and_others_go_on(
    room: Room,
) -> None:
    room.receive(a_copy(small_study(), 1))
    for _ in range(3):
        killed = room.start_worker(fault="mid-inference")
        assert killed.wait(60) == -signal.SIGKILL
        room.wait(lambda: _lease_is_over(room))
    room.receive(a_copy(small_study(), 2))
    room.start_worker()
    room.wait(room.is_settled)
    assert sorted(room.states()) == ["not-analysed", "scored"]
    (given_up,) = [row for row in room.rows(cases) if row["ai_state"] == "not-analysed"]
    assert given_up["summary"]["reasons"] == [{"code": "analysis-crashed"}]
    (job,) = [row for row in room.rows(jobs) if row["study_id"] == given_up["study_id"]]
    assert (job["state"], job["attempts"]) == ("quarantined", 3)


def _lease_is_over(room: Room) -> bool:
    return all(row["lease_until"] < time.time() for row in room.rows(jobs) if row["lease_until"])


def test_a_worker_that_was_stopped_and_goes_on_changes_nothing(room: Room) -> None:
    room.receive(small_study())
    stopped = room.start_worker()
    room.wait(lambda: room.states() == ["analysing"])
    stopped.send_signal(signal.SIGSTOP)
    room.start_worker()
    room.wait(room.is_settled)
    before = {table.name: room.rows(table) for table in _RESULT_TABLES}
    stopped.send_signal(signal.SIGCONT)
    room.wait(lambda: room.logged("result dropped"))
    assert {table.name: room.rows(table) for table in _RESULT_TABLES} == before
    (dropped,) = room.logged("result dropped")
    assert dropped["outcome"] == "lost"
    nothing_is_lost_or_doubled(room)


_RESULT_TABLES = (cases, results, result_files, instances, jobs, events)


def test_a_worker_asked_to_end_gives_back_what_it_cannot_finish(room: Room) -> None:
    room.receive(small_study())
    worker = room.start_worker(lease_s=600.0)
    room.wait(lambda: room.states() == ["analysing"])
    began = time.monotonic()
    worker.terminate()
    assert worker.wait(30) == 0
    assert time.monotonic() - began < 15
    (job,) = room.rows(jobs)
    # Finished within the grace, or back in the queue with no attempt counted.
    assert (job["state"], job["attempts"]) in {("done", 1), ("queued", 0)}
    room.start_worker()
    room.wait(room.is_settled)
    nothing_is_lost_or_doubled(room)


def test_an_idle_worker_ends_at_once(room: Room) -> None:
    worker = room.start_worker()
    room.wait_for_worker()
    worker.terminate()
    assert worker.wait(10) == 0


def test_a_worker_waits_for_a_database_that_is_locked(room: Room) -> None:
    import sqlite3

    worker = room.start_worker(lease_s=30.0)
    room.wait_for_worker()
    room.receive(small_study())
    with sqlite3.connect(room.settings.data / "firstread.sqlite", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        time.sleep(8)
        assert worker.poll() is None
        other.execute("ROLLBACK")
    other.close()
    room.wait(room.is_settled)
    nothing_is_lost_or_doubled(room)
    assert room.logged("waiting for the database")


def test_no_line_of_the_log_says_who_was_examined(room: Room) -> None:
    marks = _marked()
    room.receive(marks.files)
    room.receive([a_copy(small_study(), 7)[0]])
    room.start_worker()
    room.wait(room.is_settled)
    text = room.log.read_text("utf-8")
    assert room.logged("analysis ended")
    assert [mark for mark in marks.words if mark in text] == []


class _Marked:
    def __init__(self, files: list[bytes], words: list[str]) -> None:
        self.files, self.words = files, words


def _marked() -> _Marked:
    """Return a study whose every identifier is known, with a value that pydicom warns of."""
    from io import BytesIO

    from pydicom import dcmread

    files: list[bytes] = []
    words: set[str] = {"MARKEDNAME", "MARKEDID", "MARKEDNUMBER", "MARKEDTEXT"}
    for data in small_study():
        dataset: Any = dcmread(BytesIO(data))
        dataset.PatientName = "MARKEDNAME^A"
        dataset.PatientID = "MARKEDID"
        dataset.AccessionNumber = "MARKEDNUMBER"
        dataset.StudyDescription = "MARKEDTEXT"
        words |= {dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID}
        out = BytesIO()
        dataset.save_as(out, enforce_file_format=True)
        files.append(out.getvalue())
    return _Marked(files, sorted(words))
