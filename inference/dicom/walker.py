"""A bounded walk over a DICOM header, before any library sees a byte.

::

    file ──> meta header ──> tag, VR, length | value | tag, VR, length | value | ... ──> pixels
             (group 0002)    values are skipped by length, wanted ones copied            place only

pydicom's reader has no limits on elements, items, depth or sizes: 21 MB of empty elements cost it
52 s, nesting of 500 levels ends in a RecursionError, and a file that ends early is read as a
shorter one without a word. This walk takes 0.2 ms for an ordinary instance, needs neither recursion
nor pydicom, and ends at the first broken promise with a stable word (:class:`HeaderRefused`).
Source: PS3.5 section 7, PS3.10 section 7.
"""

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import BinaryIO, NamedTuple

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"

MEDIA_CLASS = 0x00020002
TRANSFER_SYNTAX = 0x00020010
SOP_CLASS = 0x00080016
SOP_INSTANCE = 0x00080018
NUMBER_OF_FRAMES = 0x00280008
SHARED_GROUPS = 0x52009229
PER_FRAME_GROUPS = 0x52009230
PIXELS = 0x7FE00010

# Pixel Data and its float and double forms: here a walk ends.
_PIXEL_TAGS = frozenset({0x7FE00008, 0x7FE00009, PIXELS})

_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_DELIMITER_GROUP = 0xFFFE
_UNDEFINED = 0xFFFFFFFF
_PREAMBLE_LENGTH = 128
_GZIP_MAGIC = b"\x1f\x8b"

# PS3.5 table 7.1-1: VRs with two reserved bytes and a 32 bit length.
_LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
# UN may hold one (PS3.5 6.2.2), and implicit syntax does not write it.
_SEQUENCE_VRS = frozenset({b"SQ", b"UN", b""})

# Sequences of defined length that pydicom will be asked for, so what is in them must be counted.
_DESCENDED = frozenset(
    {
        SHARED_GROUPS,
        PER_FRAME_GROUPS,
        0x00209111,  # Frame Content
        0x00209113,  # Plane Position (Patient)
        0x00209116,  # Plane Orientation (Patient)
        0x00289110,  # Pixel Measures
        0x00289145,  # Pixel Value Transformation
    }
)

_FIRST_READ_BYTES = 16 * 1024
# How many elements, or items, pass between two looks at the clock.
_CLOCK_EVERY = 4096


@dataclass(frozen=True, slots=True)
class Limits:
    """What a header may cost. A settled service may lower them; honest files stay far below.

    For scale: a CT slice has about 250 elements and 6 kB, a legacy-converted CT of 300 frames 4,938
    elements and 131 kB, a SEG of 300 frames 6,410 and 193 kB.
    """

    header_bytes: int = 32 * 1024 * 1024
    elements: int = 50_000
    elements_per_frame: int = 200
    frames: int = 20_000
    depth: int = 32
    items: int = 200_000
    value_bytes: int = 16 * 1024 * 1024
    wall_s: float = 2.0


class HeaderRefused(Exception):  # noqa: N818  (says what happened to the header, as Unread does)
    """The walk stopped; ``reason`` is a stable word, listed in ``docs/dicom.md``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Element(NamedTuple):
    """A value as it stands in the file; ``vr`` is empty where the syntax does not write it."""

    vr: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Pixels:
    """Where the value of the pixel data lies.

    Attributes
    ----------
    offset, length
        In bytes of the file; for encapsulated pixels the length is None.
    fragments
        (offset, length) of each item of encapsulated pixels, the offset table (the first) included.
    """

    offset: int
    length: int | None
    fragments: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Header:
    """What a walk brings home.

    Attributes
    ----------
    elements
        Wanted top-level tag -> value. A sequence's value is the bytes of its items.
    transfer_syntax_uid
        Empty where the file has no meta header and the pixels are encapsulated: nobody said how.
    media_class_uid
        Media Storage SOP Class UID (0002,0002), by which a DICOMDIR is known; empty without a meta
        header.
    """

    transfer_syntax_uid: str
    media_class_uid: str
    is_implicit: bool
    is_little_endian: bool
    elements: dict[int, Element]
    pixels: Pixels | None


class _Window:
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


def walk(
    stream: BinaryIO,
    size: int,
    wanted: frozenset[int],
    *,
    limits: Limits = Limits(),
    syntax: str = "",
    clock: Callable[[], float] = time.monotonic,
) -> Header:
    """Walk a file's header up to its pixel data.

    Parameters
    ----------
    stream
        At byte 0 of the file.
    size
        Bytes in the file: no element may promise more.
    wanted
        Top-level tags whose values are to be returned.
    syntax
        Transfer syntax of a data set that stands alone (an inflated one); empty: a file with meta
        header, or without, when SOP class and instance are found in implicit or explicit little
        endian at byte 0.

    Returns
    -------
    The header. For the deflated syntax only its transfer syntax is filled: inflate first.

    Raises
    ------
    HeaderRefused
        ``not-dicom``, ``truncated``, ``transfer-syntax-missing``, ``no-elements``,
        ``header-too-long``, ``too-many-elements``, ``too-many-items``, ``too-many-frames``,
        ``nested-too-deep``, ``value-too-long``, ``too-slow``, ``length-inconsistent``,
        ``vr-unknown``, ``sequence-broken``, ``element-repeated``
    """
    window = _Window(stream, size, limits.header_bytes)
    budget = _Budget(limits, clock() + limits.wall_s, clock)
    if syntax:
        return _Walk(window, 0, syntax, wanted, budget).run()
    if window.data[_PREAMBLE_LENGTH : _PREAMBLE_LENGTH + 4] != b"DICM":
        return _without_meta(window, wanted, budget)
    syntax, media_class, start = _meta(window)
    if syntax == DEFLATED:
        return Header(syntax, media_class, False, True, {}, Pixels(start, size - start))
    header = _Walk(window, start, syntax, wanted, budget).run()
    return replace(header, media_class_uid=media_class)


def _meta(window: _Window) -> tuple[str, str, int]:
    """Return transfer syntax, media class and where the data set begins.

    The group length is not believed: it may be absent.
    """
    data, position = window.data, _PREAMBLE_LENGTH + 4
    found = {TRANSFER_SYNTAX: b"", MEDIA_CLASS: b""}
    while position < window.size:
        if position + 12 > len(data):
            if position + 8 > window.size:
                raise HeaderRefused("truncated")
            data = window.grow(min(position + 12, window.size))
        if data[position : position + 2] != b"\x02\x00":
            break
        vr = data[position + 4 : position + 6]
        if vr in _LONG_VRS:
            length = int.from_bytes(data[position + 8 : position + 12], "little")
            start = position + 12
        elif vr in _SHORT_VRS:
            length = int.from_bytes(data[position + 6 : position + 8], "little")
            start = position + 8
        else:
            raise HeaderRefused("vr-unknown")
        if start + length > len(data):
            data = window.grow(start + length)
        tag = 0x00020000 | int.from_bytes(data[position + 2 : position + 4], "little")
        if tag in found:
            found[tag] = data[start : start + length]
        position = start + length
    syntax, media_class = (
        value.strip(b"\0 ").decode("ascii", "replace") for value in found.values()
    )
    if not syntax:
        raise HeaderRefused("transfer-syntax-missing")
    return syntax, media_class, position


def _without_meta(window: _Window, wanted: frozenset[int], budget: "_Budget") -> Header:
    """Walk a bare data set; only one that names its class and instance passes for DICOM."""
    first = window.data[:6]
    if first.startswith(_GZIP_MAGIC):
        raise HeaderRefused("gzip")
    if len(first) < 6 or first[:2] != b"\x08\x00":
        raise HeaderRefused("not-dicom")
    syntax = EXPLICIT_LITTLE if first[4:6] in _LONG_VRS | _SHORT_VRS else IMPLICIT_LITTLE
    both = frozenset({SOP_CLASS, SOP_INSTANCE})
    try:
        header = _Walk(window, 0, syntax, wanted | both, budget).run()
    except HeaderRefused as refused:
        if refused.reason in ("vr-unknown", "sequence-broken"):
            raise HeaderRefused("not-dicom") from refused
        raise
    if not both <= header.elements.keys():
        raise HeaderRefused("not-dicom")
    kept = {tag: element for tag, element in header.elements.items() if tag in wanted}
    if header.pixels is not None and header.pixels.length is None:
        syntax = ""
    return replace(header, elements=kept, transfer_syntax_uid=syntax)


class _Level(NamedTuple):
    """An open sequence, item or run of fragments.

    ``end`` is where it ends; where ``is_open``, a delimiter ends it and ``end`` is the last byte it
    may reach. ``wanted_tag`` is 0 unless the sequence's bytes, from ``start`` on, are to be kept.
    """

    kind: int
    end: int
    is_open: bool
    is_implicit: bool
    wanted_tag: int
    start: int


_DATA_SET, _SEQUENCE, _FRAGMENTS = 0, 1, 2


@dataclass(frozen=True, slots=True)
class _Budget:
    """The limits, and the time at which the walk must be over."""

    limits: Limits
    deadline: float
    clock: Callable[[], float]


class _Walk:
    """One walk over a data set: where it is, and the sequences that are open around it."""

    def __init__(
        self, window: _Window, position: int, syntax: str, wanted: frozenset[int], budget: _Budget
    ) -> None:
        self.window, self.position, self.syntax = window, position, syntax
        self.wanted, self.budget, self.limits = wanted, budget, budget.limits
        self.is_little = syntax != EXPLICIT_BIG
        order = "<" if self.is_little else ">"
        self._tag_at = struct.Struct(f"{order}HH").unpack_from
        self._short_at = struct.Struct(f"{order}H").unpack_from
        self._long_at = struct.Struct(f"{order}L").unpack_from
        self.found: dict[int, Element] = {}
        self.levels: list[_Level] = []
        self.level = _Level(_DATA_SET, window.size, False, syntax == IMPLICIT_LITTLE, 0, position)
        self.elements, self.items, self.elements_limit = 0, 0, self.limits.elements

    def run(self) -> Header:
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
                pixels = _pixels(self.window, start, length, self.is_little, self.limits)
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
        return Header(self.syntax, "", is_implicit, self.is_little, self.found, pixels)

    def _is_inside(self) -> bool:
        """Whether another element follows; levels of defined length that end here are closed."""
        while self.position >= self.level.end:
            if self.level.is_open:
                raise self._beyond()
            if not self.levels:
                return False
            self._close(self.position)
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
        if vr in _SHORT_VRS:
            return vr, self._short_at(data, position + 6)[0], position + 8
        if vr in _LONG_VRS:
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
                self.elements_limit = _elements_limit(value, self.limits)
        self.position = end

    def _open(self, tag: int, vr: bytes, length: int, start: int) -> None:
        """Step into a sequence, or into the fragments of an icon's pixels."""
        if vr not in _SEQUENCE_VRS and tag != PIXELS:
            raise HeaderRefused("sequence-broken")
        is_open = length == _UNDEFINED
        end = self.level.end if is_open else start + length
        if end > self.level.end:
            raise self._beyond()
        kind = _FRAGMENTS if tag == PIXELS else _SEQUENCE
        kept = tag if not self.levels and tag in self.wanted else 0
        # A sequence of VR UN is implicit little endian whatever the rest is (PS3.5 6.2.2).
        is_implicit = self.level.is_implicit or vr == b"UN"
        self._enter(_Level(kind, end, is_open, is_implicit, kept, start))

    def _enter(self, level: _Level) -> None:
        self.levels.append(self.level)
        if len(self.levels) > 2 * self.limits.depth:
            raise HeaderRefused("nested-too-deep")
        self.level, self.position = level, level.start

    def _close(self, end: int) -> None:
        if self.level.wanted_tag:
            value = self.window.data[self.level.start : end]
            self.found[self.level.wanted_tag] = Element("SQ", value)
        self.level = self.levels.pop()

    def _delimit(self, tag: int) -> None:
        """Step over the start of an item or the delimiter at the position."""
        level = self.level
        length = self._long_at(self.window.data, self.position + 4)[0]
        start = self.position + 8
        if tag == _ITEM and level.kind != _DATA_SET:
            self._item(level, length, start)
        elif level.is_open and tag == (_ITEM_END if level.kind == _DATA_SET else _SEQUENCE_END):
            self._close(self.position)
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
            self._enter(_Level(_DATA_SET, end, is_open, level.is_implicit, 0, start))
        elif is_open:
            raise HeaderRefused("sequence-broken")
        else:
            self.position = end


def _elements_limit(number_of_frames: bytes, limits: Limits) -> int:
    text = number_of_frames.strip(b" \0")
    frames = int(text) if text.isdigit() and len(text) < 12 else 1
    if frames > limits.frames:
        raise HeaderRefused("too-many-frames")
    return max(limits.elements, limits.elements_per_frame * frames)


def _pixels(window: _Window, start: int, length: int, little: bool, limits: Limits) -> Pixels:
    """Return where the pixels lie, all within the file, fragments ended by a delimiter."""
    if length != _UNDEFINED:
        if start + length > window.size:
            raise HeaderRefused("truncated")
        return Pixels(start, length)
    item_at = struct.Struct("<HHL" if little else ">HHL").unpack
    fragments: list[tuple[int, int]] = []
    position = start
    while True:
        group, number, size = item_at(window.peek(position))
        tag = group << 16 | number
        position += 8
        if tag == _SEQUENCE_END:
            return Pixels(start, None, tuple(fragments))
        if tag != _ITEM or size == _UNDEFINED:
            raise HeaderRefused("sequence-broken")
        if position + size > window.size:
            raise HeaderRefused("truncated")
        fragments.append((position, size))
        if len(fragments) > limits.items:
            raise HeaderRefused("too-many-items")
        position += size
