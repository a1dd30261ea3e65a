"""The one entry of the gate, alone or before an analysis: geometry, pixels, content, verdict.

::

    series -> geometry (headers, positions) -> stack -> pixels -> volume -> lungs -> content ->
    verdict
                 no stack, or no HU: the verdict stands here
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Protocol

from firstread.progress import Progress, silent
from inference.dicom.decoding import PixelsUndecodable
from inference.dicom.instance import Instance, Series, Study
from inference.gate.content import judge_content
from inference.gate.geometry import GeometryResult, heights_mm, judge_geometry
from inference.gate.phases import acquired_apart
from inference.gate.reasons import Code, Number, Reason, Status, Verdict
from inference.gate.splitting import SplitOff
from inference.gate.thinning import absent_numbers
from inference.lungs import Lungs, find_lungs
from inference.stack import Stack, StackPixels, read_volume
from inference.volume import Volume
from models.package import InputContract

# With these there are no HU to look at, whatever the pixels hold.
NO_HU = (Code.NOT_CT, Code.BIT_DEPTH_TOO_LOW, Code.HU_IMPLAUSIBLE)

# From this share of doubled positions on, two whole acquisitions share one series.
MOSTLY_DOUBLED = 0.5


class Stages(Protocol):
    """Times the stages of the gate, for whoever owns a clock."""

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Return a context whose time counts for ``name``."""


class _NoStages:
    def stage(self, name: str) -> AbstractContextManager[None]:
        return nullcontext()


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """What the gate says of a series, and what it has read on the way.

    Attributes
    ----------
    series
        The judged one; None where the study has no CT image at all.
    instances
        Of the stack with both of each doubled position, in the order of the stack; where no stack
        could be made, the CT instances that are not split off.
    stack, volume, lungs
        None where the gate did not come that far; ``lungs`` also where there are none.
    """

    verdict: Verdict
    series: Series | None
    instances: tuple[Instance, ...]
    split_off: tuple[SplitOff, ...]
    stack: Stack | None
    volume: Volume | None
    lungs: Lungs | None


def judge(
    study: Study,
    series: Series | None,
    contract: InputContract,
    *,
    progress: Progress = silent,
    timings: Stages | None = None,
) -> Judgement:
    """Judge one series.

    Parameters
    ----------
    series
        The one that was chosen; None where the choice found nothing that could be analysed: then
        the largest CT of the study is judged, so that the reasons say why.
    timings
        Told of the stages ``geometry``, ``pixels``, ``lungs`` and ``content``.
    """
    timings = timings or _NoStages()
    series = series or _largest_ct(study)
    if series is None:
        modalities = sorted(
            {i.modality for s in study.series for i in s.instances if i.modality}
        ) or ["-"]
        reason = Reason(Code.NOT_CT, Status.REFUSE, {"modality": ", ".join(modalities)})
        return Judgement(Verdict.of([reason]), None, (), (), None, None, None)
    with timings.stage("geometry"):
        here = sum(len(other.instances) for other in study.series)
        geometry = judge_geometry(series, contract, study_instances=here)
    has_hu = not any(reason.code in NO_HU for reason in geometry.reasons)
    if geometry.stack is None or not has_hu:
        return _judgement(series, geometry, geometry.reasons, None, None)
    try:
        with timings.stage("pixels"):
            pixels = read_volume(geometry.stack, progress)
    except PixelsUndecodable as error:
        return _judgement(series, geometry, (*geometry.reasons, _undecodable(error)), None, None)
    with timings.stage("lungs"):
        lungs = find_lungs(pixels.volume)
    with timings.stage("content"):
        reasons = judge_pixels(geometry, geometry.stack, pixels, lungs, contract)
    return _judgement(series, geometry, reasons, pixels.volume, lungs)


def judge_pixels(
    geometry: GeometryResult,
    stack: Stack,
    pixels: StackPixels,
    lungs: Lungs | None,
    contract: InputContract,
) -> tuple[Reason, ...]:
    """Return the reasons of geometry and content together, each in the light of the other."""
    parts = {instance.body_part for instance, _ in stack.slices}
    content = judge_content(
        pixels.volume,
        lungs,
        contract,
        padding_share=pixels.padding_share,
        body_part=min(parts) if len(parts) == 1 else "",
    )
    return (
        *_settled(geometry.reasons, content),
        *_doubles(stack, pixels),
        *content,
        *_numbers_cut_off(stack, content),
    )


def _settled(geometry: Sequence[Reason], content: Sequence[Reason]) -> Iterator[Reason]:
    """Lower a split frame of reference to limits where the stack alone has the whole lungs."""
    speaks_of_lungs = (Code.NOT_CHEST, Code.LUNGS_TRUNCATED)
    has_whole_lungs = not any(reason.code in speaks_of_lungs for reason in content)
    for reason in geometry:
        if reason.code is Code.FRAME_OF_REFERENCE_MIXED and has_whole_lungs:
            yield replace(reason, status=Status.LIMITS)
        else:
            yield reason


def _doubles(stack: Stack, pixels: StackPixels) -> Iterator[Reason]:
    """Limit equal doubles, used once; of two different images neither can be preferred."""
    heights = heights_mm(stack.grid)
    different = {double.index for double in pixels.doubles if not double.is_equal}
    equal = {double.index for double in pixels.doubles} - different
    for indices, status in ((equal, Status.LIMITS), (different, Status.RESEND)):
        if indices:
            places = sorted(float(heights[index]) for index in indices)
            numbers: dict[str, Number] = {
                "positions": len(places),
                "position_mm": round(places[0], 2),
                "to_mm": round(places[-1], 2),
                "pixels": "equal-pixels" if status is Status.LIMITS else "other-pixels",
            }
            yield Reason(Code.SLICES_DOUBLED, status, numbers)
    if len(different) > MOSTLY_DOUBLED * len(stack.slices) and not acquired_apart(stack):
        numbers = {"slices": len(stack.slices), "other_slices": len(different), "parts": 2}
        yield Reason(Code.ACQUISITIONS_MIXED, Status.RESEND, numbers)


def _numbers_cut_off(stack: Stack, content: Sequence[Reason]) -> Iterator[Reason]:
    """Name slices that numbers tell of at an end where the lungs are cut off."""
    absent = absent_numbers(stack)
    if absent is None:
        return
    missing, is_at_first = absent
    is_at_feet = is_at_first == (stack.grid.normal[2] >= 0)
    end = "feet" if is_at_feet else "head"
    if any(r.code is Code.LUNGS_TRUNCATED and r.numbers["end"] == end for r in content):
        received = len(stack.slices)
        numbers: dict[str, Number] = {
            "witness": "instance-numbers",
            "expected": received + missing,
            "received": received,
            "missing": missing,
        }
        yield Reason(Code.INSTANCES_MISSING, Status.LIMITS, numbers)


def _undecodable(error: PixelsUndecodable) -> Reason:
    syntax = error.instance.transfer_syntax_uid or "-"
    numbers = {"transfer_syntax": syntax, "detail": error.reason}
    return Reason(Code.PIXELS_UNDECODABLE, Status.REFUSE, numbers)


def _judgement(
    series: Series,
    geometry: GeometryResult,
    reasons: Sequence[Reason],
    volume: Volume | None,
    lungs: Lungs | None,
) -> Judgement:
    verdict = Verdict.of(reasons)
    return Judgement(
        verdict, series, geometry.instances, geometry.split_off, geometry.stack, volume, lungs
    )


def _largest_ct(study: Study) -> Series | None:
    """Return the series with most CT images, with or without UIDs; of equals the first."""
    with_ct = [series for series in study.series if series.ct_instances]
    return max(with_ct, key=lambda series: len(series.ct_instances), default=None)
