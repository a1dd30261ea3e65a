"""Whatever order things happen in: nothing is lost, and one result is visible, the newest."""

import shutil
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
)

from firstread.uids import uid_from
from serving.database.tables import cases, events, instances, jobs, results, studies
from serving.jobs.queue import Job
from serving.studies.life import Outcome, begin, give_up, recover, requeue, settle
from serving.worklist.summary import Failure
from tests.serving.studies.a_study import (
    LEASE_S,
    NOW,
    PAUSE_S,
    QUIET_S,
    Archive,
    an_instance,
    rows_of,
)

ATTEMPTS = 3
STUDIES = ("a", "b")
OPEN = ("queued", "leased")
# Nothing is killed here, so nothing need wait for a disk.
IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


@dataclass
class Known:
    """What the outside knows of one study: what was acknowledged, and what was finished."""

    acknowledged: dict[str, bytes] = field(default_factory=dict)
    conflicts: set[bytes] = field(default_factory=set)
    finished: list[int] = field(default_factory=list)


class AnyOrder(RuleBasedStateMachine):
    """Two studies, arrivals, workers that die, stall and come back, results that are late."""

    claimed = Bundle("claimed")

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="firstread-any-order-", dir=IN_MEMORY))
        self.archive = Archive(self.folder)
        self.now = self.newest_image_at = NOW
        self.known: dict[str, Known] = defaultdict(Known)
        self.owner_of: dict[str, int] = {}
        self.said = 0

    @rule(
        study=st.sampled_from(STUDIES),
        numbers=st.lists(st.integers(1, 5), min_size=1, max_size=3),
        content=st.sampled_from(["", "", "", "other"]),
        site_id=st.sampled_from([1, 1, 1, 2]),
    )
    def images_arrive(self, study: str, numbers: list[int], content: str, site_id: int) -> None:
        self.newest_image_at = max(self.newest_image_at, self.now)
        files = [an_instance(number, study=study, content=content) for number in numbers]
        answers = self.archive.receive(*files, site_id=site_id, now=self.now)
        owner = self.owner_of.setdefault(study, site_id)
        for answer, data in zip(answers, files, strict=True):
            if owner != site_id:
                assert answer.outcome == "refused"
                continue
            before = self.known[study].acknowledged.setdefault(answer.sop_instance_uid, data)
            if before == data:
                assert answer.outcome in ("stored", "already")
            else:
                assert answer.outcome == "conflict"
                self.known[study].conflicts.add(data)

    @rule(seconds=st.sampled_from([1.0, LEASE_S + 1, -30.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=claimed)
    def all_is_quiet_and_a_worker_claims(self) -> Any:
        # A clock that went back makes the quiet time longer, never shorter.
        self.now = max(self.now, self.newest_image_at) + QUIET_S
        settle(self.archive.engine, self.now, QUIET_S)
        assert "receiving" not in [case["ai_state"] for case in self.case_rows().values()]
        job = self.archive.claim(self.now)
        return multiple() if job is None else job

    @rule(target=claimed)
    def a_lease_ends_and_another_worker_claims(self) -> Any:
        self.now += LEASE_S + 1
        recover(self.archive.engine, self.now, LEASE_S, ATTEMPTS, first_pause_s=PAUSE_S)
        job = self.archive.claim(self.now)
        return multiple() if job is None else job

    @rule(job=claimed)
    def a_worker_begins(self, job: Job) -> None:
        begin(self.archive.engine, job, self.now)

    @rule(job=claimed)
    def a_worker_finishes(self, job: Job) -> None:
        study = self.study_of(job)
        self.said += 1
        analysed = self.archive.analysed(study=study, says=str(self.said))
        archive = self.archive
        expected = self.expected(job)
        outcome = archive.finish(
            job,
            analysed,
            now=self.now,
        )
        assert outcome is expected
        if outcome is Outcome.DONE:
            self.known[study].finished.append(job.generation)

    @rule(study=st.sampled_from(STUDIES), number=st.integers(1, 5))
    def a_whole_round(self, study: str, number: int) -> None:
        self.images_arrive(study, [number], "", self.owner_of.get(study, 1))
        for _ in STUDIES:
            job = self.all_is_quiet_and_a_worker_claims()
            if isinstance(job, Job):
                self.a_worker_begins(job)
                self.a_worker_finishes(job)

    @rule(job=claimed)
    def a_worker_gives_back(self, job: Job) -> None:
        requeue(self.archive.engine, job, self.now, "engine-lost")

    @rule(job=claimed)
    def a_worker_gives_up(self, job: Job) -> None:
        give_up(self.archive.engine, job, Failure.FAILED, self.now)

    @rule(study=st.sampled_from(STUDIES))
    def a_result_comes_back_from_elsewhere(self, study: str) -> None:
        if self.known[study].finished:
            ours = [row for row in rows_of(self.archive, instances) if row["result_id"]]
            row = ours[-1]
            data = self.archive.store.read(row["sha256"])
            before = rows_of(self.archive, jobs), rows_of(self.archive, cases)
            self.archive.receive(data, now=self.now)
            assert (rows_of(self.archive, jobs), rows_of(self.archive, cases)) == before

    @invariant()
    def what_was_acknowledged_is_there(self) -> None:
        filed = {row["sop_instance_uid"]: row for row in rows_of(self.archive, instances)}
        for known in self.known.values():
            for uid, data in known.acknowledged.items():
                assert self.archive.store.read(filed[uid]["sha256"]) == data

    @invariant()
    def one_result_is_visible_and_it_is_the_newest_that_was_finished(self) -> None:
        ids = {row["id"]: name for name, row in self.case_rows().items()}
        seen = defaultdict(list)
        for row in rows_of(self.archive, results):
            if row["is_visible"]:
                seen[ids[row["case_id"]]].append(row["generation"])
        for study, known in self.known.items():
            assert seen[study] == ([max(known.finished)] if known.finished else [])
            assert known.finished == sorted(set(known.finished))

    @invariant()
    def every_study_is_on_its_way_or_at_its_end(self) -> None:
        generations = {row["id"]: row["generation"] for row in rows_of(self.archive, studies)}
        for case in self.case_rows().values():
            generation = generations[case["study_id"]]
            own = [
                row for row in rows_of(self.archive, jobs) if row["study_id"] == case["study_id"]
            ]
            current = [
                row for row in own if row["state"] in OPEN and row["generation"] == generation
            ]
            assert sum(row["state"] in OPEN for row in own) <= 1
            on_its_way = case["ai_state"] in ("waiting", "analysing")
            assert bool(current) is on_its_way
            if case["ai_state"] == "analysing":
                assert current[0]["state"] == "leased"

    @invariant()
    def every_change_of_a_case_is_an_event(self) -> None:
        newest: dict[str, int] = {}
        for row in rows_of(self.archive, events):
            assert row["version"] >= newest.get(row["case_id"], 1)
            newest[row["case_id"]] = row["version"]
        for case in self.case_rows().values():
            assert newest[case["id"]] == case["version"]

    def teardown(self) -> None:
        if hasattr(self, "archive"):
            self.archive.close()
            shutil.rmtree(self.folder)

    def case_rows(self) -> dict[str, dict[str, Any]]:
        names = {uid_from(name): name for name in STUDIES}
        uids = {row["id"]: row["study_uid"] for row in rows_of(self.archive, studies)}
        return {names[uids[row["study_id"]]]: row for row in rows_of(self.archive, cases)}

    def study_of(self, job: Job) -> str:
        return next(n for n, row in self.case_rows().items() if row["study_id"] == job.study_id)

    def expected(self, job: Job) -> Outcome:
        """Return what the end of a job must come to."""
        (row,) = [row for row in rows_of(self.archive, jobs) if row["id"] == job.id]
        if (row["state"], row["token"]) != ("leased", job.token):
            return Outcome.LOST
        (study,) = [row for row in rows_of(self.archive, studies) if row["id"] == job.study_id]
        return Outcome.DONE if study["generation"] == job.generation else Outcome.OVERTAKEN


def explored(examples: int, steps: int) -> Any:
    """Return the machine as a test."""
    machine: Any = type(f"AnyOrder{examples}", (AnyOrder,), {})
    case = machine.TestCase
    case.settings = settings(
        max_examples=examples,
        stateful_step_count=steps,
        suppress_health_check=[HealthCheck.too_slow],
    )
    return case


TestAnyOrder = explored(examples=6, steps=20)
TestAnyOrderForLong = pytest.mark.slow(explored(examples=100, steps=40))
