"""The demonstration as a whole: real processes, stopped midway and started again."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from serving.database.tables import instances, studies, tokens
from serving.service.demonstration import STUDIES
from tests.serving.service.scene import Room, Up, a_copy, a_room, send, service, small_study

pytestmark = pytest.mark.slow

# The one that is not there takes seconds to make: time to stop the process that makes it.
LAST_MADE = STUDIES[1]


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    """Give a service that analyses nothing here, with three studies of the demonstration made."""
    with a_room(tmp_path / "data", settle_s=3600.0) as made:
        for number, study in enumerate(STUDIES):
            if study is not LAST_MADE:
                place = made.settings.data / "demonstration" / study.folder
                place.mkdir(parents=True)
                for name, data in enumerate(a_copy(small_study(), number)):
                    (place / f"{name}.dcm").write_bytes(data)
        yield made


def demonstration_of(up: Up) -> psutil.Process:
    (found,) = (
        process
        for process in psutil.Process(up.process.pid).children()
        if "serving.service.demonstration_process" in process.cmdline()
    )
    return found


def wait_until_said(room: Room, up: Up, words: str) -> None:
    room.wait(lambda: words in up.said.read_text("utf-8"))


def valid_tokens(room: Room) -> list[str]:
    return [row["label"] for row in room.rows(tokens) if row["revoked_at"] is None]


def test_what_was_stopped_midway_is_finished_at_the_next_start_and_said_as_it_is(
    room: Room,
) -> None:
    with service(room, demonstration=True) as up:
        wait_until_said(room, up, "4 synthetic studies come one after the other:\n  1 of 4")
    assert valid_tokens(room) == []
    assert len(room.rows(studies)) < len(STUDIES)
    with service(room, demonstration=True) as up:
        wait_until_said(room, up, "3 synthetic studies come")
        wait_until_said(room, up, "3 of 3")
        room.wait(lambda: valid_tokens(room) == [])
    assert len(room.rows(studies)) == len(STUDIES)
    held = room.rows(instances)
    with service(room, demonstration=True) as up:
        room.wait(lambda: room.logged("demonstration is there"))
        assert "studies" not in up.said.read_text("utf-8")
    assert room.rows(instances) == held


def test_the_token_of_one_that_was_killed_is_worth_nothing_after_the_next_start(
    room: Room,
) -> None:
    with service(room, demonstration=True) as up:
        wait_until_said(room, up, "1 of 4")
        os.kill(demonstration_of(up).pid, signal.SIGKILL)
    assert valid_tokens(room) == ["demonstration"]
    with service(room):
        assert valid_tokens(room) == []


def test_among_studies_of_other_hospitals_nothing_is_sent_and_that_is_said(room: Room) -> None:
    with service(room) as up:
        send(room, up, a_copy(small_study(), 77))
    with service(room, demonstration=True) as up:
        wait_until_said(room, up, "the synthetic studies are not sent")
    assert len(room.rows(studies)) == 1
