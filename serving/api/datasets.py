"""Data sets of our own making in the DICOM JSON Model, and any such one as XML.

Source: PS3.18 annex F (JSON); PS3.19 annex A.1 (Native DICOM Model, XML).
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

from serving.api.media_types import DICOM_JSON, DICOM_XML, JSON

Attributes = dict[str, dict[str, Any]]
"""Tag in eight hexadecimal digits -> ``vr`` and ``Value``; sorted by tag when it is written."""

WRITTEN = (DICOM_JSON, JSON, DICOM_XML)
"""The media types of :func:`written`."""

_NAMESPACE = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
_NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_NAME_PARTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
# XML 1.0 has no way to write these.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def attributes(**values: Any) -> Attributes:
    """Return a data set of attributes by keyword.

    Parameters
    ----------
    values
        One value, or a list of them; None or an empty list or text is an empty attribute. Names
        (VR PN) are texts as in DICOM, sequences are lists of data sets.
    """
    made = {}
    for keyword, value in values.items():
        tag, vr = _tag_and_vr(keyword)
        many = value if isinstance(value, list | tuple) else [value]
        present = [person_name(one) if vr == "PN" else one for one in many if one not in (None, "")]
        made[tag] = {"vr": vr, "Value": present} if present else {"vr": vr}
    return made


def person_name(text: str) -> dict[str, str]:
    """Return a name's groups of components (PS3.18 F.2.2)."""
    groups = zip(_NAME_GROUPS, text.split("="), strict=False)
    return {group: part for group, part in groups if part}


def ordered(data_set: Attributes) -> Attributes:
    """Return a data set with its attributes in the order of their tags."""
    return dict(sorted(data_set.items()))


def written(data_set: Attributes, media_type: str) -> bytes:
    """Return one data set in one of the media types ``WRITTEN``."""
    write = native_xml if media_type == DICOM_XML else as_json
    return write(ordered(data_set))


def as_json(document: Any) -> bytes:
    """Return a document as UTF-8 without a space too many."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def native_xml(data_set: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Return one data set of the DICOM JSON Model as a Native DICOM Model."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<NativeDicomModel xmlns="{_NAMESPACE}" xml:space="preserve">'
        + "".join(_xml_attributes(data_set))
        + "</NativeDicomModel>"
    ).encode()


def _xml_attributes(data_set: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for tag, element in data_set.items():
        keyword = keyword_for_tag(int(tag, 16))
        named = f" keyword={quoteattr(keyword)}" if keyword else ""
        yield f'<DicomAttribute tag="{tag}" vr="{element["vr"]}"{named}>'
        if "BulkDataURI" in element:
            yield f"<BulkData uri={quoteattr(element['BulkDataURI'])}/>"
        if "InlineBinary" in element:
            yield f"<InlineBinary>{element['InlineBinary']}</InlineBinary>"
        for number, value in enumerate(element.get("Value", ()), start=1):
            yield from _xml_value(element["vr"], number, value)
        yield "</DicomAttribute>"


def _xml_value(vr: str, number: int, value: Any) -> Iterator[str]:
    if vr == "SQ":
        yield f'<Item number="{number}">'
        yield from _xml_attributes(value)
        yield "</Item>"
    elif vr == "PN":
        yield f'<PersonName number="{number}">'
        for group in _NAME_GROUPS:
            if value and group in value:
                parts = zip(_NAME_PARTS, value[group].split("^"), strict=False)
                inner = "".join(f"<{name}>{_text(part)}</{name}>" for name, part in parts if part)
                yield f"<{group}>{inner}</{group}>"
        yield "</PersonName>"
    elif value is not None:
        yield f'<Value number="{number}">{_text(value)}</Value>'


def _text(value: Any) -> str:
    return escape(_NOT_XML.sub("\ufffd", str(value)))


@cache
def _tag_and_vr(keyword: str) -> tuple[str, str]:
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword
    return f"{tag:08X}", dictionary_VR(tag)
