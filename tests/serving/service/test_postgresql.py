"""The real service on a real PostgreSQL: it works, its workers are killed, its server goes away."""

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.serving.databases import on
from tests.serving.postgresql import PASSWORD, Server, a_server, programs
from tests.serving.service.scene import (
    Room,
    a_copy,
    a_room,
    nothing_is_lost_or_doubled,
    send,
    service,
    small_study,
)

pytestmark = [pytest.mark.slow, pytest.mark.services, pytest.mark.timeout(900)]

POINTS = ("mid-inference", "after-sr", "before-finish", "after-finish")
OUTAGES = ("immediate", "fast", "immediate")


@pytest.fixture
def server() -> Iterator[Server]:
    """Give a server of one's own: it will be stopped."""
    if programs() is None:
        pytest.skip("PostgreSQL is absent: apt-get install postgresql")
    with a_server() as made:
        yield made


@pytest.fixture
def room(server: Server, tmp_path: Path) -> Iterator[Room]:
    with on(server.url), a_room(tmp_path / "data", heartbeat_s=0.5, attempts=20) as made:
        yield made


def test_a_study_is_sent_and_scored_and_no_word_of_the_password_is_left(room: Room) -> None:
    with service(room) as up:
        send(room, up, small_study())
        room.wait(lambda: room.states() and room.is_settled())
        words = Path(f"/proc/{up.process.pid}/cmdline").read_text("utf-8")
    nothing_is_lost_or_doubled(room)
    assert PASSWORD in room.settings.database_url
    assert PASSWORD not in room.log.read_text("utf-8") + up.said.read_text("utf-8") + words


def test_workers_that_are_killed_at_every_point_lose_nothing_and_double_nothing(
    room: Room,
) -> None:
    for number, point in enumerate(POINTS):
        room.receive(a_copy(small_study(), number))
        worker = room.start_worker(fault=f"{point}:1")
        assert worker.wait(120) == -signal.SIGKILL, room.log.read_text("utf-8")[-3000:]
    room.start_worker()
    room.wait(lambda: room.is_settled() and len(room.states()) == len(POINTS))
    nothing_is_lost_or_doubled(room)


def test_a_server_that_goes_away_under_load_and_comes_back_costs_nothing(
    room: Room, server: Server
) -> None:
    studies = [a_copy(small_study(), number) for number in range(2 * len(OUTAGES))]
    with service(room, workers=2) as up:
        sending = threading.Thread(target=send, args=(room, up, *studies))
        sending.start()
        for mode in OUTAGES:
            time.sleep(2)
            server.stop(mode)
            told = httpx.get(f"{up.url}/readyz", timeout=30)
            assert (told.status_code, told.json()["checks"]["database"]) == (503, False)
            time.sleep(1)
            server.start()
        sending.join(300)
        assert not sending.is_alive()
        room.wait(lambda: len(room.states()) == len(studies) and room.is_settled())
        room.wait(lambda: httpx.get(f"{up.url}/readyz", timeout=30).status_code == 200)
        # Nobody had to be started again for it.
        assert up.process.poll() is None
        assert len(room.logged("started")) == 3
    nothing_is_lost_or_doubled(room)
    assert len(room.acknowledged) == sum(map(len, studies))
    assert room.logged("waiting for the database")
    assert not room.logged("bug")
