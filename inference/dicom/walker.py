"""A bounded walk over a DICOM header, before any library sees a byte.

::

    file ──> meta header ──> data set: tag, VR, length | value | tag, VR, length | value | ... ──> pixels
             (group 0002)              skipped by length; wanted values are copied           place only

pydicom's reader has no limits on elements, items, depth or sizes: 21 MB of empty elements cost it 52 s,
nesting of 500 levels ends in a RecursionError, and a file that ends early is read as a shorter one without
a word. This walk takes 0.2 ms for an ordinary instance, needs neither recursion nor pydicom, and ends at
the first broken promise with a stable word (:class:`HeaderRefused`). Source: PS3.5 section 7, PS3.10 section 7.
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
FLOAT_PIXELS, DOUBLE_PIXELS, PIXELS = 0x7FE00008, 0x7FE00009, 0x7FE00010

_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
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
# How many steps pass between two looks at the clock.
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
        Media Storage SOP Class UID (0002,0002), by which a DICOMDIR is known; empty without a meta header.
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
    limits: Limits = Limits(),  # noqa: B008  (frozen)
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
        Transfer syntax of a data set that stands alone (an inflated one); empty: a file with meta header,
        or without, when SOP class and instance are found in implicit or explicit little endian at byte 0.

    Returns
    -------
    The header. For the deflated syntax only its transfer syntax is filled: inflate first.

    Raises
    ------
    HeaderRefused
        ``not-dicom``, ``truncated``, ``transfer-syntax-missing``, ``no-elements``, ``header-too-long``,
        ``too-many-elements``, ``too-many-items``, ``too-many-frames``, ``nested-too-deep``, ``value-too-long``,
        ``too-slow``, ``length-inconsistent``, ``vr-unknown``, ``sequence-broken``, ``element-repeated``
    """
    window = _Window(stream, size, limits.header_bytes)
    deadline = clock() + limits.wall_s
    if syntax:
        return _data_set(window, 0, syntax, wanted, limits, deadline, clock)
    if window.data[_PREAMBLE_LENGTH : _PREAMBLE_LENGTH + 4] != b"DICM":
        return _without_meta(window, wanted, limits, deadline, clock)
    syntax, media_class, start = _meta(window)
    if syntax == DEFLATED:
        return Header(syntax, media_class, False, True, {}, Pixels(start, size - start))
    header = _data_set(window, start, syntax, wanted, limits, deadline, clock)
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


def _without_meta(
    window: _Window,
    wanted: frozenset[int],
    limits: Limits,
    deadline: float,
    clock: Callable[[], float],
) -> Header:
    first = window.data[:6]
    if first.startswith(_GZIP_MAGIC):
        raise HeaderRefused("gzip")
    if len(first) < 6 or first[:2] != b"\x08\x00":
        raise HeaderRefused("not-dicom")
    syntax = EXPLICIT_LITTLE if first[4:6] in _LONG_VRS | _SHORT_VRS else IMPLICIT_LITTLE
    both = frozenset({SOP_CLASS, SOP_INSTANCE})
    try:
        header = _data_set(window, 0, syntax, wanted | both, limits, deadline, clock)
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

    ``end`` is where it ends; where ``is_open``, a delimiter ends it and ``end`` is the last byte it may reach.
    """

    kind: int
    end: int
    is_open: bool
    is_implicit: bool
    wanted_tag: int
    start: int


_DATA_SET, _SEQUENCE, _FRAGMENTS = 0, 1, 2


def _data_set(  # noqa: C901, PLR0912, PLR0915  (one flat loop: calls would double the cost of each element)
    window: _Window,
    position: int,
    syntax: str,
    wanted: frozenset[int],
    limits: Limits,
    deadline: float,
    clock: Callable[[], float],
) -> Header:
    little = syntax != EXPLICIT_BIG
    tag_at = struct.Struct("<HH" if little else ">HH").unpack_from
    short_at = struct.Struct("<H" if little else ">H").unpack_from
    long_at = struct.Struct("<L" if little else ">L").unpack_from
    size, data = window.size, window.data
    have = len(data)
    found: dict[int, Element] = {}
    levels: list[_Level] = []
    level = _Level(_DATA_SET, size, False, syntax == IMPLICIT_LITTLE, 0, position)
    elements, items, steps = 0, 0, 0
    elements_limit = limits.elements
    pixels: Pixels | None = None

    while True:
        steps += 1
        if not steps % _CLOCK_EVERY and clock() > deadline:
            raise HeaderRefused("too-slow")
        if position >= level.end:
            if level.is_open:
                raise HeaderRefused("truncated" if level.end == size else "sequence-broken")
            if not levels:
                break
            if level.wanted_tag:
                found[level.wanted_tag] = Element("SQ", data[level.start : position])
            level = levels.pop()
            continue
        if position + 8 > level.end:
            raise HeaderRefused("truncated" if level.end == size else "length-inconsistent")
        if position + 12 > have:
            data = window.grow(min(position + 12, size))
            have = len(data)
        group, number = tag_at(data, position)
        tag = group << 16 | number

        if group == 0xFFFE:
            length = long_at(data, position + 4)[0]
            position += 8
            if tag == _ITEM and level.kind != _DATA_SET:
                items += 1
                if items > limits.items:
                    raise HeaderRefused("too-many-items")
                if length == _UNDEFINED:
                    if level.kind == _FRAGMENTS:
                        raise HeaderRefused("sequence-broken")
                    levels.append(level)
                    level = _Level(_DATA_SET, level.end, True, level.is_implicit, 0, position)
                elif position + length > level.end:
                    raise HeaderRefused("truncated" if level.end == size else "length-inconsistent")
                elif level.kind == _FRAGMENTS:
                    position += length
                else:
                    levels.append(level)
                    level = _Level(
                        _DATA_SET, position + length, False, level.is_implicit, 0, position
                    )
            elif level.is_open and tag == (_ITEM_END if level.kind == _DATA_SET else _SEQUENCE_END):
                if level.wanted_tag:
                    found[level.wanted_tag] = Element("SQ", data[level.start : position - 8])
                level = levels.pop()
            elif level.is_open or length or tag == _ITEM or not levels:
                # A delimiter without need, at the end of a defined length, is met in the field: passed over.
                raise HeaderRefused("sequence-broken")
            continue
        if level.kind != _DATA_SET:
            raise HeaderRefused("sequence-broken")

        elements += 1
        if elements > elements_limit:
            raise HeaderRefused("too-many-elements")
        if level.is_implicit:
            vr = b""
            length = long_at(data, position + 4)[0]
            start = position + 8
        else:
            vr = data[position + 4 : position + 6]
            if vr in _SHORT_VRS:
                length = short_at(data, position + 6)[0]
                start = position + 8
            elif vr in _LONG_VRS:
                if position + 12 > level.end:
                    raise HeaderRefused("truncated" if level.end == size else "length-inconsistent")
                length = long_at(data, position + 8)[0]
                start = position + 12
            elif vr.isalpha() and vr.isupper():
                # Letters that the standard does not know: a 2 byte length, as all short VRs have.
                vr = b"UN"
                length = short_at(data, position + 6)[0]
                start = position + 8
            else:
                raise HeaderRefused("vr-unknown")

        if not levels and tag in (PIXELS, FLOAT_PIXELS, DOUBLE_PIXELS):
            pixels = _pixels(window, start, length, little, limits)
            break
        is_wanted = not levels and tag in wanted
        if is_wanted and tag in found:
            raise HeaderRefused("element-repeated")
        if length == _UNDEFINED or (tag in _DESCENDED and vr in _SEQUENCE_VRS):
            is_open = length == _UNDEFINED
            end = level.end if is_open else start + length
            if end > level.end:
                raise HeaderRefused("truncated" if level.end == size else "length-inconsistent")
            if vr not in _SEQUENCE_VRS and tag != PIXELS:
                raise HeaderRefused("sequence-broken")
            # Pixels below the top are those of an icon; they may be encapsulated like the others.
            kind = _FRAGMENTS if tag == PIXELS else _SEQUENCE
            levels.append(level)
            if len(levels) > 2 * limits.depth:
                raise HeaderRefused("nested-too-deep")
            # A sequence of VR UN is written as implicit little endian whatever the rest is (PS3.5 6.2.2).
            implicit = level.is_implicit or vr == b"UN"
            level = _Level(kind, end, is_open, implicit, tag if is_wanted else 0, start)
            position = start
            continue
        position = start + length
        if position > level.end:
            raise HeaderRefused("truncated" if level.end == size else "length-inconsistent")
        if length > limits.value_bytes:
            raise HeaderRefused("value-too-long")
        if is_wanted:
            if position > have:
                data = window.grow(position)
                have = len(data)
            value = data[start:position]
            found[tag] = Element(vr.decode("ascii"), value)
            if tag == NUMBER_OF_FRAMES:
                elements_limit = _elements_limit(value, limits)
        elif position > limits.header_bytes:
            raise HeaderRefused("header-too-long")

    if not elements:
        raise HeaderRefused("no-elements")
    return Header(syntax, "", syntax == IMPLICIT_LITTLE, little, found, pixels)


def _elements_limit(number_of_frames: bytes, limits: Limits) -> int:
    text = number_of_frames.strip(b" \0")
    frames = int(text) if text.isdigit() and len(text) < 12 else 1
    if frames > limits.frames:
        raise HeaderRefused("too-many-frames")
    return max(limits.elements, limits.elements_per_frame * frames)


def _pixels(window: _Window, start: int, length: int, little: bool, limits: Limits) -> Pixels:
    """Return where the pixels lie; each fragment must lie in the file and a delimiter must end them."""
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
