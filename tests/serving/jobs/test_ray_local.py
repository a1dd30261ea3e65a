"""A local Ray leaves nothing behind, in whatever way its driver ends."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from firstread.errors import ConfigurationError
from serving.jobs import ray_local
from serving.jobs.ray_reaper import MARKER, clean_up, processes_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "ray"
    (made / "session" / "logs").mkdir(parents=True)
    (made / "session" / "logs" / "log").write_text("log")
    return made


@contextmanager
def a_sleeper(**environment: str) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(["sleep", "60"], env=environment, start_new_session=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_clean_up_ends_the_marked_processes_and_no_other(folder: Path) -> None:
    with (
        a_sleeper(PATH=os.environ["PATH"], **{MARKER: str(folder)}, A="b") as marked,
        a_sleeper(PATH=os.environ["PATH"], **{MARKER: f"{folder}2"}) as other,
        a_sleeper(PATH=os.environ["PATH"]) as unmarked,
    ):
        assert [each.id for each in processes_of(folder)] == [marked.pid]
        assert clean_up(folder)
        assert marked.wait(5) == -signal.SIGKILL
        assert other.poll() is None
        assert unmarked.poll() is None
    assert not folder.exists()


def test_a_process_that_lost_its_mark_is_known_by_its_files_and_the_driver_is_spared(
    folder: Path,
) -> None:
    code = f"import time; log = open({str(folder / 'session' / 'logs' / 'log')!r}); time.sleep(60)"
    ours = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    try:
        _wait(lambda: {each.id for each in processes_of(folder)} == {each.pid for each in ours})
        assert clean_up(folder, but=ours[0].pid)
        assert ours[1].wait(5) == -signal.SIGKILL
        assert ours[0].poll() is None
    finally:
        for process in ours:
            process.kill()
            process.wait()


def test_the_reaper_waits_for_its_driver_and_outlives_a_stop(folder: Path) -> None:
    with a_sleeper(PATH=os.environ["PATH"], **{MARKER: str(folder)}) as marked:
        reaper = subprocess.Popen(
            [sys.executable, "-m", "serving.jobs.ray_reaper", str(folder), str(os.getpid())],
            stdin=subprocess.PIPE,
        )
        _wait(lambda: b"ray_reaper" in Path(f"/proc/{reaper.pid}/cmdline").read_bytes())
        time.sleep(0.5)
        reaper.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert reaper.poll() is None
        assert marked.poll() is None
        assert reaper.stdin is not None
        reaper.stdin.close()
        assert reaper.wait(10) == 0
        assert marked.wait(5) == -signal.SIGKILL
    assert not folder.exists()


def test_a_start_sweeps_what_dead_drivers_left_and_not_what_living_ones_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    old = time.time() - 3600
    dead, alive, fresh = (tmp_path / f"{ray_local.FOLDER_PREFIX}{name}" for name in "abc")
    for each in (dead, alive, fresh):
        each.mkdir()
        (each / "lock").touch()
        if each != fresh:
            os.utime(each, (old, old))
    with (alive / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert ray_local.sweep() == 1
    assert [each.exists() for each in (dead, alive, fresh)] == [False, True, True]


def test_a_folder_too_long_for_sockets_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "a-folder-with-a-long-name-indeed"))
    Path(tmp_path / "a-folder-with-a-long-name-indeed").mkdir()
    with pytest.raises(ConfigurationError, match="TMPDIR"):
        ray_local.start_local_ray(1)


_DRIVER = """
import os, signal, sys, time
from serving.jobs.ray_local import start_local_ray

local = start_local_ray(1)
print(local.folder, *local.vital, flush=True)
sys.stdin.readline()
local.close()
assert not local.folder.exists()
print("closed", signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, flush=True)
"""


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
@pytest.mark.parametrize("end", ["close", "kill"])
def test_after_the_end_of_a_driver_no_process_and_no_file_is_left(end: str) -> None:
    driver = subprocess.Popen(
        [sys.executable, "-c", _DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert driver.stdin is not None
    assert driver.stdout is not None
    name, *_vital = driver.stdout.readline().split()
    folder = Path(name)
    assert {"gcs_server", "raylet"} <= {each.name for each in processes_of(folder)}
    if end == "close":
        driver.stdin.write("\n")
        driver.stdin.close()
        assert driver.stdout.readline().split() == ["closed", "True"]
        assert driver.wait(30) == 0
    else:
        driver.kill()
        driver.wait()
        driver.stdin.close()
    driver.stdout.close()
    _wait(lambda: not folder.exists() and not processes_of(folder))


def _wait(until: Callable[[], bool]) -> None:
    end = time.monotonic() + 15
    while not until():
        assert time.monotonic() < end
        time.sleep(0.05)
