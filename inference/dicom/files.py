"""Every file of an input: folders without following links out of them, zips unpacked within bounds.

A zip's members are written under numbers, so no name in it can lead anywhere; what counts is what comes
out, never what the zip promises.
"""

import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from firstread.errors import UsageError
from inference.dicom.instance import Unread

_ZIP_MAGIC = b"PK\x03\x04"
_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ZipLimits:
    """What a zip may cost.

    Attributes
    ----------
    ratio
        Unpacked bytes for each packed byte, beyond the first ``free_bytes``. DEFLATE reaches 1,032; CT about 3.
    """

    members: int = 100_000
    member_bytes: int = 4 * 1024**3
    total_bytes: int = 32 * 1024**3
    ratio: int = 200
    free_bytes: int = 64 * 1024**2


@dataclass(frozen=True, slots=True)
class Source:
    """A file to read, and what to call it when it cannot be: a zip's member is named below the zip."""

    path: Path
    label: Path


def find_sources(
    paths: list[Path], unpack_to: Path, limits: ZipLimits
) -> Iterator[Source | Unread]:
    """Yield each regular file once, in an order that depends on names alone.

    Parameters
    ----------
    paths
        Files, folders and zips as the user gave them; links among these are followed, for he named them.
    unpack_to
        An existing empty folder, the caller's to remove.

    Raises
    ------
    UsageError
        ``usage``: a path does not exist.
    """
    unpacked = 0
    seen: set[tuple[int, int]] = set()
    for given in paths:
        if not given.exists():
            raise UsageError(f"{given.name}: no such file or folder")
        for path in _files_of(given):
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
            folder.mkdir()
            yield from _unpack(path, folder, limits)


def _files_of(given: Path) -> Iterator[Path]:
    if not given.is_dir():
        if stat.S_ISREG(given.stat().st_mode):
            yield given
        return
    root = given.resolve()
    folders = [root]
    while folders:
        with os.scandir(folders.pop()) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
        below = []
        for entry in ordered:
            if entry.is_dir(follow_symlinks=False):
                below.append(Path(entry.path))
            elif entry.is_file(follow_symlinks=False) or (
                entry.is_symlink() and _is_file_within(Path(entry.path), root)
            ):
                yield Path(entry.path)
        folders.extend(reversed(below))


def _is_file_within(link: Path, root: Path) -> bool:
    """Whether a link ends at a regular file of the same folder tree; links to folders are never followed."""
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):
        return False
    return target.is_file() and target.is_relative_to(root)


def _is_zip(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(4) == _ZIP_MAGIC
    except OSError:
        return False


def _unpack(path: Path, folder: Path, limits: ZipLimits) -> Iterator[Source | Unread]:
    """Unpack one zip; a zip within it is a file like another, and no instance."""
    allowed = min(limits.total_bytes, limits.free_bytes + limits.ratio * path.stat().st_size)
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError):
        yield Unread(path, "zip-damaged")
        return
    with archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        if len(members) > limits.members:
            yield Unread(path, "zip-too-many-members")
            return
        for number, member in enumerate(members, start=1):
            label = path / member.filename
            target = folder / f"{number:06d}"
            if member.flag_bits & 0x1:
                yield Unread(label, "zip-encrypted")
                continue
            try:
                with archive.open(member) as packed, target.open("xb") as out:
                    written = _copy(packed, out, min(allowed, limits.member_bytes))
            except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError):
                target.unlink(missing_ok=True)
                yield Unread(label, "zip-damaged")
                continue
            if written is None:
                target.unlink()
                yield Unread(label, "zip-too-large")
                return
            allowed -= written
            yield Source(target, label)


def _copy(packed: IO[bytes], out: IO[bytes], allowed: int) -> int | None:
    """Copy and return the bytes written; None when there are more than allowed."""
    written = 0
    while chunk := packed.read(_CHUNK_BYTES):
        written += len(chunk)
        if written > allowed:
            return None
        out.write(chunk)
    return written
