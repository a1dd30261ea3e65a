"""The elements of a data set one by one, in any byte order, with or without a written VR.

The bounded walk has passed the file before; sequences of defined length, which it skips, are opened
here for the first time, so depth and number of elements are bounded again.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from inference.dicom.data_set import EXPLICIT_BIG, LONG_VRS, PIXELS, SHORT_VRS
from inference.dicom.json_values import known_vr
from inference.dicom.walked import HeaderRefused

DEPTH = 32
ELEMENTS = 200_000
"""With those of all sequences, items counted too: an enhanced CT of 2,000 frames has 40,000."""

PIXEL_TAGS = frozenset({0x7FE00008, 0x7FE00009, PIXELS})
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
UNDEFINED = 0xFFFFFFFF


class Broken(Exception):
    """A sequence is not what its length or delimiters promise."""


@dataclass(frozen=True, slots=True)
class Place:
    """Tag, VR and place of a value; ``end`` is None where a delimiter says it."""

    tag: int
    vr: str
    start: int
    end: int | None
    is_implicit: bool


def behind_meta(data: Any) -> int:
    """Return where the data set begins; the group length is not believed."""
    if data[128:132] != b"DICM":
        return 0
    position = 132
    while data[position : position + 2] == b"\x02\0":
        is_long = data[position + 4 : position + 6] in LONG_VRS
        form, at, start = ("<L", 8, 12) if is_long else ("<H", 6, 8)
        position += start + struct.unpack_from(form, data, position + at)[0]
    return int(position)


class ElementReader:
    """Reads places of values; ``struct.error`` is what it raises where the file ends early.

    Parameters
    ----------
    data
        The whole file, or a memory map of it: only what is needed is read.
    """

    def __init__(self, data: Any, syntax: str) -> None:
        self._data, self.size = data, len(data)
        self.order = ">" if syntax == EXPLICIT_BIG else "<"
        self._tag_struct = struct.Struct(f"{self.order}HH")
        self._long_struct = struct.Struct(f"{self.order}L")
        self._elements = 0

    def find(self, tag: int, start: int, end: int, is_implicit: bool) -> Place | None:
        """Return the element of a tag among those between two positions; None: there is none."""
        position = start
        while (element := self.next(position, end, is_implicit)) is not None:
            if element.tag == tag:
                return element
            position = self.end_of(element)
        return None

    def next(self, position: int, end: int, is_implicit: bool) -> Place | None:
        """Return the element, or the end of an item, at a position; None at the end."""
        if position + 8 > end:
            return None
        tag = self._tag_at(position)
        self._count()
        if tag >> 16 == 0xFFFE:
            return Place(ITEM_END, "", position + 8, position + 8, is_implicit)
        raw = b"" if is_implicit else self.raw(position + 4, position + 6)
        if is_implicit:
            vr, start, length = known_vr(tag), position + 8, self._long_at(position + 4)
        elif raw in LONG_VRS:
            vr, start, length = raw.decode(), position + 12, self._long_at(position + 8)
        elif raw.isalpha() and raw.isupper():
            vr, start = raw.decode() if raw in SHORT_VRS else "UN", position + 8
            length = struct.unpack_from(f"{self.order}H", self._data, position + 6)[0]
        else:
            raise Broken
        if length == UNDEFINED:
            # UN of undefined length is a sequence, in implicit little endian (PS3.5 6.2.2).
            is_un, vr = vr == "UN", vr if tag in PIXEL_TAGS else "SQ"
            return Place(tag, vr, start, None, is_implicit or is_un)
        if start + length > end:
            raise Broken
        # Whoever did not know an element wrote it in little endian (PS3.5 6.2.2).
        if vr == "UN" and self.order == "<" and (known := known_vr(tag)) != "SQ":
            vr = known
        return Place(tag, vr, start, start + length, is_implicit)

    def items(self, sequence: Place, depth: int = 0) -> Iterator[tuple[int, int]]:
        """Yield start and end of the items of a sequence, without reading what is in them."""
        # Within a sequence of defined length the walk has seen no nesting.
        if depth > DEPTH:
            raise Broken
        position = sequence.start
        limit = self.size if sequence.end is None else sequence.end
        while (item := self.item_at(position, limit)) is not None:
            start, end = item
            position = end if end is not None else self._end_of_item(start, limit, sequence, depth)
            yield start, position

    def item_at(self, position: int, limit: int) -> tuple[int, int | None] | None:
        """Return start and end (None: a delimiter says it) of an item; None behind the last."""
        if position + 8 > limit:
            return None
        self._count()
        tag = self._tag_at(position)
        if tag == SEQUENCE_END:
            return None
        if tag != ITEM:
            raise Broken
        length, start = self._long_at(position + 4), position + 8
        if length == UNDEFINED:
            return start, None
        if start + length > limit:
            raise Broken
        return start, start + length

    def _end_of_item(self, position: int, limit: int, sequence: Place, depth: int) -> int:
        while (element := self.next(position, limit, sequence.is_implicit)) is not None:
            if element.tag == ITEM_END:
                return element.start
            position = self.end_of(element, depth + 1)
        raise Broken

    def end_of(self, element: Place, depth: int = 0) -> int:
        """Return the position behind an element."""
        if element.end is not None:
            return element.end
        position = element.start
        if element.vr == "SQ":
            for _, end in self.items(element, depth):
                position = end
        else:
            while self._tag_at(position) == ITEM:
                self._count()
                position += 8 + self._long_at(position + 4)
        return position + 8

    def _count(self) -> None:
        self._elements += 1
        if self._elements > ELEMENTS:
            raise HeaderRefused("too-many-elements")

    def _tag_at(self, position: int) -> int:
        group, number = self._tag_struct.unpack_from(self._data, position)
        return int(group << 16 | number)

    def _long_at(self, position: int) -> int:
        return int(self._long_struct.unpack_from(self._data, position)[0])

    def raw(self, start: int, end: int) -> bytes:
        """Return the bytes between two positions."""
        return bytes(self._data[start:end])
