"""Where the lungs are: a coarse label grid, a box, sides and thirds."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

RIGHT, LEFT, UNSEPARATED = 1, 2, 3


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


@dataclass(frozen=True, slots=True, eq=False)
class Lungs:
    """The lungs of a volume on every ``stride_zyx``-th voxel of its grid.

    Attributes
    ----------
    labels
        uint8 (z, y, x): 0 elsewhere, :data:`RIGHT`, :data:`LEFT`, or :data:`UNSEPARATED` where both lungs
        are one piece. Coarse voxel (k, j, i) is the source voxel (k, j, i) * ``stride_zyx``.
    box_zyx
        Half-open source index ranges ((z0, z1), (y0, y1), (x0, x1)) around both lungs, without margin.
    volume_ml
        Of all labelled voxels.
    """

    labels: NDArray[np.uint8]
    stride_zyx: tuple[int, int, int]
    box_zyx: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    volume_ml: float
