"""Where an image plane lies: whether its header says so, and when two places are one."""

import math

from inference.dicom.instance import Frame, Vector

# Positions closer than this are one: they are written to 0.01 mm.
SAME_POSITION_MM = 0.01

# Unit length and right angle of the axes, up to the rounding of three decimals.
AXES_TOLERANCE = 2e-3

# No scanner writes numbers beyond these; they would overflow whatever is computed from them.
PIXEL_SPACING_MM = (0.01, 100.0)
FARTHEST_MM = 1e5


def is_placed(frame: Frame) -> bool:
    """Whether a place is known: position, spacing, and two unit vectors at a right angle."""
    return not why_not_placed(frame)


def why_not_placed(frame: Frame) -> str:
    """Return why a plane has no place, a stable word; empty where it has one.

    ``no-position`` (or no orientation or spacing), ``place-implausible``,
    ``axes-not-perpendicular``.
    """
    if frame.position_lps_mm is None or frame.orientation is None or frame.pixel_spacing_mm is None:
        return "no-position"
    numbers = (*frame.position_lps_mm, *frame.orientation, *frame.pixel_spacing_mm)
    low_mm, high_mm = PIXEL_SPACING_MM
    if (
        not all(map(math.isfinite, numbers))
        or max(map(abs, frame.position_lps_mm)) > FARTHEST_MM
        or min(frame.pixel_spacing_mm) < low_mm
        or max(frame.pixel_spacing_mm) > high_mm
    ):
        return "place-implausible"
    row, column = frame.orientation[:3], frame.orientation[3:]
    faults = (_dot(row, row) - 1) / 2, (_dot(column, column) - 1) / 2, _dot(row, column)
    return "" if max(map(abs, faults)) <= AXES_TOLERANCE else "axes-not-perpendicular"


def _dot(a: Vector, b: Vector) -> float:
    # In plain Python: a tenth of the time of arrays of three, for every frame of an upload.
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
