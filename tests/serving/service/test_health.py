"""Whether the service says truly that it lives and can work."""

import shutil
from pathlib import Path

from serving.database.engine import writing
from serving.jobs.workers import report
from tests.serving.databases import gone
from tests.serving.house import House, a_house


def work(house: House, *, is_healthy: bool = True) -> None:
    with writing(house.engine) as connection:
        report(connection, "w.1", "inline", is_healthy=is_healthy, now=house.clock.now)


def ready(house: House) -> tuple[int, dict[str, bool]]:
    answer = house.client().get("/readyz")
    return answer.status_code, answer.json()["checks"]


def test_with_a_worker_a_store_and_a_database_it_is_ready(house: House) -> None:
    work(house)
    assert ready(house) == (200, {"database": True, "store": True, "engine": True})


def test_without_a_worker_it_is_not(house: House) -> None:
    assert ready(house) == (503, {"database": True, "store": True, "engine": False})


def test_a_worker_whose_engine_is_lost_does_not_count(house: House) -> None:
    work(house)
    work(house, is_healthy=False)
    assert ready(house)[1]["engine"] is False


def test_a_worker_that_has_fallen_silent_does_not_count(house: House) -> None:
    work(house)
    house.clock.now += house.app.state.service.settings.lease_s
    assert ready(house)[0] == 503


def test_a_store_that_is_gone_is_told(house: House) -> None:
    work(house)
    shutil.rmtree(house.app.state.service.settings.store_folder)
    assert ready(house) == (503, {"database": True, "store": False, "engine": True})


def test_a_store_without_room_is_told(tmp_path: Path) -> None:
    with a_house(tmp_path, free_bytes=1 << 62) as house:
        work(house)
        assert ready(house)[1]["store"] is False


def test_a_database_that_fails_is_told_and_the_process_still_lives(house: House) -> None:
    with gone(house.engine):
        assert ready(house)[1]["database"] is False
        assert house.client().get("/healthz").json() == {"status": "ok"}
    assert ready(house)[1]["database"] is True
