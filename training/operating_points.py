"""From hits and false alarms on validation volumes to calibration, thresholds, expectations.

Pure: everything comes in as values, so a threshold can be set again without running a network.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Floats = NDArray[np.float64]

# Scores are compared as they are published: rounded to 0.001.
SCORE_STEP = 0.001
# A steeper curve would send all scores to 0 and 1, and no threshold between could be told apart.
STEEPEST = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """What happened on validation volumes of one kind.

    Attributes
    ----------
    name
        For the sentence that says what was measured.
    volumes
        How many were run.
    hits
        (n,) raw logit of the best candidate of each nodule; -inf where it had none.
    false_alarms
        (m,) raw logits of candidates near nothing that is known.
    """

    name: str
    volumes: int
    hits: Floats
    false_alarms: Floats


@dataclass(frozen=True, slots=True)
class Platt:
    """``score = sigmoid(scale * logit + shift)``."""

    scale: float
    shift: float

    def scores(self, logits: Floats) -> Floats:
        """Return the scores as they are published: rounded to 0.001."""
        with np.errstate(over="ignore"):
            return np.round(1 / (1 + np.exp(-(self.scale * logits + self.shift))), 3)


@dataclass(frozen=True, slots=True)
class Expected:
    """What a threshold gives on one group."""

    name: str
    nodules: int
    volumes: int
    sensitivity: float
    false_positives: float


def published(groups: Sequence[Group], false_positives: float) -> tuple[Group, ...]:
    """Return the groups with only those candidates that a package would keep.

    A network gives thousands of candidates that nobody ever sees. A curve fitted with them must
    tell noise from everything else, and has no room left to tell the candidates above the floor
    apart.

    Parameters
    ----------
    false_positives
        The most that may be kept for each volume; the floor of all groups is the highest of theirs.
    """
    floor = -np.inf
    for group in groups:
        strongest = np.sort(group.false_alarms)[::-1]
        allowed = int(np.floor(false_positives * group.volumes))
        if allowed < len(strongest):
            floor = max(floor, float(strongest[allowed]))
    return tuple(
        replace(
            group,
            hits=group.hits[group.hits > floor],
            false_alarms=group.false_alarms[group.false_alarms > floor],
        )
        for group in groups
    )


def calibrate(groups: Sequence[Group]) -> Platt:
    """Fit a logistic curve to hits against false alarms (Platt 1999, with his softened targets).

    Parameters
    ----------
    groups
        Each group has the same weight, and in it hits and false alarms have, however many there
        are: half of the candidates with score 0.5 are nodules where both are equally common.
    """
    logits, targets, weights = [], [], []
    for group in groups:
        hits = group.hits[np.isfinite(group.hits)]
        for values, is_hit in ((hits, True), (group.false_alarms, False)):
            count = len(values)
            target = (count + 1) / (count + 2)
            logits.append(values)
            targets.append(np.full(count, target if is_hit else 1 - target))
            weights.append(np.full(count, 1 / max(count, 1)))
    x, y, w = (np.concatenate(parts) for parts in (logits, targets, weights))

    def cost(parameters: Floats) -> float:
        raw = parameters[0] * x + parameters[1]
        return float((w * (np.logaddexp(0, raw) - y * raw)).sum())

    found = minimize(cost, np.array([1.0, 0.0]), bounds=[(0.05, STEEPEST), (-20, 20)])
    return Platt(round(float(found.x[0]), 4), round(float(found.x[1]), 4))


def lowest_threshold(groups: Sequence[Group], platt: Platt, false_positives: float) -> float:
    """Return the lowest threshold at which no group has more false positives for each volume."""
    threshold = SCORE_STEP
    for group in groups:
        scores = np.sort(platt.scores(group.false_alarms))[::-1]
        allowed = int(np.floor(false_positives * group.volumes))
        if allowed < len(scores):
            # Candidates at the threshold count, so it must lie above the first one too many.
            threshold = max(threshold, float(scores[allowed]) + SCORE_STEP)
    return round(min(threshold, 1.0), 3)


def expect(group: Group, platt: Platt, threshold: float) -> Expected:
    """Return sensitivity and false positives of one group at a threshold."""
    hits = platt.scores(group.hits) >= threshold
    false = np.count_nonzero(platt.scores(group.false_alarms) >= threshold)
    return Expected(
        group.name,
        len(group.hits),
        group.volumes,
        round(float(hits.mean()), 3) if len(hits) else 0.0,
        round(float(false) / group.volumes, 2),
    )


def sentence(expected: Sequence[Expected]) -> str:
    """Say in one line what was measured on what."""
    return "; ".join(
        f"{e.name}: {e.sensitivity:.1%} of {e.nodules} nodules, "
        f"{e.false_positives:.2f} false positives in each of {e.volumes} volumes"
        for e in expected
    )
