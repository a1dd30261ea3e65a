"""A whole header in the DICOM JSON Model (PS3.18 annex F), read from its bytes.

Numbers are numbers where the file holds one; what is none (``nan``, ``1e999``) stays the text that
it is. Texts are Unicode by the codec that was decided for their study, so the character set that
the model names is ISO_IR 192. What is long or binary becomes an address or base64, never a copy.

A sequence that breaks a promise is given as what it is for us: unknown bytes (VR UN).
"""

import base64
import mmap
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from inference.dicom.charsets import declared_sets, decode
from inference.dicom.data_set import IMPLICIT_LITTLE
from inference.dicom.elements import (
    DEPTH,
    ITEM_END,
    PIXEL_TAGS,
    Broken,
    ElementReader,
    Place,
    behind_meta,
)
from inference.dicom.json_values import binary_numbers, little, text_values
from inference.dicom.reader import walk_file
from inference.dicom.scratch import scratch_folder
from inference.dicom.walked import HeaderRefused

INLINE_BYTES = 1024
"""Binary values up to this size are in the document."""

VALUE_BYTES = 64 * 1024
"""Longer values of every kind have an address of their own."""


Model = dict[str, dict[str, Any]]

_CHARSET = 0x00080005
_REPRESENTATION = 0x00280103
_BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_NUMBERS = {
    "FD": "d",
    "FL": "f",
    "SL": "l",
    "SS": "h",
    "SV": "q",
    "UL": "L",
    "US": "H",
    "UV": "Q",
}
# PS3.5 6.1.2.3: their characters are those of the declared set.
_DECODED = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_PATH = re.compile(r"[0-9A-Fa-f]{8}(/[1-9][0-9]{0,8}/[0-9A-Fa-f]{8})*")


class ElementMissing(Exception):
    """The header has no such element."""


@dataclass(frozen=True, slots=True)
class _Scope:
    """What holds for the elements of one data set."""

    path: str
    depth: int
    declared: tuple[str, ...]
    is_signed: bool


@contextmanager
def open_header(
    path: Path, codec_of: Callable[[tuple[str, ...]], str], bulk_url: str
) -> Iterator["HeaderJson"]:
    """Open the header of a file that the bounded walk has passed; see :class:`HeaderJson`.

    Raises
    ------
    HeaderRefused
        It is not such a file.
    OutputError
        ``output-unwritable``: no room to inflate a deflated one.
    """
    with ExitStack() as stack:
        scratch = stack.enter_context(scratch_folder())
        found, header = walk_file(path, scratch / "inflated", wanted=frozenset())
        stream = stack.enter_context(found.open("rb", buffering=0))
        data = stack.enter_context(closing(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)))
        start = behind_meta(data) if found == path else 0
        yield HeaderJson(data, start, header.transfer_syntax_uid, codec_of, bulk_url)


class HeaderJson:
    """One header.

    Parameters
    ----------
    data
        The whole file, or a memory map of it: only what is needed is read.
    start
        Where the data set begins, behind the meta header.
    codec_of
        Declared character sets -> the codec for ``charsets.decode``.
    bulk_url
        What the address of a long value begins with; its tag follows, within a sequence its path:
        ``30060039/1/30060040``, items counted from 1.
    """

    def __init__(
        self,
        data: Any,
        start: int,
        syntax: str,
        codec_of: Callable[[tuple[str, ...]], str],
        bulk_url: str,
    ) -> None:
        self._reader, self._start = ElementReader(data, syntax), start
        self._is_implicit = syntax == IMPLICIT_LITTLE
        self._codec_of, self._bulk_url = codec_of, bulk_url

    def model(self) -> Model:
        """Return the document; group lengths and the meta header are not part of it.

        Raises
        ------
        HeaderRefused
            ``too-many-elements``, counted with those of all sequences; ``sequence-broken``.
        """
        try:
            made, _ = self._data_set(
                self._start, self._reader.size, self._is_implicit, _Scope("", 0, (), False)
            )
        except (Broken, struct.error) as error:
            raise HeaderRefused("sequence-broken") from error
        made["00080005"] = {"vr": "CS", "Value": ["ISO_IR 192"]}
        return dict(sorted(made.items()))

    def value(self, path: str) -> bytes:
        """Return the value of an element by the path of its address, in little endian.

        Raises
        ------
        ElementMissing
            There is none, or its value is fragments.
        HeaderRefused
            ``too-many-elements``
        """
        if not _PATH.fullmatch(path) or path.count("/") > 2 * DEPTH:
            raise ElementMissing
        *inner, last = path.split("/")
        start, end, is_implicit = self._start, self._reader.size, self._is_implicit
        try:
            for tag, number in zip(inner[::2], inner[1::2], strict=True):
                sequence = self._find(int(tag, 16), start, end, is_implicit)
                start, end = list(self._reader.items(sequence))[int(number) - 1]
                is_implicit = sequence.is_implicit
            element = self._find(int(last, 16), start, end, is_implicit)
        except (ValueError, IndexError, struct.error, Broken) as error:
            raise ElementMissing from error
        if element.end is None:
            raise ElementMissing
        raw = self._reader.raw(element.start, element.end)
        return little(raw, element.vr, is_big=self._reader.order == ">")

    def _find(self, tag: int, start: int, end: int, is_implicit: bool) -> Place:
        element = self._reader.find(tag, start, end, is_implicit)
        if element is None:
            raise ElementMissing
        return element

    def _data_set(
        self, position: int, end: int, is_implicit: bool, scope: _Scope, *, is_open: bool = False
    ) -> tuple[Model, int]:
        """Return a data set's document and the position behind it, its delimiter included.

        Parameters
        ----------
        is_open
            Whether only a delimiter ends it.
        """
        made: Model = {}
        while (element := self._reader.next(position, end, is_implicit)) is not None:
            if element.tag == ITEM_END:
                return made, element.start
            if element.tag == _CHARSET and element.end is not None:
                declared = declared_sets(self._reader.raw(element.start, element.end))
                scope = replace(scope, declared=declared)
                position = element.end
                continue
            if element.tag == _REPRESENTATION:
                raw = self._reader.raw(element.start, element.start + 2)
                scope = replace(scope, is_signed=any(raw))
            value, position = self._element(element, scope)
            if element.tag & 0xFFFF:
                made[f"{element.tag:08X}"] = value
            if element.tag in PIXEL_TAGS and not scope.depth:
                break
        if is_open:
            raise Broken
        return made, position

    def _element(self, element: Place, scope: _Scope) -> tuple[dict[str, Any], int]:
        """Return an element's entry and the position behind it."""
        path = f"{scope.path}{element.tag:08X}"
        if element.vr == "SQ":
            return self._sequence(element, scope, path)
        if element.end is None or (element.tag in PIXEL_TAGS and not scope.depth):
            vr = element.vr if element.vr in _BINARY else "OW"
            return {"vr": vr, "BulkDataURI": self._bulk_url + path}, self._reader.end_of(element)
        vr = element.vr
        if vr == "US or SS":
            vr = "SS" if scope.is_signed else "US"
        most = INLINE_BYTES if vr in _BINARY else VALUE_BYTES
        if element.end - element.start > most:
            return {"vr": vr, "BulkDataURI": self._bulk_url + path}, element.end
        raw = self._reader.raw(element.start, element.end)
        if vr in _BINARY:
            inline = base64.b64encode(little(raw, vr, is_big=self._reader.order == ">")).decode()
            return {"vr": vr, "InlineBinary": inline} if raw else {"vr": vr}, element.end
        values = self._values(raw, vr, scope)
        return {"vr": vr, "Value": values} if values else {"vr": vr}, element.end

    def _sequence(self, element: Place, scope: _Scope, path: str) -> tuple[dict[str, Any], int]:
        if scope.depth >= DEPTH:
            raise Broken
        items: list[Model] = []
        try:
            limit = self._reader.size if element.end is None else element.end
            position = element.start
            while (item := self._reader.item_at(position, limit)) is not None:
                start, end = item
                inner = replace(scope, path=f"{path}/{len(items) + 1}/", depth=scope.depth + 1)
                made, behind = self._data_set(
                    start,
                    limit if end is None else end,
                    element.is_implicit,
                    inner,
                    is_open=end is None,
                )
                items.append(dict(sorted(made.items())))
                position = behind if end is None else end
            behind = position + 8 if element.end is None else element.end
        except (Broken, struct.error):
            if element.end is None:
                raise
            # The walk steps over sequences of defined length: what they hold nobody has seen yet.
            return {"vr": "UN", "BulkDataURI": self._bulk_url + path}, element.end
        return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}, behind

    def _values(self, raw: bytes, vr: str, scope: _Scope) -> list[Any]:
        if vr in _NUMBERS:
            return binary_numbers(raw, self._reader.order + _NUMBERS[vr])
        if vr == "AT":
            words = struct.iter_unpack(f"{self._reader.order}HH", raw[: len(raw) // 4 * 4])
            return [f"{group:04X}{number:04X}" for group, number in words]
        if vr in _DECODED:
            text = decode(raw, scope.declared, self._codec_of(scope.declared))
        else:
            text = raw.decode("latin-1").rstrip("\0 ")
        return text_values(text, vr)
