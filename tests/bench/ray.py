"""What a local Ray costs beside bare processes: ``python -m tests.bench.ray`` (two minutes).

Two replicas of one thread against two processes of one thread that run the same function, in turns,
on a small phantom (44 slices): long studies hide the cost of a call, this one does not. The third
row has one call more than there are replicas, which waits inside Ray Serve.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from serving.archive.store import Store
from serving.jobs.engine import AnalysisRequest
from serving.jobs.inline import InlineEngine
from serving.jobs.ray_application import Plan, identify
from serving.jobs.ray_engine import RayEngine, open_ray_engine
from serving.jobs.ray_reaper import processes_of
from tests.serving.jobs.engines import a_shelf

REPLICAS = 2
IDLE_S = 10.0


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ray", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--studies", type=int, default=12, help="Of each round.")
    parser.add_argument("--bare", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.bare:
        _serve_bare(json.loads(given.bare))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        request = a_shelf(Path(folder)).request()
        with _bare(request) as calls, _ray() as engine:
            _compare(engine, request, calls, given.rounds, given.studies)
            _tell_cost(engine)
    return 0


def _compare(
    engine: RayEngine,
    request: AnalysisRequest,
    bare: list["subprocess.Popen[str]"],
    rounds: int,
    studies: int,
) -> None:
    one_more = replace(engine._plan, replicas=REPLICAS + 1)
    waiting = RayEngine(engine._calls, one_more, Store, None, _say)
    rows: dict[str, tuple[int, Callable[[int], object], Callable[[], set[int]]]] = {
        "bare": (REPLICAS, lambda thread: _ask(bare[thread]), lambda: {one.pid for one in bare}),
        "ray": (REPLICAS, lambda _: engine.analyse(request), lambda: _processes(engine)),
        "ray, one waits": (3, lambda _: waiting.analyse(request), lambda: _processes(engine)),
    }
    for calls, call, _pids in rows.values():
        _run(calls, call, 4)
    ratios: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(rounds):
        walls = {}
        for name, (calls, call, pids) in rows.items():
            before = _cpu_s(pids())
            walls[name] = _run(calls, call, studies)
            cpu_s = (_cpu_s(pids()) - before) / studies
            ratios[name].append(walls["bare"] / walls[name])
            _say(f"{name:<15} {walls[name]:6.2f} s wall, {cpu_s:5.2f} CPU s a study")
    for name, found in ratios.items():
        _say(f"{name:<15} {statistics.median(found):.2f} of bare processes (median of {rounds})")
    waiting._is_closing.set()


def _tell_cost(engine: RayEngine) -> None:
    before = _cpu_s(_processes(engine))
    time.sleep(IDLE_S)
    idle = (_cpu_s(_processes(engine)) - before) / IDLE_S
    _say(f"idle: {idle:.2f} of a core; load {os.getloadavg()[0]:.1f}")
    assert engine._local is not None
    total = 0.0
    for process in processes_of(engine._local.folder):
        memory_mb = _pss_mb(process.id)
        total += memory_mb
        _say(f"{process.name:<16} {memory_mb:5.0f} MB")
    _say(f"together {total:.0f} MB, and {_pss_mb(os.getpid()):.0f} MB the driver (PSS)")


@contextmanager
def _ray() -> Iterator[RayEngine]:
    began_s = time.monotonic()
    plan = Plan(REPLICAS, 1, identify(None).reference, "balanced")
    engine = open_ray_engine(plan, Store, on_lost=_say)
    _say(f"ray ready after {time.monotonic() - began_s:.1f} s")
    yield engine
    began_s = time.monotonic()
    engine.close()
    _say(f"ray ended after {time.monotonic() - began_s:.1f} s")


@contextmanager
def _bare(request: AnalysisRequest) -> Iterator[list["subprocess.Popen[str]"]]:
    said = json.dumps({**asdict(request), "store_folder": str(request.store_folder)})
    command = [sys.executable, "-m", "tests.bench.ray", "--bare", said]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(REPLICAS)
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _serve_bare(said: dict[str, Any]) -> None:
    """Analyse once for each line that comes: what a worker of the engine inline does."""
    said["store_folder"] = Path(said["store_folder"])
    request = AnalysisRequest(**said)
    engine = InlineEngine(Store)
    for _line in sys.stdin:
        engine.analyse(request)
        _say("done")


def _ask(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    process.stdout.readline()


def _run(calls: int, call: Callable[[int], object], studies: int) -> float:
    """Return the seconds of so many studies with so many calls in flight."""
    left = iter(range(studies))
    lock = threading.Lock()

    def serve(number: int) -> None:
        while True:
            with lock:
                if next(left, None) is None:
                    return
            call(number)

    threads = [threading.Thread(target=serve, args=(number,)) for number in range(calls)]
    began_s = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - began_s


def _processes(engine: RayEngine) -> set[int]:
    assert engine._local is not None
    return {os.getpid(), *(each.id for each in processes_of(engine._local.folder))}


def _cpu_s(processes: set[int]) -> float:
    """Return the CPU seconds of processes and of their children that have ended."""
    ticks = 0
    for process in processes:
        try:
            status = Path(f"/proc/{process}/stat").read_text()
        except FileNotFoundError:
            continue
        ticks += sum(int(word) for word in status.rpartition(")")[2].split()[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def _pss_mb(process: int) -> float:
    for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1000
    return 0.0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
