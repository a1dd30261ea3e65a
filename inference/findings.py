"""From candidates to findings: a mask for each on the source grid, duplicates merged, measured."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from inference.detection.candidate import Candidate
from inference.dicom.instance import Vector
from inference.lungs import Laterality, Lungs, Zone
from inference.mask import SourceMask, cropped, one_piece, overlap
from inference.measurement import measure
from inference.refinement import refine
from inference.volume import Grid, Volume

# Two masks that share more than this of the smaller one are one finding.
SAME_FINDING_SHARE = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """One suspected nodule at or above the operating point, measured on exactly its SEG mask.

    Numbers are rounded as they are published: lengths, HU and mm3 to 0.1, places to
    0.01, score to 0.001.

    Attributes
    ----------
    id
        1..n by falling score, ties by z, y, x; also the segment number.
    centre_lps_mm, centre_index
        Centroid of the mask, each voxel weighted with its volume; index is (z, y, x).
    slices
        First and last slice with mask, both included.
    key_slice
        The slice of largest area, in which the axes are measured and the outline is drawn.
    outline_xy
        Closed polygon on the key slice in SCOORD coordinates (column, row; the centre of the first
        pixel is (0.5, 0.5)), rounded to 0.01.
    long_axis_xy, short_axis_xy
        End points of the axes on the key slice, in the same coordinates.
    lobe
        SCT code or None; never guessed from thirds.
    """

    id: int
    score: float
    mask: SourceMask
    centre_lps_mm: Vector
    centre_index: Vector
    long_axis_mm: float
    short_axis_mm: float
    mean_diameter_mm: float
    volume_mm3: float
    mean_hu: float
    laterality: Laterality
    lobe: str | None
    zone: Zone | None
    slices: tuple[int, int]
    key_slice: int
    outline_xy: tuple[tuple[float, float], ...]
    long_axis_xy: tuple[tuple[float, float], tuple[float, float]]
    short_axis_xy: tuple[tuple[float, float], tuple[float, float]]


def measure_findings(
    candidates: Sequence[Candidate], volume: Volume, lungs: Lungs | None, threshold: float
) -> tuple[Finding, ...]:
    """Return the findings at an operating point.

    Parameters
    ----------
    candidates
        In any order.
    lungs
        None: sides and thirds stay undetermined.
    threshold
        Candidates that score at least this become findings, or are merged into one.

    Returns
    -------
    By falling score, numbered from 1; no two share a voxel, and each slice of each is one piece.
    """
    above = [one for one in candidates if round(one.score, 3) >= threshold]
    ranked = sorted(above, key=lambda one: (-round(one.score, 3), one.centre_lps_mm[::-1]))
    kept: list[tuple[Candidate, SourceMask]] = []
    for candidate in ranked:
        mask = mask_of(candidate, volume)
        if mask is None or any(_is_same(candidate, mask, *other, volume.grid) for other in kept):
            continue
        # A shared voxel belongs to the higher score, which came first.
        rest = _without(mask, [other for _, other in kept], volume.grid, candidate)
        if rest is not None:
            kept.append((candidate, rest))
    found = [_finding(candidate, mask, volume, lungs) for candidate, mask in kept]
    found.sort(key=lambda one: (-one.score, one.centre_index))
    return tuple(replace(one, id=number) for number, one in enumerate(found, start=1))


def mask_of(candidate: Candidate, volume: Volume) -> SourceMask | None:
    """Return the mask of a candidate: refined, or where the network marked no voxel, its sphere.

    A candidate that scored is never lost for want of a mask. None where it lies outside of the
    scan.
    """
    refined = refine(candidate, volume)
    return refined.mask if refined else _sphere(candidate, volume.grid)


def _sphere(candidate: Candidate, grid: Grid) -> SourceMask | None:
    """Return the voxels inside the estimated sphere, at least the one that holds the centre."""
    centre = grid.to_index(candidate.centre_lps_mm)
    nearest = np.rint(centre).astype(int)
    if np.any(nearest < 0) or np.any(nearest >= grid.shape_zyx):
        return None
    radius_mm = candidate.diameter_mm / 2
    reach = np.ceil(radius_mm / np.array([max(grid.step_mm, 0.1), *grid.spacing_yx_mm])).astype(int)
    low = np.maximum(nearest - reach, 0)
    high = np.minimum(nearest + reach + 1, grid.shape_zyx)
    ranges = [np.arange(a, b) for a, b in zip(low, high, strict=True)]
    places = grid.to_lps(np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1))
    inside = np.linalg.norm(places - np.array(candidate.centre_lps_mm), axis=-1) <= radius_mm
    inside[tuple(nearest - low)] = True
    return cropped(one_piece(inside, centre - low), tuple(int(a) for a in low))


def _is_same(
    candidate: Candidate, mask: SourceMask, other: Candidate, other_mask: SourceMask, grid: Grid
) -> bool:
    """Whether two share most voxels of the smaller, or each holds the other's centre."""
    smaller = min(mask.voxels.sum(), other_mask.voxels.sum())
    if overlap(mask, other_mask) > SAME_FINDING_SHARE * smaller:
        return True
    return _holds(mask, other.centre_lps_mm, grid) and _holds(
        other_mask, candidate.centre_lps_mm, grid
    )


def _holds(mask: SourceMask, place_lps_mm: Vector, grid: Grid) -> bool:
    index = np.rint(grid.to_index(place_lps_mm)).astype(int) - mask.start_zyx
    if np.any(index < 0) or np.any(index >= mask.voxels.shape):
        return False
    return bool(mask.voxels[tuple(index)])


def _without(
    mask: SourceMask, others: Sequence[SourceMask], grid: Grid, candidate: Candidate
) -> SourceMask | None:
    """Return what of a mask no other holds, in one piece; None where nothing is left."""
    if not any(overlap(mask, other) for other in others):
        return mask
    own = mask.voxels.copy()
    for other in others:
        low = np.maximum(mask.start_zyx, other.start_zyx)
        high = np.minimum(
            np.add(mask.start_zyx, mask.voxels.shape), np.add(other.start_zyx, other.voxels.shape)
        )
        if np.all(high > low):
            mine, its = (
                tuple(slice(a - s, b - s) for a, b, s in zip(low, high, one.start_zyx, strict=True))
                for one in (mask, other)
            )
            own[mine] &= ~other.voxels[its]
    if not own.any():
        return None
    centre = grid.to_index(candidate.centre_lps_mm) - mask.start_zyx
    # A hole that another finding fills stays its.
    return cropped(one_piece(own, centre) & own, mask.start_zyx)


def _finding(
    candidate: Candidate, mask: SourceMask, volume: Volume, lungs: Lungs | None
) -> Finding:
    measured = measure(mask, volume)
    place = measured.centre_lps_mm
    return Finding(
        id=0,
        score=round(candidate.score, 3),
        mask=mask,
        centre_lps_mm=place,
        centre_index=measured.centre_index,
        long_axis_mm=measured.long_axis_mm,
        short_axis_mm=measured.short_axis_mm,
        mean_diameter_mm=measured.mean_diameter_mm,
        volume_mm3=measured.volume_mm3,
        mean_hu=measured.mean_hu,
        laterality=lungs.laterality_at(place) if lungs else Laterality.UNDETERMINED,
        # A third of a lung is no lobe, and nothing here knows the fissures.
        lobe=None,
        zone=lungs.zone_at(place) if lungs else None,
        slices=measured.slices,
        key_slice=measured.key_slice,
        outline_xy=measured.outline_xy,
        long_axis_xy=measured.long_axis_xy,
        short_axis_xy=measured.short_axis_xy,
    )
