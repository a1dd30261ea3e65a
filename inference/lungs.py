"""Where the lungs are: a coarse label grid, a box, sides and thirds.

Found by thresholds and shape alone, on voxels of about 2 mm: air that no slice's edge touches,
without airways, bowel gas and tables, taken as two pieces by their places in the patient. What is
dense (a tumour, consolidation, an effusion) stays outside except where it is enclosed or narrow;
whoever filters by the mask must allow for that (``docs/detection.md``).
"""

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from inference.volume import Floats, Grid, Volume

RIGHT, LEFT, UNSEPARATED = 1, 2, 3

Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]

# Widest coarse voxel: the wall between trachea and lung is still seen, and 300 slices cost under
# 0.5 CPU s.
COARSE_MM = 2.5
# Half way between lung (-850 HU) and soft tissue.
AIR_BELOW_HU = -400
# Clean air: trachea, bowel gas, outside; healthy and most emphysematous lung lies above.
CLEAN_AIR_HU = -940
# Share of clean air above which a piece is no lung (bowel, table, pockets at the skin), and from
# which a small piece of a slice may be airway: the wall's partial volume takes the rest.
CLEAN_SHARE_NO_LUNG = 0.5
CLEAN_SHARE_AIRWAY = 0.25
# A trachea has at most 5 cm2, with the carina 7; it stays small over a longer way than the tip of a
# lung.
AIRWAY_MAX_MM2 = 800.0
AIRWAY_MIN_HEIGHT_MM = 25.0
# Thinner sheets of tissue (table tops) are no body.
BODY_MIN_THICKNESS_MM = 8.0
# Pieces below this are dust; a further piece (cut off by consolidation) counts from this share of
# the first.
MIN_PIECE_ML = 15.0
FURTHER_PIECE_SHARE = 0.05
# The middles of two lungs are 130 to 180 mm apart; less than this is one lung in two pieces.
MIN_SIDES_APART_MM = 60.0
# Joined lungs come apart by erosion up to this depth (the anterior junction is 1 to 4 mm thick).
MAX_BRIDGE_MM = 12.0
# A side must hold this share of the larger side to be one.
MIN_SIDE_SHARE = 0.05
# Vessels, fissures and small nodules at the edge belong to the lung: closed in the plane.
CLOSING_MM = 6.0
# A finding may lie this far outside the thresholded lung (masses: 9 to 16 mm measured) and have its
# side.
SIDE_REACH_MM = 30.0
# How far area falls from the widest section to nothing, for the estimate of what was cut off.
TAPER_MM = {"feet": 100.0, "head": 80.0}

_IN_PLANE = np.zeros((3, 3, 3), np.uint8)
_IN_PLANE[1, 1, :] = _IN_PLANE[1, :, 1] = 1


class Laterality(StrEnum):
    """Side of the patient."""

    LEFT = "left"
    RIGHT = "right"
    UNDETERMINED = "undetermined"


class Zone(StrEnum):
    """Third of a lung's height: text for people, never a coded lobe."""

    UPPER = "upper"
    MIDDLE = "middle"
    LOWER = "lower"


@dataclass(frozen=True, slots=True)
class CutEnd:
    """What of the lungs lies in the outermost sampled slice at one end of the scan.

    Attributes
    ----------
    area_mm2
        Lung area in that slice; 0 where the lungs end before the scan does. A tip of a few cm2 may
        be left in the last slice of a scan that is complete for every purpose.
    share
        The same as a share of the largest section of the lungs: about 0 for a whole scan, near 1
        for a cut through the middle.
    """

    area_mm2: float
    share: float


@dataclass(frozen=True, slots=True, eq=False)
class Lungs:
    """The lungs of a volume on every ``stride_zyx``-th voxel of its grid.

    Attributes
    ----------
    labels
        uint8 (z, y, x): 0 elsewhere, :data:`RIGHT`, :data:`LEFT`, or :data:`UNSEPARATED` where both
        lungs are one piece. Coarse voxel (k, j, i) is the source voxel (k, j, i) * ``stride_zyx``.
        Trachea and main bronchi are not lung; enclosed vessels and nodules are.
    grid
        Where the coarse voxels lie; ``grid.shape_zyx == labels.shape``.
    stride_zyx
        Source voxels for each coarse voxel.
    box_zyx
        Half-open source index ranges ((z0, z1), (y0, y1), (x0, x1)) around both lungs, without
        margin.
    volume_ml
        Of all labelled voxels.
    """

    labels: Labels
    grid: Grid
    stride_zyx: tuple[int, int, int]
    box_zyx: Box
    volume_ml: float

    @property
    def are_separated(self) -> bool:
        """Whether every labelled voxel has a side."""
        return not bool((self.labels == UNSEPARATED).any())

    @property
    def areas_mm2(self) -> Floats:
        """(n,) lung area of each coarse slice, in the order of the slices."""
        pixel_mm2 = self.grid.spacing_yx_mm[0] * self.grid.spacing_yx_mm[1]
        counts: Floats = np.count_nonzero(self.labels, axis=(1, 2)) * pixel_mm2
        return counts

    def cut_ends(self) -> dict[str, CutEnd]:
        """Return how much lung the outermost slices hold: keys ``feet`` and ``head``.

        Ends are the patient's (by LPS z), not the index's. At most ``stride_zyx[0] - 1`` source
        slices lie beyond the sampled end slice.
        """
        areas = self.areas_mm2
        largest = float(areas.max())
        first, last = (CutEnd(float(a), float(a) / largest) for a in (areas[0], areas[-1]))
        feet_first = self.grid.normal[2] >= 0
        return {"feet": first, "head": last} if feet_first else {"feet": last, "head": first}

    def estimated_coverage(self) -> float:
        """Return the share of the lungs that the scan holds, 0..1, as far as the cut areas tell.

        What is missing beyond an end is taken as a wedge over the cut area: height in proportion to
        the cut's share of the largest section, at most :data:`TAPER_MM`. A cut through the widest
        part may hide more, so this is an upper bound rather than a measurement.
        """
        missing_ml = sum(
            end.area_mm2 * TAPER_MM[name] * end.share / 2 / 1000
            for name, end in self.cut_ends().items()
        )
        return self.volume_ml / (self.volume_ml + missing_ml)

    def distances_mm(self, places_lps_mm: ArrayLike) -> Floats:
        """Return how far places lie from the lungs.

        Parameters
        ----------
        places_lps_mm
            (n, 3).

        Returns ------- (n,) distance to the centre of the nearest labelled coarse voxel, 0 where
        the place lies inside one.
        """
        places = np.asarray(places_lps_mm, float).reshape(-1, 3)
        inside = self._labels_at(places) > 0
        distances, _ = _surface_tree(self.labels, self.grid)[0].query(places)
        return np.where(inside, 0.0, distances)

    def laterality_at(self, place_lps_mm: ArrayLike) -> Laterality:
        """Return the side of the lung that holds the place or is the nearest within 30 mm.

        Undetermined where the lungs are one piece there, or none is near.
        """
        return _SIDES.get(self._label_near(place_lps_mm), Laterality.UNDETERMINED)

    def zone_at(self, place_lps_mm: ArrayLike) -> Zone | None:
        """Return the third of its lung's height (along LPS z) in which the place lies.

        None where the side is undetermined, or where that lung is cut off by an end of the scan:
        then its height is not known.
        """
        label = self._label_near(place_lps_mm)
        if label not in _SIDES:
            return None
        slices = np.flatnonzero((self.labels == label).any(axis=(1, 2)))
        if slices[0] == 0 or slices[-1] == len(self.labels) - 1:
            return None
        index = np.zeros((2, 3))
        index[:, 0] = slices[[0, -1]]
        index[:, 1:] = self.grid.to_index(place_lps_mm)[1:]
        ends_mm = self.grid.to_lps(index)[:, 2]
        height = (float(np.asarray(place_lps_mm, float)[2]) - ends_mm.min()) / np.ptp(ends_mm)
        return Zone.LOWER if height < 1 / 3 else Zone.MIDDLE if height < 2 / 3 else Zone.UPPER

    def _labels_at(self, places_lps_mm: Floats) -> Labels:
        """Return the label of the coarse voxel that holds each place; 0 outside the grid."""
        index = np.rint(self.grid.to_index(places_lps_mm)).astype(int)
        is_known = np.all((index >= 0) & (index < self.labels.shape), axis=-1)
        index = np.where(is_known[..., None], index, 0)
        return np.where(is_known, self.labels[tuple(np.moveaxis(index, -1, 0))], 0).astype(np.uint8)

    def _label_near(self, place_lps_mm: ArrayLike) -> int:
        place = np.asarray(place_lps_mm, float).reshape(1, 3)
        label = int(self._labels_at(place)[0])
        if label:
            return label
        tree, labels = _surface_tree(self.labels, self.grid)
        distance, nearest = tree.query(place[0], distance_upper_bound=SIDE_REACH_MM)
        return int(labels[nearest]) if np.isfinite(distance) else 0


_SIDES = {LEFT: Laterality.LEFT, RIGHT: Laterality.RIGHT}


def find_lungs(volume: Volume) -> Lungs | None:
    """Find the lungs.

    Parameters
    ----------
    volume
        An axial CT in HU; slices may be thick, unevenly spaced or tilted.

    Returns ------- None where there is no piece of lung of 15 ml or more. Small or cut lungs are
    returned: the gate judges them by volume and by :meth:`Lungs.cut_ends`.
    """
    grid, stride = _coarse_grid(volume.grid)
    hu = _sample(volume.hu, stride)
    air = _without_airways(hu, _inner_air(hu), grid)
    pieces = _lung_pieces(hu, air, grid)
    if not pieces.any():
        return None
    labels = _close(_name_sides(pieces, hu, grid), grid)
    slices = np.flatnonzero(labels.any(axis=(1, 2)))
    rows = np.flatnonzero(labels.any(axis=(0, 2)))
    columns = np.flatnonzero(labels.any(axis=(0, 1)))
    box = tuple(
        (max(0, (int(at[0]) - 1) * step + 1), min(size, (int(at[-1]) + 1) * step))
        for at, step, size in zip((slices, rows, columns), stride, volume.hu.shape, strict=True)
    )
    counts = np.count_nonzero(labels, axis=(1, 2))
    volume_ml = float((counts * grid.depths_mm).sum() * _pixel_mm2(grid) / 1000)
    return Lungs(labels, grid, stride, (box[0], box[1], box[2]), volume_ml)


def _coarse_grid(grid: Grid) -> tuple[Grid, tuple[int, int, int]]:
    """Return every n-th voxel's grid, and n for each axis."""
    steps = (grid.step_mm or COARSE_MM, *grid.spacing_yx_mm)
    z, y, x = (max(1, int(COARSE_MM / step)) for step in steps)
    shape_yx = (-(-grid.shape_yx[0] // y), -(-grid.shape_yx[1] // x))
    spacing = (grid.spacing_yx_mm[0] * y, grid.spacing_yx_mm[1] * x)
    coarse = replace(
        grid, origins_lps_mm=grid.origins_lps_mm[::z], spacing_yx_mm=spacing, shape_yx=shape_yx
    )
    return coarse, (z, y, x)


def _sample(hu: NDArray[np.int16], stride_zyx: tuple[int, int, int]) -> NDArray[np.int16]:
    """Return every n-th voxel, each the mean of itself and its four neighbours in the plane."""
    z, y, x = stride_zyx
    centre = hu[::z, ::y, ::x]
    if y < 2 or x < 2:
        return centre
    total = centre.astype(np.int32)
    shape = centre.shape
    for rows, columns in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        shifted = hu[::z, max(rows, 0) :: y, max(columns, 0) :: x]
        if rows < 0:
            shifted = hu[::z, y - 1 :: y, ::x]
        if columns < 0:
            shifted = hu[::z, ::y, x - 1 :: x]
        # The neighbour before the first voxel, or after the last, is not there: the voxel itself
        # stands in.
        from_row, from_column = int(rows < 0), int(columns < 0)
        have = shifted[:, : shape[1] - from_row, : shape[2] - from_column]
        rest = centre.astype(np.int32)
        rest[:, from_row : from_row + have.shape[1], from_column : from_column + have.shape[2]] = (
            have
        )
        total += rest
    return (total // 5).astype(np.int16)


def _inner_air(hu: NDArray[np.int16]) -> NDArray[np.int32]:
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


def _without_airways(hu: NDArray[np.int16], pieces: NDArray[np.int32], grid: Grid) -> Mask:
    """Return the air without columns of small pieces of clean air: trachea, main bronchi, bowel."""
    count = int(pieces.max()) + 1
    at = np.flatnonzero(pieces)
    piece = pieces.ravel()[at]
    size = np.bincount(piece, minlength=count)
    clean = np.bincount(piece[hu.ravel()[at] < CLEAN_AIR_HU], minlength=count)
    is_narrow = (size * _pixel_mm2(grid) <= AIRWAY_MAX_MM2) & (clean >= CLEAN_SHARE_AIRWAY * size)
    is_narrow[0] = False
    columns, found = ndimage.label(is_narrow[pieces])
    air = pieces > 0
    positions = grid.positions_mm
    for number, where in enumerate(ndimage.find_objects(columns), start=1):
        height_mm = positions[where[0].stop - 1] - positions[where[0].start] + grid.step_mm
        if height_mm >= AIRWAY_MIN_HEIGHT_MM:
            air[where] &= columns[where] != number
    del found
    return air


def _lung_pieces(hu: NDArray[np.int16], air: Mask, grid: Grid) -> NDArray[np.int32]:
    """Return the connected pieces that are lung, numbered from 1 by falling size."""
    labels, count = ndimage.label(air)
    at = np.flatnonzero(labels)
    piece = labels.ravel()[at]
    size = np.bincount(piece, minlength=count + 1)
    clean = np.bincount(piece[hu.ravel()[at] < CLEAN_AIR_HU], minlength=count + 1)
    in_body = np.bincount(piece, weights=_body_boxes(hu, grid).ravel()[at], minlength=count + 1)
    voxel_ml = _pixel_mm2(grid) * (grid.step_mm or COARSE_MM) / 1000
    is_lung = (size * voxel_ml >= MIN_PIECE_ML) & (clean < CLEAN_SHARE_NO_LUNG * size)
    is_lung &= in_body > 0.9 * size
    is_lung[0] = False
    if is_lung.any():
        is_lung &= size >= FURTHER_PIECE_SHARE * size[is_lung].max()
    numbers = np.zeros(count + 1, np.int32)
    chosen = sorted(np.flatnonzero(is_lung), key=lambda number: (-size[number], number))
    numbers[chosen] = np.arange(1, len(chosen) + 1)
    return numbers[labels]


def _body_boxes(hu: NDArray[np.int16], grid: Grid) -> Mask:
    """Return, slice by slice, the rectangle around thick soft tissue: a table lies below it."""
    step_y, step_x = (max(1, round(BODY_MIN_THICKNESS_MM / step)) for step in grid.spacing_yx_mm)
    tissue = (hu > AIR_BELOW_HU).astype(np.uint8)
    core = ndimage.minimum_filter(tissue, size=(1, step_y, step_x))
    labels, count = ndimage.label(core)
    boxes = np.zeros(hu.shape, bool)
    if count:
        body = labels == np.bincount(labels.ravel())[1:].argmax() + 1
        for box, rows, columns in zip(boxes, body.any(axis=2), body.any(axis=1), strict=True):
            if rows.any():
                (y0, y1), (x0, x1) = (np.flatnonzero(hit)[[0, -1]] for hit in (rows, columns))
                box[y0 : y1 + 1, x0 : x1 + 1] = True
    return boxes


def _name_sides(pieces: NDArray[np.int32], hu: NDArray[np.int16], grid: Grid) -> Labels:
    """Label sides: from two pieces, from one that comes apart, or from the body's middle."""
    count = int(pieces.max())
    centres_mm = _centres_along_x_mm(pieces, count, grid)
    size = np.bincount(pieces.ravel(), minlength=count + 1)
    other = _other_side(size[1:], centres_mm)
    if other is None:
        pieces, split = _split(pieces, grid)
        if not split:
            return _one_piece(pieces > 0, hu, grid)
        count, other = int(pieces.max()), 1
        centres_mm = _centres_along_x_mm(pieces, count, grid)
    middle_mm = (centres_mm[0] + centres_mm[other]) / 2
    sides = np.zeros(count + 1, np.uint8)
    # LPS x grows to the patient's left; the lungs are told apart by each other's place, not by x >
    # 0.
    sides[1:] = np.where(centres_mm > middle_mm, LEFT, RIGHT)
    return sides[pieces]


def _centres_along_x_mm(pieces: NDArray[np.int32], count: int, grid: Grid) -> Floats:
    centres = ndimage.center_of_mass(pieces > 0, pieces, np.arange(1, count + 1))
    return np.asarray(grid.to_lps(np.asarray(centres).reshape(-1, 3))[:, 0])


def _other_side(size: NDArray[np.intp], centres_mm: Floats) -> int | None:
    """Return which piece is the lung opposite to the first and largest; None: there is none."""
    is_far = np.abs(centres_mm - centres_mm[0]) >= MIN_SIDES_APART_MM
    is_far &= size >= MIN_SIDE_SHARE * size[0]
    return int(np.flatnonzero(is_far)[0]) if is_far.any() else None


def _split(pieces: NDArray[np.int32], grid: Grid) -> tuple[NDArray[np.int32], bool]:
    """Part the largest piece into two lungs by eroding until it breaks, then growing back.

    Returns
    -------
    Pieces 1 and 2 are the two lungs where it broke, further pieces follow; and whether it broke.
    """
    where = ndimage.find_objects(pieces)[0]
    whole = np.pad(pieces[where] == 1, 1)
    depth = ndimage.distance_transform_cdt(whole, "taxicab")[1:-1, 1:-1, 1:-1]
    offset = [part.start for part in where]
    for level in range(1, 1 + max(1, round(MAX_BRIDGE_MM / 2 / min(grid.spacing_yx_mm)))):
        cores, count = ndimage.label(depth > level)
        size = np.bincount(cores.ravel(), minlength=count + 1)[1:]
        if count < 2:
            continue
        order = np.argsort(-size, kind="stable")[:8]
        centres = np.asarray(ndimage.center_of_mass(cores > 0, cores, order + 1)) + offset
        other = _other_side(size[order], grid.to_lps(centres)[:, 0])
        if other is None or size[order[other]] < 2 * MIN_SIDE_SHARE * size[order[0]]:
            continue
        seeds = np.zeros(count + 1, np.uint8)
        seeds[order[0] + 1], seeds[order[other] + 1] = 1, 2
        parted = _grow(seeds[cores], depth > 0)
        result = np.where(pieces > 1, pieces + 1, 0).astype(np.int32)
        result[where] = np.where(parted > 0, parted, result[where])
        return result, True
    return pieces, False


def _grow(seeds: Labels, within: Mask) -> Labels:
    """Let two labels grow in turns through ``within`` until neither gets further."""
    grown = seeds
    while True:
        reached = ndimage.maximum_filter(grown, size=3)
        nearer = np.where(grown > 0, np.uint8(3) - grown, 0).astype(np.uint8)
        lower = np.where(reached > 0, np.uint8(3) - ndimage.maximum_filter(nearer, size=3), 0)
        # Where both arrive in the same turn, label 1 takes the voxel: the same on every machine.
        step = np.where(within & (grown == 0), np.minimum(reached, lower), grown).astype(np.uint8)
        if np.array_equal(step, grown):
            return grown
        grown = step


def _one_piece(lung: Mask, hu: NDArray[np.int16], grid: Grid) -> Labels:
    """Name a piece that does not come apart: a single lung if it keeps to one side of the body."""
    body = _body_boxes(hu, grid)
    slices = np.flatnonzero(lung.any(axis=(1, 2)))
    columns = np.flatnonzero(body[slices].any(axis=(0, 1)))
    middle = grid.to_lps(
        [slices.mean(), lung.shape[1] / 2, columns.mean() if columns.size else 0.0]
    )
    x_mm = grid.to_lps(np.argwhere(lung))[:, 0] - middle[0]
    share_left = float((x_mm > 0).mean())
    label = LEFT if share_left > 0.85 else RIGHT if share_left < 0.15 else UNSEPARATED
    return (lung * np.uint8(label)).astype(np.uint8)


def _close(labels: Labels, grid: Grid) -> Labels:
    """Close each side in the plane over narrow tissue, then fill what it encloses in a slice."""
    width_y, width_x = (2 * max(1, round(CLOSING_MM / 2 / step)) + 1 for step in grid.spacing_yx_mm)
    result = labels.copy()
    for label in (RIGHT, LEFT, UNSEPARATED):
        side = labels == label
        if not side.any():
            continue
        where = ndimage.find_objects(side.astype(np.uint8))[0]
        margin = ((0, 0), (width_y, width_y), (width_x, width_x))
        padded = np.pad(side[where], margin).astype(np.uint8)
        size = (1, width_y, width_x)
        closed = ndimage.minimum_filter(ndimage.maximum_filter(padded, size=size), size=size)
        outside, _ = ndimage.label(closed == 0, _IN_PLANE)
        firsts = outside[:, :1, :1]
        filled = (outside != firsts)[:, width_y:-width_y, width_x:-width_x]
        part = result[where]
        part[filled & (part == 0)] = label
    return result


def _surface_tree(labels: Labels, grid: Grid) -> tuple[KDTree, Labels]:
    """Return a search tree over the surface voxels' centres (LPS mm), and their labels."""
    inner = ndimage.binary_erosion(labels > 0)
    surface = np.argwhere((labels > 0) & ~inner)
    return KDTree(grid.to_lps(surface)), labels[tuple(surface.T)]


def _pixel_mm2(grid: Grid) -> float:
    return grid.spacing_yx_mm[0] * grid.spacing_yx_mm[1]
