"""Where in a lung a nodule may lie: inner lung, or at its edge, and never on something known."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.synthesis.bank import Nodule
from training.targets import Mark

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Place = tuple[int, int, int]

# Inner lung begins this far from the edge of the mask; at the edge is nearer than that.
INNER_MM, EDGE_MM = 6.0, 5.0
# Room to what is known or was inserted before, beside both radii.
APART_MM = 6.0
# A place whose own lung is denser than this is a vessel, consolidation, or the diaphragm's partial
# volume; a nodule needs lung around it.
DENSEST_LUNG_HU = -600.0
# And one with much clean air is a bronchus or a bulla.
CLEAN_AIR_HU, CLEAN_AIR_SHARE = -960.0, 0.3
# Of the body, at least this much must lie in the lung; the rest is hidden in the wall.
VISIBLE_SHARE = 0.5
TRIES = 48

_CUBE = np.array(np.meshgrid(*[(-1, 0, 1)] * 3)).reshape(3, -1).T
_DIRECTIONS = np.array([c / np.linalg.norm(c) for c in _CUBE if np.any(c)])


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """The part of a nodule's box that lies within a volume.

    Attributes
    ----------
    volume, nodule
        Slices of the volume and of the nodule's arrays.
    """

    volume: tuple[slice, ...]
    nodule: tuple[slice, ...]


def box_at(place: Place, nodule: Nodule, shape: tuple[int, ...]) -> Box:
    """Return the box of a nodule whose array's middle voxel lies at ``place`` (z, y, x)."""
    volume, own = [], []
    for centre, size, whole in zip(place, nodule.alpha.shape, shape, strict=True):
        start = centre - size // 2
        low, high = max(0, start), min(whole, start + size)
        volume.append(slice(low, max(low, high)))
        own.append(slice(low - start, max(low, high) - start))
    return Box(tuple(volume), tuple(own))


def find_place(
    hu: Floats,
    lungs: Bools,
    nodule: Nodule,
    taken: Sequence[Mark],
    spacing_mm: float,
    *,
    at_edge: bool,
    rng: np.random.Generator,
) -> Place | None:
    """Return a voxel (z, y, x) for the middle of a nodule's box, or None where no try succeeded.

    Parameters
    ----------
    lungs
        Closed, so that vessels and fissures belong to it.
    taken
        Known lesions, ignored regions and earlier insertions, in voxels.
    at_edge
        Within 5 mm of the mask's edge (pleura, mediastinum, diaphragm) instead of inner lung.
    """
    tries = _in_lung(lungs, rng)
    if len(tries) == 0:
        return None
    reach = (EDGE_MM if at_edge else INNER_MM) / spacing_mm
    around = np.rint(tries[:, None, :] + _DIRECTIONS * reach).astype(int)
    around = np.clip(around, 0, np.array(lungs.shape) - 1)
    is_inner = lungs[tuple(np.moveaxis(around, -1, 0))].all(axis=1)
    for place in tries[is_inner != at_edge]:
        z, y, x = (int(p) for p in place)
        if _is_free((z, y, x), nodule, taken, spacing_mm) and _is_lung(
            hu, lungs, nodule, (z, y, x)
        ):
            return z, y, x
    return None


def _in_lung(lungs: Bools, rng: np.random.Generator) -> NDArray[np.int_]:
    """Random voxels of the mask: cheap draws from the whole box, and only the hits."""
    draws = rng.integers(0, lungs.shape, (4 * TRIES, 3))
    return np.asarray(draws[lungs[tuple(draws.T)]][:TRIES])


def _is_free(place: Place, nodule: Nodule, taken: Sequence[Mark], spacing_mm: float) -> bool:
    for mark in taken:
        gap_mm = np.linalg.norm(np.subtract(mark.centre_zyx, place)) * spacing_mm
        if gap_mm < APART_MM + (mark.diameter_mm + nodule.diameter_mm) / 2:
            return False
    return True


def _is_lung(hu: Floats, lungs: Bools, nodule: Nodule, place: Place) -> bool:
    box = box_at(place, nodule, hu.shape)
    body = nodule.mask[box.nodule]
    visible = body & lungs[box.volume]
    seen = int(visible.sum())
    if seen < VISIBLE_SHARE * int(body.sum()) or seen == 0:
        return False
    values = hu[box.volume][visible]
    if float((values < CLEAN_AIR_HU).mean()) > CLEAN_AIR_SHARE:
        return False
    return float(values.mean()) < DENSEST_LUNG_HU
