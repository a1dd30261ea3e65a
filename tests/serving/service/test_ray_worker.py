"""A real worker process whose engine is a local Ray of two replicas."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from serving.database.tables import jobs, results
from serving.jobs.ray_engine import EXIT_LOST
from serving.jobs.ray_reaper import processes_of
from tests.serving.service.scene import (
    SHORT_PAUSE_S,
    a_copy,
    a_room,
    nothing_is_lost_or_doubled,
    ray_folder,
    small_study,
)

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]

ROUNDS, REPLICAS = 20, 2


@pytest.mark.timeout(600)
@pytest.mark.parametrize("point", ["mid-inference", "after-sr"])
def test_twenty_kills_of_replicas_lose_nothing_and_double_nothing(
    point: str, tmp_path: Path
) -> None:
    studies = ROUNDS + REPLICAS
    quick: dict[str, Any] = {"attempts": ROUNDS, "pause_s": SHORT_PAUSE_S}
    with a_room(tmp_path, engine="ray", workers=REPLICAS, **quick) as room:
        for number in range(studies):
            room.receive(a_copy(small_study(), number))
        # Each replica, and each that takes its place, is killed in its second study.
        worker = room.start_worker(fault=f"{point}:2")
        room.wait(lambda: room.is_settled() and len(room.states()) == studies, 480)
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
