"""What there is to send: DICOM files by study, known by the bounded walk alone."""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from firstread.errors import NothingReadable
from firstread.progress import Progress, silent
from inference.dicom.files import ZIP_LIMITS, Source, find_sources
from inference.dicom.instance import Unread
from inference.dicom.scratch import scratch_folder
from inference.dicom.walked import HeaderRefused
from inference.dicom.walker import walk

STAGE = "find"
_SOP_INSTANCE_UID = 0x00080018
_STUDY_INSTANCE_UID = 0x0020000D


@dataclass(frozen=True, slots=True)
class OutgoingFile:
    """One DICOM file; its bytes are sent as they are."""

    path: Path
    size_bytes: int
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class OutgoingStudy:
    """The files of one study; ``study_uid`` is empty where the files do not say (deflated ones)."""

    study_uid: str
    files: tuple[OutgoingFile, ...]

    @property
    def size_bytes(self) -> int:
        """Of all its files."""
        return sum(one.size_bytes for one in self.files)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Everything that a folder holds.

    Attributes
    ----------
    skipped
        Files that are known to be no images: why (a stable word) -> how many.
    broken
        Files that may be images and cannot be sent: each may be a slice that is lost.
    """

    studies: tuple[OutgoingStudy, ...]
    skipped: dict[str, int]
    broken: tuple[Unread, ...]


@contextmanager
def find_outgoing(paths: Sequence[Path], progress: Progress = silent) -> Iterator[Outgoing]:
    """Find the DICOM files of folders, zips and files; unpacked ones live until the context ends.

    Raises
    ------
    NothingReadable
        ``nothing-readable``: not one DICOM file among them.
    UsageError
        ``usage``: a path does not exist.
    """
    with scratch_folder() as scratch:
        sources = list(find_sources(paths, scratch, ZIP_LIMITS))
        studies: dict[str, list[OutgoingFile]] = defaultdict(list)
        skipped: dict[str, int] = defaultdict(int)
        broken: list[Unread] = []
        for done, source in enumerate(sources, start=1):
            try:
                study_uid, file = _read(source)
            except HeaderRefused as refused:
                label = source.path if isinstance(source, Unread) else source.label
                unread = Unread(label, refused.reason)
                if unread.may_be_an_image:
                    broken.append(unread)
                else:
                    skipped[refused.reason] += 1
            else:
                studies[study_uid].append(file)
            progress(STAGE, done, len(sources))
        if not studies:
            raise NothingReadable(
                f"no DICOM file among {len(sources)} files",
                advice="give the folder or zip of a study as it left the scanner",
            )
        yield Outgoing(
            tuple(OutgoingStudy(uid, tuple(files)) for uid, files in sorted(studies.items())),
            dict(skipped),
            tuple(broken),
        )


def _read(source: Source | Unread) -> tuple[str, OutgoingFile]:
    if isinstance(source, Unread):
        raise HeaderRefused(source.reason)
    try:
        with source.path.open("rb", buffering=0) as stream:
            size = os.fstat(stream.fileno()).st_size
            if size == 0:
                raise HeaderRefused("empty")
            header = walk(stream, size, frozenset({_SOP_INSTANCE_UID, _STUDY_INSTANCE_UID}))
    except OSError as error:
        raise HeaderRefused("unreadable") from error
    texts = {
        tag: element.value.strip(b"\0 ").decode("ascii", "replace")
        for tag, element in header.elements.items()
    }
    file = OutgoingFile(source.path, size, texts.get(_SOP_INSTANCE_UID, ""))
    return texts.get(_STUDY_INSTANCE_UID, ""), file
