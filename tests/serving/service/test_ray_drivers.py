"""Worker processes that drive a Ray of two replicas are killed, twenty times at each of two points.

A kill leaves studies that replicas still analyse, and nobody who waits for them. The points in the
replicas themselves are those of ``test_ray_worker.py``.
"""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.archive.store import Store
from serving.database.tables import jobs, results
from serving.jobs.ray_application import Plan, identify, state
from serving.jobs.ray_engine import open_ray_engine
from serving.jobs.ray_reaper import processes_of
from tests.serving.service.scene import (
    SHORT_PAUSE_S,
    a_copy,
    a_room,
    nothing_is_lost_or_doubled,
    ray_folder,
    small_study,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("ray")]

ROUNDS, REPLICAS = 20, 2
OWN_RAY_EVERY = 4
# The second study of a round is caught before its commit, so that the first gets on.
PASSES = {"before-finish": 2, "after-finish": 1}


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


@pytest.mark.parametrize("point", PASSES)
def test_twenty_kills_of_drivers_lose_nothing_double_nothing_and_leave_no_ray(
    point: str, lasting_ray: str, tmp_path: Path
) -> None:
    """Most rounds drive the same Ray one after the other, every fourth has a Ray of its own."""
    studies = ROUNDS + REPLICAS
    quick: dict[str, Any] = {"attempts": ROUNDS, "pause_s": SHORT_PAUSE_S}
    fault = f"{point}:{PASSES[point]}"
    with a_room(tmp_path, engine="ray", workers=REPLICAS, **quick) as room:
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
