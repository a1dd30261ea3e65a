"""The web process is killed at every named point of receiving, twenty times at each.

A study is sent two slices at a time. Each life of the web process counts its points anew, so the
first request of a life goes well and the next one kills it: one kill for each request.
"""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from serving.database.tables import instances
from tests.serving.service.scene import (
    a_room,
    nothing_is_lost_or_doubled,
    send,
    service,
    small_study,
)
from tests.serving.system_calls import WATCHED, Calls

ROUNDS = 20
SLICES_AT_ONCE = 2


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "fault",
    [
        # The third object, and the second request, are of a life's second request.
        f"after-bytes:{SLICES_AT_ONCE + 1}",
        f"after-fsync:{SLICES_AT_ONCE + 1}",
        "before-commit:2",
        "after-commit:2",
    ],
)
def test_twenty_kills_of_the_web_process_lose_nothing_and_double_nothing(
    fault: str, tmp_path: Path
) -> None:
    files = small_study()
    with a_room(tmp_path / "data", settle_s=3600) as room:
        with service(room, fault=fault, longest_pause_s=0.1) as up:
            for first in range(0, len(files), SLICES_AT_ONCE):
                send(room, up, files[first : first + SLICES_AT_ONCE])
        kills = [line for line in room.logged("ended") if line["child"] == "web"]
        assert sum(line["code"] == -signal.SIGKILL for line in kills) >= ROUNDS
        assert len(room.acknowledged) == len(files)
        with service(room, settle_s=0.3):
            room.wait(lambda: room.states() and room.is_settled())
        nothing_is_lost_or_doubled(room)


@pytest.mark.services
def test_the_answer_leaves_when_bytes_names_and_rows_are_on_disk(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is absent")
    log = tmp_path / "calls"
    files = small_study()
    with a_room(tmp_path / "data", settle_s=3600) as room, service(room) as up:
        # SQLite syncs the first write to a new log in every mode: a second request is watched.
        send(room, up, files[:2])
        web = str(up.children(room)["web"])
        with log.open("wb") as said:
            strace = subprocess.Popen(
                ["strace", "-f", "-y", "-s", "200", "-p", web, "-o", str(log), *WATCHED],
                stderr=said,
            )
        room.wait(lambda: _is_traced(int(web)) or strace.poll() is not None)
        if strace.poll() is not None:
            pytest.skip("strace may not watch a process here")
        send(room, up, files[2:4])
        strace.send_signal(signal.SIGINT)
        strace.wait(30)
        keys = [row["sha256"] for row in room.rows(instances)[2:]]
    calls = Calls(log.read_text("utf-8", "replace").splitlines())
    # The first answer is that to the sender's question whether it may send.
    answers = r'(write|sendto|sendmsg)\(\d+<socket.*"HTTP/1.1 200 OK.*dicom'
    answered = calls.last(answers, len(calls.lines))
    committed = calls.last(r"f(data)?sync\(\d+<.*\.sqlite-wal>", answered)
    assert len(keys) == 2
    for key in keys:
        assert calls.durable(key) < committed < answered


def _is_traced(pid: int) -> bool:
    tasks = Path(f"/proc/{pid}/task")
    return all(
        "TracerPid:\t0" not in (task / "status").read_text("utf-8")
        for task in tasks.iterdir()
        if os.access(task, os.R_OK)
    )
