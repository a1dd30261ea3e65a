"""The parent's side of the decoder children: start, ask, kill, keep warm, replace.

A child's imports cost half a second and more, so children are kept and used again. A child that
crashed, hung, grew or has done its share of work is closed; the next need starts a new one.
"""

import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from inference.dicom.scratch import make_scratch_folder
from inference.dicom.wire import Hung, Task, receive_answer, receive_into, send

# Wall time of one frame, first imports included; far above what an honest frame takes on a busy
# machine.
FRAME_WALL_S = 60.0
# A child is replaced after this much work or growth: leaks of native decoders were not measured.
RECYCLE_FRAMES = 50_000
RECYCLE_GROWTH_MB = 200.0
# Kept warm between calls; more are started when more are asked for.
MOST_KEPT = 4

# A timeout of zero would mean another kind of socket.
_SHORTEST_WAIT_S = 0.001

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); import socket;"
    "from inference.dicom.decoder_child import serve; serve(socket.socket(fileno=int(sys.argv[2])))"
)
# Nothing else of our environment reaches a process that reads hostile bytes: no passwords, no
# tokens.
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "HOME", "VIRTUAL_ENV")
# One frame is decoded by one thread: the number of cores must not change a byte.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class DecoderProcess:
    """One child; used by one thread at a time."""

    def __init__(self) -> None:
        # What a child leaves behind when it is killed goes with it.
        self._scratch = make_scratch_folder()
        self._connection, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  (our own interpreter and code)
                [sys.executable, "-c", _START, json.dumps(sys.path), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
                | _ONE_THREAD
                | {"TMPDIR": str(self._scratch)},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._frames = 0
        self._first_mb: float | None = None
        self._peak_mb = 0.0

    @property
    def is_worn(self) -> bool:
        """Whether another child should do the next work."""
        grown_mb = self._peak_mb - (self._first_mb or 0.0)
        is_gone = self._process.poll() is not None
        return is_gone or self._frames >= RECYCLE_FRAMES or grown_mb > RECYCLE_GROWTH_MB

    def decode(
        self, task: Task, out: NDArray[np.int16] | NDArray[np.uint8], deadline: float
    ) -> str:
        """Decode one frame into ``out``, contiguous: (rows, columns) HU, or the bytes stored.

        Parameters
        ----------
        deadline
            Of ``time.monotonic()``; a frame has ``FRAME_WALL_S`` at most.

        Returns
        -------
        Empty, or the reason why not; after ``decoder-crashed`` and ``decoder-hung`` the child is
        gone.
        """
        deadline = min(deadline, time.monotonic() + FRAME_WALL_S)
        try:
            self._connection.settimeout(max(deadline - time.monotonic(), _SHORTEST_WAIT_S))
            send(self._connection, task)
            answer = receive_answer(self._connection, deadline)
            if answer is not None and not answer.ok:
                reason = answer.reason
            elif answer is not None and receive_into(
                self._connection, out.data.cast("B"), deadline
            ):
                reason = ""
            else:
                self.close()
                return "decoder-crashed"
        except (Hung, TimeoutError):
            self.close()
            return "decoder-hung"
        except ConnectionError:
            self.close()
            return "decoder-crashed"
        self._frames += 1
        self._peak_mb = answer.resident_mb
        self._first_mb = self._first_mb or answer.resident_mb
        return reason

    def kill(self) -> None:
        """End the child and everything that it started; its thread still closes it."""
        # Once it has been waited for, its number may belong to somebody else.
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """End the child, everything that it started, and everything that it wrote."""
        self._connection.close()
        self.kill()
        self._process.wait()
        shutil.rmtree(self._scratch, ignore_errors=True)


_kept: list[DecoderProcess] = []
_lock = threading.Lock()


def take() -> DecoderProcess:
    """Return a warm child, or a new one; the caller gives it back."""
    with _lock:
        while _kept:
            child = _kept.pop()
            if not child.is_worn:
                return child
            child.close()
    return DecoderProcess()


def give_back(child: DecoderProcess) -> None:
    """Keep a child for the next call, or end it."""
    with _lock:
        if not child.is_worn and len(_kept) < MOST_KEPT:
            _kept.append(child)
            return
    child.close()


def close_all() -> None:
    """End every kept child."""
    with _lock:
        while _kept:
            _kept.pop().close()


atexit.register(close_all)
# A forked copy of us must not talk on sockets that are not its own.
os.register_at_fork(after_in_child=_kept.clear)
