"""A whole file as Explicit VR Little Endian, whatever its transfer syntax, piece by piece.

===============================  ================================================================
stored                           given
===============================  ================================================================
Implicit VR, Big Endian          each element anew (``explicit``)
Deflated                         its inflated data set, byte for byte
compressed                       its elements byte for byte; frames decoded, one at a time
===============================  ================================================================

The SOP Instance UID stays, for it is the same instance in another encoding; what was lossy stays
marked as such. Decoded colour is RGB, pixel by pixel. Source: PS3.5 annex A, PS3.10 section 7.1.
"""

import mmap
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from firstread.uids import uid_from
from inference.dicom.data_set import (
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    PIXELS,
)
from inference.dicom.decoders import DECODERS
from inference.dicom.elements import ElementReader, behind_meta
from inference.dicom.explicit import Explicit, element, element_head
from inference.dicom.reader import walk_file
from inference.dicom.scratch import scratch_folder
from inference.dicom.stored_frames import (
    FrameRefused,
    PixelData,
    decoded_frame,
    ensure_decodable,
    open_pixels,
)
from inference.dicom.walked import Header, HeaderRefused
from inference.dicom.walker import DEFLATED, TRANSFER_SYNTAX

NATIVE = frozenset({IMPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED})
CONVERTIBLE = NATIVE | DECODERS.keys()
"""Transfer syntaxes that can be given as Explicit VR Little Endian."""

MOST_DECODED_BYTES = 2 * 1024**3
"""Of the frames of one instance: as much as an instance that is sent may have."""

# For all frames of an instance: as for those of a series that is analysed.
WALL_S, FRAME_SHARE_S, MOST_WALL_S = 60.0, 1.0, 900.0

_GATHERED_BYTES = 1 << 18
_META_LENGTH, _CLASS_UID, _VERSION_NAME = 0x00020000, 0x00020012, 0x00020013
_SAMPLES, _PHOTOMETRIC, _PLANAR = 0x00280002, 0x00280004, 0x00280006
_ALLOCATED, _REPRESENTATION, _LOSSY = 0x00280100, 0x00280103, 0x00282110
_WANTED = frozenset({_ALLOCATED, _REPRESENTATION})
# JPEG with loss by its nature; the other lossy syntaxes may have lost nothing.
_JPEG_WITH_LOSS = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 53, 55))

# Makes the whole element of the pixels.
_FramesOf = Callable[[PixelData], Iterator[bytes]]


def converted(path: Path) -> Iterator[bytes]:
    """Yield a file of one of the syntaxes ``CONVERTIBLE`` as Explicit VR Little Endian.

    Parameters
    ----------
    path
        A file with a meta header that the bounded walk has passed.

    Raises
    ------
    FrameRefused
        Its header breaks a promise (``sequence-broken``, ``nested-too-deep``,
        ``too-many-elements``); an icon of it is compressed (``icon-compressed``); its pixels are
        not decoded (see :func:`decoded_frame`), are ``too-large`` or take too long (``too-slow``).
    OutputError
        ``output-unwritable``: no room to inflate a deflated one.
    """
    try:
        yield from _gathered(_pieces(path, frames_of=_frames))
    except HeaderRefused as refused:
        raise FrameRefused(refused.reason) from refused


def ensure_convertible(path: Path) -> None:
    """Refuse a compressed file that cannot be converted, as far as can be known without decoding.

    Raises
    ------
    FrameRefused
        As :func:`converted`, but for what is wrong with the frames themselves.
    """
    try:
        for _ in _pieces(path, frames_of=_no_frames):
            pass
    except HeaderRefused as refused:
        raise FrameRefused(refused.reason) from refused


def _ensure_bounded(pixels: PixelData) -> None:
    ensure_decodable(pixels)
    if not pixels.is_encapsulated:
        # A codestream without fragments, or pixels that are not compressed: who knows.
        raise FrameRefused("fragments-unclear")
    if pixels.frames * pixels.frame_bits // 8 > MOST_DECODED_BYTES:
        raise FrameRefused("too-large")


def _gathered(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in fewer pieces."""
    some = bytearray()
    for piece in pieces:
        some += piece
        if len(some) >= _GATHERED_BYTES:
            yield bytes(some)
            some.clear()
    if some:
        yield bytes(some)


def _pieces(path: Path, frames_of: _FramesOf) -> Iterator[bytes]:
    with scratch_folder() as scratch:
        found, header = walk_file(path, scratch / "inflated", wanted=_WANTED)
        with _mapped(path) as data:
            start = behind_meta(data)
            if not start or header.transfer_syntax_uid not in CONVERTIBLE:
                raise HeaderRefused("transfer-syntax-unsupported")
            yield _meta(data, start)
            if header.transfer_syntax_uid in (IMPLICIT_LITTLE, EXPLICIT_BIG):
                yield from _recoded(data, start, header)
            elif header.transfer_syntax_uid != DEFLATED:
                yield from _decoded(path, data, start, header, frames_of)
        if header.transfer_syntax_uid == DEFLATED:
            with found.open("rb", buffering=0) as stream:
                while piece := stream.read(_GATHERED_BYTES):
                    yield piece


@contextmanager
def _mapped(path: Path) -> Iterator[Any]:
    with (
        path.open("rb", buffering=0) as stream,
        closing(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)) as data,
    ):
        yield data


def _meta(data: Any, end: int) -> bytes:
    """Return preamble and meta header of a file that we write (PS3.10 7.1)."""
    ours = {
        TRANSFER_SYNTAX: element(TRANSFER_SYNTAX, "UI", EXPLICIT_LITTLE.encode()),
        _CLASS_UID: element(_CLASS_UID, "UI", uid_from("implementation", "dicomweb").encode()),
        _VERSION_NAME: element(_VERSION_NAME, "SH", b"FIRSTREAD_WEB"),
    }
    kept, position = dict[int, bytes](), len(bytes(128) + b"DICM")
    reader = ElementReader(data, EXPLICIT_LITTLE)
    while (place := reader.next(position, end, is_implicit=False)) is not None:
        behind = reader.end_of(place)
        kept[place.tag] = reader.raw(position, behind)
        position = behind
    kept.pop(_META_LENGTH, None)
    group = b"".join(whole for _, whole in sorted((kept | ours).items()))
    length = element(_META_LENGTH, "UL", len(group).to_bytes(4, "little"))
    return bytes(128) + b"DICM" + length + group


def _short(header: Header, tag: int) -> int:
    """Return an unsigned short; 0 where there is none."""
    found = header.elements.get(tag)
    if found is None:
        return 0
    return int.from_bytes(found.value[:2], "little" if header.is_little_endian else "big")


def _recoded(data: Any, start: int, header: Header) -> Iterator[bytes]:
    reader = ElementReader(data, header.transfer_syntax_uid)
    # Larger pixels than words are swapped as a whole, as they are written by those who have them;
    # smaller ones with the words (OW) that they lie in.
    allocated = _short(header, _ALLOCATED)
    whole = Explicit(
        reader,
        is_signed=_short(header, _REPRESENTATION) == 1,
        pixel_bytes=allocated // 8 if allocated in (32, 64) else 2,
    )
    yield from whole.pieces(start, is_implicit=header.is_implicit)


def _decoded(
    path: Path, data: Any, start: int, header: Header, frames_of: _FramesOf
) -> Iterator[bytes]:
    reader = ElementReader(data, EXPLICIT_LITTLE)
    whole = Explicit(reader, is_signed=False, pixel_bytes=1)
    if header.pixels is None:
        yield from whole.with_pixels(start, {}, None)
        return
    with open_pixels(path) as pixels:
        _ensure_bounded(pixels)
        instead = {}
        if pixels.samples == 3:
            instead[_PHOTOMETRIC] = element(_PHOTOMETRIC, "CS", b"RGB")
            instead[_PLANAR] = element(_PLANAR, "US", bytes(2))
        if header.transfer_syntax_uid in _JPEG_WITH_LOSS:
            instead[_LOSSY] = element(_LOSSY, "CS", b"01")
        yield from whole.with_pixels(start, instead, frames_of(pixels))


def _no_frames(_pixels: PixelData) -> Iterator[bytes]:
    return iter(())


def _frames(pixels: PixelData) -> Iterator[bytes]:
    """Yield the pixels' element, decoded frame by frame."""
    form = pixels.form
    length = pixels.frames * form.frame_bytes * pixels.samples
    vr = "OW" if form.bits_allocated > 8 else "OB"
    yield element_head(PIXELS, vr, length + length % 2)
    left_s = min(WALL_S + FRAME_SHARE_S * pixels.frames, MOST_WALL_S)
    for number in range(1, pixels.frames + 1):
        begun = time.monotonic()
        try:
            frame = decoded_frame(replace(pixels, deadline=begun + left_s), number)
        except FrameRefused as refused:
            is_late = time.monotonic() > begun + left_s
            raise FrameRefused("too-slow" if is_late else refused.reason) from refused
        # Who takes the frames may wait between them: that is not our time.
        left_s -= time.monotonic() - begun
        yield frame
    if length % 2:
        yield b"\0"
