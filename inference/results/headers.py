"""Cleaned headers: what of a source instance may enter a result, decoded and free of its faults.

highdicom copies whatever the source's header holds into the result: private elements, half-empty
sequences of a de-identifier, an empty type 1 attribute. So it never sees the source's header, only
a new data set with the attributes of :data:`WHITELIST`, each one valid and each text decoded by the
study's one rule (``inference.dicom.charsets``). What is measured and why: docs/results.md,
"Headers".
"""

import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import cast

from pydicom import DataElement, Dataset, config
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.valuerep import format_number_as_ds

from inference.dicom.charsets import declared_sets, decode
from inference.dicom.instance import Frame, Instance

# Patient and study, as every result must carry them (type 1 and 2: there even where the source has
# none).
OBLIGATORY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
# Patient and study, carried where the source has them.
OPTIONAL = (
    "IssuerOfPatientID",
    "StudyDescription",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
)
# Of the acquisition: what highdicom needs of a source image, and what dates a result.
ACQUISITION = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
    "Modality",
    "InstanceNumber",
    "Rows",
    "Columns",
    "PixelSpacing",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SliceThickness",
    "SpacingBetweenSlices",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
    "BodyPartExamined",
    "Laterality",
    "Manufacturer",
    "ManufacturerModelName",
    "DeviceSerialNumber",
    "SoftwareVersions",
    "TimezoneOffsetFromUTC",
    "SeriesDate",
    "SeriesTime",
    "AcquisitionDate",
    "AcquisitionTime",
    "ContentDate",
    "ContentTime",
)
WHITELIST = frozenset((*OBLIGATORY, *OPTIONAL, *ACQUISITION))

_TEXT = {"PN", "LO", "SH", "LT", "ST", "UC", "UT"}
_ONE_VALUE = {"LT", "ST", "UT"}
_KEPT_EMPTY = {*OBLIGATORY, "PositionReferenceIndicator"}
# Geometry comes from the frame, matrix and UIDs from the instance, never from the header's own
# text.
_LIFTED = {
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"),
    *("FrameOfReferenceUID", "Rows", "Columns", "PixelSpacing", "ImagePositionPatient"),
    *("ImageOrientationPatient", "SliceThickness", "SpacingBetweenSlices", "LossyImageCompression"),
}
# What PS3.5 table 6.2-1 allows; a value outside would be refused by highdicom or by a validator.
_FORM = {
    "DA": re.compile(r"\d{8}"),
    "TM": re.compile(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?"),
    "AS": re.compile(r"\d{3}[DWMY]"),
    "CS": re.compile(r"[A-Z0-9_ ]{1,16}"),
    "IS": re.compile(r"[+-]?\d{1,11}"),
    "DS": re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"),
    "SH": re.compile(r"[+-]\d{4}"),  # only for Timezone Offset From UTC
}
_SEXES = {"M", "F", "O"}

Codecs = Mapping[tuple[str, ...], str]


def clean_header(instance: Instance, codecs: Codecs) -> Dataset:
    """Return the whitelisted header of an instance as str and numbers, in UTF-8, without geometry.

    Type 2 attributes that are absent are added empty, values that their VR does not allow are left
    out (emptied where the attribute must be there), an empty Lossy Image Compression is "00". The
    source's header is read, never changed, and shares no element with the result.
    """
    header = instance.header
    declared = declared_sets(_raw(header, "SpecificCharacterSet"))
    clean = Dataset()
    _put(clean, "SpecificCharacterSet", "ISO_IR 192")
    for keyword in sorted(WHITELIST - _LIFTED):
        values = _values(header, keyword, declared, codecs[declared])
        if values or keyword in _KEPT_EMPTY:
            _put(clean, keyword, values if len(values) > 1 else "".join(values))
    if clean.PatientSex not in _SEXES:
        clean.PatientSex = ""
    _put(clean, "SOPClassUID", instance.sop_class_uid)
    _put(clean, "SOPInstanceUID", instance.sop_instance_uid)
    _put(clean, "StudyInstanceUID", instance.study_uid)
    _put(clean, "SeriesInstanceUID", instance.series_uid)
    if instance.frame_of_reference_uid:
        _put(clean, "FrameOfReferenceUID", instance.frame_of_reference_uid)
    _put(clean, "Modality", "CT")
    _put(clean, "Rows", instance.rows)
    _put(clean, "Columns", instance.columns)
    _put(clean, "LossyImageCompression", "01" if instance.is_lossy else "00")
    return clean


def plane_header(instance: Instance, frame: Frame, codecs: Codecs) -> Dataset:
    """Return the cleaned header of one plane, with its geometry as single-frame images have it.

    What the frame does not know is absent.
    """
    plane = clean_header(instance, codecs)
    _put_numbers(plane, "ImagePositionPatient", frame.position_lps_mm)
    _put_numbers(plane, "ImageOrientationPatient", frame.orientation)
    _put_numbers(plane, "PixelSpacing", frame.pixel_spacing_mm)
    for keyword, number in (
        ("SliceThickness", frame.slice_thickness_mm),
        ("SpacingBetweenSlices", frame.spacing_between_slices_mm),
    ):
        _put_numbers(plane, keyword, None if number is None else (number,))
    return plane


def numbers_as_ds(numbers: Sequence[float]) -> list[str]:
    """Return numbers as decimal strings of at most 16 characters (VR DS)."""
    return [format_number_as_ds(float(number)) for number in numbers]


def content_moment(headers: Sequence[Dataset]) -> tuple[str, str]:
    """Return date and time of the newest content of the source: the only clock that a result knows.

    The newest Content Date and Time of the headers; where there is none Acquisition, then Series,
    then Study; 19000101 000000 where the source has no date at all.
    """
    for group in ("Content", "Acquisition", "Series", "Study"):
        moments = [
            (str(header.get(f"{group}Date") or ""), str(header.get(f"{group}Time") or "000000"))
            for header in headers
        ]
        if newest := max((moment for moment in moments if moment[0]), default=None):
            return newest
    return "19000101", "000000"


def describe(header: Dataset) -> str:
    """Return a cleaned header as one text in which any change shows; for the content digest."""
    return "\n".join(
        f"{keyword_for_tag(element.tag)} {element.VR} {element.value!r}" for element in header
    )


@contextmanager
def quiet_about_the_source() -> Iterator[None]:
    """Silence what highdicom and pydicom say about names and texts that are the source's own.

    A name without caret, or a text that is longer than its VR allows, goes into the result
    unchanged: a result must name the patient exactly as the scan does.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=".*unlikely to represent the intended person name.*"
        )
        warnings.filterwarnings(
            "ignore", message="The value length .* exceeds the maximum length.*"
        )
        yield


def _put(target: Dataset, keyword: str, value: object) -> None:
    """Add an element without pydicom's opinion on its value (a warning for long texts)."""
    tag = tag_for_keyword(keyword)
    assert tag is not None
    target.add(DataElement(tag, dictionary_VR(tag), value, validation_mode=config.IGNORE))


def _put_numbers(target: Dataset, keyword: str, numbers: Sequence[float] | None) -> None:
    if numbers is not None and all(math.isfinite(number) for number in numbers):
        texts = numbers_as_ds(numbers)
        _put(target, keyword, texts if len(texts) > 1 else texts[0])


def _values(header: Dataset, keyword: str, declared: tuple[str, ...], codec: str) -> list[str]:
    """Return the valid values of an element as text; none if it is absent, empty or malformed."""
    tag = tag_for_keyword(keyword)
    assert tag is not None
    if tag not in header:
        return []
    vr = dictionary_VR(tag)
    if vr in _TEXT and keyword != "TimezoneOffsetFromUTC":
        text = decode(_raw(header, keyword), declared, codec)
        values = [text] if vr in _ONE_VALUE else text.split("\\")
        values = [value.strip(" \0") for value in values]
        return values if any(values) else []
    values = [part.strip(" \0") for part in _raw(header, keyword).decode("latin-1").split("\\")]
    if vr == "DA":
        values = [re.sub(r"^(\d{4})\.(\d{2})\.(\d{2})$", r"\1\2\3", value) for value in values]
    form = _FORM[vr]
    return values if all(form.fullmatch(value) for value in values) else []


def _raw(header: Dataset, keyword: str) -> bytes:
    """Return the sender's bytes of a value.

    pydicom decodes an element in place when it is first asked for, by the declared character set;
    then the bytes are gone, and the study's rule has nothing to work on.
    """
    # pydicom's own annotation leaves RawDataElement out.
    element = cast("RawDataElement | DataElement | None", header.get_item(keyword))
    assert element is None or isinstance(element, RawDataElement), f"{keyword} was decoded already"
    return element.value or b"" if element is not None else b""
