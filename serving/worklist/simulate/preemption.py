"""The same pool where a case of a higher class interrupts the reading of a lower one.

The interrupted reading is resumed later where it stopped. Nobody reads like this; it is the other
end of what an order can do, and it has a formula. A wait is the time in the system minus the case's
own reading time, interruptions included.
"""

from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from math import inf

import numpy as np

from serving.worklist.order import CLASSES, Key
from serving.worklist.simulate.cases import Cases, Floats
from serving.worklist.simulate.policies import Line

# (class rank, key minutes, arrival, index): the order of cases over all classes.
Place = tuple[int, float, float, int]


@dataclass(slots=True)
class _Pool:
    """Who waits since when, and who is read until when."""

    line: Line
    left_min: list[float]
    waited_min: list[float]
    since_min: list[float]
    queues: list[list[tuple[float, float, int]]] = field(
        default_factory=lambda: [[] for _ in range(CLASSES)]
    )
    heads: list[Key | None] = field(default_factory=lambda: [None] * CLASSES)
    reading: list[tuple[float, Place]] = field(default_factory=list)
    waiting: int = 0
    credit: float = 0.0

    def queue(self, place: Place, now: float) -> None:
        rank, *key, case = place
        queue = self.queues[rank]
        heappush(queue, (key[0], key[1], case))
        self.heads[rank] = queue[0]
        self.since_min[case] = now
        self.waiting += 1

    def start_next(self, now: float) -> None:
        choice = self.line.choose(self.heads, self.credit, self.line.phi, now)
        assert choice is not None, "a case waits and nobody is next"
        rank, _, self.credit = choice
        queue = self.queues[rank]
        key_min, arrived, case = heappop(queue)
        self.heads[rank] = queue[0] if queue else None
        self.waiting -= 1
        self.waited_min[case] += now - self.since_min[case]
        heappush(self.reading, (now + self.left_min[case], (rank, key_min, arrived, case)))

    def interrupt_for(self, place: Place, now: float) -> None:
        """Put back the last in the order of those who are read, if its class is below."""
        last = max(self.reading, key=lambda read: read[1])
        ends_min, interrupted = last
        if interrupted[0] > place[0]:
            self.reading.remove(last)
            heapify(self.reading)
            self.left_min[interrupted[3]] = ends_min - now
            self.queue(interrupted, now)


def preemptive_waits_min(cases: Cases, line: Line, readers: int) -> Floats:
    """Return minutes in the system without the case's own reading time, (n,)."""
    n = len(cases)
    pool = _Pool(line, cases.reading_min.tolist(), [0.0] * n, [0.0] * n)
    places = zip(
        line.rank.tolist(),
        line.key_min.tolist(),
        cases.arrived_min.tolist(),
        range(n),
        strict=True,
    )
    for place in places:
        arrived = place[2]
        _read_until(pool, arrived)
        pool.queue(place, arrived)
        if len(pool.reading) == readers:
            pool.interrupt_for(place, arrived)
        if len(pool.reading) < readers:
            pool.start_next(arrived)
    _read_until(pool, inf)
    return np.array(pool.waited_min)


def _read_until(pool: _Pool, until_min: float) -> None:
    """Let every reading end that ends by then; a free reader takes the next case."""
    while pool.reading and pool.reading[0][0] <= until_min:
        ended_min, _ = heappop(pool.reading)
        if pool.waiting:
            pool.start_next(ended_min)
