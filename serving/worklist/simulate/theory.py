"""Mean waits and their tails by formula: what the simulator must agree with.

Poisson arrivals, ``c`` readers, exponential reading times with the same mean for all, traffic
``rho`` below 1; two classes, flagged by the AI first. With one reader any reading time with a known
coefficient of variation (M/G/1). Sources: Erlang 1917; Pollaczek 1930 and Khinchine 1932; Cobham
1954 and, for several servers, Kella and Yechiali 1985; tails after Davis 1966, inverted by the
Euler sum of Abate and Whitt 1995.

There is no exact formula for several readers and another distribution: the usual factor
``(1 + cv^2) / 2`` is 26 % off for 8 readers with fixed times at traffic 0.5, so it is not offered.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb, exp, log, pi

import numpy as np

Tail = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Station:
    """A pool in its steady state; ``cv`` of the reading time, 1 is exponential."""

    readers: int
    traffic: float
    mean_min: float
    cv: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.traffic < 1:
            raise ValueError("a steady state needs traffic between 0 and 1")
        if self.readers != 1 and self.cv != 1:
            raise ValueError("no exact formula for several readers and such reading times")


@dataclass(frozen=True, slots=True)
class Detector:
    """How often there is something, and how the AI flags it."""

    prevalence: float
    sensitivity: float
    specificity: float

    @property
    def flagged_share(self) -> float:
        """Share of all cases that is flagged, rightly or not."""
        return self.prevalence * self.sensitivity + (1 - self.prevalence) * (1 - self.specificity)


@dataclass(frozen=True, slots=True)
class Means:
    """Mean waits in minutes."""

    ai_positive: float
    ai_negative: float
    diseased: float
    non_diseased: float
    all: float


def erlang_c(readers: int, traffic: float) -> float:
    """Return the share of the cases that waits at all (exponential readings, any order)."""
    offered, blocked = readers * traffic, 1.0
    for k in range(1, readers + 1):
        blocked = offered * blocked / (k + offered * blocked)
    return blocked / (1 - traffic * (1 - blocked))


def fifo_mean_min(station: Station) -> float:
    """Return the mean wait in the order of arrival: M/M/c, or M/G/1."""
    return _residual_min(station) / (1 - station.traffic)


def priority_means_min(station: Station, loads: Sequence[float]) -> tuple[float, ...]:
    """Return the mean wait of each class, readings not interrupted; loads sum to the traffic."""
    found, before = [], 0.0
    for load in loads:
        found.append(_residual_min(station) / ((1 - before) * (1 - before - load)))
        before += load
    return tuple(found)


def preemptive_means_min(station: Station, flagged_share: float) -> tuple[float, float]:
    """Return mean waits of flagged and others where a flagged case interrupts (and resumes later).

    A wait is time in the system minus the case's own reading time. Exponential readings only.
    """
    alone = Station(station.readers, station.traffic * flagged_share, station.mean_min)
    flagged = fifo_mean_min(alone)
    return flagged, (fifo_mean_min(station) - flagged_share * flagged) / (1 - flagged_share)


def means(
    station: Station, detector: Detector, *, is_strict: bool = True, is_preemptive: bool = False
) -> Means:
    """Return the mean waits of all groups, in the order of arrival or with the flagged first."""
    share = detector.flagged_share
    if not is_strict:
        first = rest = fifo_mean_min(station)
    elif is_preemptive:
        first, rest = preemptive_means_min(station, share)
    else:
        loads = (station.traffic * share, station.traffic * (1 - share))
        first, rest = priority_means_min(station, loads)
    se, sp = detector.sensitivity, detector.specificity
    return Means(
        first,
        rest,
        se * first + (1 - se) * rest,
        (1 - sp) * first + sp * rest,
        share * first + (1 - share) * rest,
    )


def saved_min(station: Station, detector: Detector) -> float:
    """Return what the diseased wait less than in the order of arrival: positive where Se > p."""
    share = detector.flagged_share
    return _per_share_min(station, share) * (detector.sensitivity - share)


def lost_min(station: Station, detector: Detector) -> float:
    """Return what the others wait longer."""
    share = detector.flagged_share
    return _per_share_min(station, share) * (share - (1 - detector.specificity))


def fifo_tail(station: Station) -> Tail:
    """Return P(wait > t minutes) in the order of arrival."""
    return _exponential_tail(station, station.traffic)


def flagged_tail(station: Station, flagged_share: float) -> Tail:
    """Return P(wait > t minutes) of the flagged, readings not interrupted."""
    return _exponential_tail(station, station.traffic * flagged_share)


def unflagged_tail(station: Station, flagged_share: float) -> Tail:
    """Return P(wait > t minutes) of the others: a geometric sum of busy periods of the flagged."""
    rate = station.readers / station.mean_min
    flagged_rate, rho = station.traffic * flagged_share * rate, station.traffic
    waits = erlang_c(station.readers, rho)

    def transform(s: complex) -> complex:
        total = flagged_rate + rate + s
        busy = (total - np.sqrt(total**2 - 4 * flagged_rate * rate)) / (2 * flagged_rate)
        return complex((1 - (1 - rho) * busy / (1 - rho * busy)) / s)

    return lambda minutes: waits * (_inverted(transform, minutes) if minutes > 0 else 1.0)


def quantile_min(tail: Tail, share: float, most_min: float = 1e5) -> float:
    """Return the wait that ``share`` of the cases does not exceed; 0 where fewer wait at all."""
    if tail(0.0) <= 1 - share:
        return 0.0
    low, high = 0.0, most_min
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if tail(middle) > 1 - share else (low, middle)
    return high


def _residual_min(station: Station) -> float:
    """Return the mean wait until a reader is free for the first of the line."""
    if station.readers == 1:
        return station.traffic * station.mean_min * (1 + station.cv**2) / 2
    return erlang_c(station.readers, station.traffic) * station.mean_min / station.readers


def _per_share_min(station: Station, share: float) -> float:
    return fifo_mean_min(station) * station.traffic / (1 - station.traffic * share)


def _exponential_tail(station: Station, load_before: float) -> Tail:
    waits = erlang_c(station.readers, station.traffic)
    rate = (1 - load_before) * station.readers / station.mean_min
    return lambda minutes: waits * exp(-rate * minutes)


def _inverted(transform: Callable[[complex], complex], at: float) -> float:
    """Return f(at) from its Laplace transform (Abate and Whitt 1995, EULER: 38 terms)."""
    a, plain, averaged = 8 * log(10), 15 + 12, 11
    terms = plain + averaged
    half = transform(complex(a / (2 * at))).real / 2
    signs = np.where(np.arange(1, terms + 1) % 2, -1.0, 1.0)
    values = [transform(complex(a, 2 * k * pi) / (2 * at)).real for k in range(1, terms + 1)]
    sums = half + np.cumsum(signs * np.array(values))
    weights = [comb(averaged, k) / 2**averaged for k in range(averaged + 1)]
    return float(exp(a / 2) / at * np.dot(weights, sums[plain - 1 :]))
