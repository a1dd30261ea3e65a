"""One named decoder for each transfer syntax.

It runs only in a decoder child, for native decoders crash:

============================  ====================  ==========================================
transfer syntax               decoder               why this one
============================  ====================  ==========================================
Big Endian                    none: bytes swapped
JPEG Baseline (8 bit)         pillow
JPEG Extended, .53, .55       SimpleITK             the only one here that decodes them
JPEG Lossless (.57, .70)      GDCM                  mutants may crash it: hence the child
JPEG-LS                       pyjpegls              fastest, and refuses most damaged frames
JPEG 2000                     pylibjpeg-openjpeg
RLE                           pylibjpeg-rle         six times as fast as pydicom's own
============================  ====================  ==========================================

pydicom would choose by what happens to be installed, so the plugin is always named.
"""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.dicom.stored import StoredFormat

Decoder = Callable[..., NDArray[np.integer]]


class DecodeRefused(Exception):
    """These pixels are not decoded; ``reason`` is a stable word, listed in ``docs/dicom.md``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _with_pydicom(
    plugin: str,
    frame: bytes,
    syntax: str,
    form: StoredFormat,
    *,
    samples: int = 1,
    photometric: str = "MONOCHROME2",
) -> NDArray[np.integer]:
    """Decode one frame by the named plugin; pydicom mends the codestream's own sign, precision.

    Colour comes as (rows, columns, 3) RGB.
    """
    from pydicom.encaps import encapsulate
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    options: dict[str, Any] = {
        "rows": form.rows,
        "columns": form.columns,
        "samples_per_pixel": samples,
        "photometric_interpretation": photometric,
        "bits_allocated": form.bits_allocated,
        "bits_stored": form.bits_stored,
        "pixel_representation": int(form.is_signed),
        "number_of_frames": 1,
        "pixel_keyword": "PixelData",
    }
    if samples > 1:
        # Compressed frames say themselves how their samples lie; this is how we want them.
        options["planar_configuration"] = 0
    array, _ = get_decoder(UID(syntax)).as_array(
        encapsulate([frame], has_bot=False),
        index=0,
        raw=samples == 1,
        decoding_plugin=plugin,
        **options,
    )
    return array


def _with_simpleitk(frame: bytes, syntax: str, form: StoredFormat) -> NDArray[np.integer]:
    """Decode one frame through a file of its own, without rescale: SimpleITK reads files only."""
    import SimpleITK as sitk  # noqa: N813  (its usual name)
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID, generate_uid

    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = UID(syntax)
    image.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.2")
    image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID
    image.Modality = "CT"
    image.Rows, image.Columns = form.rows, form.columns
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.BitsAllocated, image.BitsStored = form.bits_allocated, form.bits_stored
    image.HighBit = form.bits_stored - 1
    image.PixelRepresentation = int(form.is_signed)
    image.PixelData = encapsulate([frame])
    image["PixelData"].VR = "OB"
    with tempfile.TemporaryDirectory(prefix="firstread-") as folder:
        path = Path(folder, "frame.dcm")
        image.save_as(path, enforce_file_format=True)
        pixels = sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="GDCMImageIO"))
    return np.asarray(pixels[0])


_SIMPLEITK: Decoder = _with_simpleitk
_GDCM: Decoder = partial(_with_pydicom, "gdcm")
_PYLIBJPEG: Decoder = partial(_with_pydicom, "pylibjpeg")
_PYJPEGLS: Decoder = partial(_with_pydicom, "pyjpegls")
_PILLOW: Decoder = partial(_with_pydicom, "pillow")

DECODERS: dict[str, Decoder] = {
    "1.2.840.10008.1.2.4.50": _PILLOW,
    "1.2.840.10008.1.2.4.51": _SIMPLEITK,
    "1.2.840.10008.1.2.4.53": _SIMPLEITK,
    "1.2.840.10008.1.2.4.55": _SIMPLEITK,
    "1.2.840.10008.1.2.4.57": _GDCM,
    "1.2.840.10008.1.2.4.70": _GDCM,
    "1.2.840.10008.1.2.4.80": _PYJPEGLS,
    "1.2.840.10008.1.2.4.81": _PYJPEGLS,
    "1.2.840.10008.1.2.4.90": _PYLIBJPEG,
    "1.2.840.10008.1.2.4.91": _PYLIBJPEG,
    "1.2.840.10008.1.2.4.201": _PYLIBJPEG,
    "1.2.840.10008.1.2.4.202": _PYLIBJPEG,
    "1.2.840.10008.1.2.4.203": _PYLIBJPEG,
    "1.2.840.10008.1.2.5": _PYLIBJPEG,
}


def can_decode(syntax: str, samples: int) -> bool:
    """Whether frames of a transfer syntax are decoded, with one sample for each pixel or three."""
    decoder = DECODERS.get(syntax)
    # SimpleITK's file is made for grey alone.
    return decoder is not None and (samples == 1 or decoder is not _SIMPLEITK)


def decode_frame(frame: bytes, syntax: str, form: StoredFormat) -> NDArray[np.integer]:
    """Return (rows, columns) stored values of one compressed frame.

    Raises
    ------
    DecodeRefused
        ``transfer-syntax-unsupported``, ``size-differs``. A decoder may raise anything else, or end
        the process.
    """
    decoder = DECODERS.get(syntax)
    if decoder is None:
        raise DecodeRefused("transfer-syntax-unsupported")
    pixels = decoder(frame, syntax, form)
    if pixels.shape != (form.rows, form.columns):
        raise DecodeRefused("size-differs")
    return pixels


def decode_colour(
    frame: bytes, syntax: str, form: StoredFormat, photometric: str
) -> NDArray[np.integer]:
    """Return (rows, columns, 3) of one compressed frame of three samples, as RGB.

    Raises
    ------
    DecodeRefused
        See :func:`decode_frame`.
    """
    if not can_decode(syntax, samples=3):
        raise DecodeRefused("transfer-syntax-unsupported")
    pixels = DECODERS[syntax](frame, syntax, form, samples=3, photometric=photometric)
    if pixels.shape != (form.rows, form.columns, 3):
        raise DecodeRefused("size-differs")
    return pixels
