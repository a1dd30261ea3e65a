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

import time
from collections.abc import Callable
from dataclasses import replace
from typing import BinaryIO

from inference.dicom.data_set import (
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    LONG_VRS,
    SHORT_VRS,
    Budget,
    DataSetWalk,
    Window,
)
from inference.dicom.walked import LIMITS, Header, HeaderRefused, Limits, Pixels

DEFLATED = "1.2.840.10008.1.2.1.99"

MEDIA_CLASS = 0x00020002
TRANSFER_SYNTAX = 0x00020010
SOP_CLASS = 0x00080016
SOP_INSTANCE = 0x00080018

_PREAMBLE_LENGTH = 128
_GZIP_MAGIC = b"\x1f\x8b"


def walk(
    stream: BinaryIO,
    size: int,
    wanted: frozenset[int],
    *,
    limits: Limits = LIMITS,
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
        ``frames-inconsistent``, ``nested-too-deep``, ``value-too-long``, ``too-slow``,
        ``length-inconsistent``, ``vr-unknown``, ``sequence-broken``, ``element-repeated``
    """
    window = Window(stream, size, limits.header_bytes)
    budget = Budget(limits, clock() + limits.wall_s, clock)
    if syntax:
        return DataSetWalk(window, 0, syntax, wanted, budget).run()
    if window.data[_PREAMBLE_LENGTH : _PREAMBLE_LENGTH + 4] != b"DICM":
        return _without_meta(window, wanted, budget)
    syntax, media_class, start = _meta(window)
    if syntax == DEFLATED:
        return Header(syntax, media_class, False, True, {}, Pixels(start, size - start))
    header = DataSetWalk(window, start, syntax, wanted, budget).run()
    return replace(header, media_class_uid=media_class)


def data_set_place(stream: BinaryIO, size: int) -> tuple[str, int]:
    """Return transfer syntax and first byte of the data set of a file with a meta header.

    Raises
    ------
    HeaderRefused
        ``truncated``, ``vr-unknown``, ``transfer-syntax-missing``, ``not-dicom``
    """
    window = Window(stream, size, LIMITS.header_bytes)
    if window.data[_PREAMBLE_LENGTH : _PREAMBLE_LENGTH + 4] != b"DICM":
        raise HeaderRefused("not-dicom")
    syntax, _, start = _meta(window)
    return syntax, start


def _meta(window: Window) -> tuple[str, str, int]:
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
        if vr in LONG_VRS:
            length = int.from_bytes(data[position + 8 : position + 12], "little")
            start = position + 12
        elif vr in SHORT_VRS:
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


def _without_meta(window: Window, wanted: frozenset[int], budget: Budget) -> Header:
    """Walk a bare data set; only one that names its class and instance passes for DICOM."""
    first = window.data[:6]
    if first.startswith(_GZIP_MAGIC):
        raise HeaderRefused("gzip")
    if len(first) < 6 or first[:2] != b"\x08\x00":
        raise HeaderRefused("not-dicom")
    syntax = EXPLICIT_LITTLE if first[4:6] in LONG_VRS | SHORT_VRS else IMPLICIT_LITTLE
    both = frozenset({SOP_CLASS, SOP_INSTANCE})
    try:
        header = DataSetWalk(window, 0, syntax, wanted | both, budget).run()
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
