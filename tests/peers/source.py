"""What the files of a series truly say, slice by slice: pixels and place, read by pydicom alone.

The truth against which every reader's volume is measured. A slice is known by its pixels: a digest
of its HU (clipped at -1024, so that padding may be turned into air), and its place is that of its
own Image Position and Image Orientation (Patient), PS3.3 C.7.6.2.1.1.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels.utils import pixel_array

AIR_HU = -1024
JPEG_LS = "1.2.840.10008.1.2.4.80"


@dataclass(frozen=True, slots=True, eq=False)
class SourceSlice:
    """One slice as its file describes it.

    Attributes
    ----------
    digest
        Of its pixels (:func:`digest`).
    origin_lps_mm, row_direction, column_direction
        (3,) centre of pixel (0, 0), and the directions in which columns, and rows, are counted.
    spacing_yx_mm, shape_yx
        Between rows and between columns; rows and columns.
    """

    digest: str
    origin_lps_mm: NDArray[np.float64]
    row_direction: NDArray[np.float64]
    column_direction: NDArray[np.float64]
    spacing_yx_mm: tuple[float, float]
    shape_yx: tuple[int, int]

    @property
    def normal(self) -> NDArray[np.float64]:
        return np.cross(self.row_direction, self.column_direction)

    def place(self, row: float, column: float) -> NDArray[np.float64]:
        """Return (3,) LPS millimetres of a pixel's centre."""
        down = row * self.spacing_yx_mm[0] * self.column_direction
        along = column * self.spacing_yx_mm[1] * self.row_direction
        return np.asarray(self.origin_lps_mm + down + along)

    def pixel(self, lps_mm: NDArray[np.float64]) -> tuple[float, float]:
        """Return (row, column) of the foot of the perpendicular from a place."""
        offset = lps_mm - self.origin_lps_mm
        row = offset @ self.column_direction / self.spacing_yx_mm[0]
        return float(row), float(offset @ self.row_direction / self.spacing_yx_mm[1])

    def distance_mm(self, lps_mm: NDArray[np.float64]) -> float:
        """Return how far a place lies from the plane of the slice."""
        return float(abs((lps_mm - self.origin_lps_mm) @ self.normal))


def digest(hu: NDArray[np.generic]) -> str:
    """Return what stands for the pixels of one slice: (rows, columns) HU of any number type."""
    whole = np.rint(np.asarray(hu, np.float64))
    clipped = np.clip(whole, AIR_HU, 32767).astype("<i2")
    return sha256(repr(clipped.shape).encode() + clipped.tobytes()).hexdigest()


def read_source(folder: Path) -> tuple[SourceSlice, ...]:
    """Return every slice in a folder of single-frame CT instances, in the order of file names."""
    return tuple(_read_slice(path) for path in sorted(folder.iterdir()))


def _read_slice(path: Path) -> SourceSlice:
    header = pydicom.dcmread(path, stop_before_pixels=True)
    orientation = np.asarray(header.ImageOrientationPatient, float)
    spacing = header.PixelSpacing
    # Damaged copies of a scan share most files by hard link: their pixels are decoded once.
    status = path.stat()
    return SourceSlice(
        digest=_digest_of_file(_File(path, (status.st_dev, status.st_ino, status.st_mtime_ns))),
        origin_lps_mm=np.asarray(header.ImagePositionPatient, float),
        row_direction=orientation[:3],
        column_direction=orientation[3:],
        spacing_yx_mm=(float(spacing[0]), float(spacing[1])),
        shape_yx=(int(header.Rows), int(header.Columns)),
    )


@dataclass(frozen=True, slots=True)
class _File:
    """A file by what it is, not by what it is called."""

    path: Path = field(compare=False)
    identity: tuple[int, int, int]


@lru_cache(maxsize=1000)
def _digest_of_file(file: _File) -> str:
    instance = pydicom.dcmread(file.path)
    plugin = "pyjpegls" if instance.file_meta.TransferSyntaxUID == JPEG_LS else ""
    stored = pixel_array(instance, decoding_plugin=plugin)
    # The conformance case without rescale is read by its stored values, as the peers read it.
    slope, intercept = instance.get("RescaleSlope", 1), instance.get("RescaleIntercept", 0)
    return digest(stored * float(slope) + float(intercept))
