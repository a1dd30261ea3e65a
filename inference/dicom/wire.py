"""What a decoder child and its parent say to each other: length-prefixed JSON, then raw pixels.

::

    parent ── Task ──────────────────────────> child
    parent <── {"ok": true} + rows x columns int16 ── child     or  {"ok": false, "reason": ...}

Where stored values are wanted they come in place of the int16, as many bytes as their form says.
"""

import json
import socket
import struct
import time
from dataclasses import asdict, dataclass

from inference.dicom.stored import StoredFormat

# The reason of a child that had no room for a temporary file: no fault of the pixels.
NO_ROOM = "no-room"

_LENGTH = struct.Struct("<L")
# A task names a file and a dozen numbers; an answer is smaller.
_MESSAGE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Task:
    """One frame to decode: frame ``index`` (from 0) of the ``frames`` of the file.

    Attributes
    ----------
    stored
        The stored values are wanted, as they would lie in an uncompressed little endian file, and
        no HU; ``samples`` for each pixel, of a colour image always as RGB.
    """

    path: str
    transfer_syntax_uid: str
    form: StoredFormat
    frames: int
    index: int
    slope: float = 1.0
    intercept: float = 0.0
    stored: bool = False
    samples: int = 1
    photometric: str = "MONOCHROME2"


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a task; after an ``ok`` follow the HU.

    Attributes
    ----------
    resident_mb
        The child's peak so far.
    """

    ok: bool
    reason: str
    resident_mb: float


class Hung(Exception):
    """The other side did not answer before the deadline."""


def send(connection: socket.socket, message: Task | Answer) -> None:
    """Send one message."""
    data = json.dumps(asdict(message)).encode()
    connection.sendall(_LENGTH.pack(len(data)) + data)


def receive_task(connection: socket.socket) -> Task | None:
    """Return the next task, or None when the parent is gone."""
    data = _receive(connection, None)
    if data is None:
        return None
    values = json.loads(data)
    return Task(**{**values, "form": StoredFormat(**values["form"])})


def receive_answer(connection: socket.socket, deadline: float) -> Answer | None:
    """Return the answer, or None when the child is gone.

    Raises
    ------
    Hung
        ``time.monotonic()`` has passed the deadline.
    """
    data = _receive(connection, deadline)
    return None if data is None else Answer(**json.loads(data))


def receive_into(connection: socket.socket, target: memoryview, deadline: float | None) -> bool:
    """Fill ``target``; False when the other side is gone before it is full."""
    while target:
        if deadline is not None:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise Hung
            connection.settimeout(left_s)
        try:
            count = connection.recv_into(target)
        except TimeoutError as error:
            raise Hung from error
        except ConnectionError:
            return False
        if count == 0:
            return False
        target = target[count:]
    return True


def _receive(connection: socket.socket, deadline: float | None) -> bytes | None:
    prefix = bytearray(_LENGTH.size)
    if not receive_into(connection, memoryview(prefix), deadline):
        return None
    length = _LENGTH.unpack(prefix)[0]
    if length > _MESSAGE_BYTES:
        return None
    data = bytearray(length)
    return bytes(data) if receive_into(connection, memoryview(data), deadline) else None
