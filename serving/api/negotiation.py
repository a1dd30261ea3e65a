"""What DICOMweb answers are made of: parts, entity tags, and forms that a client accepts.

Source: PS3.18 sections 8.7 and 10.4; RFC 9110 section 13.1.2 (If-None-Match).
"""

import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from starlette.concurrency import iterate_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from inference.dicom.converted import CONVERTIBLE
from inference.dicom.headers import LOSSY_SYNTAXES
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

_VIDEO = frozenset(
    f"1.2.840.10008.1.2.4.{n}{fragmentable}" for n in range(100, 109) for fragmentable in ("", ".1")
)
# Nothing else is there than a lossy form that is not decoded here (PS3.18 8.7.3).
_LOSS_ALONE = (LOSSY_SYNTAXES | _VIDEO) - CONVERTIBLE

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
        Of frames: without compression, whatever they are stored as. Of instances: converted to
        Explicit VR Little Endian.
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


def instance_forms(ranges: Sequence[MediaType], syntax: str, *, alone: bool) -> tuple[Form, ...]:
    """Return the forms in which an instance may be given, most wanted first; none: not at all.

    Where no transfer syntax is named it is Explicit VR Little Endian (PS3.18 8.7.3), but for what
    is there with loss alone and is not decoded here, video say: that is given as it is stored.
    ``*`` is as it is stored. Of several ranges that a form meets the most exact counts.

    Parameters
    ----------
    syntax
        Transfer syntax in which it is stored.
    alone
        Whether it is the only one, which may be given without parts around it.
    """
    given = [EXPLICIT_LITTLE] if syntax in CONVERTIBLE else []
    forms = [
        Form(is_multipart, f"{DICOM}; transfer-syntax={one}", is_decoded=one != syntax)
        for is_multipart in ((True, False) if alone else (True,))
        for one in (*given, syntax)
    ]
    wanted = [(_wish_for(ranges, form, syntax), form) for form in forms]
    found = [(wish, form) for wish, form in wanted if wish is not None and wish[0] > 0]
    found.sort(key=lambda one: (-one[0][0], one[0][1]))
    return tuple(form for _, form in found)


def _wish_for(ranges: Sequence[MediaType], form: Form, stored: str) -> tuple[float, int] | None:
    """Return how much a form of an instance is wanted, and the place of the range that says so."""
    met = [
        (exactness, -place, wanted.quality)
        for place, wanted in enumerate(ranges)
        if (exactness := _exactness(wanted, form, stored)) is not None
    ]
    if not met:
        return None
    _, place, quality = max(met)
    return quality, -place


def _exactness(wanted: MediaType, form: Form, stored: str) -> tuple[int, int] | None:
    """Return how exactly a range names a form of an instance; None: it does not."""
    kinds = ("*/*", "multipart/*", "", DICOM) if form.is_multipart else ("application/*", DICOM)
    is_in_parts = wanted.name in _IN_PARTS
    if is_in_parts != form.is_multipart or wanted.kind not in kinds:
        return None
    asked = wanted.transfer_syntax
    given = stored if not form.is_decoded else EXPLICIT_LITTLE
    by_default = stored if stored in _LOSS_ALONE else EXPLICIT_LITTLE
    if asked == given:
        return kinds.index(wanted.kind), 2
    if asked == "*" and not form.is_decoded:
        return kinds.index(wanted.kind), 1
    if not asked and given == by_default:
        return kinds.index(wanted.kind), 0
    return None


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


def multipart(
    parts: Sequence[Part | Callable[[], Awaitable[Part]]],
    kind: str,
    tag: str,
    status_code: int = 200,
) -> StreamingResponse:
    """Return parts as multipart/related, streamed.

    Parameters
    ----------
    parts
        Each, or what makes it when its turn has come. Where all sizes are known the answer has a
        length, which a cut line cannot meet; else it ends with a last chunk.
    kind
        Media type of all parts, without parameters.
    tag
        Of the answer; the boundary is made of it, so that equal answers are equal bytes.
    """
    boundary = "firstread-" + tag.strip('"')
    end = f"--{boundary}--\r\n".encode()
    headers = caching(tag)
    known = [part for part in parts if isinstance(part, Part)]
    sizes = [part.size_bytes for part in known if part.size_bytes is not None]
    if len(sizes) == len(parts):
        around = sum(len(_head(part, boundary)) + 2 for part in known) + len(end)
        headers["Content-Length"] = str(sum(sizes) + around)

    async def body() -> AsyncIterator[bytes]:
        for coming in parts:
            part = coming if isinstance(coming, Part) else await coming()
            yield _head(part, boundary)
            async for piece in iterate_in_threadpool(part.body):
                yield piece
            yield b"\r\n"
        yield end

    media_type = f'{RELATED}; type="{kind}"; boundary={boundary}'
    return StreamingResponse(body(), status_code, media_type=media_type, headers=headers)


def _head(part: Part, boundary: str) -> bytes:
    size = "" if part.size_bytes is None else f"Content-Length: {part.size_bytes}\r\n"
    return (
        f"--{boundary}\r\nContent-Type: {part.media_type}\r\n{size}"
        f"Content-Location: {part.location}\r\n\r\n"
    ).encode()
