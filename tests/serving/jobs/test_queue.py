"""Laws of the queue, on a real SQLite file."""

import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import Engine, insert, select, update
from sqlalchemy.exc import IntegrityError

from serving.database.engine import reading, writing
from serving.database.tables import jobs, sites, studies
from serving.jobs import queue
from serving.jobs.queue import Job, JobState
from tests.serving.databases import a_database, plan_of

NOW = 1_000_000.0
LEASE_S = 60.0
STUDIES = 6


def add_studies(engine: Engine, count: int = STUDIES) -> None:
    texts = dict.fromkeys(
        ("patient_name", "patient_id", "birth_date", "sex", "study_date", "study_time",
         "accession_number", "description", "search"), "",
    )  # fmt: skip
    with writing(engine) as connection:
        connection.execute(insert(sites).values(id=1, code="a", name="a", created_at=NOW))
        connection.execute(
            insert(studies),
            [
                {"id": number, "study_uid": f"1.2.{number}", "site_id": 1, "received_at": NOW}
                | {"codecs": {}, **texts}
                for number in range(1, count + 1)
            ],
        )


@pytest.fixture
def engine(database: str, tmp_path: Path) -> Iterator[Engine]:
    made = a_database(tmp_path / "firstread.sqlite")
    add_studies(made)
    yield made
    made.dispose()


def enqueue(
    engine: Engine, study_id: int, rank: int = 3, now: float = NOW, generation: int = 1
) -> int:
    with writing(engine) as connection:
        return queue.enqueue(connection, study_id, generation, rank, now)


def claim(engine: Engine, owner: str = "w", now: float = NOW) -> Job | None:
    with writing(engine) as connection:
        return queue.claim(connection, owner, now, LEASE_S)


def must_claim(engine: Engine, owner: str = "w", now: float = NOW) -> Job:
    job = claim(engine, owner, now)
    assert job is not None
    return job


def heartbeat(engine: Engine, job: Job, now: float) -> bool:
    with writing(engine) as connection:
        return queue.heartbeat(connection, job, now, LEASE_S)


def close(engine: Engine, job: Job, state: JobState = JobState.DONE, now: float = NOW) -> bool:
    with writing(engine) as connection:
        return queue.close(connection, job, state, now)


def release(
    engine: Engine,
    job: Job,
    error: str | None = "broken",
    now: float = NOW,
    *,
    is_counted: bool = True,
    pause_s: float = 0.0,
) -> bool:
    with writing(engine) as connection:
        return queue.release(connection, job, now, error, is_counted=is_counted, pause_s=pause_s)


def expired(engine: Engine, now: float) -> tuple[Job, ...]:
    with reading(engine) as connection:
        return queue.expired(connection, now, LEASE_S)


def test_the_smaller_rank_is_taken_first_and_the_older_among_equals(engine: Engine) -> None:
    enqueue(engine, 1, rank=3, now=NOW)
    enqueue(engine, 2, rank=0, now=NOW + 2)
    enqueue(engine, 3, rank=3, now=NOW - 1)
    enqueue(engine, 4, rank=0, now=NOW + 1)
    assert [must_claim(engine).study_id for _ in range(4)] == [4, 2, 3, 1]
    assert claim(engine) is None


def test_a_job_that_failed_keeps_its_place(engine: Engine) -> None:
    enqueue(engine, 1, now=NOW)
    enqueue(engine, 2, now=NOW + 1)
    assert release(engine, must_claim(engine))
    assert must_claim(engine).study_id == 1


def test_others_go_first_while_a_job_pauses(engine: Engine) -> None:
    enqueue(engine, 1, now=NOW)
    enqueue(engine, 2, now=NOW + 1)
    assert release(engine, must_claim(engine), pause_s=5.0)
    assert must_claim(engine, now=NOW + 4.9).study_id == 2
    with reading(engine) as connection:
        assert not queue.has_work(connection, NOW + 4.9)
        assert queue.has_work(connection, NOW + 5)
    assert claim(engine, now=NOW + 4.9) is None
    assert must_claim(engine, now=NOW + 5).study_id == 1


def test_no_pause_lasts_for_ever_when_the_clock_is_set_back(engine: Engine) -> None:
    enqueue(engine, 1)
    assert release(engine, must_claim(engine), pause_s=5.0)
    assert claim(engine, now=NOW - 1) is None
    assert claim(engine, now=NOW - 3600) is not None


def test_pauses_double_up_to_the_longest() -> None:
    pauses_s = [queue.pause_s(pauses, first_s=5.0) for pauses in range(-1, 7)]
    assert pauses_s == [0, 5, 10, 20, 40, 80, 120, 120]
    assert queue.pause_s(10_000, first_s=0.1) == queue.LONGEST_PAUSE_S


def test_no_room_makes_the_pause_longer_and_counts_as_no_attempt(engine: Engine) -> None:
    enqueue(engine, 1)
    for pauses in range(5):
        job = must_claim(engine)
        assert (job.attempts, job.pauses) == (1, pauses)
        assert release(engine, job, "no-room", is_counted=False)


def test_what_was_quarantined_can_be_tried_again_as_if_it_were_new(engine: Engine) -> None:
    job_id = enqueue(engine, 1)
    with writing(engine) as connection:
        assert not queue.retry(connection, job_id)
    old = must_claim(engine)
    release(engine, old)
    old = must_claim(engine)
    close(engine, old, JobState.QUARANTINED)
    with writing(engine) as connection:
        assert queue.retry(connection, job_id)
    new = must_claim(engine)
    assert (new.attempts, new.pauses, new.generation) == (1, 0, old.generation)
    assert new.token > old.token
    assert not close(engine, old)


def test_a_lost_lease_can_change_nothing(engine: Engine) -> None:
    enqueue(engine, 1)
    lost = must_claim(engine, "first")
    (over,) = expired(engine, NOW + LEASE_S + 1)
    assert release(engine, over)
    held = must_claim(engine, "second", NOW + LEASE_S + 2)
    assert held.token > lost.token
    assert not heartbeat(engine, lost, NOW + LEASE_S + 3)
    assert not release(engine, lost)
    assert not close(engine, lost)
    assert close(engine, held)


def test_an_attempt_counts_only_where_something_failed(engine: Engine) -> None:
    enqueue(engine, 1)
    release(engine, must_claim(engine), error=None)
    assert must_claim(engine).attempts == 1
    release(engine, must_claim_again(engine), error="broken")
    assert must_claim(engine).attempts == 2


def must_claim_again(engine: Engine) -> Job:
    """Return the one job that is leased, as its worker knows it."""
    with reading(engine) as connection:
        (job,) = queue.held_by(connection, "w")
    return job


def test_a_heartbeat_keeps_a_lease_from_ending(engine: Engine) -> None:
    enqueue(engine, 1)
    job = must_claim(engine)
    assert heartbeat(engine, job, NOW + 50)
    assert not expired(engine, NOW + 100)
    assert expired(engine, NOW + 50 + LEASE_S + 1) == (job,)


def test_no_lease_lasts_for_ever_when_the_clock_is_set_back(engine: Engine) -> None:
    enqueue(engine, 1)
    job = must_claim(engine, now=NOW)
    assert not expired(engine, NOW - 1)
    assert expired(engine, NOW - 3600) == (job,)


def test_a_newer_job_of_a_study_overtakes_the_one_that_runs(engine: Engine) -> None:
    enqueue(engine, 1, generation=1)
    old = must_claim(engine)
    enqueue(engine, 1, generation=2)
    assert not heartbeat(engine, old, NOW)
    assert not close(engine, old)
    new = must_claim(engine)
    assert new.generation == 2
    assert close(engine, new)
    with reading(engine) as connection:
        states = connection.execute(select(jobs.c.state).order_by(jobs.c.id)).scalars().all()
    assert states == ["overtaken", "done"]


def test_two_open_jobs_of_one_study_are_impossible(engine: Engine) -> None:
    first = enqueue(engine, 1, generation=1)
    enqueue(engine, 1, generation=2)
    again = update(jobs).where(jobs.c.id == first).values(state="queued")
    with pytest.raises(IntegrityError), writing(engine) as connection:
        connection.execute(again)


def test_what_a_worker_holds_is_known_by_its_name(engine: Engine) -> None:
    for study_id in (1, 2, 3):
        enqueue(engine, study_id)
    mine = [must_claim(engine, "dead"), must_claim(engine, "dead")]
    must_claim(engine, "alive")
    with reading(engine) as connection:
        assert list(queue.held_by(connection, "dead")) == mine
        assert queue.owners(connection) == {"dead", "alive"}


def test_many_workers_at_once_never_get_the_same_job(database: str, tmp_path: Path) -> None:
    engine = a_database(tmp_path / "firstread.sqlite")
    add_studies(engine, 60)
    for study_id in range(1, 61):
        enqueue(engine, study_id)
    taken: list[Job] = []
    failed: list[BaseException] = []

    def work(name: str) -> None:
        try:
            while (job := claim(engine, name)) is not None:
                taken.append(job)
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=work, args=(f"w{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine.dispose()
    assert not failed
    assert sorted(job.study_id for job in taken) == list(range(1, 61))


def test_the_first_job_is_found_by_an_index(engine: Engine) -> None:
    plan = plan_of(
        engine,
        "SELECT id FROM jobs WHERE state = 'queued' AND (not_before <= 9.0 OR not_before > 99.0) "
        "ORDER BY rank, queued_at, id LIMIT 1",
    )
    assert "ix_jobs_state_rank_queued_at" in plan
    # Jobs queued at the same moment alone are sorted, by PostgreSQL.
    assert "TEMP B-TREE" not in plan
    assert "  Sort  " not in plan


@dataclass
class Model:
    """What the queue should know of one job."""

    study_id: int
    rank: int
    queued_at: float
    state: str = "queued"
    token: int = 0
    attempts: int = 0
    lease_until: float = 0.0


class QueueLaws(RuleBasedStateMachine):
    """Any order of what workers, supervisors and receivers may do, against a model."""

    @initialize()
    def start(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.engine = a_database(Path(self.folder.name) / "firstread.sqlite")
        add_studies(self.engine)
        self.now = NOW
        self.model: dict[int, Model] = {}
        # Every lease that was ever given, also the lost ones.
        self.leases: list[Job] = []
        self.generation = 0

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.engine.dispose()
            self.folder.cleanup()

    @rule(study_id=st.integers(1, STUDIES), rank=st.integers(0, 4))
    def enqueue(self, study_id: int, rank: int) -> None:
        for job in self.model.values():
            if job.study_id == study_id and job.state in ("queued", "leased"):
                job.state = "overtaken"
        self.generation += 1
        job_id = enqueue(self.engine, study_id, rank, self.now, self.generation)
        self.model[job_id] = Model(study_id, rank, self.now)

    @rule()
    def claim(self) -> None:
        waiting = {i: job for i, job in self.model.items() if job.state == "queued"}
        taken = claim(self.engine, f"w{len(self.leases)}", self.now)
        if not waiting:
            assert taken is None
            return
        assert taken is not None
        first = min(waiting, key=lambda i: (waiting[i].rank, waiting[i].queued_at, i))
        job = self.model[first]
        assert taken.id == first
        # Its token is larger than that of every lease before.
        assert taken.token == job.token + 1
        job.state, job.token = "leased", taken.token
        job.attempts += 1
        assert taken.attempts == job.attempts
        job.lease_until = self.now + LEASE_S
        self.leases.append(taken)

    @rule(data=st.data())
    def heartbeat(self, data: st.DataObject) -> None:
        if self.leases:
            lease = data.draw(st.sampled_from(self.leases))
            assert heartbeat(self.engine, lease, self.now) == self.is_held(lease)
            if self.is_held(lease):
                self.model[lease.id].lease_until = self.now + LEASE_S

    @rule(data=st.data(), state=st.sampled_from([JobState.DONE, JobState.QUARANTINED]))
    def close(self, data: st.DataObject, state: JobState) -> None:
        if self.leases:
            lease = data.draw(st.sampled_from(self.leases))
            assert close(self.engine, lease, state, self.now) == self.is_held(lease)
            if self.is_held(lease):
                self.model[lease.id].state = state.value

    @rule(data=st.data(), error=st.sampled_from([None, "broken"]))
    def release(self, data: st.DataObject, error: str | None) -> None:
        if self.leases:
            lease = data.draw(st.sampled_from(self.leases))
            self.release_one(lease, error)

    @rule()
    def take_back(self) -> None:
        over = expired(self.engine, self.now)
        expected = {
            i
            for i, job in self.model.items()
            if job.state == "leased" and job.lease_until < self.now
        }
        assert {job.id for job in over} == expected
        for job in over:
            self.release_one(job, "lease-ended")

    @rule(seconds=st.sampled_from([1.0, 30.0, 61.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def tables_are_as_the_model(self) -> None:
        if not hasattr(self, "engine"):
            return
        with reading(self.engine) as connection:
            rows = connection.execute(select(jobs)).all()
            has_work = queue.has_work(connection, self.now)
        assert {row.id: (row.state, row.token, row.attempts) for row in rows} == {
            i: (job.state, job.token, job.attempts) for i, job in self.model.items()
        }
        assert has_work == any(job.state == "queued" for job in self.model.values())

    def is_held(self, lease: Job) -> bool:
        job = self.model[lease.id]
        return job.state == "leased" and job.token == lease.token

    def release_one(self, lease: Job, error: str | None) -> None:
        assert release(self.engine, lease, error, self.now) == self.is_held(lease)
        if self.is_held(lease):
            job = self.model[lease.id]
            job.state = "queued"
            job.attempts -= error is None


TestQueueLaws = QueueLaws.TestCase
TestQueueLaws.settings = settings(max_examples=20, stateful_step_count=25)
