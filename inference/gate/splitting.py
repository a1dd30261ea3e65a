"""Which planes of a series belong together: the stack, what is split off, what is mixed.

::

    series -> CT instances -> no localizers -> placed in space -> within 30 degrees of the main
    normal
           -> groups (orientation, size, spacing, frame of reference, acquisition)
           -> parts: groups that interleave along the normal are one part
           -> the fittest part is the stack, if it is one group; the others are split off
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from inference.dicom.body_parts import names_body_part
from inference.dicom.decoding import Plane
from inference.dicom.instance import Frame, Instance
from inference.dicom.placement import SAME_POSITION_MM, why_not_placed
from inference.stack import axes_of
from inference.volume import Floats
from models.package import InputContract

# Groups further than this from the main normal are other views (coronal, sagittal), and slices
# further than this from the body's long axis are not axial.
FAR_OFF_DEG = 30.0

# Orientations are one within this difference of every component; spacings within this many
# decimals.
ORIENTATION_TOLERANCE = 1e-3
SPACING_DECIMALS = 4


class Why(StrEnum):
    """Why instances are split off; stable words of ``series_choice.split_off``."""

    LOCALIZER = "localizer"
    NOT_PLACED = "no-position"
    ORIENTATION = "orientation"
    SIZE = "size"
    FRAME_OF_REFERENCE = "frame-of-reference"
    ACQUISITION = "acquisition"


@dataclass(frozen=True, slots=True, eq=False)
class SplitOff:
    """Instances that are no part of the stack."""

    why: Why
    instances: tuple[Instance, ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """What all planes of a group have in common; the orientation by its rank in the series."""

    orientation: int
    size: tuple[int, int, float, float]
    frame_of_reference: str
    acquisition: int | None

    def differences(self, other: "Kind") -> tuple[Why, ...]:
        """Return in what two groups differ."""
        pairs = (
            (Why.ORIENTATION, self.orientation == other.orientation),
            (Why.SIZE, self.size == other.size),
            (Why.FRAME_OF_REFERENCE, self.frame_of_reference == other.frame_of_reference),
            (Why.ACQUISITION, self.acquisition == other.acquisition),
        )
        return tuple(why for why, is_same in pairs if not is_same)


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Planes of one kind, and where along the main normal their centres lie, ascending."""

    kind: Kind
    planes: tuple[Plane, ...]
    along_mm: Floats

    @property
    def instances(self) -> tuple[Instance, ...]:
        """Each instance once."""
        return _instances(self.planes)


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """What splitting made of a series.

    Attributes
    ----------
    best
        The groups of the fittest part, largest first: one is the stack, several cannot be told
        apart.
    split_off
        Instances outside that part.
    parts
        All groups outside that part; only those that could have been a stack.
    lost
        Image planes of the stack's size without usable position or orientation, by the reason
        (``why_not_placed``): slices that the stack lacks.
    off_axis_deg
        Angle between the main normal and the body's long axis; None where nothing has a place.
    """

    best: tuple[Group, ...]
    split_off: tuple[SplitOff, ...] = ()
    parts: tuple[Group, ...] = ()
    lost: tuple[tuple[str, int], ...] = ()
    off_axis_deg: float | None = None

    @property
    def planes(self) -> tuple[Plane, ...]:
        """All planes of the fittest part."""
        return tuple(plane for group in self.best for plane in group.planes)

    @property
    def mixed(self) -> tuple[Why, ...]:
        """In what the groups of the fittest part differ although they interleave."""
        found = {why for group in self.best for why in group.kind.differences(self.best[0].kind)}
        return tuple(why for why in Why if why in found)


def split_series(instances: Sequence[Instance], contract: InputContract) -> Split:
    """Split the CT images of a series.

    Parameters
    ----------
    instances
        ``Series.ct_instances``; in any order.
    """
    localizers = [instance for instance in instances if instance.is_localizer]
    images = [instance for instance in instances if not instance.is_localizer]
    faults = {instance: _why_not_placed(instance) for instance in images}
    placed = [instance for instance in images if not faults[instance]]
    unplaced = [instance for instance in images if faults[instance]]
    off = [SplitOff(Why.LOCALIZER, tuple(localizers))]
    if not placed:
        return Split((), split_off=_filled(off), lost=_counted(faults.values()))
    planes = [(instance, frame) for instance in placed for frame in instance.frames]
    near, far, normal = _main_direction(planes)
    parts = _parts(_groups(near, normal))
    best = max(parts, key=lambda part: _fitness(part, contract))
    others = [group for part in parts if part is not best for group in part]
    sizes = {group.kind.size[:2] for group in best}
    off += [
        SplitOff(Why.NOT_PLACED, tuple(unplaced)),
        SplitOff(Why.ORIENTATION, _instances(far)),
        *(SplitOff(group.kind.differences(best[0].kind)[0], group.instances) for group in others),
    ]
    return Split(
        best=tuple(best),
        split_off=_filled(off),
        parts=tuple(others),
        lost=_counted(faults[i] for i in unplaced if (i.rows, i.columns) in sizes),
        off_axis_deg=angle_between_deg(normal, np.array([0.0, 0.0, 1.0])),
    )


def _why_not_placed(instance: Instance) -> str:
    """Return what the first plane without a place lacks; empty where each has one."""
    if not instance.frames:
        return "no-position"
    return next(filter(None, map(why_not_placed, instance.frames)), "")


def _counted(faults: Iterable[str]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(Counter(faults).items()))


def _main_direction(planes: Sequence[Plane]) -> tuple[list[Plane], list[Plane], Floats]:
    """Part the planes at 30 degrees from the main normal: the commonest, if possible axial."""
    normals = np.array([np.cross(*axes_of(frame)) for _, frame in planes])
    limit = np.cos(np.radians(FAR_OFF_DEG))
    axial = np.abs(normals[:, 2]) >= limit
    candidates = normals[axial] if axial.any() else normals
    kinds, counts = np.unique(np.round(candidates, 3) + 0.0, axis=0, return_counts=True)
    nearest = np.abs(candidates @ kinds[np.argmax(counts)])
    main: Floats = candidates[np.argmax(nearest)]
    is_near = np.abs(normals @ main) >= limit
    # An instance is split off whole or not at all, also one with many frames.
    kept = {plane[0] for plane, yes in zip(planes, is_near, strict=True) if yes}
    near = [plane for plane in planes if plane[0] in kept]
    far = [plane for plane in planes if plane[0] not in kept]
    return near, far, main


def _groups(planes: Sequence[Plane], normal: Floats) -> list[Group]:
    """Group planes by kind; acquisitions that are the turns of one step-and-shoot scan are one."""
    ranks = _orientation_ranks(planes)
    found: dict[Kind, list[tuple[float, Plane]]] = defaultdict(list)
    for (instance, frame), rank in zip(planes, ranks, strict=True):
        spacing = np.round(np.array(frame.pixel_spacing_mm, float), SPACING_DECIMALS)
        size = (instance.rows, instance.columns, float(spacing[0]), float(spacing[1]))
        kind = Kind(rank, size, instance.frame_of_reference_uid, instance.acquisition_number)
        found[kind].append((_centre_along(instance, frame, normal), (instance, frame)))
    groups = []
    for kind, members in found.items():
        members.sort(key=lambda member: member[0])
        along = np.array([position for position, _ in members])
        groups.append(Group(kind, tuple(plane for _, plane in members), along))
    return _join_turns(groups)


def _orientation_ranks(planes: Sequence[Plane]) -> list[int]:
    """Return a number for the orientation of each plane; nearly equal ones share it."""
    kinds = sorted({frame.orientation for _, frame in planes if frame.orientation is not None})
    axes = np.array(kinds)
    ranks = np.full(len(kinds), -1)
    left = np.arange(len(kinds))
    while len(left):
        is_near = np.abs(axes[left] - axes[left[0]]).max(axis=1) <= ORIENTATION_TOLERANCE
        ranks[left[is_near]] = ranks.max() + 1
        left = left[~is_near]
    rank_of = dict(zip(kinds, ranks.tolist(), strict=True))
    return [rank_of[frame.orientation] for _, frame in planes if frame.orientation is not None]


def _centre_along(instance: Instance, frame: Frame, normal: Floats) -> float:
    """Return where the image's centre lies along the normal: corners mislead if sizes differ."""
    if frame.pixel_spacing_mm is None:
        raise ValueError("only placed planes are grouped")
    row, column = axes_of(frame)
    rows_mm, columns_mm = frame.pixel_spacing_mm
    half = (
        row * columns_mm * (instance.columns - 1) / 2 + column * rows_mm * (instance.rows - 1) / 2
    )
    return float((np.array(frame.position_lps_mm, float) + half) @ normal)


def _join_turns(groups: list[Group]) -> list[Group]:
    """Make one group of acquisitions that are turns of a step-and-shoot scan.

    There each turn of the tube is an acquisition of its own: at least three, of one size, side by
    side, each (but one) with the same number of slices. Elsewhere two acquisitions are two scans.
    """
    alike: dict[Kind, list[Group]] = defaultdict(list)
    for group in groups:
        alike[replace(group.kind, acquisition=None)].append(group)
    joined = []
    for kind, turns in alike.items():
        counts = sorted(len(turn.planes) for turn in turns)
        if len(turns) >= 3 and counts[1] == counts[-1] and len(_runs(turns)) == len(turns):
            ordered = sorted(turns, key=lambda turn: float(turn.along_mm[0]))
            planes = tuple(plane for turn in ordered for plane in turn.planes)
            joined.append(Group(kind, planes, np.concatenate([turn.along_mm for turn in ordered])))
        else:
            joined += turns
    return joined


def _parts(groups: list[Group]) -> list[list[Group]]:
    """Gather groups that cannot be told apart: they interleave, or share a multi-frame instance."""
    part_of: dict[Instance, list[Group]] = {}
    for run in _runs(groups):
        instances = {instance for group in run for instance in group.instances}
        sharing = list({id(p): p for i in instances if (p := part_of.get(i)) is not None}.values())
        part = max(sharing, key=len, default=[])
        for other in [*(entry for entry in sharing if entry is not part), run]:
            part += other
            part_of.update((i, part) for group in other for i in group.instances)
    parts = list({id(part): part for part in part_of.values()}.values())
    for part in parts:
        part.sort(key=lambda group: (-len(group.planes), _first_uid(group.planes)))
    return parts


def _runs(groups: list[Group]) -> list[list[Group]]:
    """Gather groups that share a range along the normal; ends that only touch do not count."""
    runs: list[list[Group]] = []
    start = end = -np.inf
    for group in sorted(groups, key=lambda group: (group.along_mm[0], group.along_mm[-1])):
        low, high = float(group.along_mm[0]), float(group.along_mm[-1])
        is_one_place = high - start < SAME_POSITION_MM  # single planes at the same position
        if runs and (low < end - SAME_POSITION_MM or is_one_place):
            runs[-1].append(group)
            end = max(end, high)
        else:
            runs.append([group])
            start, end = low, high
    return runs


def _fitness(part: list[Group], contract: InputContract) -> tuple[bool, int, int, float, str]:
    """Order parts: enough slices, the right body part by name, then slices and extent."""
    planes = [plane for group in part for plane in group.planes]
    names = {names_body_part(instance.body_part, contract.body_parts) for instance, _ in planes}
    named = 2 if True in names else 1 if names == {None} else 0
    extent = max(group.along_mm[-1] for group in part) - min(group.along_mm[0] for group in part)
    return len(planes) >= contract.min_slices, named, len(planes), float(extent), _first_uid(planes)


def _first_uid(planes: Sequence[Plane]) -> str:
    return min(instance.sop_instance_uid for instance, _ in planes)


def _instances(planes: Iterable[Plane]) -> tuple[Instance, ...]:
    return tuple(dict.fromkeys(instance for instance, _ in planes))


def _filled(split_off: Sequence[SplitOff]) -> tuple[SplitOff, ...]:
    """Leave out empty entries, and gather those of one reason."""
    gathered: dict[Why, list[Instance]] = defaultdict(list)
    for entry in split_off:
        gathered[entry.why] += entry.instances
    return tuple(SplitOff(why, tuple(gathered[why])) for why in Why if gathered[why])


def angle_between_deg(a: Floats, b: Floats) -> float:
    """Return the angle between two lines (not directions)."""
    cosine = abs(float(a @ b)) / float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.degrees(np.arccos(min(cosine, 1.0))))
