"""A process is killed at every named point; nothing that was acknowledged is lost or doubled."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from serving.database.tables import instances, jobs, results
from serving.faults import VARIABLE
from serving.studies.life import Outcome, begin, recover, settle
from tests.serving.databases import only_sqlite
from tests.serving.studies.a_study import (
    LEASE_S,
    NOW,
    PAUSE_S,
    QUIET_S,
    Archive,
    an_instance,
    rows_of,
)
from tests.serving.system_calls import WATCHED, Calls

ROOT = Path(__file__).parents[3]
FILES = 6


def run(
    archive: Archive, *arguments: str, fault: str = "", before: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, "-m", "tests.serving.studies.a_process"]
    return subprocess.run(
        [*command, str(archive.folder), *arguments],
        cwd=ROOT,
        env={**os.environ, VARIABLE: fault},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "sent"
    folder.mkdir()
    paths = []
    for number in range(1, FILES + 1):
        paths.append(folder / f"{number}.dcm")
        paths[-1].write_bytes(an_instance(number))
    return paths


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        f"{name}:{count}"
        for name, counts in (
            ("after-bytes", (1, 4)),
            ("after-fsync", (1, 4)),
            ("before-commit", (1, 2)),
            ("after-commit", (1, 2)),
        )
        for count in counts
    ],
)
def test_a_receiver_that_is_killed_loses_and_doubles_nothing(
    archive: Archive, files: list[Path], fault: str
) -> None:
    died = run(archive, "receive", *map(str, files), fault=fault)
    assert died.returncode == -signal.SIGKILL
    acknowledged = set(re.findall(r"[0-9.]{10,}", died.stdout))
    filed = {row["sop_instance_uid"]: row["sha256"] for row in rows_of(archive, instances)}
    assert acknowledged <= filed.keys()
    for sha256 in filed.values():
        archive.store.read(sha256)
    # The sender had no answer, so it sends everything again.
    again = archive.receive(*(path.read_bytes() for path in files))
    assert {answer.outcome for answer in again} <= {"stored", "already"}
    assert len(rows_of(archive, instances)) == FILES
    archive.store.sweep()
    assert not list((archive.store.folder / "tmp").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("point", ["before-finish", "after-finish"])
def test_a_worker_that_is_killed_at_the_end_leaves_one_result(archive: Archive, point: str) -> None:
    archive.receive(an_instance(1))
    settle(archive.engine, NOW + QUIET_S, QUIET_S)
    assert run(archive, "finish", fault=f"{point}:1").returncode == -signal.SIGKILL
    assert len(rows_of(archive, results)) == (point == "after-finish")
    recover(archive.engine, NOW + QUIET_S + LEASE_S + 1, LEASE_S, 3, first_pause_s=PAUSE_S)
    job = archive.claim(NOW + 100)
    if job is not None:
        begin(archive.engine, job, NOW + 100)
        ended = archive.finish(
            job,
            archive.analysed(8.0),
            now=NOW + 101,
        )
        assert ended is Outcome.DONE
    assert [row["is_visible"] for row in rows_of(archive, results)] == [True]
    assert [row["state"] for row in rows_of(archive, jobs)] == ["done"]
    assert sum(row["result_id"] is not None for row in rows_of(archive, instances)) == 1


@only_sqlite
@pytest.mark.services
def test_bytes_name_and_rows_are_on_disk_before_the_answer(
    archive: Archive, files: list[Path], tmp_path: Path
) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is absent")
    log = tmp_path / "calls"
    watch = ("strace", "-f", "-y", "-s", "200", "-o", str(log))
    # Two requests: SQLite syncs the first write to a new log in every mode.
    done = run(archive, "receive", *map(str, files[:4]), before=(*watch, *WATCHED))
    if "PTRACE" in done.stderr or "Operation not permitted" in done.stderr:
        pytest.skip("strace may not watch a process here")
    assert done.returncode == 0, done.stderr
    calls = Calls(log.read_text("utf-8", "replace").splitlines())
    answered = -1
    for answer in done.stdout.splitlines():
        answered = calls.after(r'write\(1<.*"acknowledged', answered)
        committed = calls.last(r"f(data)?sync\(\d+<.*\.sqlite-wal>", answered)
        for row in rows_of(archive, instances):
            if row["sop_instance_uid"] in answer:
                durable = calls.durable(row["sha256"])
                assert durable < committed < answered
