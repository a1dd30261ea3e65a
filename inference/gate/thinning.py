"""Witnesses of slices that were deleted although the positions look regular.

When every nth slice is kept, the steps stay equal and positions prove nothing. Others may speak:

====================  =====================================================  =========
witness               speaks when                                            weight
====================  =====================================================  =========
Instance Number       it runs in equal steps of 2 or more along the stack    strong
announced count       the sender announced at least half as many again       strong
Spacing Between       it is a fraction of the real step                      weak
Slice Thickness       it is a fraction of the real step                      weak
====================  =====================================================  =========

Weak ones are shared by honest protocols (thin slices at a distance), so alone they only limit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from inference.gate.spacing import Spacing
from inference.stack import Stack

# Thickness is "far below" the step from here on. Every second slice of a contiguous scan deleted
# gives 2.0; overlapping scans lie below 1; rounded thicknesses (1.2 at 1.5 mm) stay clear of it.
FAR_BELOW = 1.75

# A count that is this many times what arrived means thinning rather than a lost end.
THINNED_COUNT = 1.5

# Fewer steps than this can agree by chance.
MIN_STEPS = 5

# Share of the steps that must tell the same story; a retake may upset a few numbers.
AGREEING_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class Thinning:
    """What the witnesses say; None where a witness is silent.

    Attributes
    ----------
    stride
        Step of Instance Number between neighbouring slices, 2 or more.
    announced
        Number of Series Related Instances (0020,1209), when far above what arrived.
    thickness_mm
        Slice Thickness (0018,0050) or Spacing Between Slices (0018,0088), when far below the step.
    """

    stride: int | None
    announced: int | None
    thickness_mm: float | None

    @property
    def is_certain(self) -> bool:
        """Whether a strong witness speaks."""
        return self.stride is not None or self.announced is not None

    @property
    def is_suspected(self) -> bool:
        """Whether any witness speaks."""
        return self.is_certain or self.thickness_mm is not None

    def kept_of(self, step_mm: float) -> int:
        """Return n where one of n slices seems to have been kept, 0 where only a count speaks."""
        if self.stride is not None:
            return self.stride
        return round(step_mm / self.thickness_mm) if self.thickness_mm else 0


def look_for_thinning(
    stack: Stack, spacing: Spacing, arrived: int, announced: int | None
) -> Thinning:
    """Ask every witness.

    Parameters
    ----------
    arrived, announced
        Instances of the whole series that are here, and that its sender says there are.
    """
    is_far_more = announced is not None and announced >= THINNED_COUNT * arrived
    return Thinning(
        stride=_stride(stack, spacing),
        # A hole explains the count better than thinning does.
        announced=announced if is_far_more and not spacing.gaps else None,
        thickness_mm=_thin_slices(stack, spacing.usual_mm),
    )


def absent_numbers(stack: Stack) -> tuple[int, bool] | None:
    """Return how many Instance Numbers are absent before the first, and whether that is at slice 0.

    None where numbers do not run one by one along the stack, or begin at 1 (or 0). Series may begin
    at any number, so this alone proves nothing: it speaks only where the lungs are cut off at that
    end.
    """
    numbers = _numbers(stack)
    if numbers is None or len(numbers) <= MIN_STEPS:
        return None
    steps = [after - before for before, after in pairwise(numbers)]
    direction = _common(steps, AGREEING_SHARE)
    if direction is None or abs(direction) != 1 or min(numbers) <= 1:
        return None
    return min(numbers) - 1, direction > 0


def _numbers(stack: Stack) -> list[int] | None:
    """Return the Instance Number of each slice; None unless each single frame has its own."""
    numbers = [
        instance.instance_number
        for instance, _ in stack.slices
        if instance.instance_number is not None and len(instance.frames) == 1
    ]
    is_whole = len(numbers) == len(stack.slices) and len(set(numbers)) == len(numbers)
    return numbers if is_whole else None


def _stride(stack: Stack, spacing: Spacing) -> int | None:
    """Return the common step of Instance Number for one usual step, when it is 2 or more."""
    numbers = _numbers(stack)
    if numbers is None:
        return None
    strides = [
        (after - before) / step
        for (before, after), step in zip(pairwise(numbers), spacing.steps, strict=True)
        if step > 0
    ]
    stride = _common(strides, AGREEING_SHARE)
    return (
        round(abs(stride)) if stride is not None and abs(stride) >= 2 and stride % 1 == 0 else None
    )


def _common(values: Sequence[float], share: float) -> float | None:
    """Return the value that at least ``share`` of the values have; None for few values."""
    if len(values) < MIN_STEPS:
        return None
    usual = sorted(values)[len(values) // 2]
    return usual if values.count(usual) >= share * len(values) else None


def _thin_slices(stack: Stack, usual_mm: float) -> float | None:
    """Return the thickness or stated spacing, the smaller, if far below the real step."""
    stated = []
    for name in ("slice_thickness_mm", "spacing_between_slices_mm"):
        values = [getattr(frame, name) for _, frame in stack.slices]
        known = [value for value in values if value is not None and value > 0]
        if known and usual_mm >= FAR_BELOW * median(known):
            stated.append(float(median(known)))
    return min(stated, default=None)
