"""What the network should answer for a patch: heat, offset, size, mask, and where each counts.

A cell k of the outputs lies at input index 2k + 0.5 on each axis (stride 2). Everything here is
NumPy, in voxels of the patch (z, y, x) unless a name says millimetres.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

STRIDE = 2
# ln(diameter / 8 mm) is near 0 for the commonest sizes.
REFERENCE_DIAMETER_MM = 8.0
# A nodule's heat is a Gaussian of a fifth of its diameter, but never narrower than 1.8 mm: one
# output cell is 2.5 mm wide, and a narrower peak would fall between cells.
SIGMA_SHARE = 0.2
SMALLEST_SIGMA_MM = 1.8
# Offset and size are learnt within a quarter of the diameter around the centre, at least one cell.
NEAR_SHARE = 0.25
SMALLEST_NEAR_MM = 2.5
# Around each nodule the mask is learnt in its box and this much more (detector pilot: a mask loss
# over the whole patch learnt nothing, because 99.7 % of the voxels are background).
MASK_MARGIN_MM = 7.0
# Ignored regions reach a little beyond their own radius.
IGNORE_MARGIN_MM = 3.0


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a patch that is a nodule, or that must not count.

    Attributes
    ----------
    centre_zyx
        Voxels of the patch; may lie outside of it.
    diameter_mm
        Of the sphere of equal volume.
    is_ignored
        Neither nodule nor background: no loss there.
    """

    centre_zyx: tuple[float, float, float]
    diameter_mm: float
    is_ignored: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """The answers for one patch, float32, at half resolution (channels, z/2, y/2, x/2).

    Attributes
    ----------
    heat
        (1, ...) 1 at the cell of each centre, Gaussian around it.
    heat_counts
        (1, ...) 0 in ignored regions, else 1.
    offset
        (3, ...) from the cell's centre to the nodule's, in input voxels (z, y, x).
    log_diameter
        (1, ...) ln(d / 8 mm).
    near
        (1, ...) 1 where offset and size are learnt.
    mask
        (8, ...) the mask's 2x2x2 voxels of each cell, channel dz*4 + dy*2 + dx.
    mask_boxes
        (8, ...) 1 in the boxes around nodules, 0 elsewhere, -1 where the mask does not count.
    """

    heat: Floats
    heat_counts: Floats
    offset: Floats
    log_diameter: Floats
    near: Floats
    mask: Floats
    mask_boxes: Floats


def make_targets(mask: NDArray[np.bool_], marks: Sequence[Mark], spacing_mm: float) -> Targets:
    """Return the answers for a patch.

    Parameters
    ----------
    mask
        (z, y, x) voxels that belong to a nodule; even sides.
    marks
        Nodules and ignored regions; where they overlap, an ignored region wins.
    spacing_mm
        Of the isotropic patch.
    """
    shape = tuple(side // STRIDE for side in mask.shape)
    heat = np.zeros(shape, np.float32)
    counts = np.ones(shape, np.float32)
    offset = np.zeros((3, *shape), np.float32)
    log_diameter = np.zeros(shape, np.float32)
    near = np.zeros(shape, np.float32)
    boxes = np.zeros(mask.shape, np.float32)
    nearest_mm = np.full(shape, np.inf, np.float32)
    for mark in (m for m in marks if not m.is_ignored):
        steps = _steps_to(mark.centre_zyx, shape)
        distance_mm = spacing_mm * np.sqrt(sum(step * step for step in steps))
        sigma_mm = max(SIGMA_SHARE * mark.diameter_mm, SMALLEST_SIGMA_MM)
        np.maximum(heat, np.exp(-0.5 * (distance_mm / sigma_mm) ** 2), out=heat)
        _raise_peak(heat, mark.centre_zyx)
        is_near = distance_mm <= max(NEAR_SHARE * mark.diameter_mm, SMALLEST_NEAR_MM)
        is_near &= distance_mm < nearest_mm
        nearest_mm = np.where(is_near, distance_mm, nearest_mm)
        for axis, step in enumerate(steps):
            offset[axis] = np.where(is_near, step, offset[axis])
        log_diameter[is_near] = np.log(mark.diameter_mm / REFERENCE_DIAMETER_MM)
        near[is_near] = 1
        boxes[_box(mark, spacing_mm, mask.shape)] = 1
    for mark in (m for m in marks if m.is_ignored):
        radius_mm = mark.diameter_mm / 2 + IGNORE_MARGIN_MM
        counts[
            spacing_mm * np.sqrt(sum(s * s for s in _steps_to(mark.centre_zyx, shape))) <= radius_mm
        ] = 0
        boxes[_sphere(mark.centre_zyx, radius_mm / spacing_mm, mask.shape)] = -1
    near *= counts
    return Targets(
        heat[None], counts[None], offset, log_diameter[None], near[None],
        space_to_depth(mask.astype(np.float32)), space_to_depth(boxes),
    )  # fmt: skip


def space_to_depth(voxels: Floats) -> Floats:
    """Return (8, z/2, y/2, x/2) of (z, y, x): channel dz*4 + dy*2 + dx holds voxel (2k + d)."""
    z, y, x = (side // STRIDE for side in voxels.shape)
    cells = voxels.reshape(z, 2, y, 2, x, 2).transpose(1, 3, 5, 0, 2, 4)
    return np.ascontiguousarray(cells.reshape(8, z, y, x))


def _steps_to(centre: tuple[float, float, float], shape: tuple[int, ...]) -> list[Floats]:
    """Per axis, voxels from each cell's centre to ``centre``, shaped to broadcast."""
    steps = []
    for axis, (place, side) in enumerate(zip(centre, shape, strict=True)):
        along = (place - (STRIDE * np.arange(side) + 0.5)).astype(np.float32)
        steps.append(along.reshape([-1 if a == axis else 1 for a in range(3)]))
    return steps


def _raise_peak(heat: Floats, centre: tuple[float, float, float]) -> None:
    """Set the cell that holds the centre to 1, when it lies in the patch (written in place)."""
    cell = tuple(round((place - 0.5) / STRIDE) for place in centre)
    if all(0 <= k < side for k, side in zip(cell, heat.shape, strict=True)):
        heat[cell] = 1


def _box(mark: Mark, spacing_mm: float, shape: tuple[int, ...]) -> tuple[slice, ...]:
    reach = (mark.diameter_mm / 2 + MASK_MARGIN_MM) / spacing_mm
    return tuple(
        slice(
            max(0, int(np.floor(place - reach))), max(0, min(side, int(np.ceil(place + reach)) + 1))
        )
        for place, side in zip(mark.centre_zyx, shape, strict=True)
    )


def _sphere(
    centre: tuple[float, float, float], radius: float, shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    z, y, x = (
        ((np.arange(side) - place) ** 2).reshape([-1 if a == axis else 1 for a in range(3)])
        for axis, (place, side) in enumerate(zip(centre, shape, strict=True))
    )
    inside: NDArray[np.bool_] = z + y + x <= radius * radius
    return inside
