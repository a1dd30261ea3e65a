"""A candidate: what the network proposes, before the operating point."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.dicom.instance import Vector
from inference.volume import Grid


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One suspected nodule.

    Attributes
    ----------
    centre_lps_mm
        As the network places it.
    score
        Calibrated, 0..1, rounded to 0.001 (the operating point compares the rounded value).
    diameter_mm
        As the network estimates it.
    mask
        float32 (z, y, x) probability that a voxel belongs to the nodule, on :attr:`mask_grid`, a
        crop of the network's own grid that is large enough to hold the nodule.
    """

    centre_lps_mm: Vector
    score: float
    diameter_mm: float
    mask: NDArray[np.float32]
    mask_grid: Grid
