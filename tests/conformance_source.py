"""The source of a result, read by a stranger: the stack of one series, slice by slice.

Uses pydicom and numpy, and nothing of Firstread: what is wrong in our reader must not be right
here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

Floats = NDArray[np.float64]
Fail = Callable[[str, str], None]

CT_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.2.1",
    "1.2.840.10008.5.1.4.1.1.2.2",
}
NEEDED_UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
OBLIGATORY_TEXTS = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
)
OPTIONAL_TEXTS = (
    *("StudyDescription", "PatientAge", "PatientSize", "PatientWeight", "IssuerOfPatientID"),
    *("TimezoneOffsetFromUTC", "OtherPatientIDs", "PatientComments", "PatientIdentityRemoved"),
)
_ESCAPES = (b"\x1b$)A", b"\x1b(B", b"\x1b-A")


@dataclass(slots=True)
class Plane:
    """One image plane of the source."""

    uid: str
    frame: int
    sop_class: str
    position: Floats
    row: Floats
    column: Floats
    spacing_yx: Floats
    shape: tuple[int, int]
    path: Path


@dataclass(slots=True)
class Stack:
    """The distinct slices in order, and everything of the series that they come from."""

    study: str
    series: str
    frame_of_reference: str
    planes: list[Plane]
    doubles: list[tuple[int, Plane]]
    instances: set[str]
    split_off: set[str]
    texts: dict[str, str]
    is_one_kind: bool
    _hu: dict[int, Floats] = field(default_factory=dict)

    @property
    def depths(self) -> Floats:
        """Millimetres that each slice stands for."""
        normal = np.cross(self.planes[0].row, self.planes[0].column)
        at = np.array([plane.position @ normal for plane in self.planes])
        if len(at) == 1:
            return np.ones(1)
        between = np.diff(at)
        padded = np.concatenate([between[:1], between, between[-1:]])
        return np.asarray((padded[1:] + padded[:-1]) / 2)

    def lps(self, zyx: list[float]) -> Floats:
        """Where a fractional index lies."""
        z, y, x = zyx
        below = self.planes[min(max(int(np.floor(z)), 0), len(self.planes) - 1)]
        above = self.planes[min(int(np.floor(z)) + 1, len(self.planes) - 1)]
        part = z - np.floor(z)
        origin = below.position * (1 - part) + above.position * part
        down, across = below.spacing_yx
        return np.asarray(origin + below.row * x * across + below.column * y * down)

    def find(self, uid: str, frame: int) -> int | None:
        """Index of the slice that an instance and frame number are; None for the unused ones."""
        for z, plane in enumerate(self.planes):
            if (plane.uid, plane.frame) == (uid, frame):
                return z
        return None

    def hu(self, z: int) -> Floats:
        """HU of a slice."""
        if z not in self._hu:
            self._hu[z] = pixels_of(self.planes[z])
        return self._hu[z]


def read_all(folder: Path) -> list[tuple[Path, Dataset]]:
    """Every DICOM instance below a folder, without pixels."""
    found: list[tuple[Path, Dataset]] = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        try:
            dataset = pydicom.dcmread(path, stop_before_pixels=True)
        except InvalidDicomError:
            continue
        if len(dataset) and "DirectoryRecordSequence" not in dataset:
            found.append((path, dataset))
    return found


def is_usable_ct(dataset: Dataset) -> bool:
    """Whether it is a CT image with the UIDs that a result must name."""
    return dataset.get("SOPClassUID") in CT_CLASSES and all(dataset.get(k) for k in NEEDED_UIDS)


def is_ct_without_uids(dataset: Dataset) -> bool:
    """Whether it is a CT image that lacks one of these UIDs."""
    is_ct = dataset.get("SOPClassUID") in CT_CLASSES or dataset.get("Modality") == "CT"
    return is_ct and not is_usable_ct(dataset)


def stack_of(
    found: list[tuple[Path, Dataset]], series: str, split_off: set[str], codec: str
) -> Stack:
    """The stack of a series without what was split off; LookupError where there is no such CT.

    ``codec`` is the truth about the source's texts, which only the test knows.
    """
    mine = [(p, d) for p, d in found if is_usable_ct(d) and d.SeriesInstanceUID == series]
    kept = [(p, d) for p, d in mine if str(d.SOPInstanceUID) not in split_off]
    if not kept:
        raise LookupError(series)
    head = kept[0][1]
    texts = {k: text_of(head, k, codec) for k in (*OBLIGATORY_TEXTS, *OPTIONAL_TEXTS)}
    planes = [plane for path, dataset in kept for plane in _planes(path, dataset)]
    frames = {str(d.get("FrameOfReferenceUID") or "") for _, d in kept}
    kinds = {
        (*np.round([*p.row, *p.column], 3), *p.shape, *np.round(p.spacing_yx, 4)) for p in planes
    }
    groups: list[list[Plane]] = []
    normal = np.cross(planes[0].row, planes[0].column) if planes else np.zeros(3)
    for plane in sorted(planes, key=lambda p: float(p.position @ normal)):
        if groups and abs((plane.position - groups[-1][0].position) @ normal) < 0.01:
            groups[-1].append(plane)
        else:
            groups.append([plane])
    # Of one position the smaller UID, as text, is the slice.
    ranked = [sorted(group, key=lambda p: (p.uid, p.frame)) for group in groups]
    return Stack(
        str(head.StudyInstanceUID),
        series,
        str(head.get("FrameOfReferenceUID") or ""),
        [group[0] for group in ranked],
        [(z, double) for z, group in enumerate(ranked) for double in group[1:]],
        {str(d.SOPInstanceUID) for _, d in kept},
        {str(d.SOPInstanceUID) for _, d in mine} & split_off,
        texts,
        len(kinds) <= 1 and len(frames) == 1,
    )


def _planes(path: Path, dataset: Dataset) -> Iterator[Plane]:
    for number, lookup in _frames(dataset):
        position, orientation, spacing = (
            lookup(keyword)
            for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
        )
        if not (position and orientation and spacing):
            continue
        directions = np.array(orientation, float)
        yield Plane(
            str(dataset.SOPInstanceUID),
            number,
            str(dataset.SOPClassUID),
            np.array(position, float),
            directions[:3],
            directions[3:],
            np.array(spacing, float),
            (int(dataset.Rows), int(dataset.Columns)),
            path,
        )


def _frames(dataset: Dataset) -> Iterator[tuple[int, Callable[[str], Any]]]:
    """Yield frame numbers with a way to ask for a value, wherever the frame keeps it."""
    if "PerFrameFunctionalGroupsSequence" not in dataset:
        yield 1, dataset.get
        return
    groups_of = {
        "ImagePositionPatient": "PlanePositionSequence",
        "ImageOrientationPatient": "PlaneOrientationSequence",
        "PixelSpacing": "PixelMeasuresSequence",
        "RescaleSlope": "PixelValueTransformationSequence",
        "RescaleIntercept": "PixelValueTransformationSequence",
    }
    shared = dataset.SharedFunctionalGroupsSequence[0]
    for number, own in enumerate(dataset.PerFrameFunctionalGroupsSequence, start=1):

        def lookup(keyword: str, own: Dataset = own) -> Any:
            group = groups_of[keyword]
            return (own if group in own else shared)[group].value[0].get(keyword)

        yield number, lookup


def pixels_of(plane: Plane) -> Floats:
    """HU of a plane."""
    dataset = pydicom.dcmread(plane.path)
    stored = dataset.pixel_array
    if stored.ndim == 3:
        stored = stored[plane.frame - 1]
    lookup = dict(_frames(dataset))[plane.frame]
    slope, intercept = float(lookup("RescaleSlope") or 1), float(lookup("RescaleIntercept") or 0)
    return np.asarray(stored, float) * slope + intercept


def text_of(dataset: Dataset, keyword: str, codec: str) -> str:
    """A value as text, decoded with the codec that the test knows to be right; "" where absent."""
    element = cast("RawDataElement | DataElement | None", dataset.get_item(keyword))
    if element is None or element.value is None:
        return ""
    if isinstance(element, RawDataElement):
        raw = element.value or b""
        for escape in _ESCAPES:
            raw = raw.replace(escape, b"")
        return raw.decode(codec, "replace").strip("\0 ")
    return str(element.value).strip()


def same_text(keyword: str, one: str, other: str) -> bool:
    """Whether two values say the same; empty name components at the end are no difference."""
    if keyword not in ("PatientName", "ReferringPhysicianName"):
        return one == other
    return _bare_name(one) == _bare_name(other)


def _bare_name(name: str) -> str:
    return "=".join(group.rstrip("^ ") for group in name.split("=")).rstrip("=")
