"""Pieces of lung on coarse voxels: inner air without airways, bowel gas and tables."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inference.volume import Grid

Mask = NDArray[np.bool_]
Hu = NDArray[np.int16]
Pieces = NDArray[np.signedinteger[Any]]
"""Numbers (z, y, x): 0 elsewhere, else the number of the piece that holds the voxel."""

# Widest coarse voxel: the wall between trachea and lung is still seen, and 300 slices cost under
# 0.5 CPU s.
COARSE_MM = 2.5
# And never more voxels than this, whatever a header says of the spacing: a mistyped 0.0007 mm would
# take 600 slices whole, and gigabytes. Honest scans have up to 6 million.
MAX_COARSE_VOXELS = 10_000_000
# Half way between lung (-850 HU) and soft tissue.
AIR_BELOW_HU = -400
# Clean air: trachea, bowel gas, outside; healthy and most emphysematous lung lies above.
CLEAN_AIR_HU = -940
# Share of clean air above which a piece is no lung (bowel, table, pockets at the skin), and from
# which a small piece of a slice may be airway: the wall's partial volume takes the rest.
CLEAN_SHARE_NO_LUNG = 0.5
CLEAN_SHARE_AIRWAY = 0.25
# A trachea has at most 5 cm2, with the carina 7; it stays small over a longer way than the tip of a
# lung does.
AIRWAY_MAX_MM2 = 800.0
AIRWAY_MIN_HEIGHT_MM = 25.0
# Denser than this matters to nobody here, and five times it still fits int16.
DENSEST_HU = np.int16(3071)
# Thinner sheets of tissue (table tops) are no body.
BODY_MIN_THICKNESS_MM = 8.0
# A pocket beside or below the body (the foam of a table) has less of itself inside it.
MIN_SHARE_IN_BODY = 0.9
# Pieces below this are dust; a further piece (cut off by consolidation) counts from this share of
# the largest.
MIN_PIECE_ML = 15.0
FURTHER_PIECE_SHARE = 0.05

_IN_PLANE = np.zeros((3, 3, 3), np.uint8)
_IN_PLANE[1, 1, :] = _IN_PLANE[1, :, 1] = 1


@dataclass(frozen=True, slots=True, eq=False)
class Coarse:
    """The part of the coarse voxels that holds inner air: HU, places, and where the body is.

    Attributes
    ----------
    is_body
        See :func:`body_boxes`.
    body_middle_mm
        LPS x of the whole body's middle, which need not lie in this part.
    """

    hu: Hu
    grid: Grid
    is_body: Mask
    body_middle_mm: float


def coarse_grid(grid: Grid) -> tuple[Grid, tuple[int, int, int]]:
    """Return every n-th voxel's grid, and n for each axis: at most :data:`MAX_COARSE_VOXELS`."""
    steps = (grid.step_mm or COARSE_MM, *grid.spacing_yx_mm)
    stride = [
        max(1, int(min(side, COARSE_MM / step)))
        for side, step in zip(grid.shape_zyx, steps, strict=True)
    ]
    while _voxels_left(grid, stride) > MAX_COARSE_VOXELS:
        sides = [side / step for side, step in zip(grid.shape_zyx, stride, strict=True)]
        stride[sides.index(max(sides))] += 1
    z, y, x = stride
    shape_yx = (-(-grid.shape_yx[0] // y), -(-grid.shape_yx[1] // x))
    spacing = (grid.spacing_yx_mm[0] * y, grid.spacing_yx_mm[1] * x)
    coarse = replace(
        grid, origins_lps_mm=grid.origins_lps_mm[::z], spacing_yx_mm=spacing, shape_yx=shape_yx
    )
    return coarse, (z, y, x)


def _voxels_left(grid: Grid, stride: Sequence[int]) -> int:
    return prod(-(-side // step) for side, step in zip(grid.shape_zyx, stride, strict=True))


def sample(hu: Hu, stride_zyx: tuple[int, int, int]) -> Hu:
    """Return every n-th voxel, each the mean of itself and its four neighbours in the plane.

    At an edge the voxel itself stands in for the neighbour that is not there.
    """
    z, y, x = stride_zyx
    slices = hu[::z]
    # Five times the limit still fits int16; what is denser (metal) matters to nobody here.
    centre = np.minimum(slices[:, ::y, ::x], DENSEST_HU)
    if y < 2 or x < 2:
        return centre
    total = centre.copy()
    for axis, step in ((1, y), (2, x)):
        own, sums = np.moveaxis(centre, axis, 0), np.moveaxis(total, axis, 0)
        rows = np.moveaxis(slices[:, :, ::x] if axis == 1 else slices[:, ::y], axis, 0)
        after, before = rows[1::step], rows[step - 1 :: step][: len(own) - 1]
        sums[: len(after)] += np.minimum(after, DENSEST_HU)
        sums[len(after) :] += own[len(after) :]
        sums[1:] += np.minimum(before, DENSEST_HU)
        sums[:1] += own[:1]
    return total // np.int16(5)


def inner_air(hu: Hu) -> Pieces:
    """Label the air of each slice that does not touch the slice's edge: pieces of one slice each.

    Slice by slice, because the airway may lead to the air outside through the mouth.
    """
    labels, count = ndimage.label(hu < AIR_BELOW_HU, _IN_PLANE)
    edges = (labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1])
    keep = np.ones(count + 1, bool)
    keep[np.unique(np.concatenate([edge.ravel() for edge in edges]))] = False
    keep[0] = False
    numbers = np.where(keep, np.arange(count + 1), 0).astype(np.int32)
    return numbers[labels]


def without_airways(pieces: Pieces, crop: Coarse) -> Mask:
    """Return the air without columns of small pieces of clean air: trachea, main bronchi, bowel."""
    size, clean = _counts(pieces, crop.hu)
    is_narrow = size * crop.grid.pixel_mm2 <= AIRWAY_MAX_MM2
    is_narrow &= clean >= CLEAN_SHARE_AIRWAY * size
    is_narrow[0] = False
    columns, _ = ndimage.label(is_narrow[pieces])
    air = pieces > 0
    positions = crop.grid.positions_mm
    for number, where in enumerate(ndimage.find_objects(columns), start=1):
        height_mm = positions[where[0].stop - 1] - positions[where[0].start] + crop.grid.step_mm
        if height_mm >= AIRWAY_MIN_HEIGHT_MM:
            air[where] &= columns[where] != number
    return air


def lung_pieces(air: Mask, crop: Coarse) -> Pieces:
    """Return the connected pieces that are lung, numbered from 1 by falling size."""
    labels, count = ndimage.label(air)
    size, clean = _counts(labels, crop.hu)
    in_body = np.bincount(labels[crop.is_body], minlength=count + 1)
    voxel_ml = crop.grid.pixel_mm2 * (crop.grid.step_mm or COARSE_MM) / 1000
    is_lung = (size * voxel_ml >= MIN_PIECE_ML) & (clean < CLEAN_SHARE_NO_LUNG * size)
    is_lung &= in_body > MIN_SHARE_IN_BODY * size
    is_lung[0] = False
    if is_lung.any():
        is_lung &= size >= FURTHER_PIECE_SHARE * size[is_lung].max()
    numbers = np.zeros(count + 1, np.int32)
    chosen = sorted(np.flatnonzero(is_lung), key=lambda number: (-size[number], number))
    numbers[chosen] = np.arange(1, len(chosen) + 1)
    return numbers[labels]


def body_boxes(hu: Hu, grid: Grid) -> Mask:
    """Return, slice by slice, the rectangle around thick soft tissue: a table lies below it."""
    core = hu > AIR_BELOW_HU
    for axis, step_mm in ((1, grid.spacing_yx_mm[0]), (2, grid.spacing_yx_mm[1])):
        eroded = np.moveaxis(core.copy(), axis, 0)
        for shift in range(1, max(1, round(BODY_MIN_THICKNESS_MM / step_mm))):
            eroded[:-shift] &= np.moveaxis(core, axis, 0)[shift:]
        core = np.moveaxis(eroded, 0, axis)
    labels, count = ndimage.label(core)
    boxes = np.zeros(hu.shape, bool)
    if count:
        body = labels == np.bincount(labels.ravel())[1:].argmax() + 1
        for box, rows, columns in zip(boxes, body.any(axis=2), body.any(axis=1), strict=True):
            if rows.any():
                (y0, y1), (x0, x1) = (np.flatnonzero(hit)[[0, -1]] for hit in (rows, columns))
                box[y0 : y1 + 1, x0 : x1 + 1] = True
    return boxes


def cropped(grid: Grid, where: tuple[slice, ...]) -> Grid:
    """Return the grid of ``array[where]``."""
    z, y, x = where
    shift = y.start * grid.spacing_yx_mm[0] * grid.column_direction
    shift = shift + x.start * grid.spacing_yx_mm[1] * grid.row_direction
    shape_yx = (y.stop - y.start, x.stop - x.start)
    return replace(grid, origins_lps_mm=grid.origins_lps_mm[z] + shift, shape_yx=shape_yx)


def _counts(labels: Pieces, hu: Hu) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return, for each label, its voxels and those of clean air."""
    count = int(labels.max()) + 1
    return (
        np.bincount(labels.ravel(), minlength=count),
        np.bincount(labels[hu < CLEAN_AIR_HU], minlength=count),
    )
