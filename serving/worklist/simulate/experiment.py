"""One policy on one kind of traffic, over independent seeds."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from firstread.progress import Progress, silent
from serving.worklist.simulate.cases import Cases, Floats, Pool
from serving.worklist.simulate.engine import fifo_waits_min, waits_min
from serving.worklist.simulate.figures import (
    GROUPS,
    MISSED,
    GroupFigures,
    Interval,
    Run,
    group_figures,
    longer_than_in_turn,
    make_run,
)
from serving.worklist.simulate.policies import Policy, line_up
from serving.worklist.simulate.preemption import preemptive_waits_min
from serving.worklist.simulate.reading import Scatter
from serving.worklist.simulate.theory import Means, Station, means
from serving.worklist.simulate.traffic import Traffic, draw_traffic

# The policies with a formula, and those that may interrupt: the others decide by time.
PREEMPTIVE = (Policy.FIFO, Policy.STRICT)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is simulated: ``cases`` of each of the seeds 0 to ``seeds - 1``, warm-up apart."""

    policy: Policy
    traffic: Traffic
    cases: int
    seeds: int
    phi: float = 0.25
    is_preemptive: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it.

    Attributes
    ----------
    groups, in_turn
        Figures of each group under the policy, and in the order of arrival.
    saved_diseased, lost_non_diseased, lost_missed
        Minutes by which the diseased wait less, and others and missed patients longer, than in the
        order of arrival; None where there is none of them.
    theory
        Expected means, where a formula is exact.
    """

    plan: Plan
    groups: Mapping[str, GroupFigures]
    in_turn: Mapping[str, GroupFigures]
    saved_diseased: Interval | None
    lost_non_diseased: Interval | None
    lost_missed: Interval | None
    theory: Means | None


def experiment(plan: Plan, progress: Progress = silent) -> Outcome:
    """Simulate every seed and put the figures together."""
    traffic = plan.traffic
    pool = replace(traffic.pool, phi=plan.phi)
    skipped = traffic.warm_up(plan.cases)
    runs = []
    for seed in range(plan.seeds):
        progress("seeds", seed, plan.seeds)
        cases = draw_traffic(traffic, skipped + plan.cases, seed)
        runs.append(run_cases(plan, pool, cases, skipped))
    progress("seeds", plan.seeds, plan.seeds)
    return summarise(plan, runs)


def run_cases(plan: Plan, pool: Pool, cases: Cases, skipped: int = 0) -> Run:
    """Read cases, drawn or recorded, under the plan's policy and in the order of arrival."""
    in_turn = fifo_waits_min(cases, pool.readers)
    return make_run(cases, _waits(plan, pool, cases, in_turn), in_turn, skipped)


def summarise(plan: Plan, runs: list[Run]) -> Outcome:
    """Put the seeds together."""
    shorter = longer_than_in_turn(runs, "diseased")
    return Outcome(
        plan,
        {group: group_figures(runs, group) for group in GROUPS},
        {group: group_figures(runs, group, is_in_turn=True) for group in GROUPS},
        None if shorter is None else _negated(shorter),
        longer_than_in_turn(runs, "non_diseased"),
        longer_than_in_turn(runs, MISSED),
        expected(plan),
    )


def expected(plan: Plan) -> Means | None:
    """Return the mean waits by formula; None where no formula is exact."""
    traffic, reading = plan.traffic, plan.traffic.reading
    is_plain = len(set(traffic.day_shape)) == 1 and len(reading.modalities) == 1
    is_known = reading.scatter is Scatter.EXPONENTIAL or traffic.readers == 1
    is_steady = 0 < traffic.load < 1 and 0 < traffic.detector.flagged_share < 1
    if not (is_plain and is_known and is_steady) or plan.policy not in PREEMPTIVE:
        return None
    if plan.is_preemptive and reading.scatter is not Scatter.EXPONENTIAL:
        return None
    station = Station(traffic.readers, traffic.load, reading.mean_min, _cv(plan))
    return means(
        station,
        traffic.detector,
        is_strict=plan.policy is Policy.STRICT,
        is_preemptive=plan.is_preemptive,
    )


def _cv(plan: Plan) -> float:
    match plan.traffic.reading.scatter:
        case Scatter.EXPONENTIAL:
            return 1.0
        case Scatter.LOGNORMAL:
            return plan.traffic.reading.cv
        case Scatter.FIXED:
            return 0.0


def _waits(plan: Plan, pool: Pool, cases: Cases, in_turn: Floats) -> Floats:
    line = line_up(plan.policy, cases, pool)
    if plan.is_preemptive:
        return preemptive_waits_min(cases, line, pool.readers)
    return waits_min(cases, line, pool.readers)


def _negated(longer: Interval) -> Interval:
    low, high = longer.low, longer.high
    # Taken from 0, since -x makes of nothing moved a -0.
    if low is None or high is None:
        return Interval(0 - longer.mean, None, None)
    return Interval(0 - longer.mean, 0 - high, 0 - low)
