"""Readers that take the next case whenever one of them is free.

A plain loop over heaps: one queue for each class, their heads kept beside them, and the choice made
by the policy's rule at every start.
"""

from heapq import heappop, heappush, heapreplace
from math import inf

import numpy as np

from serving.worklist.order import CLASSES, Key
from serving.worklist.simulate.cases import Cases, Floats
from serving.worklist.simulate.policies import Line


def waits_min(cases: Cases, line: Line, readers: int) -> Floats:
    """Return minutes from arrival to start of reading, (n,); readings are not interrupted.

    The pool is empty at minute 0 and reads every case.
    """
    arrived, reading = cases.arrived_min.tolist(), cases.reading_min.tolist()
    ranks, keys = line.rank.tolist(), line.key_min.tolist()
    phi, choose = line.phi, line.choose
    queues: list[list[tuple[float, float, int]]] = [[] for _ in range(CLASSES)]
    heads: list[Key | None] = [None] * CLASSES
    free_at = [0.0] * readers
    started = [0.0] * len(arrived)
    arrived.append(inf)
    now = credit = 0.0
    came = waiting = 0
    next_at = arrived[0]
    for _ in range(len(started)):
        now = max(now, free_at[0])
        if not waiting:
            now = max(now, next_at)
        while next_at <= now:
            rank = ranks[came]
            queue = queues[rank]
            heappush(queue, (keys[came], next_at, came))
            heads[rank] = queue[0]
            came += 1
            waiting += 1
            next_at = arrived[came]
        choice = choose(heads, credit, phi, now)
        assert choice is not None, "a case waits and nobody is next"
        rank, _, credit = choice
        queue = queues[rank]
        case = heappop(queue)[2]
        heads[rank] = queue[0] if queue else None
        started[case] = now
        heapreplace(free_at, now + reading[case])
        waiting -= 1
    return np.array(started) - cases.arrived_min


def fifo_waits_min(cases: Cases, readers: int) -> Floats:
    """Return the waits in the order of arrival: those of the policy ``fifo``, quicker."""
    free_at = [0.0] * readers
    started = []
    for arrived, reading in zip(
        cases.arrived_min.tolist(), cases.reading_min.tolist(), strict=True
    ):
        start = max(arrived, free_at[0])
        started.append(start)
        heapreplace(free_at, start + reading)
    return np.array(started) - cases.arrived_min
