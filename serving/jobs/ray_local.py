"""A Ray of our own on this machine: started for one driver, and gone with it.

=================================  ================================================================
what is set                        why
=================================  ================================================================
``address="local"``                never joins another cluster; free ports, so several run beside
                                   each other
a token, random in each process    Ray runs whatever code a caller sends it
node address 127.0.0.1             its ports listen on loopback, but for one of each replica's,
                                   which asks for the token
no dashboard, no HTTP proxy        nothing of ours uses them
no usage reports                   nothing of a hospital's machine is told to anybody
no memory monitor                  it kills workers on a machine that others have filled; the
                                   kernel judges better, and so the two engines behave alike
small object store                 no array passes through it
niceness 0 instead of 15           the controller, which checks the replicas' health, would have it
                                   too, and starve beside anything that computes
=================================  ================================================================
"""

import fcntl
import functools
import logging
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from firstread.errors import ConfigurationError
from serving.jobs.ray_application import NAMESPACE, import_ray, ray_environment, require_ray
from serving.jobs.ray_reaper import MARKER, PROCESSES, clean_up, processes_of

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
# Ray's least is 75 MiB.
OBJECT_STORE_BYTES = 100 << 20
# A path of a Unix socket has at most 107 bytes, and Ray appends up to 80 to its folder.
MAX_FOLDER_LENGTH = 40
FOLDER_PREFIX = "frst-ray-"
_LOCK = "lock"
# A folder without a locked lock may still be about to get it.
STALE_S = 60.0
# Ray's two processes without which nothing goes on.
VITAL = frozenset({"gcs_server", "raylet"})
REAPER_S = 30.0


@dataclass(frozen=True, slots=True)
class LocalRay:
    """A running Ray that belongs to this process.

    Attributes
    ----------
    folder
        Its session files, and the value of :data:`ray_reaper.MARKER` in its processes.
    vital
        Process ids of its control store and of its raylet.
    """

    folder: Path
    vital: tuple[int, ...]
    _lock: IO[bytes]
    _reaper: subprocess.Popen[bytes]

    def is_alive(self) -> bool:
        """Return whether both vital processes run."""
        return all(_runs(process) for process in self.vital)

    def close(self) -> None:
        """End Ray; afterwards no process and no file of it is left."""
        import ray

        ray.shutdown()
        _let_go(self._reaper)
        self._lock.close()


def start_local_ray(processors: int) -> LocalRay:
    """Start a Ray on this machine and connect this process to it; one at a time.

    Parameters
    ----------
    processors
        How many Ray counts on; a number for its bookkeeping, it binds nobody.

    Raises
    ------
    ConfigurationError
        ``configuration``: Ray is not installed, this is not Linux, or the name of the folder for
        temporary files is too long.
    """
    require_ray()
    if sys.platform != "linux":
        raise ConfigurationError(
            "FIRSTREAD_ENGINE: a local Ray needs Linux",
            advice="use the engine inline, or a cluster by FIRSTREAD_RAY_ADDRESS",
        )
    sweep()
    folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
    if len(str(folder)) > MAX_FOLDER_LENGTH:
        folder.rmdir()
        raise ConfigurationError(
            f"TMPDIR: {folder.parent} is too long for the sockets of Ray",
            advice="set TMPDIR to a shorter folder, /tmp for instance",
        )
    lock = (folder / _LOCK).open("wb")
    fcntl.flock(lock, fcntl.LOCK_EX)
    # Its standard input ends with this process. Of its own session: Ctrl-C is not for it.
    reaper = subprocess.Popen(  # noqa: S603  (our own interpreter and code)
        [sys.executable, "-m", "serving.jobs.ray_reaper", str(folder), str(os.getpid())],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        with _signals_kept(), _environment(folder):
            _init(folder, processors)
        vital = tuple(each.id for each in processes_of(folder) if each.name in VITAL)
        assert len(vital) == len(VITAL)
    except BaseException:
        _let_go(reaper)
        lock.close()
        raise
    return LocalRay(folder, vital, lock, reaper)


def sweep() -> int:
    """Clean up after local Rays whose driver and whose reaper are both dead.

    Returns
    -------
    How many there were.
    """
    swept = 0
    for folder in Path(tempfile.gettempdir()).glob(FOLDER_PREFIX + "*"):
        try:
            status = folder.stat()
            if status.st_uid != os.geteuid() or time.time() - status.st_mtime < STALE_S:
                continue
            with (folder / _LOCK).open("wb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                clean_up(folder)
                swept += 1
        except BlockingIOError:
            continue  # its driver lives
        except FileNotFoundError:
            continue  # its reaper was faster
    return swept


@functools.cache
def _token() -> str:
    """Return the token of this process's Rays: Ray reads it once in a process's life."""
    return secrets.token_hex(32)


@contextmanager
def _environment(folder: Path) -> Iterator[None]:
    """Set what Ray's processes inherit.

    The marker and the place for temporary files are for them alone; the rest stays, because Ray
    reads it in this process too.
    """
    scratch = folder / "tmp"
    scratch.mkdir()
    theirs = {
        MARKER: str(folder),
        "TMPDIR": str(scratch),
        # Ray Serve calls a replica in ever other threads, and each would keep memory of its own:
        # 900 MB instead of 490 after some studies.
        "MALLOC_ARENA_MAX": "1",
    }
    former = {name: os.environ.get(name) for name in theirs}
    os.environ.update(ray_environment({}))
    os.environ.update(
        {
            "RAY_AUTH_TOKEN": _token(),
            "RAY_memory_monitor_refresh_ms": "0",
            "RAY_worker_niceness": "0",
            # Ray hides all GPUs from whoever reserves none; replicas see what this process sees.
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
            # What Ray does on macOS and Windows, where it stays on loopback: without it Ray looks
            # for the machine's outer address, and 127.0.0.1 below is overruled.
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            # No such port: two of Ray's three pages of metrics are not served. They know no token.
            "AUTOSCALER_METRIC_PORT": "-1",
            "DASHBOARD_METRIC_PORT": "-1",
            # Its object store is asked before it listens, and then again after so long: Ray's own
            # second is a second of each start. Ten tries of 1 s become a hundred of 0.1 s.
            "RAY_raylet_client_connect_timeout_milliseconds": "100",
            "RAY_raylet_client_num_connect_attempts": "100",
        }
    )
    os.environ.update(theirs)
    try:
        yield
    finally:
        for name, value in former.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _init(folder: Path, processors: int) -> None:
    import_ray()
    import ray

    ray.init(
        address="local",
        num_cpus=processors,
        num_gpus=0,
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        namespace=NAMESPACE,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _temp_dir=str(folder),
        _node_ip_address=LOOPBACK,
    )


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Give back the handlers that Ray replaces: how to stop is the process's affair."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)


def _let_go(reaper: subprocess.Popen[bytes]) -> None:
    assert reaper.stdin is not None
    reaper.stdin.close()
    if reaper.wait(REAPER_S) != 0:
        log.error("processes or files of Ray are left behind")


def _runs(process: int) -> bool:
    """Return whether a process runs; one that ended and waits for us to take note does not."""
    try:
        # "pid (name) state ...", and a name may hold anything, a bracket too.
        status = (PROCESSES / str(process) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
