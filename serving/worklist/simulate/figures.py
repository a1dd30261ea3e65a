"""Waits of many cases over several seeds: means with their errors, percentiles, minutes moved.

The error of a mean comes from independent seeds: cases of one run wait for each other, so that the
scatter within it says nothing. A mean over seeds of unequal size is a ratio of sums, and its
standard error that of a ratio.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from serving.worklist.simulate.cases import Cases, Flags, Floats

GROUPS = ("ai_positive", "ai_negative", "diseased", "non_diseased", "all")
MISSED = "missed"
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class GroupFigures:
    """Waits of a group, in minutes; None where nothing can be said: no case, or one seed only."""

    n: int
    mean: float | None
    standard_error: float | None
    p95: float | None
    p99: float | None
    max: float | None
    waited_share: float | None
    waited_share_error: float | None


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over seeds with its 95 % confidence interval; no interval from one seed."""

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Run:
    """One seed: waits under the policy and in the order of arrival, and who is in which group."""

    waits_min: NDArray[np.float32]
    in_turn_min: NDArray[np.float32]
    groups: Mapping[str, Flags]


def make_run(cases: Cases, waits_min: Floats, in_turn_min: Floats, skipped: int) -> Run:
    """Return what is kept of a seed, without its first cases."""
    counted = slice(skipped, None)
    flagged, diseased = cases.is_flagged[counted], cases.is_diseased[counted]
    groups = {
        "ai_positive": flagged,
        "ai_negative": ~flagged,
        "diseased": diseased,
        "non_diseased": ~diseased,
        "all": np.ones(len(flagged), np.bool_),
        MISSED: diseased & ~flagged,
    }
    return Run(
        waits_min[counted].astype(np.float32), in_turn_min[counted].astype(np.float32), groups
    )


def group_figures(runs: Sequence[Run], group: str, *, is_in_turn: bool = False) -> GroupFigures:
    """Return the figures of a group over all seeds."""
    waits = [(run.in_turn_min if is_in_turn else run.waits_min)[run.groups[group]] for run in runs]
    counts = [len(each) for each in waits]
    pooled = np.concatenate(waits)
    if not len(pooled):
        return GroupFigures(0, None, None, None, None, None, None, None)
    mean, error = _ratio([float(each.sum(dtype=np.float64)) for each in waits], counts)
    share, share_error = _ratio([float((each > 0).sum()) for each in waits], counts)
    p95, p99 = np.quantile(pooled, (0.95, 0.99))
    return GroupFigures(
        len(pooled), mean, error, float(p95), float(p99), float(pooled.max()), share, share_error
    )


def longer_than_in_turn(runs: Sequence[Run], group: str) -> Interval | None:
    """Return the minutes by which a group waits longer than in the order of arrival.

    Seed by seed on the same arrivals and reading times; None where the group is empty.
    """
    moved = [
        float((run.waits_min - run.in_turn_min)[run.groups[group]].mean(dtype=np.float64))
        for run in runs
        if run.groups[group].any()
    ]
    if not moved:
        return None
    mean = sum(moved) / len(moved)
    if len(moved) == 1:
        return Interval(mean, None, None)
    from scipy.special import stdtrit

    quantile = float(stdtrit(len(moved) - 1, (1 + CONFIDENCE) / 2))
    half = quantile * float(np.std(moved, ddof=1)) / sqrt(len(moved))
    return Interval(mean, mean - half, mean + half)


def _ratio(sums: Sequence[float], counts: Sequence[int]) -> tuple[float, float | None]:
    """Return the ratio of two sums over seeds and its standard error."""
    seeds, total = len(counts), sum(counts)
    ratio = sum(sums) / total
    if seeds == 1:
        return ratio, None
    residuals = sum((s - ratio * n) ** 2 for s, n in zip(sums, counts, strict=True))
    return ratio, sqrt(residuals * seeds / (seeds - 1)) / total
