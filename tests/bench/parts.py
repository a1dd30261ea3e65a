"""A measured part runs in a fresh child process; this side watches its memory from outside.

The child warms up, then times its stages (:class:`Stopwatch`) and prints one JSON line. The parent
samples the memory of the child and of all its descendants meanwhile, so that watching costs the
child nothing; both clocks are CLOCK_MONOTONIC, so a sample is known to fall into a stage.
"""

import json
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from time import monotonic, process_time

import psutil

SAMPLE_S = 0.005
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# A part that has not ended by then never will.
LIMIT_S = 900.0


@dataclass(frozen=True, slots=True)
class Span:
    """One stage as the child saw it: when (CLOCK_MONOTONIC), and CPU seconds of its whole tree."""

    name: str
    start_s: float
    end_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Stage:
    """One measured stage.

    Attributes
    ----------
    peak_bytes
        Largest resident memory of child and descendants during it; what they share counts once.
    """

    name: str
    wall_s: float
    cpu_s: float
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Part:
    """One run of one part: its stages in order, and what else the child has to say."""

    stages: tuple[Stage, ...]
    facts: dict[str, object]


@dataclass(slots=True)
class Stopwatch:
    """Times stages inside the child; the pipeline and the gate take it as their ``timings``."""

    spans: list[Span] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Record this block, an exception or not."""
        start, cpu = monotonic(), _cpu_of_tree_s()
        try:
            yield
        finally:
            self.spans.append(Span(name, start, monotonic(), _cpu_of_tree_s() - cpu))

    def report(self, **facts: object) -> None:
        """Print what the parent waits for."""
        line = {"spans": [asdict(span) for span in self.spans], "facts": facts}
        sys.stdout.write(json.dumps(line) + "\n")


def run_part(module: str, arguments: Sequence[str], threads: int | None = None) -> Part:
    """Run ``python -m module arguments`` once and return its stages with their memory.

    Raises
    ------
    RuntimeError
        The child failed; its standard error has gone to ours.
    """
    environment = dict(os.environ)
    if threads is not None:
        environment |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    samples: list[tuple[float, int]] = []
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as child:
        watcher = threading.Thread(target=_watch, args=(child.pid, samples), daemon=True)
        watcher.start()
        try:
            out, _ = child.communicate(timeout=LIMIT_S)
        finally:
            # After the limit, or where somebody stops the bench, nothing is left running.
            child.kill()
    watcher.join()
    if child.returncode != 0:
        raise RuntimeError(f"{module} ended with {child.returncode}")
    line = json.loads(out.decode().strip().splitlines()[-1])
    spans = [Span(**span) for span in line["spans"]]
    return Part(tuple(_stage(span, samples) for span in spans), line["facts"])


def _stage(span: Span, samples: Sequence[tuple[float, int]]) -> Stage:
    inside = [size for at, size in samples if span.start_s <= at <= span.end_s]
    # A stage shorter than the sampling takes the memory that was there when it ended.
    near = min(samples, key=lambda sample: abs(sample[0] - span.end_s), default=(0.0, 0))
    return Stage(span.name, span.end_s - span.start_s, span.cpu_s, max(inside, default=near[1]))


def _watch(pid: int, samples: list[tuple[float, int]]) -> None:
    """Append (moment, bytes) until the child has gone."""
    pause = threading.Event()
    try:
        root = psutil.Process(pid)
        tree, looked = [root], 0.0
        while root.is_running() and root.status() != psutil.STATUS_ZOMBIE:
            now = monotonic()
            if now - looked > 10 * SAMPLE_S:
                tree, looked = [root, *root.children(recursive=True)], now
            samples.append((now, _resident_bytes([process.pid for process in tree])))
            pause.wait(SAMPLE_S)
    except psutil.NoSuchProcess:
        return


def _resident_bytes(pids: Sequence[int]) -> int:
    """Return private memory of all, and once what they may share (libraries, shared segments)."""
    private, shared = 0, 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/statm", encoding="ascii") as file:  # noqa: PTH123 - the fastest
                _, resident, common = (int(word) for word in file.read().split()[:3])
        except (FileNotFoundError, ProcessLookupError):
            continue
        private += resident - common
        shared = max(shared, common)
    return (private + shared) * PAGE_BYTES


def _cpu_of_tree_s() -> float:
    """Return CPU seconds of this process, of its ended children and of its running descendants."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = process_time() + ended.ru_utime + ended.ru_stime
    for child in psutil.Process().children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total
