"""Where an image plane lies: whether its header says so, and when two places are one."""

import numpy as np

from inference.dicom.instance import Frame

# Positions closer than this are one: they are written to 0.01 mm.
SAME_POSITION_MM = 0.01

# Unit length and right angle of the axes, up to the rounding of three decimals.
AXES_TOLERANCE = 2e-3


def is_placed(frame: Frame) -> bool:
    """Whether a place is known: position, spacing, and two unit vectors at a right angle."""
    if frame.position_lps_mm is None or frame.orientation is None or frame.pixel_spacing_mm is None:
        return False
    numbers = np.array([*frame.position_lps_mm, *frame.orientation, *frame.pixel_spacing_mm])
    if not np.isfinite(numbers).all() or min(frame.pixel_spacing_mm) <= 0:
        return False
    row, column = numbers[3:6], numbers[6:9]
    faults = abs(row @ row - 1) / 2, abs(column @ column - 1) / 2, abs(row @ column)
    return bool(max(faults) <= AXES_TOLERANCE)
