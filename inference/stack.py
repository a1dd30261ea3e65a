"""From the planes of one series to a stack in order, and from a stack to a volume.

A stack is what the gate leaves of a series: planes of one orientation, size and spacing, ordered by
their positions along the normal. Two planes at one position are a double: the one with the smaller
SOP Instance UID (as text) is the slice, the other is compared with it once the pixels are there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from firstread.progress import Progress, silent
from inference.dicom.decoding import Plane, read_pixels
from inference.dicom.instance import Frame, Instance
from inference.dicom.placement import SAME_POSITION_MM
from inference.volume import Floats, Grid, Volume

AIR_HU = -1024

# A padding value inside this range is also what a body is made of, so it is padding only where it
# is connected with the border of the image; outside of it, it is padding wherever it stands.
BODY_HU = (-900, 1500)


@dataclass(frozen=True, slots=True, eq=False)
class Double:
    """A second plane at the position of slice ``index``."""

    index: int
    plane: Plane


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """The distinct positions of a series, ascending along the normal.

    Attributes
    ----------
    slices
        One plane for each position; slice k lies at ``grid.origins_lps_mm[k]``.
    doubles
        The other planes at those positions.
    """

    slices: tuple[Plane, ...]
    doubles: tuple[Double, ...]
    grid: Grid

    @property
    def instances(self) -> tuple[Instance, ...]:
        """Every instance of the stack once, in the order of the slices, doubles behind them."""
        behind: dict[int, list[Instance]] = {}
        for double in self.doubles:
            behind.setdefault(double.index, []).append(double.plane[0])
        ordered = (
            instance
            for index, (first, _) in enumerate(self.slices)
            for instance in (first, *behind.get(index, ()))
        )
        return tuple(dict.fromkeys(ordered))


@dataclass(frozen=True, slots=True)
class DoubleComparison:
    """Whether two planes at the position of slice ``index`` are equal voxels at equal places."""

    index: int
    is_equal: bool


@dataclass(frozen=True, slots=True, eq=False)
class StackPixels:
    """What reading a stack gives.

    Attributes
    ----------
    padding_share
        Share of voxels that were no measurement: below -1024 HU, or the declared padding value (0
        to 1).
    """

    volume: Volume
    doubles: tuple[DoubleComparison, ...]
    padding_share: float


def axes_of(frame: Frame) -> tuple[Floats, Floats]:
    """Return unit row and column directions; the column direction is made exactly perpendicular.

    The gate lets through axes that are off by a rounding error only.
    """
    if frame.orientation is None:
        raise ValueError("a plane of a stack has an orientation")
    row = np.array(frame.orientation[:3], float)
    row /= np.linalg.norm(row)
    column = np.array(frame.orientation[3:], float)
    column -= (column @ row) * row
    return row, column / np.linalg.norm(column)


def build_stack(planes: Sequence[Plane]) -> Stack:
    """Order planes of one orientation, size and spacing along their normal.

    Parameters
    ----------
    planes
        At least one; each with position, orientation and pixel spacing. Their order does not
        matter.
    """
    planes = sorted(planes, key=_identity)
    instance, frame = planes[0]
    if frame.pixel_spacing_mm is None:
        raise ValueError("a plane of a stack has a pixel spacing")
    row, column = axes_of(frame)
    origins = np.array([plane[1].position_lps_mm for plane in planes], float)
    along = origins @ np.cross(row, column)
    groups: list[list[int]] = []
    for at in np.argsort(along, kind="stable"):
        if groups and along[at] - along[groups[-1][0]] < SAME_POSITION_MM:
            groups[-1].append(int(at))
        else:
            groups.append([int(at)])
    groups = [
        sorted(group) for group in groups
    ]  # the planes are sorted by UID, so indices are ranks
    doubles = tuple(Double(k, planes[at]) for k, group in enumerate(groups) for at in group[1:])
    firsts = [group[0] for group in groups]
    grid = Grid(
        origins[firsts], row, column, frame.pixel_spacing_mm, (instance.rows, instance.columns)
    )
    return Stack(tuple(planes[at] for at in firsts), doubles, grid)


def read_volume(stack: Stack, progress: Progress = silent) -> StackPixels:
    """Decode the pixels of a stack into HU.

    At most two copies of the volume are in memory: it and the doubles that are compared with it.

    Raises
    ------
    PixelsUndecodable
        ``pixels-undecodable``
    """
    hu = read_pixels(stack.slices, progress)
    doubles = tuple(_compare_doubles(stack, hu, progress))
    padding = 0
    for voxels, plane in zip(hu, stack.slices, strict=True):
        padding += _clear_padding(voxels, _padding_hu(plane))
    return StackPixels(Volume(hu, stack.grid), doubles, padding / max(hu.size, 1))


def _identity(plane: Plane) -> tuple[str, int, str]:
    instance, frame = plane
    return instance.sop_instance_uid, frame.number, str(instance.path)


def _compare_doubles(
    stack: Stack, hu: NDArray[np.int16], progress: Progress
) -> Iterator[DoubleComparison]:
    """Compare the doubles with their slices, at most one volume of them at a time."""
    for start in range(0, len(stack.doubles), len(hu)):
        some = stack.doubles[start : start + len(hu)]
        others = read_pixels([double.plane for double in some], progress)
        for double, other in zip(some, others, strict=True):
            here = stack.grid.origins_lps_mm[double.index]
            shift_mm = np.linalg.norm(here - np.array(double.plane[1].position_lps_mm, float))
            is_equal = bool(
                shift_mm < SAME_POSITION_MM * 2 and np.array_equal(hu[double.index], other)
            )
            yield DoubleComparison(double.index, is_equal)


def _padding_hu(plane: Plane) -> float | None:
    """Return the declared padding value in HU; None where there is none."""
    instance, frame = plane
    value = instance.pixel_padding_value
    if value is None or frame.rescale_slope is None or frame.rescale_intercept is None:
        return None
    return round(value * frame.rescale_slope + frame.rescale_intercept)


def _clear_padding(voxels: NDArray[np.int16], padding_hu: float | None) -> int:
    """Set padding and what lies below -1024 in one slice to -1024, in place; return the count."""
    below = int(np.count_nonzero(voxels < AIR_HU))
    if below:
        np.maximum(voxels, AIR_HU, out=voxels)
    if padding_hu is None or padding_hu <= AIR_HU:
        return below
    padding = voxels == padding_hu
    if BODY_HU[0] < padding_hu < BODY_HU[1]:
        border = np.zeros_like(padding)
        border[[0, -1]] = padding[[0, -1]]
        border[:, [0, -1]] |= padding[:, [0, -1]]
        padding = ndimage.binary_propagation(border, mask=padding)
    voxels[padding] = AIR_HU
    return below + int(np.count_nonzero(padding))
