"""The flat walk over a data set: tag, VR, length; values are skipped, wanted ones copied.

::

    tag, VR, length | value | tag, VR, length | value | ... ──> pixels
                      skipped by length, or by a stack of open sequences: no recursion

Every limit and every lie ends in :class:`HeaderRefused`. Source: PS3.5 section 7.
"""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from inference.dicom.walked import Element, Header, HeaderRefused, Limits, Pixels

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"

NUMBER_OF_FRAMES = 0x00280008
SHARED_GROUPS = 0x52009229
PER_FRAME_GROUPS = 0x52009230
PIXELS = 0x7FE00010

# Pixel Data and its float and double forms: here a walk ends. Only the first is looked at.
_PIXEL_TAGS = frozenset({0x7FE00008, 0x7FE00009, PIXELS})

_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_DELIMITER_GROUP = 0xFFFE
_UNDEFINED = 0xFFFFFFFF

# PS3.5 table 7.1-1: VRs with two reserved bytes and a 32 bit length.
LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
# UN may hold one (PS3.5 6.2.2), and implicit syntax does not write it.
_SEQUENCE_VRS = frozenset({b"SQ", b"UN", b""})

# The functional groups of a multi-frame image (PS3.3 C.7.6.16), shared and one for each frame ...
_GROUPS = frozenset({SHARED_GROUPS, PER_FRAME_GROUPS})
# ... the sequences in them that are looked into ...
_DESCENDED = _GROUPS | {
    0x00189304,  # CT Acquisition Details
    0x00189314,  # CT Reconstruction
    0x00209111,  # Frame Content
    0x00209113,  # Plane Position (Patient)
    0x00209116,  # Plane Orientation (Patient)
    0x00289110,  # Pixel Measures
    0x00289145,  # Pixel Value Transformation
}
# ... and the values that are kept.
_GROUPED = frozenset(
    {
        0x00180050,  # Slice Thickness
        0x00180088,  # Spacing Between Slices
        0x00181120,  # Gantry/Detector Tilt
        0x00181210,  # Convolution Kernel
        0x00200032,  # Image Position (Patient)
        0x00200037,  # Image Orientation (Patient)
        0x00209156,  # Frame Acquisition Number
        0x00280030,  # Pixel Spacing
        0x00281052,  # Rescale Intercept
        0x00281053,  # Rescale Slope
    }
)
# Levels that are open around a value within the first item of a sequence within an item of a group.
_GROUPED_DEPTH = 4

# An integer string (PS3.5 6.2); a fraction of zeros is met in the field.
_WHOLE = re.compile(rb"\+?([0-9]{1,12})(?:\.0*)?")

_FIRST_READ_BYTES = 16 * 1024
# How many elements, or items, pass between two looks at the clock.
_CLOCK_EVERY = 4096


class Window:
    """The beginning of a file, read on as far as the walk needs it."""

    def __init__(self, stream: BinaryIO, size: int, limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self.size = size
        self.data = stream.read(min(size, _FIRST_READ_BYTES))

    def grow(self, upto: int) -> bytes:
        """Return the data with at least ``upto`` bytes; at most double what is there at a time."""
        if upto > self.size:
            raise HeaderRefused("truncated")
        if upto > self._limit:
            raise HeaderRefused("header-too-long")
        wanted = min(max(upto, 2 * len(self.data)), self.size)
        self._stream.seek(len(self.data))
        self.data += self._stream.read(wanted - len(self.data))
        if len(self.data) < upto:
            raise HeaderRefused("truncated")
        return self.data

    def peek(self, position: int) -> bytes:
        """Return the 8 bytes at ``position``, wherever in the file."""
        if position + 8 > self.size:
            raise HeaderRefused("truncated")
        if position + 8 <= len(self.data):
            return self.data[position : position + 8]
        self._stream.seek(position)
        found = self._stream.read(8)
        if len(found) < 8:
            raise HeaderRefused("truncated")
        return found


class _Level(NamedTuple):
    """An open sequence, item or run of fragments.

    ``end`` is where it ends; where ``is_open``, a delimiter ends it and ``end`` is the last byte it
    may reach. ``tag`` is the sequence's, also of its items; ``number`` is how many items a sequence
    had so far, and an item's own number from 0.
    """

    kind: int
    end: int
    is_open: bool
    is_implicit: bool
    tag: int = 0
    number: int = 0


_DATA_SET, _SEQUENCE, _FRAGMENTS = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Budget:
    """The limits, and the time at which the walk must be over."""

    limits: Limits
    deadline: float
    clock: Callable[[], float]


class DataSetWalk:
    """One walk over a data set: where it is, and the sequences that are open around it."""

    def __init__(
        self, window: Window, position: int, syntax: str, wanted: frozenset[int], budget: Budget
    ) -> None:
        self.window, self.position, self.syntax = window, position, syntax
        self.wanted = wanted | {NUMBER_OF_FRAMES}
        self.budget, self.limits = budget, budget.limits
        self.is_little = syntax != EXPLICIT_BIG
        order = "<" if self.is_little else ">"
        self._tag_at = struct.Struct(f"{order}HH").unpack_from
        self._short_at = struct.Struct(f"{order}H").unpack_from
        self._long_at = struct.Struct(f"{order}L").unpack_from
        self.found: dict[int, Element] = {}
        self.groups: dict[tuple[int, int], dict[tuple[int, int], bytes]] = {}
        self.levels: list[_Level] = []
        self.level = _Level(_DATA_SET, window.size, False, syntax == IMPLICIT_LITTLE)
        self.elements, self.items, self.elements_limit = 0, 0, self.limits.elements
        self.frames = 1

    def run(self) -> Header:
        """Walk to the pixels or to the end; raises :class:`HeaderRefused`."""
        pixels, budget = None, self.budget
        while self._is_inside():
            group, number = self._tag_at(self.window.data, self.position)
            tag = group << 16 | number
            if group == _DELIMITER_GROUP:
                self._delimit(tag)
                continue
            if self.level.kind != _DATA_SET:
                raise HeaderRefused("sequence-broken")
            self.elements += 1
            if self.elements > self.elements_limit:
                raise HeaderRefused("too-many-elements")
            if not self.elements % _CLOCK_EVERY and budget.clock() > budget.deadline:
                raise HeaderRefused("too-slow")
            vr, length, start = self._value_at()
            if not self.levels and tag in _PIXEL_TAGS:
                pixels = self._pixels(tag, length, start)
                break
            if not self.levels and tag in self.found:
                raise HeaderRefused("element-repeated")
            if length == _UNDEFINED or (tag in _DESCENDED and vr in _SEQUENCE_VRS):
                self._open(tag, vr, length, start)
            else:
                self._pass(tag, vr, length, start)
        if not self.elements:
            raise HeaderRefused("no-elements")
        is_implicit = self.syntax == IMPLICIT_LITTLE
        return Header(
            self.syntax,
            "",
            is_implicit,
            self.is_little,
            self.found,
            pixels,
            self.groups,
            self.frames,
        )

    def _is_inside(self) -> bool:
        """Whether another element follows; levels of defined length that end here are closed."""
        while self.position >= self.level.end:
            if self.level.is_open:
                raise self._beyond()
            if not self.levels:
                return False
            self.level = self.levels.pop()
        if self.position + 8 > self.level.end:
            raise self._beyond()
        if self.position + 12 > len(self.window.data):
            self.window.grow(min(self.position + 12, self.window.size))
        return True

    def _beyond(self) -> HeaderRefused:
        """Say why something ends behind its level: the file is cut, or a length lies."""
        is_cut = self.level.end == self.window.size
        return HeaderRefused("truncated" if is_cut else "length-inconsistent")

    def _value_at(self) -> tuple[bytes, int, int]:
        """Return VR, length and start of the value of the element at the position (PS3.5 7.1)."""
        data, position = self.window.data, self.position
        if self.level.is_implicit:
            return b"", self._long_at(data, position + 4)[0], position + 8
        vr = data[position + 4 : position + 6]
        if vr in SHORT_VRS:
            return vr, self._short_at(data, position + 6)[0], position + 8
        if vr in LONG_VRS:
            if position + 12 > self.level.end:
                raise self._beyond()
            return vr, self._long_at(data, position + 8)[0], position + 12
        if vr.isalpha() and vr.isupper():
            # Letters that the standard does not know: a 2 byte length, as all short VRs have.
            return b"UN", self._short_at(data, position + 6)[0], position + 8
        raise HeaderRefused("vr-unknown")

    def _pass(self, tag: int, vr: bytes, length: int, start: int) -> None:
        """Step over a value; keep it where it is wanted."""
        end = start + length
        if end > self.level.end:
            raise self._beyond()
        if length > self.limits.value_bytes:
            raise HeaderRefused("value-too-long")
        if end > self.limits.header_bytes:
            raise HeaderRefused("header-too-long")
        if not self.levels and tag in self.wanted:
            if end > len(self.window.data):
                self.window.grow(end)
            value = self.window.data[start:end]
            self.found[tag] = Element(vr.decode("ascii"), value)
            if tag == NUMBER_OF_FRAMES:
                self.frames = _number_of_frames(value, self.limits)
                per_frame = self.limits.elements_per_frame * self.frames
                self.elements_limit = max(self.limits.elements, per_frame)
        elif len(self.levels) == _GROUPED_DEPTH and tag in _GROUPED:
            self._keep_grouped(tag, start, end)
        self.position = end

    def _keep_grouped(self, tag: int, start: int, end: int) -> None:
        """Keep a value of a functional group; of several items the first counts."""
        group, inner = self.levels[_GROUPED_DEPTH // 2], self.level
        if group.tag not in _GROUPS or inner.number > 0:
            return
        if end > len(self.window.data):
            self.window.grow(end)
        values = self.groups[group.tag, group.number]
        if (inner.tag, tag) in values:
            raise HeaderRefused("element-repeated")
        values[inner.tag, tag] = self.window.data[start:end]

    def _open(self, tag: int, vr: bytes, length: int, start: int) -> None:
        """Step into a sequence, or into the fragments of an icon's pixels."""
        if vr not in _SEQUENCE_VRS and tag != PIXELS:
            raise HeaderRefused("sequence-broken")
        is_open = length == _UNDEFINED
        end = self.level.end if is_open else start + length
        if end > self.level.end:
            raise self._beyond()
        kind = _FRAGMENTS if tag == PIXELS else _SEQUENCE
        # A sequence of VR UN is implicit little endian whatever the rest is (PS3.5 6.2.2).
        is_implicit = self.level.is_implicit or vr == b"UN"
        self._enter(_Level(kind, end, is_open, is_implicit, tag), start)

    def _enter(self, level: _Level, start: int) -> None:
        self.levels.append(self.level)
        if len(self.levels) > 2 * self.limits.depth:
            raise HeaderRefused("nested-too-deep")
        self.level, self.position = level, start

    def _delimit(self, tag: int) -> None:
        """Step over the start of an item or the delimiter at the position."""
        level = self.level
        length = self._long_at(self.window.data, self.position + 4)[0]
        start = self.position + 8
        if tag == _ITEM and level.kind != _DATA_SET:
            self._item(level, length, start)
        elif level.is_open and tag == (_ITEM_END if level.kind == _DATA_SET else _SEQUENCE_END):
            self.level = self.levels.pop()
            self.position = start
        elif self.levels and not level.is_open and not length and tag != _ITEM:
            # A delimiter without need, at the end of a defined length, is met in the field.
            self.position = start
        else:
            raise HeaderRefused("sequence-broken")

    def _item(self, level: _Level, length: int, start: int) -> None:
        self.items += 1
        if self.items > self.limits.items:
            raise HeaderRefused("too-many-items")
        if not self.items % _CLOCK_EVERY and self.budget.clock() > self.budget.deadline:
            raise HeaderRefused("too-slow")
        is_open = length == _UNDEFINED
        end = level.end if is_open else start + length
        if end > level.end:
            raise self._beyond()
        if level.kind == _SEQUENCE:
            self.level = level._replace(number=level.number + 1)
            item = _Level(_DATA_SET, end, is_open, level.is_implicit, level.tag, level.number)
            self._enter(item, start)
            if len(self.levels) == _GROUPED_DEPTH // 2 and level.tag in _GROUPS:
                self.groups.setdefault((level.tag, level.number), {})
        elif is_open:
            raise HeaderRefused("sequence-broken")
        else:
            self.position = end

    def _pixels(self, tag: int, length: int, start: int) -> Pixels | None:
        """Return where the pixels lie, all within the file, fragments ended by a delimiter."""
        if tag != PIXELS:
            return None
        if length != _UNDEFINED:
            if start + length > self.window.size:
                raise HeaderRefused("truncated")
            return Pixels(start, length)
        item_at = struct.Struct("<HHL" if self.is_little else ">HHL").unpack
        fragments: list[tuple[int, int]] = []
        position = start
        while True:
            group, number, size = item_at(self.window.peek(position))
            tag = group << 16 | number
            position += 8
            if tag == _SEQUENCE_END:
                return Pixels(start, None, tuple(fragments))
            if tag != _ITEM or size == _UNDEFINED:
                raise HeaderRefused("sequence-broken")
            if position + size > self.window.size:
                raise HeaderRefused("truncated")
            fragments.append((position, size))
            if len(fragments) > self.limits.items:
                raise HeaderRefused("too-many-items")
            position += size


def _number_of_frames(value: bytes, limits: Limits) -> int:
    """Return how many frames are said: everybody who asks, asks here."""
    text = value.strip(b" \0")
    if not text:
        return 1
    said = _WHOLE.fullmatch(text)
    if said is None:
        raise HeaderRefused("frames-inconsistent")
    frames = int(said[1])
    if frames > limits.frames:
        raise HeaderRefused("too-many-frames")
    return max(1, frames)
