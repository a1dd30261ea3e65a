"""Outcomes as documents and charts; whoever shows them adds no numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from serving.worklist.conditions import Note
from serving.worklist.simulate.drawing import Bars
from serving.worklist.simulate.experiment import Outcome, Plan
from serving.worklist.simulate.figures import GROUPS, Interval
from serving.worklist.simulate.guarantees import Kept
from serving.worklist.simulate.notes import notes
from serving.worklist.simulate.reading import Reading, Scatter
from serving.worklist.simulate.scenarios import Scenario

Document = dict[str, Any]


def document(outcome: Outcome) -> Document:
    """Return an outcome as JSON; None (null) stands where nothing can be said.

    ``standard_error`` is that of the mean wait; ``minutes`` are against the order of arrival on the
    same arrivals and reading times; ``theory`` are expected means, null where no formula is exact.
    """
    groups = outcome.groups
    return {
        "policy": outcome.plan.policy.value,
        "inputs": _plan_inputs(outcome.plan),
        "classes": {
            name: {
                "mean_wait_minutes": groups[name].mean,
                "p95": groups[name].p95,
                "p99": groups[name].p99,
                "max": groups[name].max,
                "n": groups[name].n,
                "waited_share": groups[name].waited_share,
            }
            for name in GROUPS
        },
        "standard_error": {name: groups[name].standard_error for name in GROUPS},
        "minutes": {
            "saved_diseased": _interval(outcome.saved_diseased),
            "lost_non_diseased": _interval(outcome.lost_non_diseased),
            "lost_missed": _interval(outcome.lost_missed),
        },
        "theory": None if outcome.theory is None else asdict(outcome.theory),
        "notes": _notes(notes(outcome)),
    }


def roc_document(outcomes: Sequence[Outcome]) -> Document:
    """Return several operating points of one AI as JSON."""
    return {
        "policy": outcomes[0].plan.policy.value,
        "points": [
            {
                "sensitivity": one.plan.traffic.detector.sensitivity,
                "specificity": one.plan.traffic.detector.specificity,
                "flagged_share": one.plan.traffic.detector.flagged_share,
            }
            | document(one)
            for one in outcomes
        ],
    }


def scenario_document(
    name: str,
    scenario: Scenario,
    policy: str,
    phi: float,
    *,
    days: Sequence[Mapping[str, float]],
    promises: Sequence[Kept],
    said: Sequence[Note],
) -> Document:
    """Return a reference scenario as JSON: each seed, and each promise with what was measured."""
    return {
        "scenario": name,
        "policy": policy,
        "inputs": _scenario_inputs(scenario, phi),
        "seeds": len(days),
        "figures": {
            figure: {
                "mean": fmean(day[figure] for day in days),
                "least": min(day[figure] for day in days),
                "most": max(day[figure] for day in days),
                "by_seed": [day[figure] for day in days],
            }
            for figure in days[0]
        },
        "promises": [
            {
                "figure": kept.promise.figure,
                "form": kept.promise.form,
                "at_least" if kept.promise.is_least else "at_most": kept.promise.limit,
                "measured": kept.measured,
                "met": kept.is_met,
            }
            for kept in promises
        ],
        "notes": _notes(said),
    }


def outcome_bars(outcome: Outcome) -> Bars:
    """Return mean and p95 wait of each group beside the order of arrival."""
    rows: dict[str, tuple[float | None, ...]] = {}
    for name in GROUPS:
        ours, in_turn = outcome.groups[name], outcome.in_turn[name]
        words = name.replace("_", " ")
        rows[f"{words}, mean"] = (ours.mean, in_turn.mean)
        rows[f"{words}, p95"] = (ours.p95, in_turn.p95)
    return Bars(
        "Wait from arrival to reading", "minutes", (outcome.plan.policy.value, "fifo"), rows
    )


def roc_bars(outcomes: Sequence[Outcome]) -> Bars:
    """Return minutes saved and lost at each operating point."""
    rows = {
        f"Se {detector.sensitivity:g}, Sp {detector.specificity:g}": (
            None if one.saved_diseased is None else max(0.0, one.saved_diseased.mean),
            None if one.lost_non_diseased is None else max(0.0, one.lost_non_diseased.mean),
        )
        for one in outcomes
        for detector in (one.plan.traffic.detector,)
    }
    return Bars(
        "Against the order of arrival",
        "minutes",
        ("saved for the diseased", "lost by the others"),
        rows,
    )


def day_bars(scenario: str, policy: str, days: Sequence[Mapping[str, float]], kept: Kept) -> Bars:
    """Return one figure of a scenario for each seed, beside its target."""
    rows = {f"seed {seed}": (day[kept.promise.figure],) for seed, day in enumerate(days)}
    title = f"{scenario}: {kept.promise.figure.replace('_', ' ')}"
    return Bars(title, "share or ratio", (policy,), rows, kept.promise.limit, digits=3)


def _plan_inputs(plan: Plan) -> Document:
    traffic = plan.traffic
    return {
        "readers": traffic.readers,
        "traffic": traffic.load,
        "hospitals": traffic.hospitals,
        "day_loads": list(traffic.pool.day_loads),
        "phi": plan.phi,
        "preemptive": plan.is_preemptive,
        "cases": plan.cases,
        "warm_up_cases": traffic.warm_up(plan.cases),
        "seeds": plan.seeds,
        **asdict(traffic.detector),
        **_reading(traffic.reading),
    }


def _scenario_inputs(scenario: Scenario, phi: float) -> Document:
    plain = {key: value for key, value in asdict(scenario).items() if key != "reading"}
    return {**plain, "phi": phi, **_reading(scenario.reading)}


def _reading(reading: Reading) -> Document:
    return {
        "mean_minutes": reading.mean_min,
        "modalities": [
            {"name": one.name, "mean_minutes": one.mean_min, "share": one.share}
            for one in reading.modalities
        ],
        "reading": reading.scatter.value,
        "cv": reading.cv if reading.scatter is Scatter.LOGNORMAL else None,
    }


def _notes(said: Sequence[Note]) -> list[Document]:
    return [{"code": note.code, "values": dict(note.values)} for note in said]


def _interval(interval: Interval | None) -> Document | None:
    if interval is None:
        return None
    return {"mean": interval.mean, "low": interval.low, "high": interval.high}
