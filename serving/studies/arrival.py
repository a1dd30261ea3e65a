"""What an instance says of itself when it arrives: read by the bounded walk, no pixel touched.

A file whose header breaks a promise, or lacks a UID, is :class:`Unreadable` with the status that
DICOM has for it. Texts stay in the sender's bytes here: which characters they are is decided over
all of a study (:mod:`serving.studies.texts`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from firstread.errors import OutputError
from inference.dicom.attributes import NAMES, TEXTS
from inference.dicom.charsets import declared_sets
from inference.dicom.reader import walk_stream
from inference.dicom.walked import Header, HeaderRefused
from inference.dicom.walker import data_set_place
from serving.archive.store import Stored
from serving.errors import Unavailable

# PS3.18 annex I and PS3.4 annex B: failure reasons.
CANNOT_UNDERSTAND = 0xC000
SOP_CLASS_NOT_SUPPORTED = 0x0122

# So much of a value votes on character sets: no name is longer, and a text has said it by then.
VOTING_BYTES = 1024
_COMPARED_BYTES = 1 << 20
# Of an indexed text, before it is decoded; LO has 64 characters, PN three times 64.
_TEXT_BYTES = 1024

_CHARSET = 0x00080005
_SERIES_NUMBER = 0x00200011
_STUDY_TEXTS = {
    "patient_name": 0x00100010,
    "patient_id": 0x00100020,
    "accession_number": 0x00080050,
    "description": 0x00081030,
    "referring_physician": 0x00080090,
    "study_number": 0x00200010,
}
_SERIES_TEXTS = {"description": 0x0008103E, "body_part": 0x00180015}
_CODED = {
    "birth_date": 0x00100030,
    "sex": 0x00100040,
    "study_date": 0x00080020,
    "study_time": 0x00080030,
}
_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
_MODALITY, _INSTANCE_NUMBER, _ROWS, _COLUMNS = 0x00080060, 0x00200013, 0x00280010, 0x00280011
_WANTED = (
    NAMES
    | TEXTS
    | {*_STUDY_TEXTS.values(), *_SERIES_TEXTS.values(), *_CODED.values()}
    | {_CHARSET, _SERIES_NUMBER, _SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES}
    | {_MODALITY, _INSTANCE_NUMBER, _ROWS, _COLUMNS}
)

_UID = re.compile(r"(?=.{1,64}$)[0-9]+(\.[0-9]+)+")
_WHOLE = re.compile(r"[+-]?\d{1,9}")
_TIME = re.compile(r"\d{2,6}(\.\d{1,6})?")
_CODE = re.compile(r"[A-Z0-9_ ]{1,16}")

_DICOMDIR = "1.2.840.10008.1.3.10"
_STANDARD = "1.2.840.10008."
_STORAGE = "1.2.840.10008.5.1.4.1.1."
# PS3.4 B.5: what a modality acquires, each with its enhanced and related classes below it. All
# other classes of the standard (secondary capture, presentation states, SR, SEG, RT, waveforms,
# parametric maps, encapsulated documents, ...) are made from images or are none.
_ACQUIRED = tuple(
    _STORAGE + branch
    for branch in (
        "1",  # CR, DX, mammography, intra-oral
        "2",  # CT
        "3",  # ultrasound multi-frame
        "4",  # MR
        "5",  # NM, retired
        "6",  # ultrasound
        "12",  # XA, XRF
        "13",  # X-ray 3D, tomosynthesis
        "14",  # intravascular OCT
        "20",  # NM
        "77.1",  # visible light
        "128",  # PET
        "130",  # enhanced PET
    )
)
_NOT_IMAGES = frozenset({_STORAGE + "4.2"})  # MR spectroscopy
_DERIVED_MODALITIES = frozenset(
    [
        "SR",
        "SEG",
        "PR",
        "KO",
        "RTDOSE",
        "RTPLAN",
        "RTSTRUCT",
        "RTRECORD",
        "RTIMAGE",
        "REG",
        "DOC",
        "OT",
        "SC",
        "FID",
        "RWV",
        "PLAN",
    ]
)


class Unreadable(Exception):
    """A part of a request is no instance that can be kept; the others may be.

    Attributes
    ----------
    code
        Stable word of the bounded walk (docs/dicom.md), or ``uids-missing``, ``uids-invalid``,
        ``meta-header-missing``, ``dicomdir``.
    failure_reason
        For Failure Reason (0008,1197).
    sop_class_uid, sop_instance_uid
        Where they could be read, else empty.
    """

    def __init__(
        self,
        code: str,
        failure_reason: int = CANNOT_UNDERSTAND,
        sop_class_uid: str = "",
        sop_instance_uid: str = "",
    ) -> None:
        super().__init__(code)
        self.code = code
        self.failure_reason = failure_reason
        self.sop_class_uid = sop_class_uid
        self.sop_instance_uid = sop_instance_uid

    @property
    def comment(self) -> str:
        """For Error Comment (0000,0902): at most 64 characters, no word of the sender's."""
        return f"cannot be kept: {self.code}"[:64]


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """What is filed of an instance.

    Attributes
    ----------
    declared
        Values of Specific Character Set.
    coded
        ``birth_date``, ``sex``, ``study_date``, ``study_time``: ASCII, empty where they are none.
    study_texts, series_texts
        Column -> value as it stands in the file.
    names, texts
        Values with a byte above 7F that take part in deciding character sets, each cut.
    is_source
        Whether it is an image as a modality acquires them. Nothing else starts an analysis.
    """

    study_uid: str
    series_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    modality: str
    series_number: int | None
    number: int | None
    rows: int | None
    columns: int | None
    frames: int
    declared: tuple[str, ...]
    coded: Mapping[str, str]
    study_texts: Mapping[str, bytes]
    series_texts: Mapping[str, bytes]
    names: frozenset[bytes]
    texts: frozenset[bytes]
    is_source: bool


@dataclass(frozen=True, slots=True)
class Arrival:
    """An instance whose bytes are durable and that no row names yet."""

    facts: InstanceFacts
    stored: Stored


def read_facts(path: Path) -> InstanceFacts:
    """Read what is filed of the instance in a file: see :func:`read_facts_of`."""
    with path.open("rb", buffering=0) as stream:
        return read_facts_of(stream, path.stat().st_size, path)


def read_facts_of(stream: BinaryIO, size_bytes: int, path: Path) -> InstanceFacts:
    """Read what is filed of an instance.

    Parameters
    ----------
    stream
        A file in the DICOM format (PS3.10), open at byte 0.
    path
        Where it is or will be. A deflated data set is inflated, within bounds, into a file beside
        it that is gone afterwards.

    Raises
    ------
    Unreadable
        It is no instance that can be kept.
    Unavailable
        ``unavailable``: no room to inflate.
    """
    inflate_to = path.with_name(path.name + ".inflated")
    try:
        if stream.read(132)[128:] != b"DICM":
            # PS3.18 10.5.1: a part is a file. What is served again must be one, too.
            raise Unreadable("meta-header-missing")
        stream.seek(0)
        header = walk_stream(stream, size_bytes, inflate_to, wanted=_WANTED)
    except HeaderRefused as refused:
        raise Unreadable(refused.reason) from refused
    except OutputError as error:
        raise Unavailable("no room to inflate a data set", advice="send again later") from error
    finally:
        inflate_to.unlink(missing_ok=True)
    return _facts(header)


def _facts(header: Header) -> InstanceFacts:
    values = {tag: element.value.strip(b"\0 ") for tag, element in header.elements.items()}

    def text(tag: int) -> str:
        return values.get(tag, b"").decode("latin-1").strip()

    sop_class, sop_instance = text(_SOP_CLASS), text(_SOP_INSTANCE)
    _check_uids(header, (sop_class, sop_instance, text(_STUDY), text(_SERIES)))
    modality = text(_MODALITY).upper()
    rows, columns = _short(header, _ROWS), _short(header, _COLUMNS)
    return InstanceFacts(
        study_uid=text(_STUDY),
        series_uid=text(_SERIES),
        sop_instance_uid=sop_instance,
        sop_class_uid=sop_class,
        transfer_syntax_uid=header.transfer_syntax_uid,
        modality=modality if _CODE.fullmatch(modality) else "",
        series_number=_whole(text(_SERIES_NUMBER)),
        number=_whole(text(_INSTANCE_NUMBER)),
        rows=rows,
        columns=columns,
        frames=header.frames,
        declared=declared_sets(values.get(_CHARSET, b"")[:1024]),
        coded=_coded({name: text(tag) for name, tag in _CODED.items()}),
        study_texts=_cut(values, _STUDY_TEXTS),
        series_texts=_cut(values, _SERIES_TEXTS),
        names=_voting(values, NAMES),
        texts=_voting(values, TEXTS),
        is_source=is_acquired(sop_class, modality, has_pixels=bool(rows and columns)),
    )


def is_same_data_set(one: Path, other: Path) -> bool:
    """Whether two files with meta headers hold the same data set in the same transfer syntax.

    Preamble and meta header are of whoever wrote the file (PS3.10 7.1): an archive or a gateway
    that passes an image on writes its own. A file that is gone is the same as none.
    """
    try:
        with one.open("rb") as first, other.open("rb") as second:
            syntax_of_one, start_of_one = data_set_place(first, one.stat().st_size)
            syntax_of_other, start_of_other = data_set_place(second, other.stat().st_size)
            first.seek(start_of_one)
            second.seek(start_of_other)
            return syntax_of_one == syntax_of_other and _are_equal(first, second)
    except FileNotFoundError:
        return False


def _are_equal(first: BinaryIO, second: BinaryIO) -> bool:
    while True:
        a, b = first.read(_COMPARED_BYTES), second.read(_COMPARED_BYTES)
        if a != b or not a:
            return a == b


def is_acquired(sop_class_uid: str, modality: str, *, has_pixels: bool) -> bool:
    """Return whether a SOP class holds images as a modality acquires them.

    A class that the standard does not know is judged by its modality, so that a vendor's own image
    is not passed over in silence: it becomes a case that says why it was not analysed.
    """
    if sop_class_uid in _NOT_IMAGES:
        return False
    if not sop_class_uid.startswith(_STANDARD):
        return has_pixels and modality not in _DERIVED_MODALITIES
    return any(sop_class_uid == root or sop_class_uid.startswith(f"{root}.") for root in _ACQUIRED)


def _check_uids(header: Header, uids: tuple[str, ...]) -> None:
    sop_class, sop_instance = (uid if _UID.fullmatch(uid) else "" for uid in uids[:2])
    if _DICOMDIR in (header.media_class_uid, sop_class):
        raise Unreadable("dicomdir", SOP_CLASS_NOT_SUPPORTED)
    if not all(uids):
        raise Unreadable("uids-missing", CANNOT_UNDERSTAND, sop_class, sop_instance)
    if not all(map(_UID.fullmatch, (*uids, header.transfer_syntax_uid))):
        raise Unreadable("uids-invalid", CANNOT_UNDERSTAND, sop_class, sop_instance)


def _coded(texts: Mapping[str, str]) -> dict[str, str]:
    # 2020.01.02 and 10:20:30 are forms of ACR-NEMA that are still met.
    dates = {
        name: date if re.fullmatch(r"\d{8}", date := texts[name].replace(".", "")) else ""
        for name in ("birth_date", "study_date")
    }
    time = texts["study_time"].replace(":", "")
    sex = texts["sex"].upper()
    return {
        **dates,
        "study_time": time if _TIME.fullmatch(time) else "",
        "sex": sex if _CODE.fullmatch(sex) else "",
    }


def _cut(values: Mapping[int, bytes], tags: Mapping[str, int]) -> dict[str, bytes]:
    return {name: values.get(tag, b"")[:_TEXT_BYTES] for name, tag in tags.items()}


def _voting(values: Mapping[int, bytes], tags: frozenset[int]) -> frozenset[bytes]:
    """Return the values that charsets.decide lets vote: a byte above 7F, no escape."""
    whole = (values[tag] for tag in tags & values.keys())
    return frozenset(
        value for value in map(_cut_vote, whole) if not value.isascii() and b"\x1b" not in value
    )


def _cut_vote(value: bytes) -> bytes:
    """Cut a long value behind a space or an end of line, which is a part of no other character."""
    if len(value) <= VOTING_BYTES:
        return value
    return value[: max(value.rfind(sign, 0, VOTING_BYTES) for sign in (b" ", b"\n", b"\r")) + 1]


def _whole(text: str) -> int | None:
    first = text.split("\\", maxsplit=1)[0].strip()
    return int(first) if _WHOLE.fullmatch(first) else None


def _short(header: Header, tag: int) -> int | None:
    element = header.elements.get(tag)
    if element is None or len(element.value) < 2:
        return None
    return int.from_bytes(element.value[:2], "little" if header.is_little_endian else "big")
