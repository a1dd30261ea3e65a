"""Rules of the supervisor that need no process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from serving.service.processes import child_environment, environment_of, host_name
from serving.service.supervisor import (
    FREE_RESTARTS,
    LONGEST_PAUSE_S,
    answers_ready,
    is_of_dead_supervisor,
    pause_s,
)
from serving.service.up import address_of, listen
from serving.settings import Settings, read_settings


def test_the_first_restarts_come_at_once_and_later_ones_ever_later() -> None:
    pauses = [pause_s(lives) for lives in range(20)]
    assert pauses[: FREE_RESTARTS + 1] == [0.0] * (FREE_RESTARTS + 1)
    assert pauses == sorted(pauses)
    assert pauses[FREE_RESTARTS + 1] > 0
    assert pauses[-1] == LONGEST_PAUSE_S


def test_a_worker_of_a_dead_supervisor_is_known_by_its_name() -> None:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    here = host_name()
    assert is_of_dead_supervisor(f"{here}.{done.pid}.worker-1.ab")
    # An earlier one, that had our own process id.
    assert is_of_dead_supervisor(f"{here}.{os.getpid()}.worker-1.ab")
    assert not is_of_dead_supervisor(f"{here}.{os.getppid()}.worker-1.ab")
    assert not is_of_dead_supervisor(f"elsewhere.{done.pid}.worker-1.ab")
    assert not is_of_dead_supervisor("test.worker-1")


def test_children_read_the_settings_that_their_parent_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data=tmp_path, workers=3, demonstration=True, lease_s=1.5)
    monkeypatch.setenv("FIRSTREAD_WORKERS", "7")
    environment = child_environment(settings, {**os.environ, "FIRSTREAD_TOKEN": "kept"})
    assert environment["FIRSTREAD_TOKEN"] == "kept"
    for name, value in environment_of(settings).items():
        monkeypatch.setenv(name, value)
    assert read_settings() == settings


def test_an_address_is_one_that_a_browser_opens() -> None:
    with listen("0.0.0.0", 0) as listener:
        assert address_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_service_that_does_not_answer_is_not_ready() -> None:
    with listen("127.0.0.1", 0) as listener:
        assert not answers_ready(listener, 0.05)
