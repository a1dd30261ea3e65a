"""Where the lungs are: a coarse label grid, a box, sides and thirds.

Found by thresholds and shape alone, on voxels of about 2 mm (``lung_pieces``), and told apart by
their places in the patient (``lung_sides``). What is dense (a tumour, consolidation, an effusion)
stays outside except where it is enclosed or narrow; whoever filters by the mask must allow for that
(``docs/detection.md``).
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage
from scipy.spatial import KDTree

from inference.lung_pieces import (
    Coarse,
    Mask,
    body_boxes,
    coarse_grid,
    cropped,
    inner_air,
    lung_pieces,
    sample,
    without_airways,
)
from inference.lung_sides import LEFT, RIGHT, UNSEPARATED, Labels, name_sides
from inference.volume import Floats, Grid, Volume

__all__ = ["LEFT", "RIGHT", "UNSEPARATED", "CutEnd", "Laterality", "Lungs", "Zone", "find_lungs"]

Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]

# Vessels, fissures and small nodules at the edge belong to the lung: closed in the plane.
CLOSING_MM = 6.0
# A finding may lie this far outside the thresholded lung (masses: 9 to 16 mm) and have its side.
SIDE_REACH_MM = 30.0
# A tip of less than this share of the largest section in an end slice still shows where lungs end.
CUT_SHARE = 0.05
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
        uint8 (z, y, x): 0 elsewhere, :data:`RIGHT`, :data:`LEFT`, or :data:`UNSEPARATED` where the
        side is not known: both lungs are one piece, or one reaches far across the middle. Coarse
        voxel (k, j, i) is the source voxel (k, j, i) * ``stride_zyx``.
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
        areas: Floats = np.count_nonzero(self.labels, axis=(1, 2)) * self.grid.pixel_mm2
        return areas

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

        Returns
        -------
        (n,) distance to the centre of the nearest labelled coarse voxel, 0 where the place lies
        inside one.
        """
        places = np.asarray(places_lps_mm, float).reshape(-1, 3)
        inside = self._labels_at(places) > 0
        distances, _ = _surface_tree(self.labels, self.grid).query(places)
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
        counts = np.count_nonzero(self.labels == label, axis=(1, 2))
        if max(counts[0], counts[-1]) >= CUT_SHARE * counts.max():
            return None
        slices = np.flatnonzero(counts)
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
        """Return the label that holds a place, or the nearest within reach; 0: there is none."""
        place = np.asarray(place_lps_mm, float)
        label = int(self._labels_at(place[None])[0])
        if label:
            return label
        near = np.abs(self.grid.positions_mm - place @ self.grid.normal) <= SIDE_REACH_MM
        slices = np.flatnonzero(near)
        if slices.size == 0:
            return 0
        # Twice the reach in the plane: the slices of a tilted stack are shifted against each other.
        index = self.grid.to_index(place)[1:]
        half = 2 * SIDE_REACH_MM / np.array(self.grid.spacing_yx_mm)
        (y0, x0), (y1, x1) = np.maximum(index - half, 0), np.maximum(index + half + 1, 0)
        window = slice(slices[0], slices[-1] + 1), slice(int(y0), int(y1)), slice(int(x0), int(x1))
        at = np.argwhere(self.labels[window]) + np.array([slices[0], int(y0), int(x0)])
        if len(at) == 0:
            return 0
        distances = np.linalg.norm(self.grid.to_lps(at) - place, axis=1)
        nearest = int(distances.argmin())
        return int(self.labels[tuple(at[nearest])]) if distances[nearest] <= SIDE_REACH_MM else 0


_SIDES = {LEFT: Laterality.LEFT, RIGHT: Laterality.RIGHT}


def find_lungs(volume: Volume) -> Lungs | None:
    """Find the lungs.

    Parameters
    ----------
    volume
        An axial CT in HU; slices may be thick, unevenly spaced or tilted.

    Returns
    -------
    None where there is no piece of lung of 15 ml or more. Small or cut lungs are returned: the gate
    judges them by volume and by :meth:`Lungs.cut_ends`.
    """
    grid, stride = coarse_grid(volume.grid)
    hu = sample(volume.hu, stride)
    pieces = inner_air(hu)
    if not pieces.any():
        return None
    where = ndimage.find_objects((pieces > 0).astype(np.uint8))[0]
    body = body_boxes(hu, grid)
    crop = Coarse(hu[where], cropped(grid, where), body[where], _middle_mm(body, grid))
    lungs = lung_pieces(without_airways(pieces[where], crop), crop)
    if not lungs.any():
        return None
    labels = np.zeros(hu.shape, np.uint8)
    labels[where] = _close(name_sides(lungs, crop), crop.grid)
    counts = np.count_nonzero(labels, axis=(1, 2))
    volume_ml = float((counts * grid.depths_mm).sum() * grid.pixel_mm2 / 1000)
    return Lungs(labels, grid, stride, _source_box(labels, stride, volume.hu.shape), volume_ml)


def _middle_mm(body: Mask, grid: Grid) -> float:
    """Return LPS x of the middle of what is set; of the grid where nothing is."""
    spans = [np.flatnonzero(body.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    middle = [
        span.mean() if span.size else (side - 1) / 2
        for span, side in zip(spans, body.shape, strict=True)
    ]
    return float(grid.to_lps(middle)[0])


def _source_box(labels: Labels, stride: tuple[int, ...], shape: tuple[int, ...]) -> Box:
    """Return the source voxels that the labelled coarse voxels stand for."""
    box = []
    for axis, (step, size) in enumerate(zip(stride, shape, strict=True)):
        others = tuple(other for other in range(3) if other != axis)
        hit = np.flatnonzero(labels.any(axis=others))
        box.append((max(0, (int(hit[0]) - 1) * step + 1), min(size, (int(hit[-1]) + 1) * step)))
    return box[0], box[1], box[2]


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


def _surface_tree(labels: Labels, grid: Grid) -> KDTree:
    """Return a search tree over the surface voxels' centres (LPS mm)."""
    inner = ndimage.binary_erosion(labels > 0)
    return KDTree(grid.to_lps(np.argwhere((labels > 0) & ~inner)))
