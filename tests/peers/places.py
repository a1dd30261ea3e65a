"""How far from its true place a reader puts what it read.

Each slice of the source is looked up in the reader's volume by its pixels. The reader's own
geometry says where that slice lies, its file says where it truly lies; the difference is the error.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.peers.source import SourceSlice, digest

# A slice this near to the nodule's centre shows it, or would have.
AT_NODULE_MM = 30.0

Place = Callable[[float, float, float], NDArray[np.float64]]


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """A volume as a reader gives it.

    Attributes
    ----------
    hu
        (slice, row, column) of any number type.
    place
        (slice, row, column) -> (3,) LPS millimetres, by the reader's own geometry.
    """

    hu: NDArray[np.generic]
    place: Place


@dataclass(frozen=True, slots=True)
class Misplacement:
    """Where a reader's volume differs from the files.

    Attributes
    ----------
    worst_mm
        Largest distance between the stated and the true place of any corner of any slice.
    at_nodule_mm
        The same at the nodule's pixel in the slice nearest to it; None where no slice is near it.
    left_out
        Positions of the source that are nowhere in the volume.
    repeated
        Slices of the volume beyond one for each position.
    """

    worst_mm: float
    at_nodule_mm: float | None
    left_out: int
    repeated: int


def measure(
    source: Sequence[SourceSlice], stack: Stack, nodule_lps_mm: NDArray[np.float64]
) -> Misplacement:
    """Compare a reader's volume with the files that it was read from.

    Raises
    ------
    ValueError
        Not one slice of the source is in the volume: nothing can be said.
    """
    planes = defaultdict[str, list[int]](list)
    for plane, pixels in enumerate(stack.hu):
        planes[digest(pixels)].append(plane)
    positions = {_position(one) for one in source}
    found = [one for one in source if one.digest in planes]
    if not found:
        raise ValueError("no slice of the source is in the volume")
    places_of = defaultdict[str, set[float]](set)
    for one in found:
        places_of[one.digest].add(_position(one))

    def error_mm(one: SourceSlice, pixel: tuple[float, float]) -> float:
        true = one.place(*pixel)
        errors = [float(np.linalg.norm(stack.place(k, *pixel) - true)) for k in planes[one.digest]]
        # Slices of the source that look alike (air above the head) cannot be told apart: there the
        # kindest reading counts. One slice shown twice is shown wrongly where it is worst.
        return min(errors) if len(places_of[one.digest]) > 1 else max(errors)

    nearest = min(found, key=lambda one: one.distance_mm(nodule_lps_mm))
    is_there = nearest.distance_mm(nodule_lps_mm) <= AT_NODULE_MM
    return Misplacement(
        worst_mm=max(error_mm(one, corner) for one in found for corner in _corners(one)),
        at_nodule_mm=error_mm(nearest, nearest.pixel(nodule_lps_mm)) if is_there else None,
        left_out=len(positions - {_position(one) for one in found}),
        repeated=max(0, len(stack.hu) - len(positions)),
    )


def _position(one: SourceSlice) -> float:
    """Return the distance along the normal to 0.01 mm: what tells two slices apart."""
    return round(float(one.origin_lps_mm @ one.normal), 2)


def _corners(one: SourceSlice) -> list[tuple[float, float]]:
    rows, columns = one.shape_yx
    return [(row, column) for row in (0.0, rows - 1.0) for column in (0.0, columns - 1.0)]
