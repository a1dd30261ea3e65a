"""One STOW-RS request and its answer (PS3.18 section 10.5)."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from serving.sending.outgoing import OutgoingFile

# Each instance was stored or refused.
DECIDED = (200, 202, 409)

_CHUNK_BYTES = 256 * 1024
_REFERENCED, _FAILED = "00081199", "00081198"
_SOP_INSTANCE_UID, _FAILURE_REASON, _WARNING_REASON = "00081155", "00081197", "00081196"
_ERROR_COMMENT = "00000902"


class CannotRead(Exception):
    """A file is not what it was when it was found, so that its request was broken off.

    Attributes
    ----------
    reason
        A stable word: ``vanished``, ``changed``, ``unreadable``.
    """

    def __init__(self, file: OutgoingFile, reason: str) -> None:
        super().__init__(reason)
        self.file = file
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Refused:
    """An instance that the server did not take.

    Attributes
    ----------
    reason
        Failure Reason (0008,1197) of PS3.18 annex I; 0 where the server gave none.
    comment
        What the server wrote; may be empty.
    """

    sop_instance_uid: str
    reason: int
    comment: str = ""


@dataclass(frozen=True, slots=True)
class StowAnswer:
    """What a server said of one request.

    Attributes
    ----------
    status
        Of HTTP.
    is_decided
        Whether it says what became of each instance; else the request as a whole was refused.
    stored
        How many it took, or had already.
    retry_after_s
        How long the server wants to be left alone; None where it does not say.
    detail
        Its sentence, where it refused the request as a whole.
    """

    status: int
    is_decided: bool = False
    stored: int = 0
    refused: tuple[Refused, ...] = ()
    retry_after_s: float | None = None
    detail: str = ""


def store(
    client: httpx.Client,
    files: Sequence[OutgoingFile],
    sent: Callable[[int], None],
) -> StowAnswer:
    """Send files in one request, streamed: memory does not grow with their size.

    Parameters
    ----------
    client
        With the server's ``/dicom-web`` as its base and the token in its headers.
    sent
        Told the number of bytes of each piece as it goes out.

    Raises
    ------
    httpx.TransportError
        The line broke, or nobody answers; whether the server took anything is not known.
    CannotRead
        A file vanished or changed; the server took nothing of this request.
    """
    boundary = secrets.token_hex(16)
    response = client.post(
        "studies",
        content=_body(files, boundary, sent),
        headers={
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Content-Length": str(_length(files, boundary)),
            "Accept": "application/dicom+json",
        },
    )
    return _answer(response, files)


def _body(
    files: Sequence[OutgoingFile], boundary: str, sent: Callable[[int], None]
) -> Iterator[bytes]:
    for file in files:
        yield _part_header(boundary)
        for chunk in _chunks(file):
            yield chunk
            sent(len(chunk))
        yield b"\r\n"
    yield _end(boundary)


def _chunks(file: OutgoingFile) -> Iterator[bytes]:
    """Yield a file's bytes: exactly as many as its request has announced."""
    left = file.size_bytes
    try:
        with file.path.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                left -= len(chunk)
                if left < 0:
                    break
                yield chunk
    except OSError as error:
        raise CannotRead(file, _word_of(error)) from error
    if left:
        raise CannotRead(file, "changed")


def why_unreadable(file: OutgoingFile) -> str:
    """Return why a file cannot be sent any more, as :class:`CannotRead` does; empty: it can."""
    try:
        is_same = file.path.stat().st_size == file.size_bytes
    except OSError as error:
        return _word_of(error)
    return "" if is_same else "changed"


def _word_of(error: OSError) -> str:
    return "vanished" if isinstance(error, FileNotFoundError) else "unreadable"


def _length(files: Sequence[OutgoingFile], boundary: str) -> int:
    around = len(_part_header(boundary)) + 2
    return sum(file.size_bytes + around for file in files) + len(_end(boundary))


def _part_header(boundary: str) -> bytes:
    return f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()


def _end(boundary: str) -> bytes:
    return f"--{boundary}--\r\n".encode()


def _answer(response: httpx.Response, files: Sequence[OutgoingFile]) -> StowAnswer:
    document = _json(response)
    # Ours says 403 of a study that another hospital sent first, with each instance's reason.
    if response.status_code in DECIDED or (response.status_code == 403 and _FAILED in document):
        failed = _items(document, _FAILED)
        stored = len(_items(document, _REFERENCED))
        if response.status_code == 200 and not document:
            # Some servers say no more than that all is well.
            stored = len(files)
        refused = tuple(
            Refused(
                str(_value(item, _SOP_INSTANCE_UID) or ""),
                int(_value(item, _FAILURE_REASON) or 0),
                str(_value(item, _ERROR_COMMENT) or ""),
            )
            for item in failed
        )
        return StowAnswer(response.status_code, True, stored, refused)
    return StowAnswer(
        response.status_code,
        retry_after_s=_seconds(response.headers.get("Retry-After", "")),
        detail=" ".join(str(document[key]) for key in ("detail", "advice") if document.get(key)),
    )


def _json(response: httpx.Response) -> dict[str, Any]:
    if "json" not in response.headers.get("Content-Type", ""):
        return {}
    try:
        document = response.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _items(document: dict[str, Any], tag: str) -> list[dict[str, Any]]:
    items = (document.get(tag) or {}).get("Value") or []
    return [item for item in items if isinstance(item, dict)]


def _value(item: dict[str, Any], tag: str) -> Any:
    values = (item.get(tag) or {}).get("Value") or [None]
    return values[0]


def _seconds(text: str) -> float | None:
    try:
        return max(0.0, float(text))
    except ValueError:
        return None
