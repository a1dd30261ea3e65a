"""What the order promises, measured on the three reference days, in the forms that are tested.

======== ======================================================= ================================
scenario figure of a seed                                        promise
======== ======================================================= ================================
overload share of the flagged that starts within 30 minutes      at least 0.99 in every seed
overload longest wait of the others / FIFO's on the same day     1.25 in the mean, 1.35 in 95 %
storm    p99 of wait / SLA of the others                         1.5 in 95 % of the seeds
dump     p95 wait of all other hospitals for 24 hours / FIFO's   0.10 in the mean, 0.15 in 95 %
======== ======================================================= ================================

They hold under conditions (``conditions.py``). A single unlucky day can miss: hence 95 % of the
seeds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import fmean

import numpy as np

from serving.worklist.allowance import DAY_MIN
from serving.worklist.simulate.cases import AI_CRITICAL, Cases, Floats, Pool
from serving.worklist.simulate.engine import fifo_waits_min, waits_min
from serving.worklist.simulate.policies import Policy, line_up
from serving.worklist.simulate.scenarios import DUMP_AT_MIN, Name, Scenario, draw

IN_TIME = "flagged_in_time_share"
LONGEST = "others_longest_to_fifo"
LATE = "others_p99_to_sla"
CROWDED = "other_hospitals_p95_to_fifo"

SEEDS: Mapping[Name, int] = {Name.OVERLOAD: 40, Name.STORM: 40, Name.DUMP: 20}
OF_SEEDS = 0.95


@dataclass(frozen=True, slots=True)
class Promise:
    """A bound on one figure over the seeds."""

    figure: str
    form: str
    limit: float
    of_seeds: Callable[[Sequence[float]], float]
    is_least: bool = False


@dataclass(frozen=True, slots=True)
class Kept:
    """A promise and what was measured."""

    promise: Promise
    measured: float

    @property
    def is_met(self) -> bool:
        """Whether it was kept."""
        if self.promise.is_least:
            return self.measured >= self.promise.limit
        return self.measured <= self.promise.limit


def most_seeds(values: Sequence[float]) -> float:
    """Return what 95 % of the seeds do not exceed, rounded towards the stricter."""
    return sorted(values)[ceil(OF_SEEDS * len(values)) - 1]


PROMISES: Mapping[Name, tuple[Promise, ...]] = {
    Name.OVERLOAD: (
        Promise(IN_TIME, "every-seed", 0.99, min, is_least=True),
        Promise(LONGEST, "mean", 1.25, fmean),
        Promise(LONGEST, "most-seeds", 1.35, most_seeds),
    ),
    Name.STORM: (Promise(LATE, "most-seeds", 1.5, most_seeds),),
    Name.DUMP: (
        Promise(CROWDED, "mean", 0.10, fmean),
        Promise(CROWDED, "most-seeds", 0.15, most_seeds),
    ),
}


def measure_day(
    name: Name, scenario: Scenario, policy: Policy, seed: int, pool: Pool | None = None
) -> dict[str, float]:
    """Return the figures of one seed.

    Parameters
    ----------
    pool
        Another one than the scenario's own: other SLAs, another phi, other contracts.
    """
    pool = pool or scenario.pool
    cases = draw(scenario, seed)
    waits = waits_min(cases, line_up(policy, cases, pool), pool.readers)
    match name:
        case Name.OVERLOAD:
            return _overload(cases, waits, pool)
        case Name.STORM:
            others = ~cases.is_flagged
            sla_min = np.array(pool.sla_min)[cases.rank]
            return {LATE: float(np.quantile((waits / sla_min)[others], 0.99))}
        case Name.DUMP:
            return _dump(cases, waits, pool, scenario.dumper)


def measure(
    name: Name, scenario: Scenario, policy: Policy, seeds: int, pool: Pool | None = None
) -> list[dict[str, float]]:
    """Return the figures of the seeds 0 to ``seeds - 1``."""
    return [measure_day(name, scenario, policy, seed, pool) for seed in range(seeds)]


def judge(name: Name, days: Sequence[Mapping[str, float]]) -> tuple[Kept, ...]:
    """Return each promise of a scenario with what the days give."""
    return tuple(
        Kept(promise, promise.of_seeds([day[promise.figure] for day in days]))
        for promise in PROMISES[name]
    )


def _overload(cases: Cases, waits: Floats, pool: Pool) -> dict[str, float]:
    in_turn = fifo_waits_min(cases, pool.readers)
    flagged = cases.is_flagged
    return {
        IN_TIME: float((waits[flagged] <= pool.sla_min[AI_CRITICAL]).mean()),
        LONGEST: float(waits[~flagged].max() / in_turn.max()),
    }


def _dump(cases: Cases, waits: Floats, pool: Pool, dumper: int) -> dict[str, float]:
    since = cases.arrived_min - DUMP_AT_MIN
    others = (since >= 0) & (since < DAY_MIN) & (cases.hospital != dumper)
    p95_min = float(np.quantile(waits[others], 0.95))
    in_turn_min = float(np.quantile(fifo_waits_min(cases, pool.readers)[others], 0.95))
    return {CROWDED: p95_min / in_turn_min, "other_hospitals_p95_minutes": p95_min}
