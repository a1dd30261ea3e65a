"""From a heat map to candidates: peaks, place, size, score, and the mask around each.

============ ============================================ ==========================================
output       shape                                        meaning at cell k
============ ============================================ ==========================================
heat         (1, 1, z/s, y/s, x/s)                        logit that a nodule's centre lies here
offset       (1, 3, ...)                                  from the cell's centre to the nodule's, in
                                                          input voxels (z, y, x)
log_diameter (1, 1, ...)                                  ln(diameter / 8 mm)
mask         (1, s^3, ...)                                logits of the cell's s^3 input voxels,
                                                          channel dz * s^2 + dy * s + dx
============ ============================================ ==========================================

``s`` is the stage's stride; the centre of cell k lies at input index ``s * k + (s - 1) / 2``.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from firstread.errors import PackageError
from inference.detection.candidate import Candidate
from inference.lungs import Lungs
from inference.volume import Floats, Grid
from models.package import Calibration

Array = NDArray[np.float32]

LOG_DIAMETER_UNIT_MM = 8.0
# Beyond this the exponential of a wild output would be no size; the training knows 3.5 to 40 mm.
MAX_LOG_DIAMETER = 3.0
# A thresholded lung leaves a tumour out, whose centre then lies up to half a diameter outside:
# a plain 6 mm lost four of five masses of 28 to 47 mm.
LUNG_REACH_MM = 6.0
LUNG_REACH_PER_DIAMETER = 0.55
# Two peaks this near, or within half the stronger one's diameter, are one nodule.
MERGE_MM = 4.0
MERGE_PER_DIAMETER = 0.5
# A peak stands strictly above this many of its 26 neighbours. A ball between eight cells gives
# eight equal peaks that each stand above 19; a cell on the face of a plateau stands above 9.
MIN_LOWER_NEIGHBOURS = 18
# Candidates below the lowest operating point: what a viewer's slider can show.
MAX_BELOW = 30
# The mask's crop reaches this far beyond the nodule, and grows while the mask touches its faces.
CROP_PER_DIAMETER = 0.75
CROP_MARGIN_MM = 5.0
CROP_GROWTH = 1.5
CROP_MAX_MM = 45.0


def decode(
    outputs: Mapping[str, Array],
    grid: Grid,
    stride: int,
    lungs: Lungs,
    calibration: Calibration,
    *,
    floor: float,
    lowest_threshold: float,
) -> tuple[Candidate, ...]:
    """Return the candidates of one run over the whole lung box.

    Parameters
    ----------
    outputs
        As in the module's table.
    grid
        The network's input grid, regular.
    floor, lowest_threshold
        Of the score: nothing below ``floor`` is returned, and at most 30 below ``lowest_threshold``
        (the lowest operating point); all at or above it.

    Returns
    -------
    By falling score, equal scores by z, y, x of their centres on ``grid``.

    Raises
    ------
    PackageError
        ``package-refused``: the outputs are not those of the table, or not finite. A heat map of
        NaN has no peak, and must not pass for a patient without nodules.
    """
    _check(outputs, grid, stride)
    heat = outputs["heat"][0, 0]
    cells = _peaks(heat, calibration, floor)
    at = tuple(cells.T)
    found = _Found(
        index_zyx=cells * stride + (stride - 1) / 2 + outputs["offset"][0][(slice(None), *at)].T,
        score=_score(heat[at], calibration),
        diameter_mm=_diameter_mm(outputs["log_diameter"][0, 0][at]),
        logit=heat[at].astype(np.float64),
    )
    centres_mm = grid.to_lps(found.index_zyx)
    near = _near_lung(centres_mm, found.diameter_mm, lungs)
    found, centres_mm = found.only(near), centres_mm[near]
    kept = _merge(found, centres_mm)
    found, centres_mm = found.only(kept), centres_mm[kept]
    candidates = []
    for row in _order(found, lowest_threshold):
        x, y, z = centres_mm[row].tolist()
        diameter_mm = float(found.diameter_mm[row])
        mask, mask_grid = _mask(outputs["mask"][0], found.index_zyx[row], diameter_mm, grid, stride)
        candidates.append(
            Candidate((x, y, z), float(found.score[row]), diameter_mm, mask, mask_grid)
        )
    return tuple(candidates)


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """Peaks, one a row: fractional input index, rounded score, diameter, raw heat."""

    index_zyx: Floats
    score: Floats
    diameter_mm: Floats
    logit: Floats

    def only(self, which: NDArray[np.intp] | NDArray[np.bool_]) -> "_Found":
        return _Found(
            self.index_zyx[which], self.score[which], self.diameter_mm[which], self.logit[which]
        )


def _check(outputs: Mapping[str, Array], grid: Grid, stride: int) -> None:
    cells = tuple(side // stride for side in grid.shape_zyx)
    for name, channels in (("heat", 1), ("offset", 3), ("log_diameter", 1), ("mask", stride**3)):
        array = outputs.get(name)
        if array is None or array.shape != (1, channels, *cells):
            shape = "none" if array is None else array.shape
            raise PackageError(
                f"the network's output {name!r} has shape {shape}, not {(1, channels, *cells)}",
                advice="the package does not fit this version of Firstread: choose another",
            )
        if not np.isfinite(array).all():
            raise PackageError(
                f"the network's output {name!r} holds values that are no numbers",
                advice="try --provider cpu; if it says the same, the package is broken",
            )


def _score(logit: Array, calibration: Calibration) -> Floats:
    """Return the calibrated probability, rounded to 0.001: the value that thresholds compare."""
    raw = calibration.scale * logit.astype(np.float64) + calibration.shift
    # Beyond +-50 the score is 0 or 1 in double precision too; without the limit exp overflows.
    return np.round(1.0 / (1.0 + np.exp(-np.clip(raw, -50, 50))), 3)


def _diameter_mm(log_diameter: Array) -> Floats:
    limited = np.clip(log_diameter.astype(np.float64), -MAX_LOG_DIAMETER, MAX_LOG_DIAMETER)
    return LOG_DIAMETER_UNIT_MM * np.exp(limited)


def _peaks(heat: Array, calibration: Calibration, floor: float) -> NDArray[np.intp]:
    """Return (n, 3) cells no lower than any neighbour and higher than most, in index order."""
    highest = ndimage.maximum_filter(heat, size=3, mode="nearest")
    lowest = ndimage.minimum_filter(heat, size=3, mode="nearest")
    cells = np.argwhere((heat == highest) & (heat > lowest))
    cells = cells[_score(heat[tuple(cells.T)], calibration) >= floor]
    padded = np.pad(heat, 1, mode="edge")
    own = heat[tuple(cells.T)]
    lower = np.zeros(len(cells), int)
    for step in np.ndindex(3, 3, 3):
        lower += padded[tuple((cells + step).T)] < own
    return np.asarray(cells[lower >= MIN_LOWER_NEIGHBOURS])


def _near_lung(centres_mm: Floats, diameter_mm: Floats, lungs: Lungs) -> NDArray[np.bool_]:
    if len(centres_mm) == 0:
        return np.zeros(0, bool)
    reach = LUNG_REACH_MM + LUNG_REACH_PER_DIAMETER * diameter_mm
    return np.asarray(lungs.distances_mm(centres_mm) <= reach)


def _merge(found: _Found, centres_mm: Floats) -> NDArray[np.intp]:
    """Return the rows that no stronger peak nearby takes in."""
    if len(centres_mm) == 0:
        return np.zeros(0, np.intp)
    tree = KDTree(centres_mm)
    is_taken = np.zeros(len(centres_mm), bool)
    kept = []
    for row in np.argsort(-found.logit, kind="stable"):
        if is_taken[row]:
            continue
        kept.append(row)
        reach = max(MERGE_MM, MERGE_PER_DIAMETER * found.diameter_mm[row])
        is_taken[tree.query_ball_point(centres_mm[row], reach)] = True
    return np.array(kept, np.intp)


def _order(found: _Found, lowest_threshold: float) -> list[int]:
    z, y, x = found.index_zyx.T
    order = np.lexsort((x, y, z, -found.score)).tolist()
    above = int(np.count_nonzero(found.score >= lowest_threshold))
    kept: list[int] = order[: above + MAX_BELOW]
    return kept


def _mask(
    logits: Array, index_zyx: Floats, diameter_mm: float, grid: Grid, stride: int
) -> tuple[Array, Grid]:
    """Return the probabilities around a place, on a crop that holds all that is set there."""
    spacing_mm = grid.spacing_yx_mm[0]
    half_mm = CROP_PER_DIAMETER * diameter_mm + CROP_MARGIN_MM
    while True:
        half = half_mm / spacing_mm
        low = np.clip(np.floor((index_zyx - half) / stride), 0, None).astype(int)
        high = np.ceil((index_zyx + half + 1) / stride).astype(int)
        low = np.minimum(low, np.array(logits.shape[1:]) - 1)
        high = np.clip(high, low + 1, logits.shape[1:])
        crop = depth_to_space(
            logits[:, low[0] : high[0], low[1] : high[1], low[2] : high[2]], stride
        )
        if half_mm >= CROP_MAX_MM or not _touches_a_face(crop > 0, index_zyx - low * stride):
            break
        half_mm = min(half_mm * CROP_GROWTH, CROP_MAX_MM)
    probability = 1.0 / (1.0 + np.exp(-np.clip(crop, -50, 50)))
    crop_grid = Grid.regular(
        grid.to_lps(low * stride),
        (grid.step_mm, *grid.spacing_yx_mm),
        (crop.shape[0], crop.shape[1], crop.shape[2]),
        grid.row_direction,
        grid.column_direction,
    )
    return probability.astype(np.float32), crop_grid


def depth_to_space(logits: Array, stride: int) -> Array:
    """Spread (s^3, z, y, x) channels, dz * s^2 + dy * s + dx, over (s*z, s*y, s*x) voxels."""
    z, y, x = logits.shape[1:]
    parts = logits.reshape(stride, stride, stride, z, y, x).transpose(3, 0, 4, 1, 5, 2)
    return parts.reshape(z * stride, y * stride, x * stride)


def _touches_a_face(is_set: NDArray[np.bool_], index_zyx: Floats) -> bool:
    """Whether the set piece at (or nearest to) a place reaches a face of the crop."""
    pieces, count = ndimage.label(is_set)
    if count == 0:
        return False
    place = np.clip(np.rint(index_zyx).astype(int), 0, np.array(is_set.shape) - 1)
    piece = pieces[tuple(place)]
    if piece == 0:
        at = np.argwhere(is_set)
        piece = pieces[tuple(at[((at - place) ** 2).sum(axis=1).argmin()])]
    where = ndimage.find_objects(pieces)[piece - 1]
    return any(
        part.start == 0 or part.stop == side for part, side in zip(where, is_set.shape, strict=True)
    )
