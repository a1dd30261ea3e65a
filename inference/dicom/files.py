"""Every file of an input: folders without following links out of them, zips unpacked within bounds.

A zip's members are written under numbers, so no name in it can lead anywhere; what counts is what
comes out, never what the zip promises.
"""

import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from firstread.errors import UsageError
from inference.dicom.instance import Unread
from inference.dicom.scratch import needing_room, scratch_file

_ZIP_MAGIC = b"PK\x03\x04"
_CHUNK_BYTES = 1024 * 1024
# What a member takes in the central directory: 46 bytes, its name and its extra fields.
_MEMBER_ENTRY_BYTES = 512
# The end record, its longest comment, and the records of zip64 in front of it.
_END_RECORD_BYTES = 64 * 1024 + 128


@dataclass(frozen=True, slots=True)
class ZipLimits:
    """What all zips of an input may cost together, and one member (``member_bytes``).

    Attributes
    ----------
    ratio
        Unpacked bytes for each packed byte, beyond the first ``free_bytes``. DEFLATE reaches 1,032;
        CT about 3.
    """

    members: int = 100_000
    member_bytes: int = 4 * 1024**3
    total_bytes: int = 32 * 1024**3
    ratio: int = 200
    free_bytes: int = 64 * 1024**2


ZIP_LIMITS = ZipLimits()


@dataclass(slots=True)
class _Left:
    """What the zips that are still to come may cost."""

    limits: ZipLimits
    members: int
    total_bytes: int
    earned_bytes: int

    @classmethod
    def of(cls, limits: ZipLimits) -> "_Left":
        return cls(limits, limits.members, limits.total_bytes, limits.free_bytes)

    @property
    def member_bytes(self) -> int:
        """What the next member may unpack to."""
        return min(self.total_bytes, self.earned_bytes, self.limits.member_bytes)

    def earn(self, packed_bytes: int) -> None:
        """Count a zip's own size in favour of what it may unpack to."""
        self.earned_bytes += self.limits.ratio * packed_bytes

    def spend(self, unpacked_bytes: int) -> None:
        """Take one member off."""
        self.members -= 1
        self.total_bytes -= unpacked_bytes
        self.earned_bytes -= unpacked_bytes


@dataclass(frozen=True, slots=True)
class Source:
    """A file to read, and its name for people: a zip's member is named below the zip."""

    path: Path
    label: Path


def find_sources(
    paths: Sequence[Path], unpack_to: Path, limits: ZipLimits
) -> Iterator[Source | Unread]:
    """Yield each regular file once, in an order that depends on names alone.

    Parameters
    ----------
    paths
        Files, folders and zips as the user gave them; links among these are followed, for the user
        named them.
    unpack_to
        An existing empty folder, the caller's to remove.

    Raises
    ------
    UsageError
        ``usage``: a path does not exist.
    OutputError
        ``output-unwritable``: no room for what a zip holds.
    """
    left = _Left.of(limits)
    unpacked = 0
    seen: set[tuple[int, int]] = set()
    for given in paths:
        _check_readable(given)
        for path in _files_of(given):
            if isinstance(path, Unread):
                yield path
                continue
            facts = path.stat()
            # One file may be named twice: as itself and within its folder.
            if (facts.st_dev, facts.st_ino) in seen:
                continue
            seen.add((facts.st_dev, facts.st_ino))
            if not _is_zip(path):
                yield Source(path, path)
                continue
            unpacked += 1
            folder = unpack_to / str(unpacked)
            with needing_room():
                folder.mkdir()
            yield from _unpack(path, folder, left)


def _check_readable(given: Path) -> None:
    try:
        given.stat()
        if given.is_dir():
            os.scandir(given).close()
    except OSError as error:
        raise UsageError(
            f"the input {given} cannot be read: {error.strerror}",
            advice="check the path, and the right to read it; name a folder, a zip or files",
        ) from error


def _files_of(given: Path) -> Iterator[Path | Unread]:
    if not given.is_dir():
        yield given if given.is_file() else Unread(given, "not-a-file")
        return
    root = given.resolve()
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                ordered = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            yield Unread(folder, "unreadable")
            continue
        below = []
        for entry in ordered:
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                below.append(path)
            elif entry.is_file(follow_symlinks=False) or _is_link_to_file_within(path, root):
                yield path
        folders.extend(reversed(below))


def _is_link_to_file_within(link: Path, root: Path) -> bool:
    """Whether a link ends at a file of the same tree; links to folders are never followed."""
    if not link.is_symlink():
        return False
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):
        return False
    return target.is_file() and target.is_relative_to(root)


def _is_zip(path: Path) -> bool:
    """Return whether a file is a zip; one that is a DICOM file too is taken as that.

    The preamble is the sender's to fill (PS3.10 7.5): what was stored as an instance must not be
    analysed as whatever else it may hold.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(132)
            return start.startswith(_ZIP_MAGIC) and start[128:] != b"DICM"
    except OSError:
        return False


def _unpack(path: Path, folder: Path, left: _Left) -> Iterator[Source | Unread]:
    """Unpack one zip; a zip within it is a file like another, and no instance."""
    try:
        left.earn(path.stat().st_size)
        if _directory_bytes(path) > left.members * _MEMBER_ENTRY_BYTES:
            yield Unread(path, "zip-too-many-members")
            return
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError):
        yield Unread(path, "zip-damaged")
        return
    with archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        if len(members) > left.members:
            yield Unread(path, "zip-too-many-members")
            return
        for number, member in enumerate(members, start=1):
            source = Source(folder / f"{number:06d}", path / member.filename.lstrip("/"))
            reason, written = _unpack_member(archive, member, source.path, left.member_bytes)
            left.spend(written)
            yield Unread(source.label, reason) if reason else source
            if reason == "zip-too-large":
                return


def _unpack_member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, allowed: int
) -> tuple[str, int]:
    """Write one member; return why not (or empty) and the bytes written."""
    if member.flag_bits & 0x1:
        return "zip-encrypted", 0
    # The other methods may ask for any amount of memory before the first byte comes out.
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "zip-method-unsupported", 0
    reason, written = "", 0
    try:
        with archive.open(member) as packed, scratch_file(target) as write:
            while chunk := packed.read(_CHUNK_BYTES):
                written += len(chunk)
                if written > allowed:
                    reason = "zip-too-large"
                    break
                write(chunk)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError):
        reason = "zip-damaged"
    except OSError:
        reason = "unreadable"
    if reason:
        target.unlink(missing_ok=True)
    return reason, written


def _directory_bytes(path: Path) -> int:
    """Return the size of the central directory, read as a whole (APPNOTE 4.3.14, 4.3.16)."""
    with path.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - _END_RECORD_BYTES))
        tail = stream.read()
    at, at_64 = tail.rfind(b"PK\x05\x06"), tail.rfind(b"PK\x06\x06")
    if at_64 >= 0:
        return int.from_bytes(tail[at_64 + 40 : at_64 + 48], "little")
    return int.from_bytes(tail[at + 12 : at + 16], "little") if at >= 0 else 0
