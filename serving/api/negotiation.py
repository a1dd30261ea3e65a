"""What DICOMweb answers are made of: parts, entity tags, and forms that a client accepts.

Source: PS3.18 sections 8.7 and 10.4; RFC 9110 section 13.1.2 (If-None-Match).
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from serving.api.media_types import (
    DICOM,
    OCTET_STREAM,
    RELATED,
    MediaType,
    read_accept,
)
from serving.errors import NotAcceptable

EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"

# Explicit little endian as others see it: uncompressed frames are the same bytes in each.
NATIVE_SYNTAXES = frozenset(
    {
        "1.2.840.10008.1.2",
        EXPLICIT_LITTLE,
        "1.2.840.10008.1.2.1.99",
        "1.2.840.10008.1.2.2",
    }
)

# PS3.18 table 8.7.3-5: what a compressed frame is by itself.
_JPEG_2000 = ("90", "91", "92", "93")
IMAGE_TYPES = {
    **{f"1.2.840.10008.1.2.4.{n}": "image/jpeg" for n in ("50", "51", "53", "55", "57", "70")},
    **{f"1.2.840.10008.1.2.4.{n}": "image/jls" for n in ("80", "81")},
    **{f"1.2.840.10008.1.2.4.{n}": "image/jp2" for n in _JPEG_2000},
    **{f"1.2.840.10008.1.2.4.{n}": "image/jphc" for n in ("201", "202", "203")},
    "1.2.840.10008.1.2.5": "image/dicom-rle",
}

# What is given in parts; kinds of what is inside may be named by the type of the first.
_IN_PARTS = (RELATED, "multipart/*", "*/*")

_TAG = re.compile(r'(?:W/)?"([^"]*)"')


@dataclass(frozen=True, slots=True)
class Form:
    """How something is given.

    Attributes
    ----------
    is_multipart
        In parts of multipart/related, or one alone as the whole body.
    media_type
        Of each part, with its transfer syntax.
    is_decoded
        Of frames: without compression, whatever they are stored as.
    """

    is_multipart: bool
    media_type: str
    is_decoded: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its headers' values, and its body in pieces; size None: not known before."""

    media_type: str
    location: str
    size_bytes: int | None
    body: Iterable[bytes]


def accepted(request: Request) -> tuple[MediaType, ...]:
    """Return what a request accepts, most wanted first."""
    return read_accept(request.headers.getlist("accept"), request.query_params.getlist("accept"))


def instance_form(ranges: Sequence[MediaType], syntaxes: Iterable[str], *, alone: bool) -> Form:
    """Return how instances are given: always as they are stored.

    Where no transfer syntax is named, PS3.18 8.7.3 has Explicit VR Little Endian. In it, what
    is stored otherwise would be another file than came, with other bytes and another hash, so here
    it means any; each part names its own.

    Parameters
    ----------
    syntaxes
        Transfer syntaxes in which they are stored.
    alone
        Whether there is one, which may be given without parts around it.

    Raises
    ------
    NotAcceptable
        ``not-acceptable``
    """
    stored = set(syntaxes)
    for wanted in ranges:
        is_multipart = wanted.name in _IN_PARTS
        kinds = ("", DICOM, *_IN_PARTS) if is_multipart else (DICOM, "application/*")
        is_of_kind = wanted.kind in kinds and (is_multipart or alone)
        is_syntax = wanted.transfer_syntax in ("", "*") or stored == {wanted.transfer_syntax}
        if wanted.quality > 0 and is_of_kind and is_syntax:
            return Form(is_multipart, DICOM)
    raise NotAcceptable(
        "instances are given as they are stored",
        advice='accept multipart/related; type="application/dicom"; transfer-syntax=*',
    )


def frame_form(ranges: Sequence[MediaType], syntax: str, *, alone: bool) -> Form:
    """Return how frames are given: without compression unless they are wanted as stored.

    Parameters
    ----------
    syntax
        Transfer syntax in which they are stored.

    Raises
    ------
    NotAcceptable
        ``not-acceptable``
    """
    for wanted in ranges:
        if wanted.quality <= 0:
            continue
        is_multipart = wanted.name in _IN_PARTS
        if not is_multipart and not alone:
            continue
        form = _frame_form(wanted, syntax, is_multipart=is_multipart)
        if form is not None:
            return form
    raise NotAcceptable(
        f"the frames are stored with transfer syntax {syntax}",
        advice='accept multipart/related; type="application/octet-stream"; transfer-syntax=*',
    )


def _frame_form(wanted: MediaType, syntax: str, *, is_multipart: bool) -> Form | None:
    kind, asked = wanted.kind, wanted.transfer_syntax
    is_native = syntax in NATIVE_SYNTAXES
    image_type = IMAGE_TYPES.get(syntax)
    if kind in (OCTET_STREAM, "", "application/*", *_IN_PARTS):
        if asked in ("", EXPLICIT_LITTLE) or (asked == "*" and is_native):
            decoded = f"{OCTET_STREAM}; transfer-syntax={EXPLICIT_LITTLE}"
            return Form(is_multipart, decoded, is_decoded=True)
        if asked in ("*", syntax) and not is_native:
            return Form(is_multipart, f"{OCTET_STREAM}; transfer-syntax={syntax}")
    elif kind in (image_type, "image/*") and image_type is not None and asked in ("", "*", syntax):
        return Form(is_multipart, f"{image_type}; transfer-syntax={syntax}")
    return None


def entity_tag(*parts: str) -> str:
    """Return a strong tag of what an answer is made of."""
    digest = hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass"))
    return f'"{digest.hexdigest()[:40]}"'


def not_modified(request: Request, tag: str) -> Response | None:
    """Return 304 where the client has this already."""
    stated = ",".join(request.headers.getlist("if-none-match"))
    if stated.strip() == "*" or tag.strip('"') in _TAG.findall(stated):
        return Response(status_code=304, headers=caching(tag))
    return None


def caching(tag: str) -> dict[str, str]:
    """Return headers that let one client keep an answer and ask whether it still holds.

    ``Vary``: what is given depends on what is accepted and on who asks.
    """
    return {
        "ETag": tag,
        "Cache-Control": "private, no-cache",
        "Vary": "Accept, Authorization, Cookie",
    }


def multipart(parts: Sequence[Part], kind: str, tag: str) -> StreamingResponse:
    """Return parts as multipart/related, streamed, with a length that a cut line cannot meet.

    Parameters
    ----------
    kind
        Media type of all parts, without parameters.
    tag
        Of the answer; the boundary is made of it, so that equal answers are equal bytes.
    """
    boundary = "firstread-" + tag.strip('"')
    heads = [_head(part, boundary) for part in parts]
    end = f"--{boundary}--\r\n".encode()
    headers = caching(tag)
    sizes = [part.size_bytes for part in parts if part.size_bytes is not None]
    if len(sizes) == len(parts):
        around = sum(len(head) + 2 for head in heads) + len(end)
        headers["Content-Length"] = str(sum(sizes) + around)

    def body() -> Iterator[bytes]:
        for head, part in zip(heads, parts, strict=True):
            yield head
            yield from part.body
            yield b"\r\n"
        yield end

    media_type = f'{RELATED}; type="{kind}"; boundary={boundary}'
    return StreamingResponse(body(), media_type=media_type, headers=headers)


def _head(part: Part, boundary: str) -> bytes:
    size = "" if part.size_bytes is None else f"Content-Length: {part.size_bytes}\r\n"
    return (
        f"--{boundary}\r\nContent-Type: {part.media_type}\r\n{size}"
        f"Content-Location: {part.location}\r\n\r\n"
    ).encode()
