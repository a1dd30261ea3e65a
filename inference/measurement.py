"""From a mask on the source grid to numbers: volume, axes, outline, mean HU.

Axes are measured on an outline in the slice of largest area. A voxel mask itself has no good edge:
distances between voxel centres are a pixel too short, those between voxel corners up to a pixel
diagonal too long. So the staircase along the voxels' edges is smoothed and scaled until it encloses
exactly the area of the voxels; what that gives on spheres is in docs/results.md, "Measurement".
"""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inference.dicom.instance import Vector
from inference.mask import SourceMask
from inference.volume import Grid, Volume

Floats = NDArray[np.float64]
Point = tuple[float, float]

# The staircase's corners lie half a pixel off a straight edge; this takes them off and leaves a
# 3 mm curve alone.
SMOOTHING_PIXELS = 1.0
# A viewer draws what it is given; more points than these add nothing at any size.
MOST_OUTLINE_POINTS = 60
# Points on the outline between which axes are sought; 0.05 mm apart on a 6 mm nodule.
_FINE_POINTS = 360


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """Numbers of one mask, rounded as published; the attributes are those of ``Finding``."""

    centre_lps_mm: Vector
    centre_index: Vector
    long_axis_mm: float
    short_axis_mm: float
    mean_diameter_mm: float
    volume_mm3: float
    mean_hu: float
    slices: tuple[int, int]
    key_slice: int
    outline_xy: tuple[Point, ...]
    long_axis_xy: tuple[Point, Point]
    short_axis_xy: tuple[Point, Point]


def measure(mask: SourceMask, volume: Volume) -> Measurement:
    """Return the numbers of a mask.

    Parameters
    ----------
    mask
        Not empty; in each of its slices one piece, as :func:`inference.mask.one_piece` makes
        it.
    """
    grid = volume.grid
    z0, y0, x0 = mask.start_zyx
    voxels = mask.voxels
    depths_mm = grid.depths_mm[z0 : z0 + len(voxels)]
    areas = voxels.sum(axis=(1, 2))
    centre_index = _centroid(mask, depths_mm)
    # Of equally large slices the one nearest to the middle, so that noise does not choose an end.
    key = min(
        np.flatnonzero(areas == areas.max()), key=lambda z: (abs(z0 + z - centre_index[0]), z)
    )
    outline = outline_of(voxels[key]) + np.array([x0, y0])
    spacing_xy = np.array(grid.spacing_yx_mm[::-1])
    long_axis, short_axis = axes_of(outline * spacing_xy)
    long_mm, short_mm = (round_half_up(_length(axis)) for axis in (long_axis, short_axis))
    hu = volume.hu[
        tuple(slice(a, a + n) for a, n in zip(mask.start_zyx, voxels.shape, strict=True))
    ]
    drawn = outline[:: max(1, -(-len(outline) // MOST_OUTLINE_POINTS))]
    return Measurement(
        centre_lps_mm=_vector(_centroid_lps(mask, grid, depths_mm)),
        centre_index=_vector(centre_index),
        long_axis_mm=long_mm,
        short_axis_mm=short_mm,
        mean_diameter_mm=mean_diameter(long_mm, short_mm),
        volume_mm3=round(float((areas * depths_mm).sum() * grid.pixel_mm2), 1),
        mean_hu=round(float(hu[voxels].mean()), 1) + 0.0,
        slices=(z0, z0 + len(voxels) - 1),
        key_slice=int(z0 + key),
        outline_xy=_points(drawn),
        long_axis_xy=_ends(long_axis / spacing_xy),
        short_axis_xy=_ends(short_axis / spacing_xy),
    )


def outline_of(plane: NDArray[np.bool_]) -> Floats:
    """Return the outer edge of a plane's set pixels as a smooth closed polygon of their area.

    Parameters
    ----------
    plane
        bool (y, x); one 4-connected piece. Holes count as set.

    Returns
    -------
    (n, 2) points (x, y) in SCOORD coordinates: (0, 0) is the corner of the first pixel, (0.5, 0.5)
    its centre; the first point is not repeated.
    """
    filled = ndimage.binary_fill_holes(plane)
    corners = _edge_corners(filled)
    fine = _resampled(corners, max(_FINE_POINTS, 4 * len(corners)))
    perimeter = np.linalg.norm(np.roll(corners, -1, 0) - corners, axis=1).sum()
    sigma = SMOOTHING_PIXELS * len(fine) / perimeter
    smooth = ndimage.gaussian_filter1d(fine, sigma, axis=0, mode="wrap")
    middle = smooth.mean(axis=0)
    scale = np.sqrt(filled.sum() / abs(_area(smooth)))
    outline: Floats = middle + (smooth - middle) * scale
    return _resampled(outline, _FINE_POINTS)


def axes_of(outline_mm: Floats) -> tuple[Floats, Floats]:
    """Return the long axis and the longest line inside that is perpendicular to it.

    Parameters
    ----------
    outline_mm
        (n, 2) closed polygon in millimetres.

    Returns
    -------
    Two arrays (2, 2): end points of each axis.
    """
    apart = np.linalg.norm(outline_mm[:, None] - outline_mm[None], axis=-1)
    i, j = np.unravel_index(int(apart.argmax()), apart.shape)
    long_axis = outline_mm[[i, j]]
    along = (long_axis[1] - long_axis[0]) / apart[i, j]
    across = np.array([-along[1], along[0]])
    # In the frame of the long axis each chord is where the polygon crosses a line u = constant.
    u, v = outline_mm @ along, outline_mm @ across
    best = np.array([0.0, 0.0, 0.0])
    for line in np.linspace(u.min(), u.max(), 202)[1:-1]:
        low, high = _crossings(u, v, float(line))
        if high - low > best[2] - best[1]:
            best = np.array([line, low, high])
    ends = np.array([best[0] * along + best[1] * across, best[0] * along + best[2] * across])
    return long_axis, ends


def round_half_up(value: float, step: str = "0.1") -> float:
    """Return a number of at least 0 rounded to a decimal step, halves up (12.45 gives 12.5)."""
    return float(Decimal(repr(round(value, 9))).quantize(Decimal(step), ROUND_HALF_UP))


def mean_diameter(long_axis_mm: float, short_axis_mm: float) -> float:
    """Return the mean of two rounded axes, rounded half up: anybody can recompute it."""
    total = Decimal(str(long_axis_mm)) + Decimal(str(short_axis_mm))
    return float((total / 2).quantize(Decimal("0.1"), ROUND_HALF_UP))


def _centroid(mask: SourceMask, depths_mm: Floats) -> Floats:
    """Return the index of the centroid, each voxel weighted with its volume."""
    weights = mask.voxels * depths_mm[:, None, None]
    index = np.array(ndimage.center_of_mass(weights))
    centroid: Floats = index + mask.start_zyx
    return centroid


def _centroid_lps(mask: SourceMask, grid: Grid, depths_mm: Floats) -> Floats:
    """Return the centroid of the voxels' true places, which a gap sets apart unevenly."""
    z0, y0, x0 = mask.start_zyx
    areas = mask.voxels.sum(axis=(1, 2))
    planes = [
        (z0 + k, *(np.argwhere(plane).mean(axis=0) + np.array([y0, x0])))
        for k, plane in enumerate(mask.voxels)
    ]
    centroid: Floats = np.average(grid.to_lps(planes), axis=0, weights=areas * depths_mm)
    return centroid


def _edge_corners(filled: NDArray[np.bool_]) -> Floats:
    """Return the corners (x, y) of the staircase around a 4-connected piece, in order.

    Each pixel's side that faces outside is one directed step; where two pieces of the edge meet in
    a corner the walk turns so that it stays with its own pixel.
    """
    padded = np.pad(filled, 1)
    core = padded[1:-1, 1:-1]
    steps: dict[Point, list[Point]] = {}
    for (dy, dx), start, end in (
        ((-1, 0), (1, 0), (0, 0)),
        ((0, -1), (0, 0), (0, 1)),
        ((1, 0), (0, 1), (1, 1)),
        ((0, 1), (1, 1), (1, 0)),
    ):
        outside = ~padded[1 + dy : len(padded) - 1 + dy, 1 + dx : padded.shape[1] - 1 + dx]
        for y, x in np.argwhere(core & outside):
            origin = (float(x + start[0]), float(y + start[1]))
            steps.setdefault(origin, []).append((float(x + end[0]), float(y + end[1])))
    first = min(steps)
    walk, here, heading = [first], first, (0.0, 0.0)
    while True:
        choices = steps[here]
        onward = choices.pop(_sharpest(here, heading, choices) if len(choices) > 1 else 0)
        heading, here = (onward[0] - here[0], onward[1] - here[1]), onward
        if here == first:
            return np.array(walk)
        walk.append(here)


def _sharpest(here: Point, heading: Point, choices: list[Point]) -> int:
    """Return which step keeps to the same pixel: the one that turns towards the inside."""
    turns = [
        heading[0] * (there[1] - here[1]) - heading[1] * (there[0] - here[0]) for there in choices
    ]
    return int(np.argmin(turns))


def _resampled(polygon: Floats, count: int) -> Floats:
    """Return points at equal distances along a closed polygon."""
    closed = np.vstack([polygon, polygon[:1]])
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    at = np.linspace(0, along[-1], count, endpoint=False)
    return np.stack([np.interp(at, along, closed[:, axis]) for axis in (0, 1)], axis=-1)


def _area(polygon: Floats) -> float:
    x, y = polygon.T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _crossings(u: Floats, v: Floats, line: float) -> Point:
    """Return the longest inner stretch (low, high) of v on the line u = constant."""
    u_next, v_next = np.roll(u, -1), np.roll(v, -1)
    is_crossed = (u < line) != (u_next < line)
    share = (line - u[is_crossed]) / (u_next[is_crossed] - u[is_crossed])
    at = np.sort(v[is_crossed] + share * (v_next[is_crossed] - v[is_crossed]))
    lengths = at[1::2] - at[::2]
    longest = int(lengths.argmax())
    return float(at[2 * longest]), float(at[2 * longest + 1])


def _length(axis: Floats) -> float:
    return float(np.linalg.norm(axis[1] - axis[0]))


def _vector(values: Floats) -> Vector:
    z, y, x = (round(float(value), 2) + 0.0 for value in values)
    return z, y, x


def _points(points: Floats) -> tuple[Point, ...]:
    return tuple((round(float(x), 2), round(float(y), 2)) for x, y in points)


def _ends(axis: Floats) -> tuple[Point, Point]:
    start, end = _points(axis)
    return start, end
