"""``firstread up`` as a whole: real processes, started, killed and ended."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import httpx
import psutil
import pytest

from serving.database.engine import reading
from serving.database.tables import cases, jobs
from serving.jobs import workers
from serving.service.up import tell_cautions
from serving.worklist.urgency import read_policy
from tests.serving.service.scene import (
    Room,
    Up,
    a_copy,
    a_room,
    a_token,
    nothing_is_lost_or_doubled,
    send,
    service,
    small_study,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with a_room(tmp_path / "data", heartbeat_s=0.5) as made:
        yield made


def test_it_starts_serves_says_who_may_log_in_once_and_ends_without_a_trace(room: Room) -> None:
    with service(room) as up:
        said = up.said.read_text("utf-8")
        password = re.search(r"^first log-in, shown once: admin / (\S+)$", said, re.MULTILINE)
        assert password is not None
        answer = httpx.get(f"{up.url}/readyz")
        assert (answer.status_code, answer.json()["status"]) == (200, "ready")
        send(room, up, small_study())
        room.wait(lambda: room.states() and room.is_settled())
        family = psutil.Process(up.process.pid).children(recursive=True)
        assert len(family) >= 2
        began = time.monotonic()
        up.process.terminate()
        assert up.process.wait(30) == 0
        assert time.monotonic() - began < 20
        assert not [process for process in family if process.is_running()]
    nothing_is_lost_or_doubled(room)
    assert not list((room.settings.data / "scratch").iterdir())
    assert password[1] not in room.log.read_text("utf-8")
    with reading(room.database) as connection:
        assert workers.last_heard(connection) == {}
    with service(room) as up:
        assert "first log-in" not in up.said.read_text("utf-8")


def test_the_log_names_no_study_that_was_sent_or_asked_for(room: Room) -> None:
    with service(room) as up:
        send(room, up, small_study())
        room.wait(lambda: room.states() and room.is_settled())
        client = httpx.Client(headers={"Authorization": f"Bearer {a_token(room)}"})
        found = client.get(f"{up.url}/dicom-web/studies").json()
        study_uid = found[0]["0020000D"]["Value"][0]
        for path in (
            f"studies/{study_uid}/metadata",
            f"studies/{study_uid}9/series",
            "studies?x=1",
        ):
            client.get(f"{up.url}/dicom-web/{path}")
        client.close()
    log = room.log.read_text("utf-8")
    assert room.logged("request")
    assert not re.search(r"2\.25\.\d+", log)
    assert study_uid not in log


def test_the_web_process_is_killed_again_and_again_and_no_sender_loses_anything(
    room: Room,
) -> None:
    kills = 4

    def kill(up: Up) -> None:
        for _ in range(kills):
            # While nobody serves, this waits in the socket like every other caller.
            httpx.get(f"{up.url}/healthz", timeout=60)
            time.sleep(0.2)
            os.kill(up.children(room)["web"], signal.SIGKILL)

    with service(room) as up:
        killer = threading.Thread(target=kill, args=(up,), daemon=True)
        killer.start()
        sent = 0
        while killer.is_alive():
            send(room, up, a_copy(small_study(), sent))
            sent += 1
        room.wait(lambda: room.is_settled() and len(room.states()) == sent)
    ends = [line for line in room.logged("ended") if line["child"] == "web"]
    assert len(ends) == kills
    nothing_is_lost_or_doubled(room)


def test_a_killed_web_process_leaves_no_temporary_file(room: Room) -> None:
    with service(room) as up:
        web = up.children(room)["web"]
        folder = Path(psutil.Process(web).environ().get("TMPDIR", ""))
        assert folder.parent == (room.settings.data / "scratch").absolute()
        # As an inflated data set lies there while its frames are read.
        (folder / "inflated").write_bytes(b"pixels")
        os.kill(web, signal.SIGKILL)
        room.wait(lambda: not folder.exists())
        assert httpx.get(f"{up.url}/healthz", timeout=60).status_code == 200
    assert not list((room.settings.data / "scratch").iterdir())


def test_what_a_killed_worker_held_is_analysed_at_once(room: Room) -> None:
    with service(room, lease_s=600.0, heartbeat_s=10.0) as up:
        send(room, up, small_study())
        room.wait(lambda: room.states() == ["analysing"])
        os.kill(up.children(room)["worker-1"], signal.SIGKILL)
        room.wait(room.is_settled, 60)
    nothing_is_lost_or_doubled(room)
    assert [row["attempts"] for row in room.rows(jobs)] == [2]
    assert not list((room.settings.data / "scratch").iterdir())


def test_a_study_that_kills_every_worker_is_quarantined(room: Room) -> None:
    with service(room, fault="mid-inference:1", lease_s=600.0) as up:
        send(room, up, small_study())
        room.wait(room.is_settled)
    (case,) = room.rows(cases)
    assert case["summary"]["reasons"] == [{"code": "analysis-crashed"}]
    assert [(row["state"], row["attempts"]) for row in room.rows(jobs)] == [("quarantined", 3)]


def test_a_worker_that_says_nothing_is_replaced(room: Room) -> None:
    with service(room, lease_s=2.0) as up:
        stopped = up.children(room)["worker-1"]
        os.kill(stopped, signal.SIGSTOP)
        send(room, up, small_study())
        room.wait(lambda: room.states() == ["scored"])
        assert room.logged("silent worker killed")
        assert not psutil.pid_exists(stopped)


def test_children_die_with_a_supervisor_that_was_killed(room: Room) -> None:
    with service(room) as up:
        family = psutil.Process(up.process.pid).children(recursive=True)
        up.process.kill()
        up.process.wait()
        _gone, alive = psutil.wait_procs(family, 20)
        assert not alive


def test_the_next_start_takes_back_what_a_killed_service_held(room: Room) -> None:
    with service(room, lease_s=600.0) as up:
        send(room, up, small_study())
        room.wait(lambda: room.states() == ["analysing"])
        up.process.kill()
        up.process.wait()
    assert [row["state"] for row in room.rows(jobs)] == ["leased"]
    with service(room, lease_s=600.0):
        room.wait(room.is_settled, 60)
    nothing_is_lost_or_doubled(room)


@pytest.mark.parametrize(
    ("changes", "code", "error"),
    [
        ({"package": "no_such"}, 6, "package-missing"),
        ({"operating_point": "none"}, 8, "configuration"),
        ({"database": "sqlite:////proc/no.sqlite"}, 9, "unavailable"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_started(
    tmp_path: Path, changes: dict[str, str], code: int, error: str
) -> None:
    done = run_up(tmp_path, changes)
    assert done.returncode == code
    assert f"error[{error}]" in done.stderr
    assert '"started"' not in done.stderr


def test_alerts_at_a_point_that_the_package_lacks_are_refused(tmp_path: Path) -> None:
    rules = (files("configs") / "urgency.yaml").read_text("utf-8")
    path = tmp_path / "mine.yaml"
    path.write_text(rules.replace("few_alerts", "fewer_alerts"), "utf-8")
    done = run_up(tmp_path, {"urgency": str(path)})
    assert done.returncode == 8
    assert "no operating point 'fewer_alerts'" in done.stderr


def test_rules_that_promise_less_are_told_in_both_languages_and_keep_nothing_from_starting(
    tmp_path: Path,
) -> None:
    rules = (files("configs") / "urgency.yaml").read_text("utf-8")
    path = tmp_path / "mine.yaml"
    path.write_text(rules.replace("share: 0.25", "share: 0.2"), "utf-8")
    told: list[str] = []
    tell_cautions(read_policy(path), told.append)
    assert ["0.225" in line for line in told] == [True, True]


def test_a_port_that_is_taken_is_said_so(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run_up(tmp_path, {"port": str(taken.getsockname()[1])})
    assert done.returncode == 8
    assert "error[configuration]: cannot listen on 127.0.0.1" in done.stderr


def run_up(folder: Path, changes: dict[str, str]) -> subprocess.CompletedProcess[str]:
    said = {"data": str(folder / "data"), "port": "0", **changes}
    environment = os.environ | {f"FIRSTREAD_{name.upper()}": value for name, value in said.items()}
    code = "from serving.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "up"],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
