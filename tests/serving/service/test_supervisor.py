"""Rules of the supervisor that need no process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import update

from serving.database.engine import writing
from serving.database.tables import cases, jobs
from serving.jobs import queue
from serving.service.processes import child_environment, environment_of, host_name
from serving.service.supervisor import (
    FREE_RESTARTS,
    LONGEST_PAUSE_S,
    Supervisor,
    answers_ready,
    is_of_dead_supervisor,
    pause_s,
)
from serving.service.up import address_of, listen
from serving.settings import Settings, read_settings
from serving.studies.life import settle
from tests.serving.studies.a_study import NOW, QUIET_S, Archive, an_instance, rows_of


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


def test_a_job_that_cannot_be_taken_back_from_a_dead_worker_ends_nothing(
    database: str, tmp_path: Path
) -> None:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    owner = f"{host_name()}.{done.pid}.worker-1.ab"
    archive = Archive(tmp_path)
    archive.receive(an_instance(study="a"), an_instance(study="b"))
    settle(archive.engine, NOW + QUIET_S, QUIET_S)
    with writing(archive.engine) as connection:
        bad = queue.claim(connection, owner, NOW, 60.0)
        good = queue.claim(connection, owner, NOW, 60.0)
        assert bad is not None
        assert good is not None
        # From where no death of a worker leads back to waiting.
        of_bad = cases.c.study_id == bad.study_id
        connection.execute(update(cases).where(of_bad).values(ai_state="scored"))
    with listen("127.0.0.1", 0) as listener:
        supervisor = Supervisor(Settings(data=tmp_path), archive.engine, listener)
        supervisor.stop.set()
        supervisor.run(lambda: None)
    states = {row["id"]: row["state"] for row in rows_of(archive, jobs)}
    assert states == {bad.id: "leased", good.id: "queued"}
    archive.close()


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
