"""Which lung is which: two pieces, one that comes apart, or one that keeps to a side."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inference.lung_pieces import Coarse, Mask, Pieces, cropped
from inference.volume import Floats, Grid

RIGHT, LEFT, UNSEPARATED = 1, 2, 3

Labels = NDArray[np.uint8]
Indices = tuple[NDArray[np.intp], ...]

# The middles of two lungs are 130 to 180 mm apart; less than this is one lung in two pieces.
MIN_SIDES_APART_MM = 60.0
# Joined lungs come apart by erosion up to this depth (7 to 12 mm on two of four real scans).
MAX_EROSION_MM = 18.0
# A side must hold this share of the larger side to be one.
MIN_SIDE_SHARE = 0.05
# A piece is of a side if this share of it lies there: 0.99 and more of each lung does on five real
# scans, half of two lungs that are joined.
ONE_SIDE_SHARE = 0.9
# No voxel this far across the middle is ever named for the other side: real lungs reach 22 mm over.
MAX_ACROSS_MM = 30.0


@dataclass(frozen=True, slots=True)
class _Pair:
    """The labels of two pieces that are the two lungs, and LPS x half way between them."""

    left: int
    right: int
    between_mm: float


def name_sides(pieces: Pieces, crop: Coarse) -> Labels:
    """Label sides: from two pieces, from one that comes apart, or from the body's middle.

    A piece that lies on both sides has none, whatever lies beside it: a wrong side is written as a
    code into the results, an undetermined one is not.
    """
    parted = pieces
    pair = _pair(pieces, crop.grid, crop.body_middle_mm)
    if pair is None:
        parted = _split(pieces, crop)
        pair = _pair(parted, crop.grid, crop.body_middle_mm)
    return _named(parted, crop, pair)


def _named(pieces: Pieces, crop: Coarse, pair: _Pair | None) -> Labels:
    """Label every piece by its own place: the pair by each other, all others by the body too."""
    middles_mm = {crop.body_middle_mm, crop.body_middle_mm if pair is None else pair.between_mm}
    low_mm, high_mm = min(middles_mm), max(middles_mm)
    at, piece, x_mm = _voxels(pieces, crop.grid)
    size = np.maximum(np.bincount(piece), 1)
    # LPS x grows to the patient's left.
    is_left = np.bincount(piece, weights=x_mm > high_mm) >= ONE_SIDE_SHARE * size
    is_right = np.bincount(piece, weights=x_mm < low_mm) >= ONE_SIDE_SHARE * size
    sides = np.select([is_left, is_right], [LEFT, RIGHT], UNSEPARATED)
    if pair is not None:
        sides[pair.left], sides[pair.right] = LEFT, RIGHT
    side = sides[piece]
    side[(side == RIGHT) & (x_mm > low_mm + MAX_ACROSS_MM)] = UNSEPARATED
    side[(side == LEFT) & (x_mm < high_mm - MAX_ACROSS_MM)] = UNSEPARATED
    labels = np.zeros(pieces.shape, np.uint8)
    labels[at] = side
    return labels


def _voxels(labels: Pieces, grid: Grid) -> tuple[Indices, NDArray[Any], Floats]:
    """Return indices, label and LPS x in millimetres of every labelled voxel."""
    z, y, x = at = np.nonzero(labels)
    along_y, along_x = grid.column_direction[0], grid.row_direction[0]
    across = y * (grid.spacing_yx_mm[0] * along_y) + x * (grid.spacing_yx_mm[1] * along_x)
    return at, labels[at], grid.origins_lps_mm[z, 0] + across


def _pair(labels: Pieces, grid: Grid, body_middle_mm: float) -> _Pair | None:
    """Return the largest piece and the largest beside it, if they can be the two lungs.

    Their centres lie on either side of the body's middle, and each of them on its side of the plane
    half way between them.
    """
    _, label, x_mm = _voxels(labels, grid)
    size = np.bincount(label)[1:]
    centres_mm = np.bincount(label, weights=x_mm)[1:] / np.maximum(size, 1)
    first = int(size.argmax())
    is_other = np.abs(centres_mm - centres_mm[first]) >= MIN_SIDES_APART_MM
    is_other &= (centres_mm > body_middle_mm) != (centres_mm[first] > body_middle_mm)
    is_other &= size >= MIN_SIDE_SHARE * size[first]
    if not is_other.any():
        return None
    other = int(np.argmax(np.where(is_other, size, 0)))
    between_mm = float(centres_mm[first] + centres_mm[other]) / 2
    share_left = np.bincount(label, weights=x_mm > between_mm)[1:] / np.maximum(size, 1)
    left, right = (first, other) if centres_mm[first] > between_mm else (other, first)
    if share_left[left] < ONE_SIDE_SHARE or share_left[right] > 1 - ONE_SIDE_SHARE:
        return None
    return _Pair(left + 1, right + 1, between_mm)


def _split(pieces: Pieces, crop: Coarse) -> Pieces:
    """Part the largest piece into two lungs by eroding until it breaks, then growing back.

    Returns
    -------
    Numbers as they were, but for piece 1, which is now the left lung; new ones for the right lung
    and for what neither may reach. ``pieces`` where it did not break.
    """
    where = ndimage.find_objects((pieces == 1).astype(np.uint8))[0]
    whole = pieces[where] == 1
    here = cropped(crop.grid, where)
    # A ring of zeros: the erosion works from the crop's faces too.
    depth = ndimage.distance_transform_cdt(np.pad(whole, 1), "taxicab")[1:-1, 1:-1, 1:-1]
    deepest = max(1, round(MAX_EROSION_MM / min(here.spacing_yx_mm)))
    for level in range(1, min(deepest + 1, int(depth.max()))):
        cores, count = ndimage.label(depth > level)
        pair = _pair(cores, here, crop.body_middle_mm) if count > 1 else None
        if pair is None:
            continue
        x_mm = np.zeros(whole.shape)
        at, _, across_mm = _voxels(whole, here)
        x_mm[at] = across_mm
        middles_mm = pair.between_mm, crop.body_middle_mm
        left, right = _grow(
            (cores == pair.left, cores == pair.right),
            # Neither may run far into the other before that one's core has grown back.
            (
                whole & (x_mm >= max(middles_mm) - MAX_ACROSS_MM),
                whole & (x_mm <= min(middles_mm) + MAX_ACROSS_MM),
            ),
        )
        result, fresh = pieces.astype(np.int32), int(pieces.max()) + 1
        result[where][right] = fresh
        rest, _ = ndimage.label(whole & ~left & ~right)
        result[where][rest > 0] = fresh + rest[rest > 0]
        return result
    return pieces


def _grow(seeds: tuple[Mask, Mask], within: tuple[Mask, Mask]) -> tuple[Mask, Mask]:
    """Let two seeds grow in turns, each within its own mask, until neither gets further."""
    one, two = seeds[0] & within[0], seeds[1] & within[1]
    while True:
        step_one = _neighbours(one) & within[0] & ~one & ~two
        # Where both arrive in one turn the first takes the voxel: the same on every machine.
        step_two = _neighbours(two) & within[1] & ~one & ~two & ~step_one
        if not (step_one.any() or step_two.any()):
            return one, two
        one, two = one | step_one, two | step_two


def _neighbours(mask: Mask) -> Mask:
    """Return the mask with its six neighbours."""
    grown = mask.copy()
    for axis in range(3):
        source, target = np.moveaxis(mask, axis, 0), np.moveaxis(grown, axis, 0)
        target[1:] |= source[:-1]
        target[:-1] |= source[1:]
    return grown
