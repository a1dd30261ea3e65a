"""Which lung is which: two pieces, one that comes apart, or one that keeps to a side."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inference.lung_pieces import Coarse, Mask, Pieces, cropped
from inference.volume import Floats, Grid

RIGHT, LEFT, UNSEPARATED = 1, 2, 3

Labels = NDArray[np.uint8]

# The middles of two lungs are 130 to 180 mm apart; less than this is one lung in two pieces.
MIN_SIDES_APART_MM = 60.0
# Joined lungs come apart by erosion up to this depth (7 to 12 mm on two of four real scans).
MAX_EROSION_MM = 18.0
# A side must hold this share of the larger side to be one.
MIN_SIDE_SHARE = 0.05
# A single lung has this share of itself on one side of the body's middle.
SINGLE_SIDE_SHARE = 0.85


def name_sides(pieces: Pieces, crop: Coarse) -> Labels:
    """Label sides: from two pieces, from one that comes apart, or from the body's middle."""
    size, centres_mm = _sizes_and_places(pieces, crop.grid)
    other = _other_side(size, centres_mm)
    if other is None:
        parted = _split(pieces, crop.grid)
        if parted is None:
            return _one_piece(pieces > 0, crop)
        pieces, other = parted, 1
        size, centres_mm = _sizes_and_places(pieces, crop.grid)
    middle_mm = (centres_mm[0] + centres_mm[other]) / 2
    sides = np.zeros(len(size) + 1, np.uint8)
    # LPS x grows to the patient's left; each lung's place is compared with the other's, not with 0.
    sides[1:] = np.where(centres_mm > middle_mm, LEFT, RIGHT)
    return sides[pieces]


def _sizes_and_places(labels: Pieces, grid: Grid) -> tuple[NDArray[np.intp], Floats]:
    """Return, for labels 1 and up, the voxels and the mean place along LPS x in millimetres."""
    at = np.nonzero(labels)
    label = labels[at]
    size = np.bincount(label)[1:]
    mean_zyx = [np.bincount(label, weights=index)[1:] / np.maximum(size, 1) for index in at]
    return size, np.asarray(grid.to_lps(np.stack(mean_zyx, axis=-1))[:, 0])


def _other_side(size: NDArray[np.intp], centres_mm: Floats) -> int | None:
    """Return the largest piece that lies beside the first; None where there is none."""
    is_other = np.abs(centres_mm - centres_mm[0]) >= MIN_SIDES_APART_MM
    is_other &= size >= MIN_SIDE_SHARE * size[0]
    return int(np.argmax(np.where(is_other, size, 0))) if is_other.any() else None


def _split(pieces: Pieces, grid: Grid) -> Pieces | None:
    """Part the largest piece into two lungs by eroding until it breaks, then growing back.

    Returns
    -------
    Pieces 1 and 2 are the two lungs, further pieces follow; None where it did not break.
    """
    where = ndimage.find_objects((pieces == 1).astype(np.uint8))[0]
    whole = pieces[where] == 1
    here = cropped(grid, where)
    # A ring of zeros: the erosion works from the crop's faces too.
    depth = ndimage.distance_transform_cdt(np.pad(whole, 1), "taxicab")[1:-1, 1:-1, 1:-1]
    for level in range(1, 1 + max(1, round(MAX_EROSION_MM / min(grid.spacing_yx_mm)))):
        cores, count = ndimage.label(depth > level)
        if count < 2:
            continue
        size, centres_mm = _sizes_and_places(cores, here)
        first = int(size.argmax())
        order = np.concatenate([[first], np.delete(np.arange(count), first)])
        other = _other_side(size[order], centres_mm[order])
        if other is None:
            continue
        left, right = _grow(cores == first + 1, cores == order[other] + 1, whole)
        result = np.where(pieces > 1, pieces + 1, 0).astype(np.int32)
        result[where][left], result[where][right] = 1, 2
        return result
    return None


def _grow(one: Mask, two: Mask, within: Mask) -> tuple[Mask, Mask]:
    """Let two seeds grow in turns through ``within`` until neither gets further."""
    free = within & ~one & ~two
    while True:
        step_one = _neighbours(one) & free
        # Where both arrive in one turn the first takes the voxel: the same on every machine.
        step_two = _neighbours(two) & free & ~step_one
        if not (step_one.any() or step_two.any()):
            return one, two
        one, two = one | step_one, two | step_two
        free &= ~(step_one | step_two)


def _neighbours(mask: Mask) -> Mask:
    """Return the mask with its six neighbours."""
    grown = mask.copy()
    for axis in range(3):
        source, target = np.moveaxis(mask, axis, 0), np.moveaxis(grown, axis, 0)
        target[1:] |= source[:-1]
        target[:-1] |= source[1:]
    return grown


def _one_piece(lung: Mask, crop: Coarse) -> Labels:
    """Name a piece that does not come apart: a single lung if it keeps to one side of the body."""
    x_mm = crop.grid.to_lps(np.argwhere(lung))[:, 0]
    share_left = float((x_mm > crop.body_middle_mm).mean())
    label = UNSEPARATED
    if share_left > SINGLE_SIDE_SHARE:
        label = LEFT
    elif share_left < 1 - SINGLE_SIDE_SHARE:
        label = RIGHT
    return (lung * np.uint8(label)).astype(np.uint8)
