"""Bodies of nodules on a fine grid: from readers' outlines, from masks, and spheres.

Outlines are stair-stepped along z, so votes are smoothed along z before they are resampled; the
level at which the smooth field is cut is the one that keeps the consensus volume.
"""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float32]

# A fine voxel is a thirtieth of the body, within these limits: small bodies need it, large ones
# would only cost time.
FINE_SHARE, FINEST_MM, COARSEST_MM = 1 / 30, 0.3, 0.8
# Along z the votes are smoothed before resampling, in slices; then in all directions, or the rings
# between the outlines of neighbouring slices would stay steps. The level gives the volume back.
STAIRS_SLICES, SMOOTHING_MM, SMOOTHING_SLICES = 0.6, 0.4, 0.4


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """A body on a fine isotropic grid.

    Attributes
    ----------
    field
        float32 (z, y, x), smooth, above 0 inside; its rim is empty.
    fine_mm
        Edge of a voxel.
    diameter_mm
        Of the sphere of equal volume.
    source
        Patient of the outline, or ``sphere``.
    """

    field: Floats
    fine_mm: float
    diameter_mm: float
    source: str


def lidc_shapes(
    path: Path, without_patients: Collection[str], *, smallest_mm: float = 3.0
) -> Iterator[Shape]:
    """Yield the consensus bodies of ``lidc_shapes.npz`` (../shared/data/README.md), smallest first.

    Outlines with other content (fluid, fat, air) are left out.
    """
    with np.load(path, allow_pickle=False) as stored:
        table = {key: stored[key] for key in stored.files}
    for index in range(len(table["readers"])):
        patient = str(table["patient"][index])
        is_wanted = (
            patient not in without_patients
            and table["internalStructure"][index] <= 1
            and table["sphere_diameter_mm"][index] >= smallest_mm
        )
        if is_wanted:
            start, end = table["offset"][index : index + 2]
            votes = table["votes"][start:end].reshape(table["shape"][index])
            spacing = [float(mm) for mm in table["spacing"][index]]
            yield shape_from_votes(votes, int(table["readers"][index]), spacing, patient)


def annotated_shapes(path: Path, without_patients: Collection[str]) -> Iterator[Shape]:
    """Yield the consensus masks of the nodules in ``nodules.json`` (firstread-annotations/1)."""
    cases = json.loads(path.read_text(encoding="utf-8"))["cases"]
    for case in cases.values():
        if case["patient_id"] in without_patients:
            continue
        for lesion in case["lesions"]:
            if lesion["truth"] == "nodule":
                mask = _mask_from_runs(lesion["consensus_mask"])
                yield shape_from_votes(mask, 1, case["spacing_zyx_mm"], case["patient_id"])


def shape_from_votes(
    votes: NDArray[np.uint8], readers: int, spacing_zyx_mm: Sequence[float], source: str
) -> Shape:
    """Return the smooth body of a stack of outlines.

    Parameters
    ----------
    votes
        (z, y, x) number of readers whose outline encloses the voxel.
    """
    volume_mm3 = float((votes * 2 >= readers).sum()) * float(np.prod(spacing_zyx_mm))
    diameter_mm = sphere_diameter_mm(volume_mm3)
    fine_mm = float(np.clip(diameter_mm * FINE_SHARE, FINEST_MM, COARSEST_MM))
    share = np.pad(votes.astype(np.float32) / np.float32(readers), 2)
    share = np.asarray(ndimage.gaussian_filter1d(share, STAIRS_SLICES, axis=0), np.float32)
    counts = [
        max(3, round(n * mm / fine_mm)) for n, mm in zip(share.shape, spacing_zyx_mm, strict=True)
    ]
    for axis, count in enumerate(counts):
        share = _resampled(share, axis, count, fine_mm / spacing_zyx_mm[axis])
    smoothing_mm = max(SMOOTHING_MM, SMOOTHING_SLICES * spacing_zyx_mm[0])
    share = ndimage.gaussian_filter(share, smoothing_mm / fine_mm, truncate=3)
    inside = min(share.size - 1, max(1, round(volume_mm3 / fine_mm**3)))
    level = np.partition(share.ravel(), share.size - inside)[share.size - inside]
    field = _trimmed(share - level)
    # Less than the outline's where that has several pieces.
    diameter_mm = sphere_diameter_mm(float((field > 0).sum()) * fine_mm**3)
    return Shape(field, fine_mm, diameter_mm, source)


def sphere(diameter_mm: float) -> Shape:
    """Return a ball, as phantoms have them."""
    fine_mm = float(np.clip(diameter_mm * FINE_SHARE, FINEST_MM, COARSEST_MM))
    half = int(np.ceil(diameter_mm / 2 / fine_mm)) + 1
    axis = np.arange(-half, half + 1) * fine_mm
    squared = axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2
    field = (diameter_mm / 2 - np.sqrt(squared)).astype(np.float32)
    return Shape(field, fine_mm, diameter_mm, "sphere")


def sphere_diameter_mm(volume_mm3: float) -> float:
    """Return the diameter of the sphere of that volume."""
    return float(np.cbrt(6 / np.pi * volume_mm3))


def _resampled(field: Floats, axis: int, count: int, step: float) -> Floats:
    """Linear interpolation along one axis at ``count`` places ``step`` apart, about the middle."""
    size = field.shape[axis]
    places = (np.arange(count) - (count - 1) / 2) * step + (size - 1) / 2
    places = np.clip(places, 0, size - 1)
    low = np.minimum(places.astype(int), size - 2)
    share = (places - low).astype(np.float32)
    share = share.reshape([-1 if a == axis else 1 for a in range(3)])
    first, second = np.take(field, low, axis), np.take(field, low + 1, axis)
    return np.asarray(first * (1 - share) + second * share)


def _trimmed(field: Floats) -> Floats:
    """Keep the largest piece that is above 0, and a rim of one voxel."""
    pieces, count = ndimage.label(field > 0)
    if count > 1:
        largest = int(np.argmax(np.bincount(pieces.ravel())[1:])) + 1
        field = np.where((pieces > 0) & (pieces != largest), np.float32(-1e-3), field)
        pieces = pieces == largest
    box = ndimage.find_objects(pieces.astype(np.uint8))[0]
    padded = np.pad(field, 1, constant_values=field.min())
    return np.ascontiguousarray(padded[tuple(slice(s.start, s.stop + 2) for s in box)])


def _mask_from_runs(slices: Sequence[dict[str, Any]]) -> NDArray[np.uint8]:
    """Slices with runs of (row, first column, length) to (z, y, x) of their bounding box."""
    runs = np.array([(s["slice"], *run) for s in slices for run in s["runs"]])
    low = runs[:, :3].min(axis=0)
    ends = runs[:, :3] + [1, 1, 0]
    ends[:, 2] += runs[:, 3]
    mask = np.zeros(ends.max(axis=0) - low, np.uint8)
    for z, row, first, count in runs - [*low, 0]:
        mask[z, row, first : first + count] = 1
    return mask
