"""Values of a header as they stand in the DICOM JSON Model: numbers, texts, names (PS3.18 annex F).

Numbers are numbers where the file holds one; what is none (``nan``, ``1e999``) stays the text that
it is.
"""

import math
import re
import struct
from typing import Any

import numpy as np
from pydicom.datadict import dictionary_VR

_WORD_BYTES = {"OD": 8, "OF": 4, "OL": 4, "OV": 8, "OW": 2}
_SINGLE = frozenset({"LT", "ST", "UT", "UR"})
_NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
# JavaScript's numbers are whole up to here.
_EXACT = 2**53
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WHOLE = re.compile(r"[+-]?\d{1,15}")
# The dictionary's VR where an implicit file leaves a choice (PS3.5 annex A.1 note).
_AMBIGUOUS = {"OB or OW": "OW", "US or OW": "OW", "US or SS or OW": "OW"}


def little(raw: bytes, vr: str, *, is_big: bool) -> bytes:
    """Return a binary value in little endian, as everything outside a file is (PS3.18 F.2.7)."""
    return swapped(raw, _WORD_BYTES.get(vr, 1)) if is_big else raw


def swapped(raw: bytes, width: int) -> bytes:
    """Return words of ``width`` bytes in the other byte order; the last may be cut short."""
    whole = len(raw) // width * width
    words = np.frombuffer(raw[:whole], f"u{width}").byteswap().tobytes()
    return words + raw[whole:][::-1]


def known_vr(tag: int) -> str:
    """Return the VR of a tag in an implicit file; a private creator's is LO, others UN."""
    group, number = tag >> 16, tag & 0xFFFF
    if group % 2:
        return "LO" if 0x10 <= number <= 0xFF else "UN"
    try:
        vr = dictionary_VR(tag)
    except KeyError:
        return "UN"
    return _AMBIGUOUS.get(vr, vr)


def binary_numbers(raw: bytes, form: str) -> list[Any]:
    """Return binary numbers of the form of ``struct``; those that JSON cannot hold as texts."""
    width = struct.calcsize(form)
    count = len(raw) // width
    numbers = struct.unpack_from(f"{form[0]}{count}{form[1]}", raw)
    if form[1] in "df":
        return [x if math.isfinite(x) else _unbounded(x) for x in numbers]
    return [x if abs(x) < _EXACT else str(x) for x in numbers]


def _unbounded(number: float) -> str:
    if math.isnan(number):
        return "NaN"
    return "inf" if number > 0 else "-inf"


def text_values(text: str, vr: str) -> list[Any]:
    """Return the values of a text; an empty one among several is None."""
    if not text:
        return []
    if vr in _SINGLE:
        return [text]
    parts = [part.strip("\0 ") for part in text.split("\\")]
    if vr == "PN":
        return [_name(part) for part in parts]
    if vr in ("DS", "IS"):
        return [_number(part) for part in parts]
    return [part or None for part in parts]


def _name(text: str) -> dict[str, str] | None:
    groups = zip(_NAME_GROUPS, text.split("="), strict=False)
    return {name: group.strip() for name, group in groups if group.strip()} or None


def _number(text: str) -> int | float | str | None:
    if not text:
        return None
    if _WHOLE.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text) and math.isfinite(value := float(text)):
        return value
    return text
