"""Cases in a steady flow: Poisson arrivals at one traffic, flat or by a day curve."""

from dataclasses import dataclass, field
from math import ceil, sqrt

import numpy as np

from serving.worklist.allowance import DAY_MIN, HOUR_MIN
from serving.worklist.simulate.cases import ROUTINE, Cases, Floats, Pool, flat_day, volumes
from serving.worklist.simulate.reading import Reading, draw_reading
from serving.worklist.simulate.theory import Detector


@dataclass(frozen=True, slots=True)
class Traffic:
    """A pool of readers and what comes to it.

    Attributes
    ----------
    load
        Arrivals x mean reading time / readers, mean of the day; from 1 on the line grows for ever.
    day_shape
        Relative load by hour.
    """

    readers: int
    load: float
    reading: Reading
    detector: Detector
    hospitals: int = 40
    day_shape: tuple[float, ...] = field(default_factory=lambda: flat_day(1.0))

    @property
    def per_min(self) -> float:
        """Cases a minute."""
        return self.load * self.readers / self.reading.mean_min

    @property
    def pool(self) -> Pool:
        """The pool that reads it, with true contracts."""
        mean = sum(self.day_shape) / len(self.day_shape)
        return Pool(
            self.readers,
            self.reading.mean_min,
            tuple(hour / mean * self.load for hour in self.day_shape),
            tuple((volumes(self.hospitals) * self.per_min).tolist()),
        )

    def warm_up(self, cases: int) -> int:
        """Return how many first cases to leave out: the pool begins empty, and its line must grow.

        A twentieth of the cases, and at least five relaxation times of the line; none where the
        line has no steady state.
        """
        if self.load >= 1:
            return 0
        relaxation = self.load / (1 - sqrt(self.load)) ** 2
        return ceil(max(0.05 * cases, 5 * relaxation + 10 * self.readers))


def draw_traffic(traffic: Traffic, cases: int, seed: int) -> Cases:
    """Draw cases in the order of their arrival, the same for the same seed."""
    rng = np.random.default_rng(seed)
    # Poisson in operational time, which runs with the load; then as the clock showed it.
    arrived = _on_the_clock(
        np.cumsum(rng.exponential(1 / traffic.per_min, cases)), traffic.day_shape
    )
    hospital = rng.choice(traffic.hospitals, cases, p=volumes(traffic.hospitals))
    detector = traffic.detector
    is_diseased = rng.random(cases) < detector.prevalence
    answer = rng.random(cases)
    is_flagged = np.where(
        is_diseased, answer < detector.sensitivity, answer < 1 - detector.specificity
    )
    reading = draw_reading(traffic.reading, cases, rng)
    return Cases(arrived, hospital, np.full(cases, ROUTINE), is_flagged, is_diseased, reading)


def _on_the_clock(operational_min: Floats, day_shape: tuple[float, ...]) -> Floats:
    if len(set(day_shape)) == 1:
        return operational_min
    shape = np.array(day_shape)
    passed = np.r_[0.0, np.cumsum(shape / shape.sum() * DAY_MIN)]
    days, in_day = np.divmod(operational_min, DAY_MIN)
    hours = np.arange(len(shape) + 1) * HOUR_MIN
    return np.asarray(days * DAY_MIN + np.interp(in_day, passed, hours))
