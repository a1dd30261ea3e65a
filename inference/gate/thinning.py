"""Witnesses of slices that were deleted although the positions look regular.

When every nth slice is kept, the steps stay equal and positions prove nothing. Others may speak:

====================  =====================================================  =========
witness               speaks when                                            weight
====================  =====================================================  =========
Instance Number       it runs in equal steps of 2 or more along the stack    strong
announced count       the sender announced at least half as many again       strong
count of the study    as many are absent from the study, beside a weak one   strong
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

# What lies beyond is no Instance Number (IS is of 32 bits) and no thickness of a slice.
LARGEST_NUMBER = 2**31
THINNEST_MM = 0.01

# Fewer steps than this can agree by chance.
MIN_STEPS = 5

# Share of the steps that must tell the same story; a retake may upset a few numbers.
AGREEING_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class Counts:
    """What arrived, and what the sender announced; None where it says nothing.

    Attributes
    ----------
    arrived, announced
        Instances of the series; (0020,1209).
    study_arrived, study_announced
        Instances of the whole study; (0020,1208).
    """

    arrived: int
    announced: int | None = None
    study_arrived: int = 0
    study_announced: int | None = None

    @property
    def absent(self) -> int:
        """Instances of the series that did not arrive, as far as is known."""
        return max(0, (self.announced or 0) - self.arrived)

    @property
    def study_absent(self) -> int:
        """Instances of the study that did not arrive, as far as is known."""
        return max(0, (self.study_announced or 0) - self.study_arrived) if self.study_arrived else 0


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
    is_study_short
        Whether a thickness speaks and the study lacks enough instances to explain it.
    """

    stride: int | None
    announced: int | None
    thickness_mm: float | None
    is_study_short: bool = False

    @property
    def is_certain(self) -> bool:
        """Whether a strong witness speaks."""
        return self.stride is not None or self.announced is not None or self.is_study_short

    @property
    def is_suspected(self) -> bool:
        """Whether any witness speaks."""
        return self.is_certain or self.thickness_mm is not None

    @property
    def witness(self) -> str:
        """The strongest witness; a word of the catalogues (``gate.word...``)."""
        if self.stride is not None:
            return "instance-numbers"
        if self.announced is not None:
            return "announced-count"
        return "study-count" if self.is_study_short else "slice-thickness"

    def kept_of(self, step_mm: float) -> int:
        """Return n where one of n slices seems to have been kept, 0 where only a count speaks."""
        if self.stride is not None:
            return self.stride
        return round(step_mm / self.thickness_mm) if self.thickness_mm else 0


def look_for_thinning(stack: Stack, spacing: Spacing, counts: Counts) -> Thinning:
    """Ask every witness."""
    # A hole explains a count better than thinning does.
    enough = (THINNED_COUNT - 1) * counts.arrived if not spacing.gaps else float("inf")
    thickness_mm = _thin_slices(stack, spacing.usual_mm)
    return Thinning(
        stride=_stride(stack, spacing),
        announced=counts.announced if counts.absent >= enough else None,
        thickness_mm=thickness_mm,
        is_study_short=(
            thickness_mm is not None and counts.announced is None and counts.study_absent >= enough
        ),
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
        if instance.instance_number is not None
        and abs(instance.instance_number) < LARGEST_NUMBER
        and len(instance.frames) == 1
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
        known = [value for value in values if value is not None and value >= THINNEST_MM]
        if known and usual_mm >= FAR_BELOW * median(known):
            stated.append(float(median(known)))
    return min(stated, default=None)
