"""multipart/related, parsed while it streams: memory does not grow with the body.

::

    preamble --b CRLF headers CRLF CRLF data CRLF --b padding CRLF headers ... CRLF --b-- epilogue
              └── PartBegins ──────────┘└ view ─┘└ PartEnds ┘

A line that begins like a delimiter but goes on otherwise is data. What ends before the closing
delimiter is truncated, and says so. Source: RFC 2046 section 5.1, RFC 2387.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from serving.api.media_types import MediaType, read_media_type
from serving.errors import BadRequest, TooLarge, WrongMediaType

BOUNDARY_CHARACTERS = 70
PART_HEADER_BYTES = 8 * 1024
# Spaces behind a delimiter; a sender that writes more of them means something else.
_PADDING_CHARACTERS = 256
_LONGEST_DELIMITER = 4 + BOUNDARY_CHARACTERS + _PADDING_CHARACTERS + 2

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_TAIL = re.compile(rb"(--)|[ \t]{0,%d}\r\n" % _PADDING_CHARACTERS)
_TAIL_BEGUN = re.compile(rb"-?|[ \t]{0,%d}\r?" % _PADDING_CHARACTERS)
_FOLD = re.compile(r"\r\n[ \t]+")
_BLANK_LINE = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class PartBegins:
    """A part begins; header names are in lower case."""

    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PartEnds:
    """The part that began last is whole."""


# Data are views of what was fed: nothing is copied.
Event = PartBegins | PartEnds | memoryview


class _State(Enum):
    PREAMBLE = auto()
    HEADERS = auto()
    DATA = auto()
    EPILOGUE = auto()


def boundary_of(content_type: str, kind: str = "multipart/related") -> tuple[str, MediaType]:
    """Return the boundary and the media type that a Content-Type names.

    Raises
    ------
    WrongMediaType
        ``wrong-media-type``: another kind of body.
    BadRequest
        ``bad-request``: no boundary, or one that RFC 2046 does not allow.
    """
    media_type = read_media_type(content_type)
    if media_type is None or media_type.name != kind:
        raise WrongMediaType(
            f"the body must be {kind}",
            advice='send Content-Type: multipart/related; type="application/dicom"; boundary=...',
        )
    boundary = media_type.parameters.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise BadRequest("the boundary of Content-Type must be 1 to 70 characters of RFC 2046")
    return boundary, media_type


class RelatedParser:
    """Cuts a streamed body into parts; fed with chunks of any size it gives the same parts."""

    def __init__(self, boundary: str) -> None:
        self._delimiter = b"\r\n--" + boundary.encode("ascii")
        # The first delimiter may stand at the very beginning: as if a line had ended before it.
        self._buffer = b"\r\n"
        # What lies before this in the buffer is done with.
        self._position = 0
        self._state = _State.PREAMBLE
        # Of the data: the line end behind the headers, which may belong to a delimiter.
        self._skip = 0
        self._has_parts = False

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Yield what the body holds up to the end of this chunk, as far as it is certain.

        Raises
        ------
        BadRequest, TooLarge
            ``bad-request``: the headers of a part are none; ``too-large``: they do not end.
        """
        if self._state is _State.EPILOGUE:
            return
        self._buffer = self._buffer[self._position :] + chunk
        self._position = 0
        while self._state is not _State.EPILOGUE:
            at, end, is_last = self._find_delimiter()
            if self._state is _State.HEADERS:
                blank = self._buffer.find(_BLANK_LINE, self._position)
                if blank >= 0 and (at < 0 or blank < at):
                    yield PartBegins(_read_headers(self._buffer[self._position : blank]))
                    self._position, self._state, self._skip = blank + 2, _State.DATA, 2
                    continue
            if at < 0:
                break
            yield from self._end_part(at)
            self._position = end
            self._has_parts = self._has_parts or not is_last
            self._state = _State.EPILOGUE if is_last else _State.HEADERS
        yield from self._pass_on()

    def close(self) -> None:
        """Say that the body has ended.

        Raises
        ------
        BadRequest
            ``bad-request``: it ended before its closing delimiter, or it holds no part.
        """
        if self._state is not _State.EPILOGUE:
            raise BadRequest(
                "the body is truncated: the closing boundary is missing", advice="send it again"
            )
        if not self._has_parts:
            raise BadRequest("the body holds no part")

    def _end_part(self, at: int) -> Iterator[Event]:
        """Yield the rest of the part that ends at ``at``."""
        if self._state is _State.HEADERS:
            yield PartBegins(_read_headers(self._buffer[self._position : at]))
            yield PartEnds()
        elif self._state is _State.DATA:
            if at > self._position + self._skip:
                yield memoryview(self._buffer)[self._position + self._skip : at]
            yield PartEnds()

    def _find_delimiter(self) -> tuple[int, int, bool]:
        """Return start and end of the next whole delimiter and whether it closes; -1: none yet.

        The end leaves the line end of the delimiter in the buffer: what follows begins with it.
        """
        at = self._buffer.find(self._delimiter, self._position)
        while at >= 0:
            tail = _TAIL.match(self._buffer, at + len(self._delimiter))
            if tail is not None:
                is_last = tail[1] is not None
                return at, tail.end() - (0 if is_last else 2), is_last
            at = self._buffer.find(self._delimiter, at + 2)
        return -1, -1, False

    def _pass_on(self) -> Iterator[memoryview]:
        """Yield the data that no delimiter can begin in any more; keep the rest, which is short."""
        if self._state is _State.EPILOGUE:
            self._buffer, self._position = b"", 0
        elif self._state is _State.HEADERS:
            if len(self._buffer) - self._position > PART_HEADER_BYTES + _LONGEST_DELIMITER:
                raise _headers_too_long()
        else:
            keep = self._undecided()
            start = self._position + self._skip
            if self._state is _State.PREAMBLE:
                self._position = keep
            elif keep > start:
                yield memoryview(self._buffer)[start:keep]
                self._position, self._skip = keep, 0

    def _undecided(self) -> int:
        """Return where in the buffer a delimiter may have begun; its length: nowhere."""
        size = len(self._buffer)
        at = self._buffer.rfind(self._delimiter, max(self._position, size - _LONGEST_DELIMITER))
        if at >= 0 and _TAIL_BEGUN.fullmatch(self._buffer, at + len(self._delimiter)):
            return at
        at = max(self._position, size - len(self._delimiter) + 1)
        while (at := self._buffer.find(b"\r", at)) >= 0:
            if self._delimiter.startswith(self._buffer[at:]):
                return at
            at += 1
        return size


def _headers_too_long() -> TooLarge:
    return TooLarge(f"the headers of a part are longer than {PART_HEADER_BYTES} bytes")


def _read_headers(block: bytes) -> dict[str, str]:
    """Return name -> value of a block that begins with a line end; folded lines are unfolded."""
    if len(block) > PART_HEADER_BYTES:
        raise _headers_too_long()
    headers: dict[str, str] = {}
    for line in _FOLD.sub(" ", block.decode("latin-1")).split("\r\n")[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise BadRequest("a part's header is not of the form name: value")
        headers[name.strip().lower()] = value.strip()
    return headers
