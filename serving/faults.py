"""Named points at which a test can kill a process: for tests only.

``FIRSTREAD_FAULT=before-commit:3`` makes a process end itself with SIGKILL when it passes the point
``before-commit`` for the third time. Without the variable a point does nothing.

=============== ==================================================================================
point           it is passed
=============== ==================================================================================
after-bytes     an object's bytes are written, none of them is synced
after-fsync     an object has its name in the store and is durable; no row refers to it
before-commit   all rows of a request are written and not committed
after-commit    they are committed, nobody has been told
mid-inference   an analysis has begun
after-sr        SEG and SR are written, nothing is committed
before-finish   a result's rows are written and not committed
after-finish    a result is committed, the worker does not know it yet
=============== ==================================================================================
"""

import os
import signal
import threading
from collections import Counter

VARIABLE = "FIRSTREAD_FAULT"

_passed: Counter[str] = Counter()
_lock = threading.Lock()


def point(name: str) -> None:
    """Pass a point; the process ends here if a test asked for it."""
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return
    asked, _, count = wanted.partition(":")
    if asked != name:
        return
    with _lock:
        _passed[name] += 1
        if _passed[name] == int(count or 1):
            os.kill(os.getpid(), signal.SIGKILL)
            # The signal may be served a moment later: pass nothing more.
            signal.pause()
