"""Frames and pictures that hang hold up nothing but frames and pictures."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from functools import partial
from itertools import islice

import httpx
import pytest
from anyio import create_task_group, run, sleep
from sqlalchemy import select

from serving.api import pixel_work
from serving.database.engine import reading
from serving.database.tables import instances
from tests.serving.api.a_server import Server, a_server, bearer
from tests.serving.api.images import an_image

# More than the common pool has threads.
MANY = 60


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with a_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@contextmanager
def asking_for_what_hangs(server: Server, suffix: str) -> Iterator[list[Future[httpx.Response]]]:
    """Ask many times for an instance whose file does not answer until the block ends."""
    with ThreadPoolExecutor(MANY) as pool, a_file_that_hangs(server) as url:
        ask = partial(httpx.get, url + suffix, headers=bearer(server.token), timeout=60)
        answers = [pool.submit(ask) for _ in range(MANY)]
        # Until they have all come in.
        time.sleep(1)
        yield answers


@contextmanager
def a_file_that_hangs(server: Server) -> Iterator[str]:
    answer = server.stow(an_image())
    url: str = answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
    with reading(server.house.engine) as connection:
        sha256 = connection.execute(select(instances.c.sha256)).scalar_one()
    file = server.house.app.state.service.store.path(sha256)
    file.unlink()
    os.mkfifo(file)
    writer = os.open(file, os.O_RDWR)
    try:
        yield url
    finally:
        file.unlink()
        # Whoever reads it finds its end, and whoever comes later finds nothing.
        os.close(writer)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["/frames/1", "/rendered", "/thumbnail", "/bulkdata/7FE00010"])
def test_frames_that_hang_hold_up_nobody_else(server: Server, suffix: str) -> None:
    with asking_for_what_hangs(server, suffix) as answers:
        for url in (f"{server.url}/studies", f"http://127.0.0.1:{server.port}/readyz"):
            answer = httpx.get(url, headers=bearer(server.token), timeout=5)
            assert answer.status_code in (200, 503)
        assert not any(answer.done() for answer in answers)
    assert {answer.result().status_code for answer in answers} == {500}


@pytest.mark.slow
def test_who_would_wait_too_long_for_a_frame_is_told_to_come_back(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixel_work, "LONGEST_WAIT_S", 0.5)
    monkeypatch.setattr(pixel_work, "MOST_WAITING", 10)
    with asking_for_what_hangs(server, "/frames/1") as answers:
        sent_away = MANY - pixel_work.AT_ONCE
        told = [answer.result() for answer in islice(as_completed(answers, 30), sent_away)]
        assert {(answer.status_code, answer.json()["code"]) for answer in told} == {
            (503, "unavailable")
        }
        assert all(int(answer.headers["retry-after"]) > 0 for answer in told)
        assert sum(answer.elapsed.total_seconds() > 0.5 for answer in told) >= 10
        assert sum(not answer.done() for answer in answers) == pixel_work.AT_ONCE


def test_a_long_work_lets_others_in_and_is_never_sent_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pixel_work, "TURN_S", 0.0)
    done = list[str]()

    def steps(name: str) -> Iterator[None]:
        for _ in range(6):
            time.sleep(0.05)
            yield
        done.append(name)

    async def many() -> None:
        work = pixel_work.PixelWork()
        async with create_task_group() as group:
            for name in ("long", "long", "long", "long"):
                group.start_soon(work.run_all, steps(name))
            await sleep(0.15)
            group.start_soon(work.run, partial(done.append, "short"))
            await sleep(0.01)
            # Who comes now is sent away.
            monkeypatch.setattr(pixel_work, "MOST_WAITING", 0)

    run(many)
    # Without turns the four would have taken all there is for 0.6 s.
    assert done == ["short", *["long"] * 4]
