"""Steps between slices: the usual one, gaps where slices are missing, and steps that fit nothing.

Only positions count. A step is *usual* when it is within a tenth of the series' own step, a *gap*
when it is a whole number (2 or more) of it, and *irregular* otherwise::

    |   |   |       |   |    |   |      usual = 5.0 mm
    0   5   10      20  25   31.1 36.1
                ^gap      ^irregular
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inference.volume import Floats

# A step is a whole number of usual steps when it is one within this share of the usual step.
STEP_TOLERANCE = 0.1

# The usual step is the smallest that at least this share of all steps have. Half would do where few
# slices are missing; a tenth still finds the step where most are, and a single slice too many,
# which halves two steps, does not turn a whole series into gaps.
COMMON_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Gap:
    """Missing slices between two positions along the normal."""

    after_mm: float
    before_mm: float
    missing_slices: int

    @property
    def length_mm(self) -> float:
        """Distance between the two slices beside the gap."""
        return self.before_mm - self.after_mm


@dataclass(frozen=True, slots=True)
class OddStep:
    """A step that is no whole number of usual steps."""

    after_mm: float
    before_mm: float

    @property
    def length_mm(self) -> float:
        """Distance between the two slices."""
        return self.before_mm - self.after_mm


@dataclass(frozen=True, slots=True)
class Spacing:
    """How the positions of a stack are spaced.

    Attributes
    ----------
    usual_mm
        The series' own step, the mean of all steps that are whole numbers of it.
    steps
        How many usual steps each step is; 0 for an odd one.
    """

    usual_mm: float
    steps: tuple[int, ...]
    gaps: tuple[Gap, ...]
    odd_steps: tuple[OddStep, ...]

    @property
    def missing_slices(self) -> int:
        """Slices that are missing in all gaps."""
        return sum(gap.missing_slices for gap in self.gaps)


def measure_spacing(positions_mm: Sequence[float] | Floats) -> Spacing:
    """Return the usual step and every step that differs.

    Parameters
    ----------
    positions_mm
        At least two distances along the normal, strictly ascending (doubles removed).
    """
    positions = np.asarray(positions_mm, float)
    lengths = np.diff(positions)
    usual = _usual_step(lengths)
    counts = np.rint(lengths / usual)
    is_whole = (np.abs(lengths / usual - counts) <= STEP_TOLERANCE) & (counts >= 1)
    # Long gaps multiply an error of the step: measure it over everything that is whole, then look
    # again.
    usual = float(lengths[is_whole].sum() / counts[is_whole].sum())
    counts = np.rint(lengths / usual)
    is_whole = (np.abs(lengths / usual - counts) <= STEP_TOLERANCE + 1e-9) & (counts >= 1)
    steps = tuple(int(count) if whole else 0 for count, whole in zip(counts, is_whole, strict=True))
    gaps = tuple(
        Gap(float(positions[k]), float(positions[k + 1]), step - 1)
        for k, step in enumerate(steps)
        if step > 1
    )
    odd = tuple(
        OddStep(float(positions[k]), float(positions[k + 1]))
        for k, step in enumerate(steps)
        if step == 0
    )
    return Spacing(usual, steps, gaps, odd)


def _usual_step(lengths: Floats) -> float:
    """Return the mean of the smallest steps that are common."""
    ordered = np.sort(lengths)
    enough = max(1, int(np.ceil(COMMON_SHARE * len(ordered))))
    # For each step as the smallest of its kind: how many are within the tolerance above it.
    ends = np.searchsorted(ordered, ordered * (1 + STEP_TOLERANCE), "right")
    common = ends - np.arange(len(ordered)) >= enough
    start = int(np.argmax(common)) if common.any() else len(ordered) // 2
    return float(ordered[start : ends[start]].mean())
