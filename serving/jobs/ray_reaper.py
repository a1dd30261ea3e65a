"""The process that cleans up after a local Ray, in whatever way its driver ended (Linux).

It waits until its standard input is closed: by the driver when it is done, by the kernel when the
driver was killed. Then every process of that Ray is killed and its folder removed. Without it the
agents of Ray outlive a killed driver by a minute, and its folder for good.

Ray's processes are known by a variable in their environment, whose value is the folder, or by a
file that they hold open there: process groups do not suffice (workers have their own), neither do
command lines (workers rewrite them), and where Ray's agents write their title over their arguments,
it may clear the variable too.
"""

import os
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

MARKER = "FIRSTREAD_RAY_FOLDER"
# A process that was just forked may be missed by one look: stop after two that find nobody.
QUIET_LOOKS = 2
LOOK_EVERY_S = 0.05
PATIENCE_S = 20.0
PROCESSES = Path("/proc")


@dataclass(frozen=True, slots=True)
class RayProcess:
    """A process of a local Ray."""

    id: int
    name: str


def processes_of(folder: Path, *, but: int = 0) -> list[RayProcess]:
    """Return the processes of the Ray whose folder this is, without the one that asks.

    Parameters
    ----------
    but
        Of its driver, which has files open there too.
    """
    found = []
    for entry in PROCESSES.iterdir():
        if not entry.name.isdecimal() or int(entry.name) in (os.getpid(), but):
            continue
        try:
            if _is_marked(entry, folder) or _has_open(entry, folder):
                found.append(RayProcess(int(entry.name), (entry / "comm").read_text().strip()))
        except (PermissionError, FileNotFoundError, ProcessLookupError):
            continue  # somebody else's, or it just ended; of a zombie all of this is empty
    return found


def _is_marked(process: Path, folder: Path) -> bool:
    # As bytes between zeros: what a title has cleared are zeros, too.
    return f"{MARKER}={folder}".encode() in (process / "environ").read_bytes().split(b"\0")


def _has_open(process: Path, folder: Path) -> bool:
    for link in (process / "fd").iterdir():
        try:
            if link.readlink().is_relative_to(folder):
                return True
        except FileNotFoundError:
            continue  # closed meanwhile
    return False


def clean_up(folder: Path, *, but: int = 0) -> bool:
    """Kill the processes of a Ray and remove its folder.

    Parameters
    ----------
    but
        Its driver: not killed.

    Returns
    -------
    Whether nothing is left.
    """
    deadline = time.monotonic() + PATIENCE_S
    quiet = 0
    while quiet < QUIET_LOOKS and time.monotonic() < deadline:
        found = processes_of(folder, but=but)
        quiet = 0 if found else quiet + 1
        for process in found:
            try:
                os.kill(process.id, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(LOOK_EVERY_S)
    shutil.rmtree(folder, ignore_errors=True)
    return quiet == QUIET_LOOKS and not folder.exists()


def main() -> int:
    """Wait for the end of the driver, then clean up after it."""
    # A service manager stops all processes of a service at once; this one goes last.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    folder, driver = Path(sys.argv[1]), int(sys.argv[2])
    sys.stdin.buffer.read()
    return 0 if clean_up(folder, but=driver) else 1


if __name__ == "__main__":
    sys.exit(main())
