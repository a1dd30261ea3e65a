"""From the network's mask to a mask on the source grid whose edge lies where the HU say.

The network sees voxels of a millimetre or more and learnt from outlines that people drew, so its
edge is right to about one voxel. Where a nodule is solid, the scan itself knows better: the edge of
a blurred object lies where HU are halfway between its plateau and its surroundings. Where it is not
(ground glass, part-solid) halfway means nothing, and the network's mask stays. The rule and its
constants were chosen on phantoms and insertions of seeds from 1000 on; docs/results.md,
"Refinement", has Dice with and without.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inference.detection.candidate import Candidate
from inference.mask import Bools, Floats, SourceMask, cropped, one_piece
from inference.volume import Grid, Volume

Spacing = tuple[float, float, float]

MASK_PROBABILITY = 0.5
# Room around the network's mask in which the edge and the surrounding lung are looked for.
MARGIN_MM = 8.0
# Lung is what lies this far outside the network's mask and is darker than this.
RING_MM = (2.0, 6.0)
LUNG_BELOW_HU = -600.0
# Fewer voxels than these say nothing of the surroundings or of the core.
FEWEST_VOXELS = 12
# A core at or above this is solid; a ground-glass nodule reaches about -350.
SOLID_FROM_HU = -250.0
# The plateau of a solid nodule is seldom below this; that of a small one is blurred away, not soft.
PLATEAU_HU = (-50.0, 150.0)
# A solid nodule is bright nearly everywhere this far inside the network's edge; one with a soft rim
# is not.
RIM_MM, SOLID_SHARE = 1.5, 0.85
# A mask that changes more than this (Dice) was not refined but replaced: the class is doubtful.
LOWEST_AGREEMENT = 0.65
# The edge may move outwards by this much, or by this share of the diameter, whichever is more.
OUTWARDS_MM, OUTWARDS_SHARE = 1.5, 0.15
# Directions in which tissue goes on beyond that are vessels or pleura: there the edge stays.
LEAK_SHARE = 0.5


class Density(StrEnum):
    """What the core of a mask says about the nodule."""

    SOLID = "solid"
    SUBSOLID = "subsolid"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, eq=False)
class Refined:
    """A mask before and after, for whoever wants to compare them; ``mask`` is the one to use."""

    network: SourceMask
    mask: SourceMask
    density: Density


def refine(candidate: Candidate, volume: Volume) -> Refined | None:
    """Return a candidate's mask on the source grid; None where the network marked none there.

    A candidate without a mask of its own at one half is no larger than a voxel of the network's
    grid, or outside of the scan.
    """
    box = _box_around(candidate, volume.grid)
    if box is None:
        return None
    probability = _resampled_probability(candidate, volume.grid, box)
    centre = volume.grid.to_index(candidate.centre_lps_mm) - [start for start, _ in box]
    network = one_piece(probability >= MASK_PROBABILITY, centre)
    spacing_zyx_mm = _local_spacing(volume.grid, box)
    # What the network marked elsewhere in the crop is the mask of another candidate.
    reach_mm = max(candidate.mask_grid.step_mm, candidate.diameter_mm / 2)
    if _distance_mm(network, centre, spacing_zyx_mm) > reach_mm:
        return None
    hu = volume.hu[tuple(slice(*ends) for ends in box)].astype(np.float32)
    density, refined = _at_its_edge(hu, network, centre, spacing_zyx_mm)
    start = tuple(first for first, _ in box)
    return Refined(cropped(network, start), cropped(refined, start), density)


def _distance_mm(mask: Bools, centre: Floats, spacing_zyx_mm: Spacing) -> float:
    """Return how far the nearest set voxel is from a place; infinite for an empty mask."""
    away = (np.argwhere(mask) - centre) * spacing_zyx_mm
    return float(np.linalg.norm(away, axis=1).min(initial=np.inf))


def _at_its_edge(
    hu: NDArray[np.float32], network: Bools, centre: Floats, spacing_zyx_mm: Spacing
) -> tuple[Density, Bools]:
    """Return the class, and the mask at half maximum where that is solid, else the network's."""
    levels = levels_of(hu, network, spacing_zyx_mm)
    if levels is None:
        return Density.UNKNOWN, network
    inside_mm = ndimage.distance_transform_edt(network, sampling=spacing_zyx_mm)
    below_rim = hu[inside_mm >= min(RIM_MM, 0.5 * float(inside_mm.max()))]
    is_bright = np.mean(below_rim >= levels.edge_hu) >= SOLID_SHARE
    if levels.plateau_hu < SOLID_FROM_HU or not is_bright:
        return Density.SUBSOLID, network
    grown = at_half_maximum(hu, network, levels.edge_hu, spacing_zyx_mm)
    refined = one_piece(grown, centre)
    if not refined.any() or _agreement(refined, network) < LOWEST_AGREEMENT:
        return Density.UNKNOWN, network
    return Density.SOLID, refined


def _agreement(one: Bools, other: Bools) -> float:
    """Return Dice of two masks of one box."""
    both = np.count_nonzero(one & other)
    return 2 * both / (np.count_nonzero(one) + np.count_nonzero(other))


@dataclass(frozen=True, slots=True)
class Levels:
    """HU of a nodule's core and of the lung around it."""

    plateau_hu: float
    lung_hu: float

    @property
    def edge_hu(self) -> float:
        """Halfway between the two."""
        return (float(np.clip(self.plateau_hu, *PLATEAU_HU)) + self.lung_hu) / 2


def levels_of(hu: NDArray[np.float32], network: Bools, spacing_zyx_mm: Spacing) -> Levels | None:
    """Return the levels inside and around a mask; None where no lung is near it.

    Parameters
    ----------
    hu, network
        (z, y, x) of one box.
    """
    outside_mm = ndimage.distance_transform_edt(~network, sampling=spacing_zyx_mm)
    ring = (outside_mm >= RING_MM[0]) & (outside_mm <= RING_MM[1]) & (hu < LUNG_BELOW_HU)
    if np.count_nonzero(ring) < FEWEST_VOXELS:
        return None
    inside_mm = ndimage.distance_transform_edt(network, sampling=spacing_zyx_mm)
    core = hu[inside_mm >= 0.5 * inside_mm.max()]
    # Of a few voxels even the brightest is dimmed by its surroundings.
    plateau = np.percentile(core, 75 if len(core) >= FEWEST_VOXELS else 100)
    return Levels(float(plateau), float(np.median(hu[ring])))


def at_half_maximum(
    hu: NDArray[np.float32],
    network: Bools,
    threshold: float,
    spacing_zyx_mm: Spacing,
) -> Bools:
    """Return the voxels above the threshold near the network's mask, without what leaks out of it.

    Each voxel outside belongs to its nearest voxel of the mask. Where most of what belongs to one
    and lies just beyond reach is above the threshold too, tissue goes on there, and nothing of that
    direction is taken.
    """
    outside_mm, nearest = ndimage.distance_transform_edt(
        ~network, sampling=spacing_zyx_mm, return_indices=True
    )
    diameter_mm = 2 * float(ndimage.distance_transform_edt(network, sampling=spacing_zyx_mm).max())
    reach_mm = max(OUTWARDS_MM, OUTWARDS_SHARE * diameter_mm)
    beyond = (outside_mm > reach_mm) & (outside_mm <= reach_mm + 2 * max(spacing_zyx_mm[1:]))
    foot = np.ravel_multi_index(tuple(nearest), network.shape)
    bright = hu >= threshold
    counted = np.bincount(foot[beyond], minlength=network.size)
    leaking = np.bincount(foot[beyond & bright], minlength=network.size)
    is_leak = leaking > LEAK_SHARE * np.maximum(counted, 1)
    grown: Bools = bright & (outside_mm <= reach_mm) & (network | ~is_leak[foot])
    return grown


def _box_around(candidate: Candidate, grid: Grid) -> tuple[tuple[int, int], ...] | None:
    """Return the source box (half-open, z y x) around the likely voxels, with margin."""
    likely = np.argwhere(candidate.mask >= MASK_PROBABILITY / 2)
    if len(likely) == 0:
        return None
    low, high = likely.min(axis=0) - 1, likely.max(axis=0) + 1
    corners = np.array(np.meshgrid(*zip(low, high, strict=True), indexing="ij")).reshape(3, -1).T
    index = grid.to_index(candidate.mask_grid.to_lps(corners))
    step_mm = np.array([max(grid.step_mm, 1e-3), *grid.spacing_yx_mm])
    first = np.floor(index.min(axis=0) - MARGIN_MM / step_mm).astype(int)
    last = np.ceil(index.max(axis=0) + MARGIN_MM / step_mm).astype(int) + 1
    first, last = np.maximum(first, 0), np.minimum(last, grid.shape_zyx)
    if np.any(last <= first):
        return None
    return tuple((int(a), int(b)) for a, b in zip(first, last, strict=True))


def _resampled_probability(
    candidate: Candidate, grid: Grid, box: tuple[tuple[int, int], ...]
) -> NDArray[np.float32]:
    """Return the network's probability at source voxel centres, trilinear, 0 outside its crop."""
    index = np.stack(np.meshgrid(*(np.arange(*ends) for ends in box), indexing="ij"), axis=-1)
    at = candidate.mask_grid.to_index(grid.to_lps(index))
    found: NDArray[np.float32] = ndimage.map_coordinates(
        candidate.mask, np.moveaxis(at, -1, 0), order=1, mode="constant", cval=0.0
    )
    return found


def _local_spacing(grid: Grid, box: tuple[tuple[int, int], ...]) -> Spacing:
    first, last = box[0]
    depth_mm = float(np.mean(grid.depths_mm[first:last]))
    return (depth_mm, *grid.spacing_yx_mm)
