"""From candidates to findings: merge, mask on the source grid, measure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.dicom.instance import Vector
from inference.lungs import Laterality, Zone


@dataclass(frozen=True, slots=True, eq=False)
class SourceMask:
    """Voxels of the source grid: a box and what is set in it.

    Attributes
    ----------
    start_zyx
        Source index of the box's first voxel.
    voxels
        bool (z, y, x); its first and last slice, row and column each hold a set voxel.
    """

    start_zyx: tuple[int, int, int]
    voxels: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """One suspected nodule at or above the operating point, measured on exactly the mask that the SEG carries.

    Numbers are rounded as they are published: millimetres and HU to 0.1, mm3 to 0.1, score to 0.001.

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
        Closed polygon on the key slice in SCOORD coordinates (column, row; the centre of the first pixel
        is (0.5, 0.5)), rounded to 0.01.
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
