"""WADO-RS: what the store holds, checked against its hash before a byte of it is given.

Source: PS3.18 section 10.4.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from starlette.responses import Response, StreamingResponse

from firstread.errors import OutputError
from inference.dicom.json_model import ElementMissing, Model, open_header
from inference.dicom.stored import FRAME_BYTES
from inference.dicom.stored_frames import (
    FrameRefused,
    decoded_frame,
    open_pixels,
    stored_frame,
)
from inference.dicom.walked import HeaderRefused
from serving.api.datasets import as_json, native_xml
from serving.api.media_types import DICOM_XML, OCTET_STREAM
from serving.api.negotiation import Form, Part, caching, entity_tag, multipart
from serving.api.rendered import Wish, render
from serving.api.spool import Spool
from serving.archive.index import InstanceRow, codec_of
from serving.archive.store import Store
from serving.errors import NotAcceptable, NotFound, TooLarge, Unavailable

PIXEL_DATA = "7FE00010"

# A file that the disk gave back right is not hashed again for each of its frames.
CHECKED_FOR_S = 600.0
_CHECKED_FILES = 8192
# Of one request; one frame is no larger.
MOST_FRAMES_BYTES = FRAME_BYTES
# Raised when the same object is given in another way: who has the old form asks anew.
_FORM_VERSION = "2"


def checked(store: Store, sha256: str, now: float) -> Path:
    """Return where an object lies, its bytes hashed now or a little while ago.

    Raises
    ------
    ObjectDamaged
        ``object-damaged``
    """
    path = store.path(sha256)
    try:
        facts = path.stat()
    except FileNotFoundError:
        return store.check(sha256)
    state = facts.st_ino, facts.st_mtime_ns, facts.st_size
    _check(store, sha256, state, int(now // CHECKED_FOR_S))
    return path


@lru_cache(maxsize=_CHECKED_FILES)
def _check(store: Store, sha256: str, _state: tuple[int, int, int], _period: int) -> None:
    store.check(sha256)


@dataclass(frozen=True, slots=True)
class Retrieval:
    """One request's view of the archive.

    Attributes
    ----------
    studies_url
        What the addresses of studies begin with.
    now
        Seconds since 1970.
    """

    store: Store
    studies_url: str
    now: float

    def file(self, row: InstanceRow) -> Path:
        """Return the file of an instance, checked; raises :class:`ObjectDamaged`."""
        return checked(self.store, row.sha256, self.now)

    def url(self, row: InstanceRow) -> str:
        """Return the address of an instance."""
        series = f"{self.studies_url}/{row.study_uid}/series/{row.series_uid}"
        return f"{series}/instances/{row.sop_instance_uid}"


def tag_of(rows: Sequence[InstanceRow], *parts: str) -> str:
    """Return the entity tag of an answer about instances."""
    return entity_tag(_FORM_VERSION, *parts, *(row.sha256 for row in rows))


def metadata(retrieval: Retrieval, row: InstanceRow) -> Model:
    """Return the whole header of an instance.

    Raises
    ------
    NotAcceptable
        ``not-acceptable``: it is too large to be written as a document.
    """
    path = retrieval.file(row)
    bulk_url = f"{retrieval.url(row)}/bulkdata/"
    try:
        with open_header(path, partial(codec_of, row.codecs), bulk_url) as header:
            return header.model()
    except HeaderRefused as refused:
        raise NotAcceptable(
            f"the header cannot be given as a document: {refused.reason}",
            advice="retrieve the instance itself",
        ) from refused


def metadata_response(
    retrieval: Retrieval, rows: Sequence[InstanceRow], media_type: str, tag: str
) -> Response:
    """Return the headers of instances: a list in JSON, streamed, or parts in XML.

    Raises
    ------
    NotAcceptable, ObjectDamaged
        Of the first one; a later one ends the answer early.
    """
    first = metadata(retrieval, rows[0])
    if media_type == DICOM_XML:

        def document(row: InstanceRow) -> Iterator[bytes]:
            yield native_xml(metadata(retrieval, row))

        urls = [retrieval.url(row) for row in rows]
        parts = [
            Part(DICOM_XML, url, None, document(row)) for url, row in zip(urls, rows, strict=True)
        ]
        return multipart(parts, DICOM_XML, tag)

    def body() -> Iterator[bytes]:
        yield b"[" + as_json(first)
        for row in rows[1:]:
            yield b"," + as_json(metadata(retrieval, row))
        yield b"]"

    return StreamingResponse(body(), media_type=media_type, headers=caching(tag))


def frames_response(
    retrieval: Retrieval, row: InstanceRow, numbers: Sequence[int], form: Form, tag: str
) -> Response:
    """Return frames.

    Raises
    ------
    NotFound
        ``not-found``: there is no such frame.
    NotAcceptable
        ``not-acceptable``: it cannot be decoded.
    TooLarge
        ``too-large``: a frame, or so many at once.
    Unavailable
        ``unavailable``: no room.
    ObjectDamaged
        ``object-damaged``
    """
    path = retrieval.file(row)
    read = decoded_frame if form.is_decoded else stored_frame
    spool, frames = Spool(), list[tuple[int, Iterator[bytes]]]()
    with refusals_told(), open_pixels(path) as pixels:
        if any(number > pixels.frames for number in numbers):
            raise NotFound(f"the instance has {pixels.frames} frames")
        for number in numbers:
            frame = read(pixels, number)
            frames.append((len(frame), spool.add(frame)))
            if spool.size_bytes > MOST_FRAMES_BYTES:
                raise TooLarge(
                    f"the frames are larger than {MOST_FRAMES_BYTES} bytes",
                    advice="ask for fewer at once",
                )
    if not form.is_multipart:
        ((_, body),) = frames
        return spooled(body, spool.size_bytes, form.media_type, tag)
    url = retrieval.url(row)
    parts = [
        Part(form.media_type, f"{url}/frames/{number}", size_bytes, body)
        for number, (size_bytes, body) in zip(numbers, frames, strict=True)
    ]
    return multipart(parts, form.media_type.partition(";")[0], tag)


def spooled(body: Iterator[bytes], size_bytes: int, media_type: str, tag: str) -> Response:
    """Return what a spool holds as the whole body of an answer."""
    headers = {"Content-Length": str(size_bytes), **caching(tag)}
    return StreamingResponse(body, media_type=media_type, headers=headers)


@contextmanager
def refusals_told() -> Iterator[None]:
    """Tell why pixels cannot be had.

    Raises
    ------
    NotFound, NotAcceptable, TooLarge, Unavailable
    """
    try:
        yield
    except OutputError as error:
        raise Unavailable("no room for pixels", advice="ask again later") from error
    except FrameRefused as refused:
        if refused.reason == "pixels-missing":
            raise NotFound("the instance has no pixels") from refused
        if refused.reason == "too-large":
            raise TooLarge(
                f"a frame is larger than {FRAME_BYTES} bytes", advice="retrieve the instance itself"
            ) from refused
        raise NotAcceptable(
            f"the pixels cannot be given so: {refused.reason}",
            advice="accept them as they are stored, with transfer-syntax=*",
        ) from refused


def bulk_data_response(
    retrieval: Retrieval, row: InstanceRow, path: str, form: Form, tag: str
) -> Response:
    """Return the value of an element that a document names by its address.

    Raises
    ------
    NotFound
        ``not-found``: the instance has no such element.
    """
    file = retrieval.file(row)
    try:
        with open_header(file, partial(codec_of, row.codecs), "") as header:
            value = header.value(path)
    except (ElementMissing, HeaderRefused) as missing:
        raise NotFound("the instance has no such element") from missing
    if not form.is_multipart:
        return Response(value, media_type=OCTET_STREAM, headers=caching(tag))
    location = f"{retrieval.url(row)}/bulkdata/{path}"
    return multipart([Part(OCTET_STREAM, location, len(value), (value,))], OCTET_STREAM, tag)


def picture(
    retrieval: Retrieval, row: InstanceRow, number: int, wish: Wish, media_type: str
) -> bytes:
    """Return a frame as a picture.

    Raises
    ------
    NotFound, NotAcceptable, TooLarge, BadRequest, ObjectDamaged, Unavailable
        There is no such frame; it cannot be decoded or shown; the wish does not fit it.
    """
    path = retrieval.file(row)
    header = metadata(retrieval, row)
    with refusals_told(), open_pixels(path) as pixels:
        if number > pixels.frames:
            raise NotFound(f"the instance has {pixels.frames} frames")
        return render(pixels, number, header, wish, media_type)
