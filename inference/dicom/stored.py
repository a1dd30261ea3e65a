"""Stored values: how they lie in bytes, and how they become HU."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_HU_MIN, _HU_MAX = np.iinfo(np.int16).min, np.iinfo(np.int16).max
# Intercepts beyond this are no shift of HU and would overflow the integer path.
_INTEGER_PATH_LIMIT = 2**29

FRAME_BYTES = 64 * 1024 * 1024
"""A larger frame is not given alone; a mammogram, the largest that is usual, has 54 MiB."""


@dataclass(frozen=True, slots=True)
class StoredFormat:
    """The Image Pixel attributes that say how stored values lie in memory (PS3.3 C.7.6.3)."""

    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    is_signed: bool

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame without compression."""
        return self.rows * self.columns * self.bits_allocated // 8


def words_of(
    data: bytes | bytearray | NDArray[np.uint8], form: StoredFormat, *, big: bool = False
) -> NDArray[np.integer]:
    """Return (rows, columns) stored values of native bytes.

    The bits above the stored ones do not count: older writers keep overlays there, or leave the
    sign unextended.

    Parameters
    ----------
    data
        At least one frame's bytes; what is behind it is ignored.
    big
        Whether the words are big endian.
    """
    byte_order = ">" if big else "<"
    unsigned = f"{byte_order}u{form.bits_allocated // 8}"
    written = np.frombuffer(data, unsigned, form.rows * form.columns)
    unused = form.bits_allocated - form.bits_stored
    words: NDArray[np.integer] = written.astype(written.dtype.newbyteorder("="), copy=False)
    if form.is_signed:
        words = words.view(np.int8 if form.bits_allocated == 8 else np.int16)
        words = (words << unused) >> unused if unused else words
    elif unused:
        words = words & words.dtype.type(2**form.bits_stored - 1)
    return words.reshape(form.rows, form.columns)


def rescale(
    words: NDArray[np.integer], slope: float, intercept: float, out: NDArray[np.int16]
) -> None:
    """Write ``words * slope + intercept``, rounded and saturated to int16, into ``out``."""
    if slope == 1.0 and intercept.is_integer() and abs(intercept) < _INTEGER_PATH_LIMIT:
        whole = words.astype(np.int32)
        whole += np.int32(intercept)
        np.clip(whole, _HU_MIN, _HU_MAX, out=whole)
        out[...] = whole
    else:
        exact = words * slope + intercept
        np.rint(exact, out=exact)
        np.clip(exact, _HU_MIN, _HU_MAX, out=exact)
        out[...] = exact
