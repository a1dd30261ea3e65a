"""The machine that the figures were obtained on, and how fast it can possibly be.

The rates are upper limits, measured at the start of every run in CPU seconds: what bytes and
multiplications cost when nothing else is done with them. A stage is compared with the time that its
bytes, or its multiplications, would take at these rates.
"""

import os
import platform
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import process_time

import numpy as np

REPEATS = 5
COPIED_BYTES = 256 * 2**20
MATRIX = 2048


@dataclass(frozen=True, slots=True)
class Machine:
    """What it is; ``load`` is the one-minute average at the start, of other work too."""

    processor: str
    cores: int
    memory_gb: float
    system: str
    python: str
    load: float


@dataclass(frozen=True, slots=True)
class Rates:
    """Upper limits of this machine, now.

    Attributes
    ----------
    copy_bytes_s
        Of one thread, bytes read plus bytes written, memory to memory.
    file_bytes_s
        Of one thread, from the page cache into memory that is there already.
    opened_files_s
        Files opened, their first 4 KiB read, and closed.
    written_bytes_s
        Into new files, page cache included, not flushed.
    deflated_bytes_s
        Raw bytes of a picture at zlib's level 6, as in PNG.
    flops_s
        f32 matrix product of 2,048 squared on all cores; a product and a sum count as two.
    """

    copy_bytes_s: float
    file_bytes_s: float
    opened_files_s: float
    written_bytes_s: float
    deflated_bytes_s: float
    flops_s: float


def describe() -> Machine:
    """Return what this machine is."""
    cpuinfo = Path("/proc/cpuinfo").read_text("utf-8")
    models = [
        line.split(":", 1)[1].strip() for line in cpuinfo.splitlines() if "model name" in line
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(
        processor=(models or [platform.machine()])[0],
        cores=len(os.sched_getaffinity(0)),
        memory_gb=round(memory / 1e9, 1),
        system=platform.platform(terse=True),
        python=platform.python_version(),
        load=round(os.getloadavg()[0], 2),
    )


def measure_rates(study: list[Path], scratch: Path) -> Rates:
    """Measure the limits on the very files of the study, warm in the page cache."""
    source = np.ones(COPIED_BYTES // 4, np.float32)
    target = np.zeros_like(source)
    buffer = bytearray(max(path.stat().st_size for path in study))
    size = sum(path.stat().st_size for path in study)
    a = np.random.default_rng(0).random((MATRIX, MATRIX), np.float32)
    picture = _picture()
    blob = bytes(source[: 16 * 2**20])
    return Rates(
        copy_bytes_s=2 * COPIED_BYTES / _seconds(lambda: np.copyto(target, source)),
        file_bytes_s=size / _seconds(lambda: _read_all(study, buffer)),
        opened_files_s=len(study) / _seconds(lambda: _open_all(study)),
        written_bytes_s=len(blob) / _seconds(lambda: _write(scratch / "rate.bin", blob)),
        deflated_bytes_s=len(picture) / _seconds(lambda: zlib.compress(picture, 6)),
        flops_s=len(os.sched_getaffinity(0)) * 2 * MATRIX**3 / _seconds(lambda: a @ a),
    )


def as_json(machine: Machine, rates: Rates) -> dict[str, dict[str, object]]:
    """Return both as plain values."""
    return {"machine": asdict(machine), "rates": asdict(rates)}


def _seconds(work: Callable[[], object]) -> float:
    """Return CPU seconds of all threads together: other work on the machine does not count."""
    work()
    times = []
    for _ in range(REPEATS):
        start = process_time()
        work()
        times.append(process_time() - start)
    return median(times)


def _read_all(files: list[Path], buffer: bytearray) -> None:
    for path in files:
        with path.open("rb", buffering=0) as file:
            file.readinto(buffer)


def _open_all(files: list[Path]) -> None:
    for path in files:
        with path.open("rb", buffering=0) as file:
            file.read(4096)


def _write(path: Path, blob: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(blob)


def _picture() -> bytes:
    """Return grey values that compress about as a windowed CT slice does."""
    smooth = np.add.outer(np.sin(np.arange(1024) / 90), np.cos(np.arange(1024) / 70)) * 40
    noise = np.random.default_rng(0).normal(0, 4, smooth.shape)
    return np.clip(smooth + noise + 100, 0, 255).astype(np.uint8).tobytes()
