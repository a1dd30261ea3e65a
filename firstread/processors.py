"""How many processors this process may use."""

import os


def usable_processors() -> int:
    """Return how many processors are lent to this process, at least 1.

    Containers lend fewer than the machine has; only Linux says so.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
