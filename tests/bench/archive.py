"""What it costs to make instances durable and to file them.

python -m tests.bench.archive [--instances 200]
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from serving.archive.store import Stored
from serving.studies.arrival import Arrival, read_facts
from tests.serving.studies.a_study import Archive, an_instance

Result = TypeVar("Result")

PIXELS_BYTES = 512 * 512 * 2


def main() -> None:
    """Print one line for each step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=200)
    count = parser.parse_args().instances
    with tempfile.TemporaryDirectory(prefix="firstread-bench-", dir=Path.cwd()) as folder:
        archive = Archive(Path(folder))
        files = [_a_slice(number) for number in range(count)]
        _timed("kept one by one", count, lambda: [archive.store.put_bytes(f) for f in files])
        other = [data + b"\0\0" for data in files]
        stored = _timed("kept sixteen at a time", count, lambda: _keep(archive, other))
        paths = [archive.store.path(one.sha256) for one in stored]
        facts = _timed("facts read", count, lambda: [read_facts(path) for path in paths])
        arrivals = [Arrival(*pair) for pair in zip(facts, stored, strict=True)]
        _timed("filed in one commit", count, lambda: archive.file_all(arrivals))
        _timed("filed again", count, lambda: archive.file_all(arrivals))
        archive.close()


def _a_slice(number: int) -> bytes:
    """Return a slice of 525 kB, its pixels not compressible."""
    return an_instance(number, PixelData=os.urandom(PIXELS_BYTES))


def _keep(archive: Archive, files: list[bytes]) -> tuple[Stored, ...]:
    with ExitStack() as stack:
        incoming = [stack.enter_context(archive.store.new()) for _ in files]
        for one, data in zip(incoming, files, strict=True):
            one.write(data)
            one.close()
        return archive.store.keep(*incoming)


def _timed(what: str, count: int, work: Callable[[], Result]) -> Result:
    wall, processor = time.perf_counter(), time.process_time()
    result = work()
    wall_s, processor_s = time.perf_counter() - wall, time.process_time() - processor
    each_ms = 1000 * processor_s / count
    print(f"{what:24} {count / wall_s:8.0f} /s, {each_ms:.2f} ms of processor each")  # noqa: T201
    return result


if __name__ == "__main__":
    main()
