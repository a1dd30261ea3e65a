"""The engine ``ray`` on a local Ray of two replicas: how it is bounded, and what faults do."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from serving.archive.store import Store
from serving.jobs.engine import Analysed, EngineLost
from serving.jobs.ray_application import deploy, state
from serving.jobs.ray_engine import RayEngine
from serving.jobs.ray_local import LocalRay
from serving.jobs.ray_reaper import processes_of
from tests.serving.jobs.engines import Counted, Shelf, a_shelf

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]

REPLICA = "ray::ServeRepli"


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return a_shelf(tmp_path)


def local_of(engine: RayEngine) -> LocalRay:
    assert engine._local is not None
    return engine._local


def replicas_of(engine: RayEngine) -> set[int]:
    return {each.id for each in processes_of(local_of(engine).folder) if each.name == REPLICA}


def test_many_requests_never_put_more_than_slots_in_flight(
    ray_engine: RayEngine, shelf: Shelf
) -> None:
    counted = Counted(ray_engine._calls)
    engine = RayEngine(counted, ray_engine._plan, Store, None, print)  # type: ignore[arg-type]
    request = shelf.request()
    results: list[Analysed] = []
    threads = [
        threading.Thread(target=lambda: results.append(engine.analyse(request))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine._is_closing.set()
    assert len(results) == 8
    assert counted.most == engine.slots == 2


def test_a_killed_replica_loses_its_study_to_the_queue_and_the_other_goes_on(
    ray_engine: RayEngine, shelf: Shelf
) -> None:
    request = shelf.request()
    before = replicas_of(ray_engine)
    outcomes: list[object] = []

    def analyse() -> None:
        try:
            outcomes.append(ray_engine.analyse(request))
        except EngineLost as error:
            outcomes.append(error)

    threads = [threading.Thread(target=analyse) for _ in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(0.4)
    os.kill(min(before), signal.SIGKILL)
    for thread in threads:
        thread.join(120)
    lost = [each for each in outcomes if isinstance(each, EngineLost)]
    assert [error.code for error in lost] == ["engine-lost"]
    # At once, by the one that is left.
    assert shelf.bytes_of(ray_engine.analyse(request)).keys() >= {"sr.dcm", "seg.dcm"}
    assert ray_engine.healthy()
    end = time.monotonic() + 90
    while len(replicas_of(ray_engine)) < 2:
        assert time.monotonic() < end
        time.sleep(0.2)


def test_nothing_of_ray_serves_a_stranger(ray_engine: RayEngine) -> None:
    import grpc

    ours = {each.id for each in processes_of(local_of(ray_engine).folder)} | {os.getpid()}
    listening = _listening(ours)
    assert listening
    outside = {port for address, port in listening if address != "127.0.0.1"}
    # What listens on all interfaces is Ray Serve's own port of each replica: it wants the token.
    assert len(outside) <= 2
    for port in outside:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary("/ray.serve.ASGIService/HandleRequest")
            with pytest.raises(grpc.RpcError) as refused:
                call(b"", timeout=10)
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("token", "code"), [("", "configuration"), ("0123456789abcdef" * 4, "unreachable")]
)
def test_a_driver_without_the_token_is_refused(
    ray_engine: RayEngine, token: str, code: str, tmp_path: Path
) -> None:
    ended = _firstread(["status"], tmp_path, RAY_AUTH_TOKEN=token)
    assert f"error[{code}]" in ended.stderr, ended.stderr
    assert "RAY_AUTH_TOKEN" in ended.stderr
    assert ended.stdout == ""


def test_an_application_is_shown_changed_and_used_on_an_existing_cluster(
    ray_engine: RayEngine, tmp_path: Path
) -> None:
    shown = _firstread(["status", "--json"], tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["status"] == "RUNNING"
    script = tmp_path / "driver.py"
    script.write_text(_DRIVER)
    used = subprocess.run(
        [sys.executable, script, _address(), str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert used.returncode == 0, used.stderr
    assert used.stdout.split() == ["1", "True"]
    changed = _firstread(["deploy", "--replicas", "1", "--json"], tmp_path)
    assert changed.returncode == 0, changed.stderr
    assert json.loads(changed.stdout)["replicas"]["RUNNING"] == 1
    deploy(ray_engine._plan, Store)
    assert state().replicas["RUNNING"] == 2


_DRIVER = """
import sys
from pathlib import Path
from serving.archive.store import Store
from serving.jobs.ray_application import Plan, identify
from serving.jobs.ray_engine import open_ray_engine
from tests.serving.jobs.engines import a_shelf

plan = Plan(1, 1, identify(None).reference, "balanced")
engine = open_ray_engine(plan, Store, address=sys.argv[1])
shelf = a_shelf(Path(sys.argv[2]))
print(engine.slots, "sr.dcm" in engine.analyse(shelf.request()).files)
engine.close()
"""


def _firstread(
    words: list[str], home: Path, **environment: str
) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", "from serving.cli import main; main()", "ray", *words]
    given = {**os.environ, "HOME": str(home), **environment}
    return subprocess.run(
        [*command, "--address", _address()],
        check=False,
        env={name: value for name, value in given.items() if value},
        capture_output=True,
        text=True,
    )


def _address() -> str:
    import ray

    return str(ray.get_runtime_context().gcs_address)


def _listening(processes: set[int]) -> set[tuple[str, int]]:
    """Return address and port of everything on which these processes listen."""
    found = set()
    sockets = {}
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A":
                host, _, port = words[1].partition(":")
                is_loopback = host.endswith("0100007F")
                sockets[words[9]] = ("127.0.0.1" if is_loopback else host, int(port, 16))
    for process in processes:
        for link in Path(f"/proc/{process}/fd").iterdir():
            try:
                named = re.fullmatch(r"socket:\[(\d+)\]", str(link.readlink()))
            except FileNotFoundError:
                continue
            if named and named[1] in sockets:
                found.add(sockets[named[1]])
    return found
