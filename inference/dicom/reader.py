"""From what a user hands in to studies, series and instances: ``open_upload``.

Every file gets exactly one of three fates: it is an instance, it is the same bytes as an instance
that is there already, or it stands in ``Upload.unread`` with a reason.
"""

import hashlib
import os
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from firstread.errors import NothingReadable
from firstread.progress import Progress, silent
from inference.dicom.attributes import NAMES, TEXTS, WANTED
from inference.dicom.charsets import decide, declared_sets, decode
from inference.dicom.data_set import EXPLICIT_LITTLE
from inference.dicom.files import ZIP_LIMITS, Source, ZipLimits, find_sources
from inference.dicom.headers import instance_of
from inference.dicom.instance import Instance, Series, Study, Unread, Upload
from inference.dicom.scratch import needing_room, scratch_file, scratch_folder
from inference.dicom.walked import LIMITS, Header, HeaderRefused, Limits
from inference.dicom.walker import DEFLATED, walk

STAGE = "read"

_DICOMDIR = "1.2.840.10008.1.3.10"
_CHARSET = 0x00080005

# What a deflated data set may grow to. DEFLATE reaches 1,032:1, so a ceiling on the size alone lets
# a small file cost seconds; CT reaches about 3:1, empty segmentation frames some hundreds in small
# files.
INFLATED_BYTES = 512 * 1024**2
INFLATED_RATIO = 200
INFLATED_FREE_BYTES = 16 * 1024**2
_CHUNK_BYTES = 256 * 1024


@contextmanager
def open_upload(
    paths: Sequence[Path],
    progress: Progress = silent,
    *,
    limits: Limits = LIMITS,
    zip_limits: ZipLimits = ZIP_LIMITS,
) -> Iterator[Upload]:
    """Read the headers of everything that the paths hold.

    Parameters
    ----------
    paths
        Files, folders (nested, any names) and zips.
    progress
        Told how many files are done, under the stage ``read``.

    Yields
    ------
    The upload. Its files of a zip, and inflated ones, live in a temporary folder until the context
    ends.

    Raises
    ------
    NothingReadable
        ``nothing-readable``: not one DICOM instance among them.
    UsageError
        ``usage``: a path does not exist.
    OutputError
        ``output-unwritable``: no room for what is unpacked or inflated.
    """
    with scratch_folder() as scratch:
        unpack_to, inflate_to = scratch / "zip", scratch / "inflated"
        with needing_room():
            unpack_to.mkdir()
            inflate_to.mkdir()
        records: list[_Record] = []
        unread: list[Unread] = []
        seen: dict[tuple[str, int], _Twins] = {}
        sources = list(find_sources(paths, unpack_to, zip_limits))
        for done, source in enumerate(sources, start=1):
            read = (
                source
                if isinstance(source, Unread)
                else _read(source, inflate_to / str(done), limits, seen)
            )
            if isinstance(read, Unread):
                unread.append(read)
            elif read is not None:
                records.append(read)
            progress(STAGE, done, len(sources))
        if not records:
            raise NothingReadable(
                f"no readable DICOM instance among {len(unread)} files",
                advice="give the folder, zip or files of one CT study as it left the scanner",
            )
        yield Upload(studies=_studies(records), unread=tuple(unread))


@dataclass(frozen=True, slots=True, eq=False)
class _Record:
    """An instance with what is needed to group it and to decide its study's character sets."""

    instance: Instance
    declared: tuple[str, ...]
    names: frozenset[bytes]
    texts: frozenset[bytes]

    @property
    def order(self) -> tuple[str, Path]:
        return self.instance.sop_instance_uid, self.instance.path


@dataclass(slots=True)
class _Twins:
    """Files of one SOP Instance UID and one size; digests are taken once there is a second."""

    first: Path
    digests: set[bytes] = field(default_factory=set)


def _read(
    source: Source, inflate_to: Path, limits: Limits, seen: dict[tuple[str, int], _Twins]
) -> _Record | Unread | None:
    """Return what a file is; None: the same bytes as an instance that was read before."""
    try:
        path, header = walk_file(source.path, inflate_to, limits)
        if header.media_class_uid == _DICOMDIR:
            raise HeaderRefused("dicomdir")
        instance = instance_of(path, header)
        if not instance.sop_class_uid and not instance.modality:
            raise HeaderRefused("not-an-instance")
        if _is_known(instance, seen):
            return None
    except HeaderRefused as refused:
        return Unread(source.label, refused.reason)
    except OSError:
        return Unread(source.label, "unreadable")
    values = {tag: element.value for tag, element in header.elements.items()}
    return _Record(
        instance,
        declared_sets(values.get(_CHARSET, b"")),
        frozenset(values[tag] for tag in NAMES & values.keys()),
        frozenset(values[tag] for tag in TEXTS & values.keys()),
    )


def _is_known(instance: Instance, seen: dict[tuple[str, int], _Twins]) -> bool:
    """Whether the same bytes were read before; other bytes of one UID are for the gate."""
    if not instance.sop_instance_uid:
        return False
    key = instance.sop_instance_uid, instance.path.stat().st_size
    if key not in seen:
        seen[key] = _Twins(instance.path)
        return False
    twins = seen[key]
    if not twins.digests:
        twins.digests.add(_digest(twins.first))
    digest = _digest(instance.path)
    is_known = digest in twins.digests
    twins.digests.add(digest)
    return is_known


def _digest(path: Path) -> bytes:
    with path.open("rb", buffering=0) as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def walk_file(
    path: Path, inflate_to: Path, limits: Limits = LIMITS, wanted: frozenset[int] = WANTED
) -> tuple[Path, Header]:
    """Return the header, and the file in which its offsets hold: this, or its inflated form.

    Parameters
    ----------
    inflate_to
        Where a deflated data set is written to; the caller's to remove.
    wanted
        Tags whose values the header shall hold.

    Raises
    ------
    HeaderRefused
        See :func:`inference.dicom.walker.walk`; of a deflated data set also ``deflate-damaged`` and
        ``inflates-too-far``; ``empty``.
    OutputError
        ``output-unwritable``: no room for what is inflated.
    """
    with path.open("rb", buffering=0) as stream:
        size = os.fstat(stream.fileno()).st_size
        header = walk_stream(stream, size, inflate_to, limits, wanted)
    return inflate_to if header.transfer_syntax_uid == DEFLATED else path, header


def walk_stream(
    stream: BinaryIO,
    size: int,
    inflate_to: Path,
    limits: Limits = LIMITS,
    wanted: frozenset[int] = WANTED,
) -> Header:
    """Return the header of a file that is open at byte 0; a deflated one is inflated, as above.

    Raises
    ------
    HeaderRefused, OutputError
        As :func:`walk_file`.
    """
    if size == 0:
        raise HeaderRefused("empty")
    header = walk(stream, size, wanted, limits=limits)
    if header.transfer_syntax_uid != DEFLATED or header.pixels is None:
        return header
    stream.seek(header.pixels.offset)
    inflated_size = _inflate(stream, size, inflate_to)
    with inflate_to.open("rb", buffering=0) as data_set:
        inflated = walk(data_set, inflated_size, wanted, limits=limits, syntax=EXPLICIT_LITTLE)
    return replace(inflated, transfer_syntax_uid=DEFLATED, media_class_uid=header.media_class_uid)


def _inflate(stream: BinaryIO, packed_size: int, target: Path) -> int:
    """Write the inflated data set and return its size; it never grows beyond the ceiling."""
    ceiling = min(INFLATED_BYTES, INFLATED_FREE_BYTES + INFLATED_RATIO * packed_size)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    written = 0
    with scratch_file(target) as write:
        while not inflater.eof:
            packed = inflater.unconsumed_tail or stream.read(_CHUNK_BYTES)
            try:
                chunk = inflater.decompress(packed, _CHUNK_BYTES)
            except zlib.error as error:
                raise HeaderRefused("deflate-damaged") from error
            if not packed and not chunk:
                raise HeaderRefused("truncated")
            written += len(chunk)
            if written > ceiling:
                raise HeaderRefused("inflates-too-far")
            write(chunk)
    return written


def _studies(records: list[_Record]) -> tuple[Study, ...]:
    """Return studies sorted by UID; an instance without one is a study of its own."""
    studies = []
    for study_uid, members in _grouped(records, lambda record: record.instance.study_uid):
        codecs = _codecs(members)
        series = tuple(
            Series(series_uid, tuple(_readable(record, codecs) for record in of_series))
            for series_uid, of_series in _grouped(
                members, lambda record: record.instance.series_uid
            )
        )
        studies.append(Study(study_uid, series, codecs))
    return tuple(studies)


def _readable(record: _Record, codecs: dict[tuple[str, ...], str]) -> Instance:
    """Return the instance with its texts decoded; ASCII is what it is in every codec."""
    instance, codec = record.instance, codecs[record.declared]
    body_part, kernel = (
        text if text.isascii() else decode(text.encode("latin-1"), record.declared, codec).strip()
        for text in (instance.body_part, instance.kernel)
    )
    return replace(instance, body_part=body_part.strip().upper(), kernel=kernel)


def _codecs(records: list[_Record]) -> dict[tuple[str, ...], str]:
    """Decide the character set of each declared set, on all names of the study that declare it."""
    names: dict[tuple[str, ...], set[bytes]] = defaultdict(set)
    texts: dict[tuple[str, ...], set[bytes]] = defaultdict(set)
    for record in records:
        names[record.declared].update(record.names)
        texts[record.declared].update(record.texts)
    return {
        declared: decide(names[declared], texts[declared], declared).codec for declared in names
    }


def _grouped(
    records: list[_Record], uid_of: Callable[[_Record], str]
) -> list[tuple[str, list[_Record]]]:
    """Return groups of one UID, sorted; empty UIDs are never equal to each other."""
    by_uid: dict[str, list[_Record]] = defaultdict(list)
    alone: list[tuple[str, list[_Record]]] = []
    for record in sorted(records, key=lambda record: record.order):
        uid = uid_of(record)
        if uid:
            by_uid[uid].append(record)
        else:
            alone.append(("", [record]))
    return alone + sorted(by_uid.items())
