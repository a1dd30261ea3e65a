"""The store: bytes under their SHA-256, durable before anybody is told.

::

    <store>/tmp/<host>.<process>.<random>     being written
    <store>/ab/abcd...                        whole: its name is its SHA-256

    bytes -> fsync(file) -> rename -> fsync(folder) -> database commit -> answer

The 256 folders are made once. One level is enough (ten million objects are 40,000 in each), and a
second one would have to be made, and its parents synced, for nearly every object of a young store.

An object never changes and nothing on the way of receiving deletes one. A crash leaves at most a
temporary file, swept at the next start, or an object to which no row refers. One after the other
the syncs of an object cost 6 to 13 ms; sixteen at a time share them (docs/archive.md).
"""

import hashlib
import logging
import os
import re
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import BytesIO, FileIO
from pathlib import Path
from typing import BinaryIO

from serving.errors import ObjectDamaged, Unavailable
from serving.faults import point

log = logging.getLogger(__name__)

SYNCING_THREADS = 16
# Older than any upload may take: whoever wrote it is gone or will never end.
STALE_S = 24 * 3600.0
# A slice of 512 x 512 fits in memory until it is written; so much of all that come at once.
IN_MEMORY_BYTES, ALL_IN_MEMORY_BYTES = 1 << 20, 64 << 20
_CHUNK_BYTES = 1 << 20
_KEY = re.compile(r"[0-9a-f]{64}")
_TEMPORARY = re.compile(r"(?P<host>[A-Za-z0-9-]+)\.(?P<process>\d+)\.[0-9a-f]+(\.inflated)?")


@dataclass(frozen=True, slots=True)
class Stored:
    """An object that is durable in the store."""

    sha256: str
    size_bytes: int


class _Memory:
    """How many bytes may wait in memory for their files, of all objects of a store."""

    def __init__(self) -> None:
        self._left_bytes = ALL_IN_MEMORY_BYTES
        self._lock = threading.Lock()

    def take(self, size_bytes: int) -> bool:
        with self._lock:
            fits = size_bytes <= self._left_bytes
            self._left_bytes -= size_bytes if fits else 0
        return fits

    def give_back(self, size_bytes: int) -> None:
        with self._lock:
            self._left_bytes += size_bytes


class Incoming:
    """Bytes on their way into the store: in memory while they are few, else in a temporary file.

    What is in memory is hashed and written by the thread that makes it durable, so that both
    happen while the next bytes come in.
    """

    def __init__(self, path: Path, memory: _Memory) -> None:
        self.path = path
        self.size_bytes = 0
        self._memory = memory
        self._chunks: list[bytes | memoryview] = []
        self._digest = hashlib.sha256()
        # Unbuffered: what was written can be read by its path at once.
        self._out: FileIO | None = None
        self._is_handed_over = False

    def write(self, data: bytes | memoryview) -> None:
        """Append; ``data`` must not change afterwards.

        Raises
        ------
        Unavailable
            ``unavailable``: no room.
        """
        size_bytes = self.size_bytes + len(data)
        if self._out is None:
            if size_bytes <= IN_MEMORY_BYTES and self._memory.take(len(data)):
                self._chunks.append(data)
                self.size_bytes = size_bytes
                return
            self._move_to_file()
        self._append(data)
        self.size_bytes = size_bytes

    def open(self) -> BinaryIO:
        """Return a stream of what was written so far, at its first byte."""
        if self._out is not None:
            return self.path.open("rb", buffering=0)
        # One piece: it is written by one call later, and holds no larger buffer of its sender's.
        self._chunks = [b"".join(self._chunks)]
        return BytesIO(self._chunks[0])

    def close(self) -> None:
        """End writing; a request of thousands of parts must not hold thousands of files open."""
        if self._out is not None:
            self._out.close()

    def _move_to_file(self) -> None:
        with _unavailable():
            self._out = self.path.open("xb", buffering=0)
        in_memory_bytes = self.size_bytes
        chunks, self._chunks = self._chunks, []
        try:
            for chunk in chunks:
                self._append(chunk)
        finally:
            self._memory.give_back(in_memory_bytes)

    def _append(self, data: bytes | memoryview) -> None:
        assert self._out is not None
        left = memoryview(data)
        self._digest.update(left)
        with _unavailable():
            while left:
                left = left[self._out.write(left) :]

    def _finish(self) -> tuple[str, int]:
        """Write what is in memory; return the hash of all, and a descriptor of the file."""
        if self._out is None:
            self._move_to_file()
        assert self._out is not None
        if self._out.closed:
            # fsync is about the file, whichever descriptor wrote it, and reports every error of
            # writing back that nobody has seen yet (Linux 4.13 and later).
            with _unavailable():
                self._out = self.path.open("rb", buffering=0)
        return self._digest.hexdigest(), self._out.fileno()

    def _forget(self) -> None:
        """Be gone, wherever the bytes are."""
        self.close()
        if self._out is None:
            self._memory.give_back(self.size_bytes)
            self._chunks = []
        else:
            self.path.unlink(missing_ok=True)


class Store:
    """A folder of objects; one process may have several, several processes may share a folder.

    Parameters
    ----------
    folder
        Made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._tmp = self.folder / "tmp"
        self._memory = _Memory()
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        with _unavailable():
            self._tmp.mkdir(parents=True, exist_ok=True)
            for number in range(256):
                (self.folder / f"{number:02x}").mkdir(exist_ok=True)
            # Whoever made them: what is renamed into them must find them after a power loss.
            _sync_folder(self.folder.parent)
            _sync_folder(self.folder)

    @contextmanager
    def new(self) -> Iterator[Incoming]:
        """Give a place for new bytes; unless they are kept, they are gone when the block ends."""
        name = f"{_host()}.{os.getpid()}.{secrets.token_hex(16)}"
        incoming = Incoming(self._tmp / name, self._memory)
        try:
            yield incoming
        finally:
            if not incoming._is_handed_over:
                incoming._forget()

    def keep(self, *incoming: Incoming) -> tuple[Stored, ...]:
        """Make them durable, several at a time; returns when all are, in the same order.

        An object that is there already is written anew: the bytes are the same, and a damaged one
        is whole again.

        Raises
        ------
        Unavailable
            ``unavailable``: at least one could not be written. The others may be in the store;
            without a row they are nobody's.
        """
        if len(incoming) == 1:
            incoming[0]._is_handed_over = True
            return (self._keep(incoming[0]),)
        waiting = [self.keep_later(one) for one in incoming]
        # All of them end before one error is told, so that nothing is written behind our back.
        errors = [error for future in waiting if (error := future.exception()) is not None]
        if errors:
            raise errors[0]
        return tuple(future.result() for future in waiting)

    def keep_later(self, incoming: Incoming) -> "Future[Stored]":
        """Begin to make one durable while the next one is received; the result comes later."""
        incoming.close()
        incoming._is_handed_over = True
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(SYNCING_THREADS, "store")
        return self._pool.submit(self._keep, incoming)

    def put_bytes(self, data: bytes) -> Stored:
        """Keep one object that is in memory.

        Raises
        ------
        Unavailable
            ``unavailable``: no room.
        """
        with self.new() as incoming:
            incoming.write(data)
            return self.keep(incoming)[0]

    def path(self, sha256: str) -> Path:
        """Return where an object lies, whether it is there or not.

        Its bytes are not checked: see :meth:`check`.
        """
        if not _KEY.fullmatch(sha256):
            raise ValueError("no SHA-256 in hexadecimal")
        return self.folder / sha256[:2] / sha256

    def check(self, sha256: str) -> Path:
        """Return where an object lies after its bytes were hashed, in little memory.

        Raises
        ------
        ObjectDamaged
            ``object-damaged``: it is absent, or its bytes are no longer those that came.
        """
        digest = hashlib.sha256()
        for chunk in self._chunks(sha256):
            digest.update(chunk)
        _must_be(sha256, digest.hexdigest())
        return self.path(sha256)

    def read(self, sha256: str) -> bytes:
        """Return a whole object after its bytes were hashed.

        Raises
        ------
        ObjectDamaged
            ``object-damaged``: it is absent, or its bytes are no longer those that came.
        """
        data = b"".join(self._chunks(sha256))
        _must_be(sha256, hashlib.sha256(data).hexdigest())
        return data

    def free_bytes(self) -> int:
        """Return how much room is left for an unprivileged process."""
        return shutil.disk_usage(self.folder).free

    def sweep(self, now: float | None = None) -> int:
        """Remove temporary files of dead processes and of days past; call it at a start.

        Returns
        -------
        How many there were.
        """
        now = time.time() if now is None else now
        swept = 0
        for path in self._tmp.iterdir():
            try:
                is_stale = now - path.stat().st_mtime > STALE_S
                if is_stale or _is_of_a_dead_process(path.name):
                    path.unlink()
                    swept += 1
            except FileNotFoundError:
                # Kept or removed by its owner in this moment.
                continue
        if swept:
            log.info("temporary files swept", extra={"files": swept})
        return swept

    def close(self) -> None:
        """End the threads; what they have begun is finished first."""
        if self._pool is not None:
            self._pool.shutdown()

    def _keep(self, incoming: Incoming) -> Stored:
        try:
            sha256, descriptor = incoming._finish()
            target = self.path(sha256)
            point("after-bytes")
            with _unavailable():
                os.fsync(descriptor)
                incoming.close()
                incoming.path.rename(target)
                _sync_folder(target.parent)
        except BaseException:
            incoming._forget()
            raise
        point("after-fsync")
        return Stored(sha256, incoming.size_bytes)

    def _chunks(self, sha256: str) -> Iterator[bytes]:
        try:
            with self.path(sha256).open("rb", buffering=0) as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    yield chunk
        except FileNotFoundError as error:
            raise _damaged(sha256, "is not in the store") from error
        except OSError as error:
            raise _damaged(sha256, f"cannot be read: {error.strerror}") from error


def _must_be(sha256: str, found: str) -> None:
    if found != sha256:
        raise _damaged(sha256, "no longer has the bytes that were received")


def _damaged(sha256: str, what: str) -> ObjectDamaged:
    return ObjectDamaged(
        f"object {sha256[:12]} {what}", advice="send the instance again, or restore a backup"
    )


@contextmanager
def _unavailable() -> Iterator[None]:
    """Turn a full or failing disk into the answer "send again later"."""
    try:
        yield
    except OSError as error:
        log.error("the store cannot be written", extra={"reason": error.strerror})
        raise Unavailable(
            f"the store cannot be written: {error.strerror}",
            advice="send again later; whoever runs the service must make room",
        ) from error


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@cache
def _host() -> str:
    """Return this machine's name in letters of a file name: a store may be shared by several."""
    return re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname()) or "host"


def _is_of_a_dead_process(name: str) -> bool:
    found = _TEMPORARY.fullmatch(name)
    if found is None or found["host"] != _host():
        return False
    try:
        os.kill(int(found["process"]), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False
