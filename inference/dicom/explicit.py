"""A data set as Explicit VR Little Endian, piece by piece, whatever it is written in.

Values keep their bytes, swapped where they were big endian. Nothing is lost: what the dictionary
does not know goes as UN, a private sequence with its implicit items as they are, and a value too
long for the length of its VR as UN (PS3.5 6.2.2). Sequences and items get delimiters in place of
lengths. Group lengths go, for they would be wrong (PS3.5 7.2).
"""

import struct
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass

from inference.dicom.data_set import LONG_VRS, PIXELS
from inference.dicom.elements import (
    DEPTH,
    ITEM,
    ITEM_END,
    PIXEL_TAGS,
    SEQUENCE_END,
    UNDEFINED,
    Broken,
    ElementReader,
    Place,
)
from inference.dicom.json_values import known_vr, swapped
from inference.dicom.walked import HeaderRefused

_REPRESENTATION = 0x00280103
_ICON = 0x00880200
# Where frames begin in compressed pixels, and how long they are (PS3.5 A.4).
_OFFSET_TABLES = frozenset({0x7FE00001, 0x7FE00002, 0x7FE00003})

_WIDTHS = {
    **dict.fromkeys(("AT", "OW", "SS", "US"), 2),
    **dict.fromkeys(("FL", "OF", "OL", "SL", "UL"), 4),
    **dict.fromkeys(("FD", "OD", "OV", "SV", "UV"), 8),
}
_LONGEST_SHORT = 0xFFFF
# A multiple of every width.
_PIECE_BYTES = 1 << 20

_ITEM_BEGIN = struct.pack("<HHL", ITEM >> 16, ITEM & 0xFFFF, UNDEFINED)
_ITEM_DONE = struct.pack("<HHL", ITEM_END >> 16, ITEM_END & 0xFFFF, 0)
_SEQUENCE_DONE = struct.pack("<HHL", SEQUENCE_END >> 16, SEQUENCE_END & 0xFFFF, 0)

# Pieces, and the position behind what was read for them.
_Pieces = Generator[bytes, None, int]


def element_head(tag: int, vr: str, length: int) -> bytes:
    """Return tag, VR and length of an element in Explicit VR Little Endian (PS3.5 7.1.2)."""
    raw = vr.encode("ascii")
    form = "<HH2s2xL" if raw in LONG_VRS else "<HH2sH"
    return struct.pack(form, tag >> 16, tag & 0xFFFF, raw, length)


def element(tag: int, vr: str, value: bytes) -> bytes:
    """Return a whole element; a value of odd length is padded (0 in UI and binary, else space)."""
    padding = b"" if len(value) % 2 == 0 else b"\0" if vr in ("UI", "OB", "OW") else b" "
    return element_head(tag, vr, len(value) + len(padding)) + value + padding


@dataclass(frozen=True, slots=True)
class _Scope:
    """What holds for the elements of one data set."""

    depth: int
    is_signed: bool


class Explicit:
    """One data set on its way to Explicit VR Little Endian.

    Parameters
    ----------
    reader
        Of a file in implicit or explicit VR, little or big endian.
    is_signed
        What Pixel Representation (0028,0103) says: ``US or SS`` is SS.
    pixel_bytes
        Bytes in which big endian pixels are swapped.
    """

    def __init__(self, reader: ElementReader, *, is_signed: bool, pixel_bytes: int) -> None:
        self._reader = reader
        self._scope = _Scope(0, is_signed)
        self._pixel_bytes = pixel_bytes

    def pieces(self, start: int, *, is_implicit: bool) -> Iterator[bytes]:
        """Yield the data set that begins at ``start``.

        Raises
        ------
        HeaderRefused
            ``sequence-broken``, ``nested-too-deep``, ``too-many-elements``, ``icon-compressed``
        """
        reader = self._reader
        try:
            behind = yield from self._data_set(start, reader.size, is_implicit, self._scope)
            self._ensure_padding(behind)
        except (Broken, struct.error) as error:
            raise HeaderRefused("sequence-broken") from error

    def with_pixels(
        self, start: int, instead: Mapping[int, bytes], pixels: Iterator[bytes] | None
    ) -> Iterator[bytes]:
        """Yield an explicit little endian data set with other pixels.

        Parameters
        ----------
        instead
            Tag -> the whole element that stands for what is there, or is put in.
        pixels
            The whole element that stands for the one of encapsulated pixels; None: there is none.

        Raises
        ------
        HeaderRefused
            See :meth:`pieces`.
        """
        try:
            yield from self._with_pixels(start, instead, pixels)
        except (Broken, struct.error) as error:
            raise HeaderRefused("sequence-broken") from error

    def _with_pixels(
        self, position: int, instead: Mapping[int, bytes], pixels: Iterator[bytes] | None
    ) -> Iterator[bytes]:
        reader = self._reader
        coming = sorted(instead.items(), reverse=True)
        while self._is_element(position):
            place = reader.next(position, reader.size, is_implicit=False)
            if place is None:
                break
            is_open = place.end is None and place.tag in PIXEL_TAGS
            # The walk ends at the first pixels: others behind them nobody has seen.
            theirs = pixels if is_open and place.tag == PIXELS else None
            if theirs is None and (is_open or place.tag in (ITEM_END, PIXELS)):
                raise Broken
            start, position = position, reader.end_of(place)
            while coming and coming[-1][0] <= place.tag:
                yield coming.pop()[1]
            if theirs is not None:
                yield from theirs
                pixels = None
            elif place.tag == _ICON and place.vr == "SQ":
                yield from self._sequence(place, self._scope)
            elif place.tag & 0xFFFF and place.tag not in {*instead, *_OFFSET_TABLES}:
                yield from self._raw(start, position)
        self._ensure_padding(position)

    def _is_element(self, position: int) -> bool:
        """Whether no zeros follow, with which some writers fill a file up behind the pixels."""
        return any(self._reader.raw(position, position + 4))

    def _ensure_padding(self, position: int) -> None:
        size = self._reader.size
        pieces = (self._reader.raw(at, at + _PIECE_BYTES) for at in _steps(position, size))
        if any(piece.strip(b"\0") for piece in pieces):
            raise Broken

    def _data_set(
        self, position: int, end: int | None, is_implicit: bool, scope: _Scope
    ) -> _Pieces:
        """Yield elements up to the end, or to a delimiter where that alone ends them (None)."""
        reader = self._reader
        limit = reader.size if end is None else end
        while scope.depth or self._is_element(position):
            place = reader.next(position, limit, is_implicit)
            if place is None:
                break
            if place.tag == ITEM_END:
                if not scope.depth:
                    raise Broken
                return place.start
            if place.tag == _REPRESENTATION and scope.depth and place.end is not None:
                is_signed = any(reader.raw(place.start, min(place.end, place.start + 2)))
                scope = _Scope(scope.depth, is_signed)
            if place.tag & 0xFFFF:
                position = yield from self._element(place, scope)
            else:
                position = reader.end_of(place)
        if end is None:
            raise Broken
        return position

    def _element(self, place: Place, scope: _Scope) -> _Pieces:
        tag, vr, end = place.tag, place.vr, place.end
        if end is None and tag in PIXEL_TAGS:
            raise HeaderRefused("icon-compressed" if scope.depth else "sequence-broken")
        if place.is_implicit and self._reader.order == "<" and known_vr(tag) == "UN":
            return (yield from self._unknown(place))
        if vr == "SQ":
            return (yield from self._sequence(place, scope))
        assert end is not None
        if vr == "US or SS":
            vr = "SS" if scope.is_signed else "US"
        width = 1
        if self._reader.order == ">":
            width = _WIDTHS.get(vr, 1)
            if vr == "OW" and tag == PIXELS and not scope.depth:
                width = self._pixel_bytes
        length = end - place.start
        is_long = length > _LONGEST_SHORT and vr.encode() not in LONG_VRS
        yield element_head(tag, "UN" if is_long else vr, length)
        yield from self._raw(place.start, end, width)
        return end

    def _unknown(self, place: Place) -> _Pieces:
        """Yield an element as UN; one of undefined length is a sequence in implicit VR."""
        behind = self._reader.end_of(place)
        length = UNDEFINED if place.end is None else behind - place.start
        yield element_head(place.tag, "UN", length)
        yield from self._raw(place.start, behind)
        return behind

    def _sequence(self, sequence: Place, scope: _Scope) -> _Pieces:
        if scope.depth >= DEPTH:
            raise HeaderRefused("nested-too-deep")
        reader = self._reader
        limit = reader.size if sequence.end is None else sequence.end
        inner = _Scope(scope.depth + 1, scope.is_signed)
        position = sequence.start
        yield element_head(sequence.tag, "SQ", UNDEFINED)
        while (item := reader.item_at(position, limit)) is not None:
            start, end = item
            yield _ITEM_BEGIN
            position = yield from self._data_set(start, end, sequence.is_implicit, inner)
            # What stands behind a delimiter, or is no element, would be lost.
            if end not in (None, position):
                raise Broken
            yield _ITEM_DONE
        yield _SEQUENCE_DONE
        if sequence.end is None:
            return position + 8
        if position not in (sequence.end, sequence.end - 8):
            raise Broken
        return sequence.end

    def _raw(self, start: int, end: int, width: int = 1) -> Iterator[bytes]:
        for at in _steps(start, end):
            piece = self._reader.raw(at, min(at + _PIECE_BYTES, end))
            yield piece if width == 1 else swapped(piece, width)


def _steps(start: int, end: int) -> range:
    return range(start, end, _PIECE_BYTES)
