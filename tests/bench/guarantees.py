"""What the order promises, all policies side by side: ``python -m tests.bench.guarantees``.

The three reference days under each policy, under this one with a part taken away, outside the
conditions, and over phi. ``--write`` puts tables and plots into the docs.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from serving.worklist.allowance import AllowanceRules
from serving.worklist.simulate.cases import ROUTINE, Cases, Floats, Pool, flat_day
from serving.worklist.simulate.drawing import Bars, chart, svg
from serving.worklist.simulate.engine import waits_min
from serving.worklist.simulate.guarantees import (
    CROWDED,
    IN_TIME,
    LATE,
    LONGEST,
    SEEDS,
    judge,
    measure,
    measure_day,
)
from serving.worklist.simulate.policies import Policy, line_up
from serving.worklist.simulate.reading import Reading, Scatter
from serving.worklist.simulate.scenarios import SCENARIOS, WORKING_DAY, Name, Scenario, draw
from tests.bench.page import write_between
from tests.bench.studies import ROOT

PAGE, IMAGES = ROOT / "docs/bench-order.md", ROOT / "docs/images"
DAY, STORM, DUMP = (SCENARIOS[name] for name in Name)
THREE_DAYS = replace(STORM, days=3)
LONG_SEEDS = 20

Days = list[dict[str, float]]


@dataclass(frozen=True, slots=True)
class Contender:
    """A policy, or ours with a part taken away."""

    name: str
    policy: Policy
    phi: float = 0.25
    rules: AllowanceRules = AllowanceRules()  # noqa: RUF009 - frozen

    def pool(self, scenario: Scenario) -> Pool:
        return replace(scenario.pool, phi=self.phi, rules=self.rules)


CONTENDERS = (
    Contender("fifo: a flag that moves nothing", Policy.FIFO),
    Contender("strict classes", Policy.STRICT),
    Contender("cap at the routine SLA, then first", Policy.CAP),
    Contender("earliest due first", Policy.EDF),
    Contender("ours without token", Policy.FIRSTREAD, phi=0.0),
    Contender("ours without allowances", Policy.FIRSTREAD, rules=AllowanceRules(burst_min=1e9)),
    Contender("**firstread**", Policy.FIRSTREAD),
)


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.guarantees", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.name} and images")
    given = parser.parse_args()
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    found = {one.name: reference_days(one) for one in CONTENDERS}
    say(policy_table(found))
    say(promise_table(found["**firstread**"]))
    say(overload_table())
    say(variation_table())
    say(phi_table())
    if given.write:
        write_between(PAGE, "guarantees", "\n".join(said))
        for name, bars in plots(found).items():
            (IMAGES / f"{name}.svg").write_bytes(svg(chart(bars)))
    return 0


@dataclass(frozen=True, slots=True)
class Reference:
    """The reference days under one contender."""

    overload: Days
    storm: Days
    three_days: Days
    dump: Days


def reference_days(one: Contender) -> Reference:
    """Measure them all."""
    return Reference(
        measure(Name.OVERLOAD, DAY, one.policy, SEEDS[Name.OVERLOAD], one.pool(DAY)),
        measure(Name.STORM, STORM, one.policy, SEEDS[Name.STORM], one.pool(STORM)),
        measure(Name.STORM, THREE_DAYS, one.policy, LONG_SEEDS, one.pool(THREE_DAYS)),
        measure(Name.DUMP, DUMP, one.policy, SEEDS[Name.DUMP], one.pool(DUMP)),
    )


def policy_table(found: Mapping[str, Reference]) -> str:
    """Return all policies side by side: mean over the seeds / worst seed."""
    rows = [
        (
            name,
            least(days.overload, IN_TIME),
            most(days.overload, LONGEST),
            most(days.storm, LATE),
            most(days.three_days, LATE),
            most(days.dump, CROWDED),
        )
        for name, days in found.items()
    ]
    heads = (
        "policy", "overload: flagged started in 30 min", "others' longest wait / FIFO",
        "storm, 1 day: others' p99 / SLA", "storm, 3 days", "dump: other hospitals' p95 / FIFO",
    )  # fmt: skip
    return "### All policies, mean over the seeds / worst seed\n\n" + table(heads, rows)


def promise_table(days: Reference) -> str:
    """Return each promise with what was measured."""
    of = {Name.OVERLOAD: days.overload, Name.STORM: days.storm, Name.DUMP: days.dump}
    rows = [
        (
            name,
            kept.promise.figure.replace("_", " "),
            kept.promise.form.replace("-", " "),
            f"{'at least' if kept.promise.is_least else 'at most'} {kept.promise.limit:g}",
            f"{kept.measured:.3f}",
            "met" if kept.is_met else "**missed**",
        )
        for name, measured in of.items()
        for kept in judge(name, measured)
    ]
    heads = ("scenario", "figure", "over the seeds", "promise", "measured", "")
    return "### The promises\n\n" + table(heads, rows)


def overload_table() -> str:
    """Return who waits how long on the overloaded day, in minutes."""
    groups = ("diseased", "not diseased", "missed", "missed, longest")
    rows = []
    for one in CONTENDERS:
        waits = [groups_of(one, seed) for seed in range(SEEDS[Name.OVERLOAD])]
        means = [f"{fmean(each[n] for each in waits):.1f}" for n in range(4)]
        worst = max(each[3] for each in waits)
        rows.append((one.name, *means[:3], f"{means[3]} / {worst:.0f}"))
    return "### The overloaded day, minutes\n\nMissed: diseased and not flagged.\n\n" + table(
        ("policy", *groups), rows
    )


def groups_of(one: Contender, seed: int) -> tuple[float, float, float, float]:
    cases, pool = draw(DAY, seed), one.pool(DAY)
    waits: Floats = waits_min(cases, line_up(one.policy, cases, pool), pool.readers)
    missed = cases.is_diseased & ~cases.is_flagged
    return (
        float(waits[cases.is_diseased].mean()),
        float(waits[~cases.is_diseased].mean()),
        float(waits[missed].mean()),
        float(waits[missed].max()),
    )


def variation_table() -> str:
    """Return how the figures move outside the conditions."""
    rows = [(what, *figures) for what, figures in variations()]
    heads = ("firstread, mean / worst seed", "figure", "measured", "seeds above the bound")
    return "### Outside the conditions\n\n" + table(heads, rows)


def variations() -> Iterator[tuple[str, tuple[str, str, str]]]:
    """Yield what was changed, and the figures."""
    orders = {"stat_share": 0.02, "urgent_share": 0.1}
    for readers in (3, 4, 16, 24):
        yield f"overload, {readers} readers", in_time(replace(DAY, readers=readers))
        yield "", longest(replace(DAY, readers=readers))
    lognormal = Reading(scatter=Scatter.LOGNORMAL, cv=0.5)
    yield "overload, lognormal reading times, cv 0.5", longest(replace(DAY, reading=lognormal))
    for hospitals in (5, 200):
        yield f"overload, {hospitals} hospitals", longest(replace(DAY, hospitals=hospitals))
    yield "overload, 2 % STAT and 10 % urgent", longest(replace(DAY, **orders))  # type: ignore[arg-type]
    yield "overload, specificity 0.8 (27 % flagged)", longest(replace(DAY, specificity=0.8))
    yield "overload, prevalence 0.3 (34 % flagged)", longest(replace(DAY, prevalence=0.3))
    for sigma in (0.15, 0.3):
        days = [
            measure_day(Name.OVERLOAD, DAY, Policy.FIRSTREAD, seed, wrong_contracts(seed, sigma))
            for seed in range(SEEDS[Name.OVERLOAD])
        ]
        yield f"overload, contracts wrong by exp(N(0, {sigma}))", of_longest(days)
    for large, small in ((240, 120), (120, 240), (60, 120)):
        slas = tuple([float(large)] * 5 + [float(small)] * 35)
        what = f"overload, routine SLA {large} for the five largest hospitals, {small} for the rest"
        yield what, longest(DAY, replace(DAY.pool, routine_sla_min=slas))
    slack = tuple(240.0 if rank == ROUTINE else one for rank, one in enumerate(STORM.pool.sla_min))
    yield "storm, routine SLA 240", late(STORM, replace(STORM.pool, sla_min=slack))
    yield "storm, 24 readers", late(replace(STORM, readers=24))
    yield "storm, 2 % STAT and 10 % urgent", late(replace(STORM, **orders))  # type: ignore[arg-type]
    for load in (0.7, 0.9):
        yield f"dump, load {load}", crowded(replace(DUMP, day_loads=flat_day(load)))
    yield "dump by the largest hospital", crowded(replace(DUMP, dumper=0))
    yield "dump by the smallest hospital", crowded(replace(DUMP, dumper=39))
    for share in (0.05, 0.1, 0.18):
        what = f"dump, {share:.0%} of it flagged"
        yield what, crowded(replace(DUMP, dump_flagged_share=share))
    yield "dump, 2 % STAT and 10 % urgent in it too", crowded(replace(DUMP, **orders))  # type: ignore[arg-type]
    yield (
        "dump on a working day (mean 0.64, peak 1.4)",
        crowded(replace(DUMP, day_loads=WORKING_DAY)),
    )


def in_time(scenario: Scenario) -> tuple[str, str, str]:
    days = measure(Name.OVERLOAD, scenario, Policy.FIRSTREAD, SEEDS[Name.OVERLOAD])
    below = fmean(day[IN_TIME] < 0.99 for day in days)
    return "flagged started in 30 min", least(days, IN_TIME), f"below 0.99: {below:.0%}"


def longest(scenario: Scenario, pool: Pool | None = None) -> tuple[str, str, str]:
    return of_longest(
        measure(Name.OVERLOAD, scenario, Policy.FIRSTREAD, SEEDS[Name.OVERLOAD], pool)
    )


def of_longest(days: Days) -> tuple[str, str, str]:
    return "others' longest / FIFO", most(days, LONGEST), above(days, LONGEST, 1.35)


def late(scenario: Scenario, pool: Pool | None = None) -> tuple[str, str, str]:
    days = measure(Name.STORM, scenario, Policy.FIRSTREAD, SEEDS[Name.STORM], pool)
    return "others' p99 / SLA", most(days, LATE), above(days, LATE, 1.5)


def crowded(scenario: Scenario) -> tuple[str, str, str]:
    days = measure(Name.DUMP, scenario, Policy.FIRSTREAD, SEEDS[Name.DUMP])
    return "other hospitals' p95 / FIFO", most(days, CROWDED), above(days, CROWDED, 0.15)


def wrong_contracts(seed: int, sigma: float) -> Pool:
    wrong = np.exp(np.random.default_rng(seed).normal(0, sigma, DAY.hospitals))
    return replace(DAY.pool, contracts=tuple((np.array(DAY.pool.contracts) * wrong).tolist()))


def phi_table() -> str:
    """Return what a larger share for overdue cases costs and gives."""
    rows = []
    for phi in (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 1.0):
        one = Contender("", Policy.FIRSTREAD, phi)
        days = reference_days(one)
        means = [
            flagged_mean(draw(DAY, seed), one.pool(DAY)) for seed in range(SEEDS[Name.OVERLOAD])
        ]
        rows.append((
            f"{phi:g}", most(days.storm, LATE), most(days.three_days, LATE),
            least(days.overload, IN_TIME), f"{fmean(means):.2f}", most(days.dump, CROWDED),
        ))  # fmt: skip
    heads = (
        "phi", "storm, 1 day: others' p99 / SLA", "3 days", "overload: flagged started in 30 min",
        "overload: mean wait of the flagged, min", "dump",
    )  # fmt: skip
    return "### The share phi that is kept for overdue cases\n\n" + table(heads, rows)


def flagged_mean(cases: Cases, pool: Pool) -> float:
    waits = waits_min(cases, line_up(Policy.FIRSTREAD, cases, pool), pool.readers)
    return float(waits[cases.is_flagged].mean())


def plots(found: Mapping[str, Reference]) -> dict[str, Bars]:
    """Return one plot for each promise: mean over the seeds, and the worst seed."""
    names = {name: name.replace("*", "").split(":")[0].split(",")[0] for name in found}

    def bars(title: str, unit: str, values: Mapping[str, Sequence[float]], target: float) -> Bars:
        rows = {names[name]: (fmean(each), max(each)) for name, each in values.items()}
        return Bars(title, unit, ("mean of the seeds", "worst seed"), rows, target, digits=2)

    return {
        "order-overload": bars(
            "Overload: flagged cases not started in 30 minutes",
            "%",
            {n: [100 * (1 - d[IN_TIME]) for d in days.overload] for n, days in found.items()},
            1.0,
        ),
        "order-storm": bars(
            "Storm of false alarms, 3 days: p99 wait of the others",
            "of their SLA",
            {n: [d[LATE] for d in days.three_days] for n, days in found.items()},
            1.5,
        ),
        "order-dump": bars(
            "One hospital dumps 300 studies: p95 wait of all other hospitals",
            "of FIFO's",
            {n: [d[CROWDED] for d in days.dump] for n, days in found.items()},
            0.15,
        ),
    }


def most(days: Days, figure: str) -> str:
    values = [day[figure] for day in days]
    return f"{fmean(values):.2f} / {max(values):.2f}"


def least(days: Days, figure: str) -> str:
    values = [day[figure] for day in days]
    return f"{fmean(values):.3f} / {min(values):.3f}"


def above(days: Days, figure: str, bound: float) -> str:
    return f"{fmean(day[figure] > bound for day in days):.0%}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    raise SystemExit(main())
