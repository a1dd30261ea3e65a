"""Instances that no server has seen: one slice, or one study, under ever new UIDs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import pydicom

_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")


@dataclass(frozen=True, slots=True)
class Template:
    """A file whose UIDs are exchanged in its bytes, which is fast and leaves the rest as it was.

    Every UID is padded to 64 characters, so no length changes.
    """

    data: bytes
    uids: tuple[bytes, ...]

    def named(self, study: str, instance: str) -> bytes:
        """Return the file as an instance of a study."""
        data = self.data
        for kind, old in zip(_UIDS, self.uids, strict=True):
            role = instance if kind == "SOPInstanceUID" else ""
            data = data.replace(old, _long_uid("bench", kind, study, role))
        return data


def read_template(path: Path) -> Template:
    """Read a file and give it UIDs of 64 characters."""
    dataset = pydicom.dcmread(path)
    uids = tuple(_long_uid("template", kind, path.name) for kind in _UIDS)
    for kind, uid in zip(_UIDS, uids, strict=True):
        setattr(dataset, kind, uid.decode())
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return Template(buffer.getvalue(), uids)


def a_study(templates: Sequence[Template], name: str) -> Iterator[bytes]:
    """Yield the files of a study under new UIDs."""
    for number, template in enumerate(templates):
        yield template.named(name, str(number))


def _long_uid(*parts: str) -> bytes:
    digits = int.from_bytes(sha256("\0".join(parts).encode()).digest(), "big")
    return f"2.25.1{digits % 10**58:058d}".encode()
