"""A mask on the source grid: a box and what is set in it, and what can be done with masks alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class SourceMask:
    """Voxels of the source grid: a box and what is set in it.

    Attributes
    ----------
    start_zyx
        Source index of the box's first voxel.
    voxels
        bool (z, y, x); its first and last slice, row and column each hold a set voxel.
    """

    start_zyx: tuple[int, int, int]
    voxels: Bools


def one_piece(mask: Bools, centre: Floats) -> Bools:
    """Return the piece of a mask that is nearest to the centre, in each slice one piece, filled.

    Slices keep their largest piece that touches the rest, so that each slice has one outline and
    the slices follow one another.
    """
    kept = _nearest_piece(mask, centre)
    while True:
        planes = np.stack([_largest_plane_piece(plane) for plane in kept])
        joined = _nearest_piece(planes, centre)
        if np.array_equal(joined, kept):
            return np.stack([ndimage.binary_fill_holes(plane) for plane in joined])
        kept = joined


def cropped(mask: Bools, start_zyx: tuple[int, ...]) -> SourceMask:
    """Return a mask in the smallest box that holds it."""
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    z, y, x = (start + part.start for start, part in zip(start_zyx, box, strict=True))
    return SourceMask((int(z), int(y), int(x)), np.ascontiguousarray(mask[box]))


def dice(one: SourceMask, other: SourceMask) -> float:
    """Return 2 |A and B| / (|A| + |B|) of two masks on one grid."""
    shared = overlap(one, other)
    return 2 * shared / int(one.voxels.sum() + other.voxels.sum())


def overlap(one: SourceMask, other: SourceMask) -> int:
    """Return how many voxels two masks on one grid share."""
    parts = []
    for mine, its in ((one, other), (other, one)):
        low = np.maximum(mine.start_zyx, its.start_zyx)
        high = np.minimum(
            np.add(mine.start_zyx, mine.voxels.shape), np.add(its.start_zyx, its.voxels.shape)
        )
        if np.any(high <= low):
            return 0
        box = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, mine.start_zyx, strict=True))
        parts.append(mine.voxels[box])
    return int(np.count_nonzero(parts[0] & parts[1]))


def _nearest_piece(mask: Bools, centre: Floats) -> Bools:
    labels, count = ndimage.label(mask)
    if count <= 1:
        return mask
    voxels = np.argwhere(mask)
    nearest = voxels[int(np.linalg.norm(voxels - centre, axis=1).argmin())]
    piece: Bools = labels == labels[tuple(nearest)]
    return piece


def _largest_plane_piece(plane: Bools) -> Bools:
    labels, count = ndimage.label(plane)
    if count <= 1:
        return plane
    piece: Bools = labels == 1 + int(np.bincount(labels.ravel())[1:].argmax())
    return piece
