"""May this series be stacked, and into what? Only headers are read here; pixels come later.

What is found is never mended: the grid carries the place of every slice as it is, gaps, irregular
steps and tilt included, and the reasons say what that costs. Instance Number orders nothing.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from inference.dicom.instance import Instance, Series
from inference.gate.headers import (
    announced_study_instances,
    judge_headers,
    judge_patient,
    judge_uids,
)
from inference.gate.phases import acquired_apart
from inference.gate.reasons import Code, Number, Reason, Status
from inference.gate.spacing import Spacing, measure_spacing
from inference.gate.splitting import (
    FAR_OFF_DEG,
    Split,
    SplitOff,
    Why,
    angle_between_deg,
    split_series,
)
from inference.gate.thinning import Counts, look_for_thinning
from inference.stack import Stack, build_stack
from inference.volume import Floats, Grid
from models.package import InputContract

# Slices lean when their origins drift from the normal by more than this: 1 mm in 115 mm, well above
# the rounding of positions and axes, well below what moves a finding.
LEAN_DEG = 0.5

# Counts from here on are no counts; instances of a study are some thousands.
MOST_INSTANCES = 1_000_000

# From here on a stack is oblique: patients lie askew by less.
OBLIQUE_DEG = 5.0

MIXED = {
    Why.ORIENTATION: (Code.ORIENTATION_MIXED, Status.REFUSE),
    Why.SIZE: (Code.SIZE_MIXED, Status.REFUSE),
    Why.FRAME_OF_REFERENCE: (Code.FRAME_OF_REFERENCE_MIXED, Status.RESEND),
    Why.ACQUISITION: (Code.ACQUISITIONS_MIXED, Status.RESEND),
}


@dataclass(frozen=True, slots=True, eq=False)
class GeometryResult:
    """What headers and positions say of a series.

    Attributes
    ----------
    stack
        None where none can be made without guessing.
    spacing
        Of the stack; None for less than two slices.
    instances
        Of the stack, or, without one, the CT instances that are not split off.
    """

    reasons: tuple[Reason, ...]
    stack: Stack | None
    split_off: tuple[SplitOff, ...]
    spacing: Spacing | None
    instances: tuple[Instance, ...]


def judge_geometry(
    series: Series, contract: InputContract, *, study_instances: int | None = None
) -> GeometryResult:
    """Split a series, stack what belongs together, and judge its headers and positions.

    Parameters
    ----------
    study_instances
        How many instances of the whole study are here; None: not known.
    """
    instances = series.ct_instances
    reasons: tuple[Reason, ...]
    if not instances:
        modalities = sorted({i.modality for i in series.instances if i.modality}) or ["-"]
        reason = Reason(Code.NOT_CT, Status.REFUSE, {"modality": ", ".join(modalities)})
        return GeometryResult((reason,), None, (), None, ())
    split = split_series(instances, contract)
    off = {instance for entry in split.split_off for instance in entry.instances}
    kept = tuple(instance for instance in instances if instance not in off)
    if not split.planes and not split.lost:
        reasons = (Reason(Code.LOCALIZER_ONLY, Status.REFUSE, {"count": len(instances)}),)
        return GeometryResult(
            (*reasons, *judge_headers(instances, contract)), None, (), None, instances
        )
    reasons = (
        *judge_headers(kept or instances, contract),
        *judge_patient(instances, contract),
        *_split_reasons(split, contract),
    )
    # Planes that cannot be told apart, or whose place is not known, are not stacked: that would be
    # a guess.
    if split.mixed or not split.planes or (split.off_axis_deg or 0.0) > FAR_OFF_DEG:
        return GeometryResult(reasons, None, split.split_off, None, kept)
    stack = build_stack(split.planes)
    spacing = measure_spacing(stack.grid.positions_mm) if len(stack.slices) > 1 else None
    reasons += tuple(judge_uids(stack, heights_mm(stack.grid)))
    reasons += tuple(_stack_reasons(stack, spacing, contract))
    if spacing is not None:
        reasons += tuple(_witness_reasons(stack, spacing, series.instances, study_instances))
    return GeometryResult(reasons, stack, split.split_off, spacing, stack.instances)


def heights_mm(grid: Grid) -> Floats:
    """Return where each slice lies along its normal, counted towards the head.

    For straight axial slices this is z of Image Position (Patient), which the sender's screen
    shows.
    """
    direction = -1.0 if grid.normal[2] < 0 else 1.0
    return np.asarray(grid.positions_mm * direction)


def _split_reasons(split: Split, contract: InputContract) -> Iterator[Reason]:
    """Say what cannot be told apart, what may belong together, and what has no place."""
    for why in split.mixed:
        code, status = MIXED[why]
        slices = len(split.best[0].planes)
        others = len(split.planes) - slices
        yield Reason(
            code, status, {"slices": slices, "other_slices": others, "parts": len(split.best)}
        )
    frames_of_reference = {instance.frame_of_reference_uid for instance, _ in split.planes}
    foreign = [g for g in split.parts if g.kind.frame_of_reference not in frames_of_reference]
    if foreign and Why.FRAME_OF_REFERENCE not in split.mixed:
        numbers: dict[str, Number] = {
            "slices": len(split.planes),
            "other_slices": sum(len(group.planes) for group in foreign),
            "parts": 1 + len({group.kind.frame_of_reference for group in foreign}),
        }
        # The parts may belong together. The judge lowers this to limits if the stack has the whole
        # lungs.
        yield Reason(Code.FRAME_OF_REFERENCE_MIXED, Status.RESEND, numbers)
    for problem, count in split.lost:
        status = Status.RESEND if split.planes else Status.REFUSE
        yield Reason(Code.ORIENTATION_UNUSABLE, status, {"problem": problem, "count": count})
    if split.off_axis_deg is not None and split.off_axis_deg > FAR_OFF_DEG:
        yield _not_axial(len(split.planes), round(split.off_axis_deg, 1), contract)


def _not_axial(slices: int, angle_deg: float, contract: InputContract) -> Reason:
    numbers: dict[str, Number] = {
        "problem": "not-axial",
        "count": slices,
        "angle_deg": angle_deg,
        "max_angle_deg": contract.max_obliquity_deg,
    }
    return Reason(Code.ORIENTATION_UNUSABLE, Status.REFUSE, numbers)


def _stack_reasons(
    stack: Stack, spacing: Spacing | None, contract: InputContract
) -> Iterator[Reason]:
    """Judge a stack against the package's limits."""
    grid = stack.grid
    yield from _acquisitions(stack)
    pixel_mm = max(grid.spacing_yx_mm)
    if pixel_mm > contract.max_pixel_spacing_mm:
        numbers: dict[str, Number] = {
            "pixel_mm": round(pixel_mm, 3),
            "max_pixel_mm": contract.max_pixel_spacing_mm,
        }
        yield Reason(Code.PIXELS_TOO_LARGE, Status.REFUSE, numbers)
    yield from _number_of_slices(stack, contract)
    yield from _thickness(stack, contract)
    if spacing is None:
        return
    yield from _gaps(stack, spacing, contract)
    yield from _odd_steps(stack, spacing, contract)
    yield from _lean(stack, contract)
    yield from _oblique(stack, contract)


def _acquisitions(stack: Stack) -> Iterator[Reason]:
    """Tell acquisitions apart by kernel, else by time: their planes cannot be one volume."""
    kernels = Counter(instance.kernel for instance, _ in stack.slices)
    counts = sorted(kernels.values(), reverse=True) if len(kernels) > 1 else acquired_apart(stack)
    if counts:
        numbers: dict[str, Number] = {
            "slices": counts[0],
            "other_slices": sum(counts[1:]),
            "parts": len(counts),
        }
        yield Reason(Code.ACQUISITIONS_MIXED, Status.RESEND, numbers)


def _number_of_slices(stack: Stack, contract: InputContract) -> Iterator[Reason]:
    """Thick slices over a range that would hold enough thin ones are too thick, not too few."""
    slices = len(stack.slices)
    extent_mm = (slices - 1) * stack.grid.step_mm
    is_thick = stack.grid.step_mm > contract.max_slice_spacing_mm
    if is_thick and extent_mm >= (contract.min_slices - 1) * contract.max_slice_spacing_mm:
        return
    if slices < contract.min_slices:
        numbers = {"slices": slices, "min_slices": contract.min_slices}
        yield Reason(Code.TOO_FEW_SLICES, Status.REFUSE, numbers)


def _thickness(stack: Stack, contract: InputContract) -> Iterator[Reason]:
    """Slices too far apart must come thinner; slices that are thick but overlap are a limit."""
    step_mm, limit_mm = stack.grid.step_mm, contract.max_slice_spacing_mm
    known = [frame.slice_thickness_mm for _, frame in stack.slices if frame.slice_thickness_mm]
    thickness_mm = float(np.median(known)) if known else 0.0
    numbers = {
        "spacing_mm": round(step_mm, 3),
        "thickness_mm": round(thickness_mm, 3),
        "max_spacing_mm": limit_mm,
    }
    if step_mm > limit_mm * (1 + 1e-6):
        yield Reason(Code.SLICES_TOO_THICK, Status.RESEND, numbers)
    elif thickness_mm > limit_mm * (1 + 1e-6):
        yield Reason(Code.SLICES_TOO_THICK, Status.LIMITS, numbers)


def _gaps(stack: Stack, spacing: Spacing, contract: InputContract) -> Iterator[Reason]:
    """One reason for each gap, lowest first: who must send the slices again needs every place."""
    ends = [(gap, sorted(_beside(stack, gap.after_mm, gap.before_mm))) for gap in spacing.gaps]
    slices = len(stack.slices) + spacing.missing_slices
    for gap, (low, high) in sorted(ends, key=lambda entry: entry[1]):
        numbers = {
            "position_mm": round((low + high) / 2, 2),
            "from_mm": round(low, 2),
            "to_mm": round(high, 2),
            "gap_mm": round(gap.length_mm, 2),
            "usual_mm": round(spacing.usual_mm, 3),
            "missing": gap.missing_slices,
            "missing_in_all": spacing.missing_slices,
            "gaps": len(spacing.gaps),
            "share_percent": round(100 * spacing.missing_slices / slices, 1),
        }
        yield Reason(Code.SLICES_MISSING, _bridged(gap.length_mm, contract), numbers)


def _odd_steps(stack: Stack, spacing: Spacing, contract: InputContract) -> Iterator[Reason]:
    """One reason for all steps that fit nothing, with the place of the largest."""
    if not spacing.odd_steps:
        return
    largest = max(spacing.odd_steps, key=lambda step: step.length_mm)
    low, high = sorted(_beside(stack, largest.after_mm, largest.before_mm))
    numbers = {
        "position_mm": round((low + high) / 2, 2),
        "from_mm": round(low, 2),
        "to_mm": round(high, 2),
        "step_mm": round(largest.length_mm, 2),
        "usual_mm": round(spacing.usual_mm, 3),
        "count": len(spacing.odd_steps),
    }
    yield Reason(Code.SPACING_IRREGULAR, _bridged(largest.length_mm, contract), numbers)


def _bridged(length_mm: float, contract: InputContract) -> Status:
    """Return limits up to ``max_bridgeable_gap_mm``: interpolation further on invents tissue."""
    return Status.LIMITS if length_mm <= contract.max_bridgeable_gap_mm + 1e-6 else Status.RESEND


def _beside(stack: Stack, after_mm: float, before_mm: float) -> tuple[float, float]:
    """Turn two positions along the normal into heights."""
    direction = -1.0 if stack.grid.normal[2] < 0 else 1.0
    return after_mm * direction, before_mm * direction


def _lean(stack: Stack, contract: InputContract) -> Iterator[Reason]:
    """Judge how far the slices stand from squarely above each other, at their worst."""
    angle_deg = round(lean_deg(stack.grid), 1)
    if angle_deg <= LEAN_DEG:
        return
    tilts = [abs(instance.gantry_tilt_deg or 0.0) for instance, _ in stack.slices]
    tilt_deg = float(np.median(tilts))
    code = Code.GANTRY_TILT if tilt_deg > LEAN_DEG else Code.SHEARED
    numbers = {
        "angle_deg": angle_deg,
        "max_angle_deg": contract.max_gantry_tilt_deg,
        "stated_tilt_deg": round(tilt_deg, 2),
    }
    is_within = angle_deg <= contract.max_gantry_tilt_deg
    yield Reason(code, Status.LIMITS if is_within else Status.REFUSE, numbers)


def _oblique(stack: Stack, contract: InputContract) -> Iterator[Reason]:
    """Judge how far the stack as a whole is turned from the body's long axis.

    The smaller of two angles counts, that of the slices and that of the way they follow each other:
    where only one of them is off, the slices lean, which :func:`_lean` has named.
    """
    grid = stack.grid
    steps = grid.origins_lps_mm[-1] - grid.origins_lps_mm[0]
    z = np.array([0.0, 0.0, 1.0])
    angle_deg = round(min(angle_between_deg(grid.normal, z), angle_between_deg(steps, z)), 1)
    if angle_deg > contract.max_obliquity_deg:
        yield _not_axial(len(stack.slices), angle_deg, contract)
    elif angle_deg > OBLIQUE_DEG:
        numbers: dict[str, Number] = {
            "angle_deg": angle_deg,
            "max_angle_deg": contract.max_obliquity_deg,
        }
        yield Reason(Code.OBLIQUE, Status.LIMITS, numbers)


def lean_deg(grid: Grid) -> float:
    """Return the angle between the normal and the direction in which slices follow each other.

    The whole stack counts, and every single step that jumps sideways by more than half a pixel
    beyond it: a part of the stack that was reconstructed around another centre.
    """
    along = np.diff(grid.positions_mm)
    steps = np.diff(grid.origins_lps_mm, axis=0)
    sideways = steps - along[:, None] * grid.normal
    whole = sideways.sum(axis=0)
    angle = np.degrees(np.arctan2(np.linalg.norm(whole), along.sum()))
    usual = whole / along.sum()
    jumps = np.linalg.norm(sideways - along[:, None] * usual, axis=1) > min(grid.spacing_yx_mm) / 2
    local = np.degrees(np.arctan2(np.linalg.norm(sideways, axis=1), along))
    return float(max(angle, local[jumps].max(initial=0.0)))


def _witness_reasons(
    stack: Stack,
    spacing: Spacing,
    instances: tuple[Instance, ...],
    study_instances: int | None,
) -> Iterator[Reason]:
    """Let others than positions speak of slices that are not here."""
    announced = _most(instance.announced_series_instances for instance in instances)
    of_study = _most(announced_study_instances(instance) for instance in instances)
    counts = Counts(len(instances), announced, study_instances or 0, of_study)
    thinning = look_for_thinning(stack, spacing, counts)
    if thinning.is_suspected:
        numbers: dict[str, Number] = {
            "step_mm": round(spacing.usual_mm, 3),
            "thickness_mm": thinning.thickness_mm or 0.0,
            "number_stride": thinning.stride or 1,
            "announced": thinning.announced or 0,
            "received": len(instances),
            "kept_of": thinning.kept_of(spacing.usual_mm),
            "witness": thinning.witness,
        }
        status = Status.RESEND if thinning.is_certain else Status.LIMITS
        yield Reason(Code.SLICES_THINNED, status, numbers)
    if thinning.announced is not None or thinning.is_study_short:
        return
    if counts.absent > spacing.missing_slices:
        numbers = {
            "witness": "announced-count",
            "expected": counts.announced or 0,
            "received": counts.arrived,
            "missing": counts.absent,
        }
        yield Reason(Code.INSTANCES_MISSING, Status.RESEND, numbers)
    elif counts.announced is None and counts.study_absent > spacing.missing_slices:
        # They may be of another series that nobody wanted to send, so this alone only limits.
        numbers = {
            "witness": "study-count",
            "expected": counts.study_announced or 0,
            "received": counts.study_arrived,
            "missing": counts.study_absent,
        }
        yield Reason(Code.INSTANCES_MISSING, Status.LIMITS, numbers)


def _most(counts: Iterable[int | None]) -> int | None:
    """Return the largest count that a sender may have meant."""
    return max((count for count in counts if count and count < MOST_INSTANCES), default=None)
