"""Workers killed at every named point, twenty times each, with the shipped package.

Each round sends one more study and starts a worker that kills itself; the next worker finds what
the last one left, and is killed over one of the two. In the end a worker that lives finishes all.
"""

import signal
from pathlib import Path

import pytest

from serving.database.tables import jobs, results
from tests.serving.service.scene import (
    SHORT_PAUSE_S,
    Room,
    a_copy,
    a_room,
    nothing_is_lost_or_doubled,
    small_study,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROUNDS = 20
# Of each round's two analyses the second is killed; after a commit the study is not taken again.
PASSES = {"mid-inference": 2, "after-sr": 2, "before-finish": 2, "after-finish": 1}


@pytest.mark.parametrize("point", PASSES)
def test_twenty_kills_lose_nothing_and_double_nothing(point: str, tmp_path: Path) -> None:
    with a_room(tmp_path, attempts=ROUNDS, pause_s=SHORT_PAUSE_S) as room:
        for number in range(ROUNDS):
            room.receive(a_copy(small_study(), number))
            passes = 1 if number == 0 else PASSES[point]
            worker = room.start_worker(fault=f"{point}:{passes}")
            assert worker.wait(120) == -signal.SIGKILL, room.log.read_text("utf-8")[-3000:]
            _no_result_is_visible_half(room)
        room.start_worker()
        room.wait(lambda: room.is_settled() and len(room.states()) == ROUNDS)
        nothing_is_lost_or_doubled(room)
        # What was killed before its commit left no trace of a result.
        assert len(room.rows(results)) == ROUNDS
        assert sum(row["attempts"] for row in room.rows(jobs)) >= ROUNDS


def _no_result_is_visible_half(room: Room) -> None:
    done = [row["study_id"] for row in room.rows(jobs) if row["state"] == "done"]
    assert len(room.rows(results)) == len(done)
