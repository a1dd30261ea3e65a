"""Stored values: how they lie in bytes, and how they become HU."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint8] | NDArray[np.int8] | NDArray[np.uint16] | NDArray[np.int16]

_HU_MIN, _HU_MAX = np.iinfo(np.int16).min, np.iinfo(np.int16).max
# Intercepts beyond this are no shift of HU and would overflow the integer path.
_INTEGER_PATH_LIMIT = 2**29


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
) -> Words:
    """Return (rows, columns) stored values of native bytes; the bits above the stored ones do not count.

    Older writers keep overlays there, or leave the sign unextended.

    Parameters
    ----------
    data
        At least one frame's bytes; what is behind it is ignored.
    big
        Whether the words are big endian.
    """
    kind = np.dtype(f"{'>' if big else '<'}u{form.bits_allocated // 8}")
    words = np.frombuffer(data, kind, form.rows * form.columns).reshape(form.rows, form.columns)
    unused = form.bits_allocated - form.bits_stored
    native = words.astype(kind.newbyteorder("="), copy=False)
    if form.is_signed:
        signed = native.view(np.int8 if form.bits_allocated == 8 else np.int16)
        return signed if unused == 0 else (signed << unused) >> unused
    return native if unused == 0 else native & native.dtype.type(2**form.bits_stored - 1)


def rescale(
    words: NDArray[np.integer], slope: float, intercept: float, out: NDArray[np.int16]
) -> None:
    """Write ``words * slope + intercept``, rounded and saturated to int16, into ``out`` of the same shape."""
    if slope == 1.0 and intercept.is_integer() and abs(intercept) < _INTEGER_PATH_LIMIT:
        hu: NDArray[np.generic] = words.astype(np.int32)
        hu += np.int32(intercept)
    else:
        assert math.isfinite(slope) and math.isfinite(intercept)
        hu = words * slope + intercept
        np.rint(hu, out=hu)
    np.clip(hu, _HU_MIN, _HU_MAX, out=hu)
    out[...] = hu
