"""QIDO-RS: a query string becomes filters of the index, its rows become DICOM JSON.

What cannot be matched is refused by name: a filter that is passed over in silence would answer with
other patients' studies. Source: PS3.18 section 10.6, tables 10.6.1-5 and 10.6.3-3 to 10.6.3-5.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydicom.datadict import keyword_for_tag, tag_for_keyword

from serving.api.datasets import Attributes, attributes
from serving.archive.index import Filters, InstanceRow, SeriesRow, StudyRow
from serving.errors import BadRequest
from serving.search import has_controls
from serving.studies.finding import FoundInstance, FoundSeries

MOST_RESULTS = 5000
"""Of one answer; who wants more asks on with an offset."""

# RFC 7234 5.5; texts as in PS3.18 8.3.4 and 10.6.3.
NOT_FUZZY = (
    '299 firstread "The fuzzymatching parameter is not supported. '
    'Only literal matching has been performed."'
)
MORE_RESULTS = '299 firstread "There are additional results that can be requested"'

_UID = re.compile(r"[0-9.]{1,64}")
_UID_LIST = re.compile(r"[,\\]")
_DATE_RANGE = re.compile(r"(\d{8})?(-)?(\d{8})?")
_TIME_RANGE = re.compile(r"(\d{2,6}(?:\.\d{1,6})?)?(-)?(\d{2,6}(?:\.\d{1,6})?)?")
_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_MOST_CHARACTERS = 1000

_ONLINE = "ONLINE"
_UTF_8 = "ISO_IR 192"


@dataclass(frozen=True, slots=True)
class Search:
    """What is asked for.

    Attributes
    ----------
    limit
        Of the answer, at most ``MOST_RESULTS``.
    warnings
        Values of the header Warning.
    """

    filters: Filters
    limit: int
    offset: int
    warnings: tuple[str, ...]


def _text(value: str) -> str:
    if len(value) > _MOST_CHARACTERS:
        raise BadRequest("a value to match is too long")
    if has_controls(value):
        raise BadRequest("a value to match holds control characters")
    return value


def _exact(value: str) -> str:
    if re.search(r"[*?\\]", value):
        raise BadRequest("this attribute is matched exactly, without wildcards")
    return _text(value)


def _uids(value: str) -> tuple[str, ...]:
    uids = tuple(uid.strip() for uid in _UID_LIST.split(value) if uid.strip())
    if not 0 < len(uids) <= MOST_RESULTS or not all(map(_UID.fullmatch, uids)):
        raise BadRequest("a list of UIDs is UIDs with commas between them")
    return uids


def _number(value: str) -> int:
    if not re.fullmatch(r"-?\d{1,9}", value):
        raise BadRequest("a number to match is a whole number")
    return int(value)


def _range(form: re.Pattern[str], what: str) -> Callable[[str], tuple[str, str]]:
    def read(value: str) -> tuple[str, str]:
        found = form.fullmatch(value)
        first, is_range, last = found.groups("") if found is not None else ("", "", "")
        if not (first or last) or (last and not is_range):
            raise BadRequest(f"a {what} is one, or two with - between them; one may be absent")
        return (first, last) if is_range else (first, first)

    return read


# Keyword -> field of Filters, and how its value is read.
_STUDY_KEYS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "StudyInstanceUID": ("study_uids", _uids),
    "StudyDate": ("study_date", _range(_DATE_RANGE, "date (YYYYMMDD)")),
    "StudyTime": ("study_time", _range(_TIME_RANGE, "time (HHMMSS)")),
    "AccessionNumber": ("accession_number", _text),
    "ModalitiesInStudy": ("modality_in_study", _exact),
    "PatientName": ("patient_name", _text),
    "PatientID": ("patient_id", _text),
    "ReferringPhysicianName": ("referring_physician", _text),
    "StudyID": ("study_number", _text),
}
_SERIES_KEYS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "SeriesInstanceUID": ("series_uids", _uids),
    "Modality": ("modality", _exact),
    "SeriesNumber": ("series_number", _number),
}
_INSTANCE_KEYS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "SOPInstanceUID": ("sop_instance_uids", _uids),
    "SOPClassUID": ("sop_class_uids", _uids),
    "InstanceNumber": ("instance_number", _number),
}
KEYS = {
    "studies": _STUDY_KEYS,
    "series": {**_STUDY_KEYS, **_SERIES_KEYS},
    "instances": {**_STUDY_KEYS, **_SERIES_KEYS, **_INSTANCE_KEYS},
}
"""Resource -> what can be matched."""


def read_search(
    query: Iterable[tuple[str, str]], resource: str, study_uid: str = "", series_uid: str = ""
) -> Search:
    """Read a query string.

    Parameters
    ----------
    resource
        ``studies``, ``series`` or ``instances``.
    study_uid, series_uid
        Of the address; they stand above what the query says.

    Raises
    ------
    BadRequest
        ``bad-request``: an attribute that is none, cannot be matched, or has no such value.
    """
    found: dict[str, Any] = {}
    numbers = {"limit": MOST_RESULTS, "offset": 0}
    warnings: list[str] = []
    for name, value in query:
        if name in numbers:
            if not re.fullmatch(r"\d{1,9}", value):
                raise BadRequest(f"{name} is a whole number from 0")
            numbers[name] = int(value)
        elif name == "fuzzymatching":
            warnings += [NOT_FUZZY] * (value.strip().lower() == "true")
        elif name == "includefield":
            _check_fields(value)
        elif name != "accept":
            _add_match(found, name, value.strip(), resource)
    if study_uid:
        found["study_uids"] = (study_uid,)
    if series_uid:
        found["series_uids"] = (series_uid,)
    limit = min(numbers["limit"], MOST_RESULTS)
    return Search(Filters(**found), limit, numbers["offset"], tuple(warnings))


def _add_match(found: dict[str, Any], name: str, value: str, resource: str) -> None:
    field, read = _key(name, resource)
    # An empty value matches everything (PS3.4 C.2.2.2.3), and so does an asterisk.
    if not value.strip("*"):
        return
    if field in found:
        raise BadRequest("an attribute is asked for twice")
    found[field] = read(value)


def _key(name: str, resource: str) -> tuple[str, Callable[[str], Any]]:
    keyword = keyword_for_tag(int(name, 16)) if _TAG.fullmatch(name) else name
    try:
        return KEYS[resource][keyword]
    except KeyError:
        known = ", ".join(sorted(KEYS[resource]))
        raise BadRequest(
            "the query asks for an attribute that is not matched here",
            advice=f"what can be matched: {known}",
        ) from None


def _check_fields(value: str) -> None:
    """Refuse what is no attribute; all that the index holds is in every answer already."""
    for field in value.split(","):
        name = field.strip().rpartition(".")[2]
        if name != "all" and not _TAG.fullmatch(name) and tag_for_keyword(name) is None:
            raise BadRequest("includefield names something that is no attribute")


def study_attributes(row: StudyRow, studies_url: str) -> Attributes:
    """Return what is told of a study (table 10.6.3-3)."""
    return attributes(
        SpecificCharacterSet=_UTF_8,
        StudyDate=row.study_date,
        StudyTime=row.study_time,
        AccessionNumber=row.accession_number,
        InstanceAvailability=_ONLINE,
        ModalitiesInStudy=row.modalities,
        ReferringPhysicianName=row.referring_physician,
        StudyDescription=row.description,
        RetrieveURL=f"{studies_url}/{row.study_uid}",
        PatientName=row.patient_name,
        PatientID=row.patient_id,
        PatientBirthDate=row.birth_date,
        PatientSex=row.sex,
        StudyInstanceUID=row.study_uid,
        StudyID=row.study_number,
        NumberOfStudyRelatedSeries=row.series_count,
        NumberOfStudyRelatedInstances=row.instance_count,
    )


def series_attributes(row: SeriesRow, studies_url: str) -> Attributes:
    """Return what is told of a series (table 10.6.3-4)."""
    return attributes(
        SpecificCharacterSet=_UTF_8,
        Modality=row.modality,
        SeriesDescription=row.description,
        BodyPartExamined=row.body_part,
        RetrieveURL=f"{studies_url}/{row.study_uid}/series/{row.series_uid}",
        StudyInstanceUID=row.study_uid,
        SeriesInstanceUID=row.series_uid,
        SeriesNumber=row.number,
        NumberOfSeriesRelatedInstances=row.instance_count,
    )


def instance_attributes(row: InstanceRow, studies_url: str) -> Attributes:
    """Return what is told of an instance (table 10.6.3-5)."""
    shape = {"Rows": row.rows, "Columns": row.columns} if row.rows and row.columns else {}
    if shape:
        shape["NumberOfFrames"] = row.frames
    return attributes(
        SpecificCharacterSet=_UTF_8,
        SOPClassUID=row.sop_class_uid,
        SOPInstanceUID=row.sop_instance_uid,
        InstanceAvailability=_ONLINE,
        RetrieveURL=f"{studies_url}/{row.study_uid}/series/{row.series_uid}"
        f"/instances/{row.sop_instance_uid}",
        StudyInstanceUID=row.study_uid,
        SeriesInstanceUID=row.series_uid,
        InstanceNumber=row.number,
        AvailableTransferSyntaxUID=row.transfer_syntax_uid,
        **shape,
    )


def found_series(found: FoundSeries, studies_url: str) -> Attributes:
    """Return what is told of a series, and of its study if that was asked for."""
    above = study_attributes(found.study, studies_url) if found.study is not None else {}
    return {**above, **series_attributes(found.series, studies_url)}


def found_instance(found: FoundInstance, studies_url: str) -> Attributes:
    """Return what is told of an instance, and of the levels above it that were asked for."""
    study = study_attributes(found.study, studies_url) if found.study is not None else {}
    series = series_attributes(found.series, studies_url) if found.series is not None else {}
    return {**study, **series, **instance_attributes(found.instance, studies_url)}
