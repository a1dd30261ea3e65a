"""One frame as it lies in its file, or as it would lie in an uncompressed one.

Native little endian frames are read here; everything else is decoded in a child process, for native
decoders crash. Nothing is rescaled: these are the values that other programs ask for.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inference.dicom import decoder_process
from inference.dicom.data_set import EXPLICIT_BIG
from inference.dicom.decoders import can_decode
from inference.dicom.encapsulated import FrameTooLong, encapsulated_frame
from inference.dicom.reader import walk_file
from inference.dicom.scratch import scratch_folder
from inference.dicom.stored import FRAME_BYTES, StoredFormat
from inference.dicom.walked import Header, HeaderRefused, Pixels
from inference.dicom.wire import Task

# For all that is decoded of one file between its opening and its closing.
_WALL_S = 60.0

_SAMPLES, _PHOTOMETRIC, _PLANAR = 0x00280002, 0x00280004, 0x00280006
_ROWS, _COLUMNS, _ALLOCATED, _STORED, _REPRESENTATION = (
    0x00280010,
    0x00280011,
    0x00280100,
    0x00280101,
    0x00280103,
)
_WANTED = frozenset(
    {
        _SAMPLES,
        _PHOTOMETRIC,
        _PLANAR,
        _ROWS,
        _COLUMNS,
        _ALLOCATED,
        _STORED,
        _REPRESENTATION,
    }
)


class FrameRefused(Exception):
    """A frame cannot be had; ``reason`` is a stable word, listed in ``docs/dicom.md``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class PixelData:
    """The pixels of one file.

    Attributes
    ----------
    path
        Of the file in which ``pixels`` holds: of a deflated instance its inflated form.
    is_planar
        Whether the samples of a colour image lie one after the other (0028,0006).
    deadline
        When decoding must be over, of ``time.monotonic()``.
    """

    path: Path
    transfer_syntax_uid: str
    form: StoredFormat
    samples: int
    photometric: str
    is_planar: bool
    frames: int
    pixels: Pixels
    deadline: float

    @property
    def is_encapsulated(self) -> bool:
        """Whether each frame is a compressed stream of its own."""
        return self.pixels.length is None

    @property
    def frame_bits(self) -> int:
        """Bits of one frame without compression."""
        bits = self.form.rows * self.form.columns * self.samples * self.form.bits_allocated
        # Two pixels share their colour (PS3.3 C.7.6.3.1.2).
        is_shared = self.photometric == "YBR_FULL_422" and not self.is_encapsulated
        return bits * 2 // 3 if is_shared else bits


@contextmanager
def open_pixels(path: Path) -> Iterator[PixelData]:
    """Open the pixels of a file that the bounded walk has passed.

    Raises
    ------
    FrameRefused
        ``pixels-missing``, ``size-missing``, ``bits-unsupported``, ``too-large``
    OutputError
        ``output-unwritable``: no room to inflate a deflated one.
    """
    with scratch_folder() as scratch:
        try:
            found, header = walk_file(path, scratch / "inflated", wanted=_WANTED)
        except HeaderRefused as refused:
            raise FrameRefused(refused.reason) from refused
        yield _pixel_data(found, header)


def _pixel_data(path: Path, header: Header) -> PixelData:
    if header.pixels is None:
        raise FrameRefused("pixels-missing")

    def short(tag: int, otherwise: int) -> int:
        element = header.elements.get(tag)
        if element is None or len(element.value) < 2:
            return otherwise
        return int.from_bytes(element.value[:2], "little" if header.is_little_endian else "big")

    def text(tag: int) -> str:
        element = header.elements.get(tag)
        return element.value.decode("latin-1").strip("\0 ") if element is not None else ""

    allocated = short(_ALLOCATED, 0)
    form = StoredFormat(
        rows=short(_ROWS, 0),
        columns=short(_COLUMNS, 0),
        bits_allocated=allocated,
        bits_stored=short(_STORED, allocated),
        is_signed=short(_REPRESENTATION, 0) == 1,
    )
    pixel_data = PixelData(
        path,
        header.transfer_syntax_uid,
        form,
        samples=short(_SAMPLES, 1),
        photometric=text(_PHOTOMETRIC),
        is_planar=short(_PLANAR, 0) == 1,
        frames=header.frames,
        pixels=header.pixels,
        deadline=time.monotonic() + _WALL_S,
    )
    if not pixel_data.frame_bits:
        raise FrameRefused("size-missing")
    if allocated not in (1, 8, 16, 32, 64) or pixel_data.samples not in (1, 3):
        raise FrameRefused("bits-unsupported")
    if pixel_data.frame_bits // 8 > FRAME_BYTES:
        raise FrameRefused("too-large")
    return pixel_data


def stored_frame(pixel_data: PixelData, number: int) -> bytes:
    """Return a frame (1-based) as it lies in the file: a compressed stream, or its bytes.

    Raises
    ------
    FrameRefused
        ``pixels-short``, ``fragments-unclear``, ``too-large``
    """
    if not pixel_data.is_encapsulated:
        return _native_frame(pixel_data, number)
    try:
        return encapsulated_frame(
            pixel_data.path, pixel_data.pixels.offset, number - 1, pixel_data.frames
        )
    except FrameTooLong as error:
        raise FrameRefused("too-large") from error
    except (ValueError, EOFError, IndexError) as error:
        raise FrameRefused("fragments-unclear") from error


def ensure_decodable(pixel_data: PixelData) -> None:
    """Refuse compressed or big endian pixels that no decoder takes, whatever is in them.

    Raises
    ------
    FrameRefused
        ``transfer-syntax-unsupported``, ``bits-unsupported``
    """
    syntax = pixel_data.transfer_syntax_uid
    if pixel_data.is_encapsulated and not can_decode(syntax, pixel_data.samples):
        raise FrameRefused("transfer-syntax-unsupported")
    if pixel_data.form.bits_allocated < 8:
        raise FrameRefused("bits-unsupported")


def decoded_frame(pixel_data: PixelData, number: int) -> bytes:
    """Return a frame (1-based) as in Explicit VR Little Endian; decoded colour is RGB.

    Each call that decodes has a child process of 100 MB: the caller bounds how many are at once.
    A frame of single bits begins with bit 0 of its first byte.

    Raises
    ------
    FrameRefused
        ``pixels-short``, ``transfer-syntax-unsupported``, ``size-differs``, ``decoder-failed``,
        ``decoder-crashed``, ``decoder-hung``, ``too-large``, ``bits-unsupported``
    """
    is_big = pixel_data.transfer_syntax_uid == EXPLICIT_BIG
    form = pixel_data.form
    if not pixel_data.is_encapsulated and (not is_big or form.bits_allocated <= 8):
        return _native_frame(pixel_data, number)
    ensure_decodable(pixel_data)
    task = Task(
        path=str(pixel_data.path),
        transfer_syntax_uid=pixel_data.transfer_syntax_uid,
        form=form,
        frames=pixel_data.frames,
        index=number - 1,
        stored=True,
        samples=pixel_data.samples,
        photometric=pixel_data.photometric,
    )
    out = np.empty(form.frame_bytes * pixel_data.samples, np.uint8)
    child = decoder_process.take()
    try:
        reason = child.decode(task, out, pixel_data.deadline)
    finally:
        decoder_process.give_back(child)
    if reason:
        raise FrameRefused(reason)
    return out.tobytes()


def _native_frame(pixel_data: PixelData, number: int) -> bytes:
    bits, length = pixel_data.frame_bits, pixel_data.pixels.length
    assert length is not None
    first = (number - 1) * bits
    if first + bits > length * 8:
        raise FrameRefused("pixels-short")
    start, end = first // 8, -(-(first + bits) // 8)
    with pixel_data.path.open("rb", buffering=0) as stream:
        if pixel_data.transfer_syntax_uid == EXPLICIT_BIG and pixel_data.form.bits_allocated <= 8:
            # Bytes within 16 bit words (OW) are swapped with them: the VR stands before the length.
            vr = os.pread(stream.fileno(), 2, pixel_data.pixels.offset - 8)
            if vr != b"OB":
                raise FrameRefused("bits-unsupported")
        data = os.pread(stream.fileno(), end - start, pixel_data.pixels.offset + start)
    if len(data) < end - start:
        raise FrameRefused("pixels-short")
    if bits % 8 == 0 and first % 8 == 0:
        return data
    unpacked = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    return np.packbits(unpacked[first % 8 : first % 8 + bits], bitorder="little").tobytes()
