"""The three days on which an order shows what it is worth: overload, false-positive storm, dump.

Drawn exactly as the reference figures were (NumPy's ``default_rng(seed)``, the same calls in the
same order), so that a seed means the same day for everybody. Waits run from arrival to start, the
pool is empty at minute 0, and all cases count.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from serving.worklist.allowance import DAY_MIN, HOUR_MIN, HOURS
from serving.worklist.order import STAT
from serving.worklist.simulate.cases import (
    ROUTINE,
    URGENT,
    Cases,
    Flags,
    Floats,
    Pool,
    flat_day,
    volumes,
)
from serving.worklist.simulate.reading import Reading, draw_reading

# Traffic by hour: a quiet night, a morning above what the readers can read.
WORKING_DAY = (
    *(0.15, 0.12, 0.10, 0.10, 0.10, 0.15, 0.30, 0.70, 1.2, 1.4, 1.4, 1.2),
    *(0.8, 0.9, 1.2, 1.3, 1.1, 0.8, 0.6, 0.5, 0.45, 0.35, 0.25, 0.2),
)
DUMP_AT_MIN = 2040.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is drawn.

    Attributes
    ----------
    day_loads
        Traffic by hour.
    flagged_share
        Of all cases, whatever they have; None: by prevalence, sensitivity, specificity.
    dump_cases, dumper, dump_flagged_share
        How many come at once at minute 2,040, from which hospital, and how many of them the AI
        flags; None: like the others.
    stat_share, urgent_share
        Ordered so; the rest is routine.
    """

    day_loads: tuple[float, ...] = WORKING_DAY
    days: int = 3
    readers: int = 8
    reading: Reading = field(default_factory=Reading)
    hospitals: int = 40
    prevalence: float = 0.1
    sensitivity: float = 0.9
    specificity: float = 0.9
    flagged_share: float | None = None
    dump_cases: int = 0
    dumper: int = 4
    dump_flagged_share: float | None = None
    stat_share: float = 0.0
    urgent_share: float = 0.0

    @property
    def pool(self) -> Pool:
        """The pool that reads it, with true contracts."""
        mean_load = float(np.array(self.day_loads).mean())
        per_min = mean_load * self.readers / self.reading.mean_min
        return Pool(
            self.readers,
            self.reading.mean_min,
            self.day_loads,
            tuple((volumes(self.hospitals) * per_min).tolist()),
        )


class Name(StrEnum):
    """The reference scenarios."""

    OVERLOAD = "overload"
    STORM = "storm"
    DUMP = "dump"


SCENARIOS: Mapping[Name, Scenario] = {
    Name.OVERLOAD: Scenario(),
    Name.STORM: Scenario(flat_day(1.0), days=1, flagged_share=0.85),
    Name.DUMP: Scenario(flat_day(0.8), days=4, dump_cases=300, dump_flagged_share=0.0),
}


def draw(scenario: Scenario, seed: int) -> Cases:
    """Draw the cases of one seed."""
    rng = np.random.default_rng(seed)
    arrived = _arrivals(scenario, rng)
    hospital = rng.choice(scenario.hospitals, len(arrived), p=volumes(scenario.hospitals))
    is_dumped = np.zeros(len(arrived), np.bool_)
    if scenario.dump_cases:
        dumped = np.full(scenario.dump_cases, DUMP_AT_MIN)
        arrived = np.r_[arrived, dumped]
        order = np.argsort(arrived, kind="stable")
        hospital = np.r_[hospital, np.full(scenario.dump_cases, scenario.dumper)][order]
        is_dumped = np.r_[is_dumped, np.ones(scenario.dump_cases, np.bool_)][order]
        arrived = arrived[order]
    is_flagged, is_diseased = _flags(scenario, len(arrived), rng)
    if scenario.dump_cases and scenario.dump_flagged_share is not None:
        of_dumped = rng.random(len(arrived)) < scenario.dump_flagged_share
        is_flagged = np.where(is_dumped, of_dumped, is_flagged)
    ordered = rng.random(len(arrived))
    urgent_from = scenario.stat_share + scenario.urgent_share
    ordered_rank = np.where(
        ordered < scenario.stat_share, STAT, np.where(ordered < urgent_from, URGENT, ROUTINE)
    )
    reading = draw_reading(scenario.reading, len(arrived), rng)
    return Cases(arrived, hospital, ordered_rank, is_flagged, is_diseased, reading)


def _arrivals(scenario: Scenario, rng: np.random.Generator) -> Floats:
    """Draw Poisson arrivals at the peak's rate and keep of each hour its share."""
    loads = np.array(scenario.day_loads)
    peak, end_min = loads.max(), scenario.days * DAY_MIN
    expected = peak * scenario.readers / scenario.reading.mean_min * end_min
    arrived = np.sort(rng.random(rng.poisson(expected)) * end_min)
    hour = (arrived // HOUR_MIN).astype(int) % HOURS
    return np.asarray(arrived[rng.random(len(arrived)) < loads[hour] / peak])


def _flags(scenario: Scenario, n: int, rng: np.random.Generator) -> tuple[Flags, Flags]:
    if scenario.flagged_share is not None:
        return rng.random(n) < scenario.flagged_share, np.zeros(n, np.bool_)
    is_diseased = rng.random(n) < scenario.prevalence
    found = rng.random(n) < scenario.sensitivity
    is_flagged = np.where(is_diseased, found, rng.random(n) > scenario.specificity)
    return is_flagged, is_diseased
