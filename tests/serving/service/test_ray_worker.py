"""A real worker process whose engine is a local Ray of two replicas."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.archive.store import Store
from serving.database.tables import jobs, results
from serving.jobs.ray_application import Plan, identify, state
from serving.jobs.ray_engine import EXIT_LOST, open_ray_engine
from serving.jobs.ray_reaper import processes_of
from tests.serving.service.scene import (
    Room,
    a_copy,
    a_room,
    nothing_is_lost_or_doubled,
    small_study,
)

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]

ROUNDS, REPLICAS = 20, 2
OWN_RAY_EVERY = 4
# The second study of a round is caught before its commit, so that the first gets on.
DRIVER_PASSES = {"before-finish": 2, "after-finish": 1}


def ray_folder(room: Room) -> Path:
    return Path(room.logged("ray started")[-1]["folder"])


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("point", ["mid-inference", "after-sr"])
def test_twenty_kills_of_replicas_lose_nothing_and_double_nothing(
    point: str, tmp_path: Path
) -> None:
    studies = ROUNDS + REPLICAS
    with a_room(tmp_path, engine="ray", workers=REPLICAS, attempts=ROUNDS) as room:
        for number in range(studies):
            room.receive(a_copy(small_study(), number))
        # Each replica, and each that takes its place, is killed in its second study.
        worker = room.start_worker(fault=f"{point}:2")
        room.wait(lambda: room.is_settled() and len(room.states()) == studies, 1200)
        nothing_is_lost_or_doubled(room)
        assert len(room.rows(results)) == studies
        lost = room.logged("analysis failed")
        assert len(lost) >= ROUNDS
        assert {line["error"] for line in lost} == {"engine-lost"}
        assert sum(row["attempts"] for row in room.rows(jobs)) == studies + len(lost)
        folder = ray_folder(room)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(120) == 0
        assert not folder.exists()
        assert processes_of(folder) == []


@pytest.mark.parametrize("name", ["gcs_server", "raylet"])
def test_when_a_central_process_of_ray_dies_the_driver_ends_and_another_worker_goes_on(
    name: str, tmp_path: Path
) -> None:
    with a_room(tmp_path, engine="ray", workers=2) as room:
        worker = room.start_worker()
        room.wait_for_worker()
        folder = ray_folder(room)
        (victim,) = [each.id for each in processes_of(folder) if each.name == name]
        room.receive(small_study())
        room.wait(lambda: room.logged("analysis begun"))
        os.kill(victim, signal.SIGKILL)
        # Ray itself may be faster with the end of a driver without a raylet.
        assert worker.wait(90) in {EXIT_LOST, 1}
        room.wait(lambda: not folder.exists() and not processes_of(folder), 90)
        room.start_worker(engine="inline")
        room.wait(room.is_settled)
        nothing_is_lost_or_doubled(room)
        assert len(room.rows(results)) == 1


@pytest.fixture(scope="module")
def lasting_ray() -> Iterator[str]:
    """Give the address of a Ray with warm replicas that outlives whoever drives it."""
    plan = Plan(REPLICAS, 1, identify(None).reference, "balanced")
    lost: list[str] = []
    engine = open_ray_engine(plan, Store, on_lost=lost.append)
    import ray

    yield ray.get_runtime_context().gcs_address
    assert state().replicas == {"RUNNING": REPLICAS}
    engine.close()
    assert lost == []


@pytest.mark.timeout(900)
@pytest.mark.parametrize("point", DRIVER_PASSES)
def test_twenty_kills_of_drivers_lose_nothing_double_nothing_and_leave_no_ray(
    point: str, lasting_ray: str, tmp_path: Path
) -> None:
    """Most rounds drive the same Ray one after the other, every fourth has a Ray of its own."""
    studies = ROUNDS + REPLICAS
    fault = f"{point}:{DRIVER_PASSES[point]}"
    with a_room(tmp_path, engine="ray", workers=REPLICAS, attempts=ROUNDS) as room:
        # Enough that no round waits for a study that rests after it was killed again and again.
        for number in range(REPLICAS):
            room.receive(a_copy(small_study(), number))
        for number in range(ROUNDS):
            room.receive(a_copy(small_study(), REPLICAS + number))
            is_alone = number % OWN_RAY_EVERY == 0
            address = None if is_alone else lasting_ray
            worker = room.start_worker(fault=fault, ray_address=address)
            assert worker.wait(120) == -signal.SIGKILL, room.log.read_text("utf-8")[-3000:]
            if is_alone:
                folder = ray_folder(room)
                room.wait(lambda at=folder: not at.exists() and not processes_of(at), 90)  # type: ignore[misc]
            done = [row for row in room.rows(jobs) if row["state"] == "done"]
            assert len(room.rows(results)) == len(done)
        room.start_worker(engine="inline")
        room.wait(lambda: room.is_settled() and len(room.states()) == studies)
        nothing_is_lost_or_doubled(room)
        assert len(room.rows(results)) == studies
        own = {line["folder"] for line in room.logged("ray started")}
        assert len(own) == ROUNDS // OWN_RAY_EVERY
