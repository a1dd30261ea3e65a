"""Small images as a modality would send them, of every form that frames can have."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from firstread.uids import uid_from

CT = "1.2.840.10008.5.1.4.1.1.2"
SEG = "1.2.840.10008.5.1.4.1.1.66.4"
RLE = "1.2.840.10008.1.2.5"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_2000 = "1.2.840.10008.1.2.4.90"


def a_ramp(rows: int = 40, columns: int = 64, frames: int = 1) -> NDArray[np.int16]:
    """Return (frames, rows, columns) of different values, negative ones too."""
    count = frames * rows * columns
    return (np.arange(count, dtype=np.int16) - count // 2).reshape(frames, rows, columns)


def an_image(
    pixels: NDArray[Any] | None = None,
    *,
    study: str = "study",
    number: int = 1,
    sop_class: str = CT,
    modality: str = "CT",
    compressed: str = "",
    preamble: bytes = bytes(128),
    syntax: UID = ExplicitVRLittleEndian,
    **attributes: Any,
) -> bytes:
    """Return a file of frames: (frames, rows, columns), or (frames, rows, columns, 3) RGB.

    bool pixels are single bits. ``compressed`` is a transfer syntax; attributes are keywords.
    """
    pixels = a_ramp() if pixels is None else pixels
    data_set = Dataset()
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = syntax
    data_set.preamble = preamble
    data_set.SOPClassUID = sop_class
    data_set.SOPInstanceUID = uid_from(study, modality, str(number))
    data_set.StudyInstanceUID = uid_from(study)
    data_set.SeriesInstanceUID = uid_from(study, modality)
    data_set.SpecificCharacterSet = "ISO_IR 192"
    data_set.PatientName = "Wang^XiaoDong=王^小东"
    data_set.PatientID = "P1"
    data_set.StudyDate = "20260301"
    data_set.StudyTime = "101500"
    data_set.Modality = modality
    data_set.SeriesNumber = 2
    data_set.InstanceNumber = number
    data_set.Rows, data_set.Columns = pixels.shape[1:3]
    is_colour = pixels.ndim == 4
    data_set.SamplesPerPixel = 3 if is_colour else 1
    data_set.PhotometricInterpretation = "RGB" if is_colour else "MONOCHROME2"
    if is_colour:
        data_set.PlanarConfiguration = 0
    if pixels.shape[0] > 1:
        data_set.NumberOfFrames = pixels.shape[0]
    bits = 1 if pixels.dtype == bool else pixels.dtype.itemsize * 8
    data_set.BitsAllocated = data_set.BitsStored = bits
    data_set.HighBit = bits - 1
    data_set.PixelRepresentation = int(pixels.dtype.kind == "i")
    raw = np.packbits(pixels.ravel(), bitorder="little") if bits == 1 else pixels
    data_set.PixelData = raw.tobytes() + b"\0" * (raw.nbytes % 2)
    data_set["PixelData"].VR = "OW" if bits > 8 else "OB"
    for keyword, value in attributes.items():
        setattr(data_set, keyword, value)
    if compressed:
        data_set.compress(UID(compressed), generate_instance_uid=False)
    out = io.BytesIO()
    data_set.save_as(out, enforce_file_format=True)
    return out.getvalue()
