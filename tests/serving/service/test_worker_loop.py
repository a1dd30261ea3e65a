"""The worker's loop in this process: a real database, and an engine that does as it is told."""

import errno
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from serving.database.engine import reading, writing
from serving.database.tables import cases, jobs, results
from serving.jobs import workers
from serving.jobs.engine import Analysed, AnalysisRequest, EngineLost
from serving.jobs.ray_engine import EngineUnavailable
from serving.service import worker as module
from serving.service.worker import Place, Worker
from serving.settings import Settings
from tests.serving.studies.a_study import Archive, an_instance, rows_of

SECONDS = 20.0


@dataclass
class Told:
    """An engine that answers at once, unless it is told otherwise."""

    archive: Archive
    slots: int = 1
    name: str = "inline"
    answer: Callable[[AnalysisRequest], None] = lambda _request: None
    calls: list[AnalysisRequest] = field(default_factory=list)

    def analyse(self, request: AnalysisRequest) -> Analysed:
        self.calls.append(request)
        self.answer(request)
        return self.archive.analysed(8.0, says=str(len(self.calls)))

    def healthy(self) -> bool:
        return True

    def close(self) -> None: ...


@dataclass
class Working:
    """A worker that runs in a thread."""

    archive: Archive
    stop: threading.Event
    thread: threading.Thread
    # Exit codes with which it would have ended its process.
    ended: list[int]

    def wait(self, until: Callable[[], bool]) -> None:
        end = time.monotonic() + SECONDS
        while not until():
            assert time.monotonic() < end, rows_of(self.archive, jobs)
            time.sleep(0.01)

    def wait_for(self, **states: int) -> None:
        """Wait until jobs of each state are as many as said."""

        def holds() -> bool:
            found = [row["state"] for row in rows_of(self.archive, jobs)]
            return all(found.count(state) == count for state, count in states.items())

        self.wait(holds)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NO_ROOM_S", 0.01)
    monkeypatch.setattr(module, "POLL_S", 0.02)


@contextmanager
def working(archive: Archive, engine: Told, **changes: float) -> Iterator[Working]:
    said = {"settle_s": 0.01, "lease_s": 30.0, "heartbeat_s": 0.1, "pause_s": 0.01, **changes}
    settings = Settings(data=archive.folder, **said)  # type: ignore[arg-type]
    place = Place(settings, archive.engine, archive.store, archive.policy, engine, "me")
    stop = threading.Event()
    ended: list[int] = []
    thread = threading.Thread(target=Worker(place, stop, ended.append).run)
    thread.start()
    try:
        yield Working(archive, stop, thread, ended)
    finally:
        stop.set()
        thread.join(SECONDS)
        assert not thread.is_alive()


@pytest.fixture
def archive(database: str, tmp_path: Path) -> Iterator[Archive]:
    made = Archive(tmp_path)
    yield made
    made.close()


def add(archive: Archive, *names: str) -> None:
    for name in names:
        archive.receive(an_instance(study=name), now=time.time() - 1)


def waiting_for(gate: threading.Event) -> Callable[[AnalysisRequest], None]:
    def wait(_request: AnalysisRequest) -> None:
        gate.wait(SECONDS)

    return wait


@pytest.mark.slow
def test_an_analysis_longer_than_its_lease_keeps_it_by_heartbeats(archive: Archive) -> None:
    add(archive, "study")
    engine = Told(archive, answer=lambda _request: time.sleep(1.2))
    with working(archive, engine, lease_s=0.4) as it:
        it.wait_for(done=1)
    assert [row["attempts"] for row in rows_of(archive, jobs)] == [1]
    assert len(engine.calls) == 1


def test_an_engine_gets_as_many_studies_at_once_as_it_has_slots(archive: Archive) -> None:
    add(archive, "a", "b", "c")
    both = threading.Barrier(2, timeout=SECONDS)
    gate = threading.Event()

    def meet(request: AnalysisRequest) -> None:
        if len(engine.calls) <= 2:
            both.wait()
        gate.wait(SECONDS)

    engine = Told(archive, slots=2, answer=meet)
    with working(archive, engine) as it:
        it.wait_for(leased=2, queued=1)
        gate.set()
        it.wait_for(done=3)


def test_a_lost_engine_counts_as_an_attempt_and_the_last_one_as_a_crash(archive: Archive) -> None:
    add(archive, "study")

    def lose(_request: AnalysisRequest) -> None:
        raise EngineLost("the replica is gone")

    engine = Told(archive, answer=lose)
    with working(archive, engine) as it:
        it.wait_for(quarantined=1)
    assert len(engine.calls) == 3
    (case,) = rows_of(archive, cases)
    assert case["summary"]["reasons"] == [{"code": "analysis-crashed"}]


def test_no_replica_is_not_counted_against_a_study(archive: Archive) -> None:
    add(archive, "study")

    def refuse_five_times(_request: AnalysisRequest) -> None:
        if len(engine.calls) <= 5:
            raise EngineUnavailable("no replica")

    engine = Told(archive, answer=refuse_five_times)
    with working(archive, engine) as it:
        it.wait_for(done=1)
    assert [row["attempts"] for row in rows_of(archive, jobs)] == [1]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "WANG^WEI"), MemoryError("WANG^WEI")])
def test_a_moment_without_room_quarantines_nothing(
    archive: Archive, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    add(archive, "study")

    def fail_four_times(_request: AnalysisRequest) -> None:
        if len(engine.calls) <= 4:
            raise error

    engine = Told(archive, answer=fail_four_times)
    with working(archive, engine) as it:
        it.wait_for(done=1)
    (job,) = rows_of(archive, jobs)
    assert (job["attempts"], job["pauses"]) == (1, 4)
    told = [line for line in caplog.records if line.message == "no room for an analysis"]
    assert [line.pause_s for line in told] == [0.01, 0.02, 0.04, 0.08]  # type: ignore[attr-defined]


def bad_first(archive: Archive, error: Exception) -> Told:
    """Return an engine that never manages the study that was received first."""
    add(archive, "bad")
    time.sleep(0.01)
    add(archive, "good", "better")

    def fail(request: AnalysisRequest) -> None:
        if request.objects == engine.calls[0].objects:
            raise error

    engine = Told(archive, answer=fail)
    return engine


def test_a_study_that_never_finds_room_holds_nobody_up(archive: Archive) -> None:
    engine = bad_first(archive, MemoryError())
    with working(archive, engine, pause_s=60.0) as it:
        it.wait_for(done=2, queued=1)
    assert len({call.objects for call in engine.calls}) == len(engine.calls) == 3
    bad = rows_of(archive, jobs)[0]
    assert (bad["state"], bad["attempts"], bad["error"]) == ("queued", 0, "MemoryError")
    assert bad["not_before"] > time.time() + 30


def test_a_study_that_fails_lets_others_go_first_between_its_attempts(archive: Archive) -> None:
    engine = bad_first(archive, ZeroDivisionError())
    with working(archive, engine, pause_s=0.1) as it:
        it.wait_for(done=2, quarantined=1)
    bad = engine.calls[0].objects
    assert [call.objects == bad for call in engine.calls].index(True, 1) >= 2
    assert len(engine.calls) == 5


def test_a_hung_analysis_ends_its_worker_and_counts(
    archive: Archive, caplog: pytest.LogCaptureFixture
) -> None:
    add(archive, "study", "other")
    gate = threading.Event()
    engine = Told(archive, slots=1, answer=waiting_for(gate))
    with working(archive, engine, analysis_s=0.2, heartbeat_s=0.05) as it:
        it.wait(lambda: it.ended == [1])
        hung, other = rows_of(archive, jobs)
        assert (hung["state"], hung["attempts"]) == ("queued", 1)
        assert hung["error"] == "analysis-too-long"
        assert (other["state"], other["attempts"]) == ("queued", 0)
        gate.set()
    assert "analysis takes too long, the worker ends" in caplog.text


def test_three_hung_analyses_quarantine_a_study(archive: Archive) -> None:
    add(archive, "study")
    gate = threading.Event()
    for _ in range(3):
        engine = Told(archive, answer=waiting_for(gate))
        with working(archive, engine, analysis_s=0.1, heartbeat_s=0.05) as it:
            it.wait(lambda it=it: it.ended == [1])  # type: ignore[misc]
            gate.set()
        gate.clear()
    (case,) = rows_of(archive, cases)
    assert case["summary"]["reasons"] == [{"code": "analysis-crashed"}]
    assert [row["attempts"] for row in rows_of(archive, jobs)] == [3]


def test_a_replica_has_a_deadline_of_its_own(archive: Archive) -> None:
    add(archive, "study")
    engine = Told(archive, name="ray", answer=lambda _request: time.sleep(0.3))
    with working(archive, engine, analysis_s=0.05, heartbeat_s=0.05) as it:
        it.wait_for(done=1)
        assert it.ended == []


def test_a_worker_that_nobody_buried_is_forgotten_after_a_day(archive: Archive) -> None:
    now = time.time()
    with writing(archive.engine) as connection:
        for owner, seen_at in (("days ago", now - module.FORGET_S - 9), ("just now", now - 99)):
            workers.report(connection, owner, "inline", is_healthy=True, now=seen_at)

    def known() -> set[str]:
        with reading(archive.engine) as connection:
            return set(workers.last_heard(connection))

    with working(archive, Told(archive)) as it:
        it.wait(lambda: known() == {"just now", "me"})


def test_a_bug_in_one_study_does_not_end_the_others(archive: Archive) -> None:
    add(archive, "bad", "good")

    def fail(request: AnalysisRequest) -> None:
        if request.objects == engine.calls[0].objects:
            raise ZeroDivisionError("WANG^WEI")

    engine = Told(archive, answer=fail)
    with working(archive, engine) as it:
        it.wait_for(quarantined=1, done=1)
    errors = {row["state"]: row["error"] for row in rows_of(archive, jobs)}
    assert errors["quarantined"] == "analysis-failed"


def test_a_worker_asked_to_end_gives_back_what_outlasts_its_grace(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GRACE_S", 0.2)
    add(archive, "study")
    gate = threading.Event()
    engine = Told(archive, answer=waiting_for(gate))
    with working(archive, engine) as it:
        it.wait_for(leased=1)
        it.stop.set()
        it.thread.join(SECONDS)
        (job,) = rows_of(archive, jobs)
        assert (job["state"], job["attempts"]) == ("queued", 0)
        # What the forgotten thread brings in the end changes nothing.
        gate.set()
        it.wait(lambda: not [t for t in threading.enumerate() if t.name.startswith("slot-")])
    assert rows_of(archive, results) == []


def test_a_worker_ends_after_its_share_so_that_leaks_have_an_end(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_STUDIES", 2)
    add(archive, "a", "b", "c")
    with working(archive, Told(archive)) as it:
        it.thread.join(SECONDS)
        it.wait_for(done=2, queued=1)


def test_a_late_image_makes_a_second_analysis_that_counts(archive: Archive) -> None:
    add(archive, "study")
    gate = threading.Event()
    engine = Told(archive, answer=waiting_for(gate))
    with working(archive, engine) as it:
        it.wait_for(leased=1)
        archive.receive(an_instance(2), now=time.time() - 1)
        it.wait_for(overtaken=1)
        gate.set()
        it.wait_for(done=1)
    assert [len(call.objects) for call in engine.calls] == [1, 2]
    (result,) = rows_of(archive, results)
    assert result["generation"] == 2
