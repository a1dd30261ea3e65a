"""What holds for both objects: clean texts, good UIDs, the right patient, codes and sites."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset

from tests.conformance_source import (
    OBLIGATORY_TEXTS,
    OPTIONAL_TEXTS,
    Fail,
    Stack,
    same_text,
    text_of,
)

Json = dict[str, Any]
Code = tuple[str, str]

NODULE: Code = ("27925004", "SCT")
MORPHOLOGY: Code = ("49755003", "SCT")
LUNG: Code = ("39607008", "SCT")
SIDE_CODES: dict[str, Code | None] = {
    "left": ("7771000", "SCT"),
    "right": ("24028007", "SCT"),
    "undetermined": None,
}
UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")
TEXT_VRS = {"PN", "LO", "SH", "LT", "ST", "UC", "UT"}


def code_of(sequence: Sequence[Dataset] | None) -> Code | None:
    """Value and scheme of a coded concept; None where it is absent."""
    if not sequence:
        return None
    return str(sequence[0].get("CodeValue", "")), str(sequence[0].get("CodingSchemeDesignator", ""))


def check_hygiene(path: Path, prefix: str, fail: Fail) -> None:
    """UTF-8 and said so, no private element, no unknown VR, every UID well formed."""
    dataset = pydicom.dcmread(path)
    if dataset.get("SpecificCharacterSet") != "ISO_IR 192":
        fail(f"{prefix}-charset", f"declares {dataset.get('SpecificCharacterSet')}")
    _walk_hygiene(dataset, prefix, fail)


def _walk_hygiene(dataset: Dataset, prefix: str, fail: Fail) -> None:
    for tag in list(dataset.keys()):
        if tag.is_private:
            fail(f"{prefix}-private", f"private element {tag}")
            continue
        raw: object = dataset.get_item(tag)
        if isinstance(raw, RawDataElement) and raw.VR in TEXT_VRS:
            try:
                (raw.value or b"").decode("utf-8")
            except UnicodeDecodeError:
                fail(f"{prefix}-charset", f"{tag} is not UTF-8")
                continue
        element = dataset[tag]
        if element.VR == "SQ":
            for item in element.value:
                _walk_hygiene(item, prefix, fail)
        else:
            _check_value(element, prefix, fail)


def _check_value(element: DataElement, prefix: str, fail: Fail) -> None:
    if element.VR == "UN":
        fail(f"{prefix}-private", f"{element.tag} has no known VR")
    if element.VR == "UI":
        for uid in element.value if element.VM > 1 else [element.value]:
            if uid and (len(uid) > 64 or not UID.fullmatch(uid)):
                fail(f"{prefix}-uid", f"{element.tag}: {uid}")
    if element.VR in TEXT_VRS and "\ufffd" in str(element.value):
        fail(f"{prefix}-charset", f"{element.tag} holds a replacement character")


def check_same_patient(path: Path, stack: Stack, prefix: str, fail: Fail) -> None:
    """Patient and study say what the source says."""
    dataset = pydicom.dcmread(path, stop_before_pixels=True)
    for keyword in (*OBLIGATORY_TEXTS, *OPTIONAL_TEXTS):
        if keyword not in dataset:
            if keyword in OBLIGATORY_TEXTS:
                fail(f"{prefix}-patient", f"{keyword} is missing")
            continue
        if not same_text(keyword, text_of(dataset, keyword, "utf-8"), stack.texts[keyword]):
            fail(f"{prefix}-patient", f"{keyword} differs from the source")


def check_site(
    region: Code | None, side: Code | None, finding: Json, where: str, fail: Fail
) -> None:
    """Lung and its side, or a lobe, whose code carries the side."""
    rule, _, at = where.partition(": ")
    wanted = SIDE_CODES[finding["laterality"]]
    if finding["lobe"] is None:
        if (region, side) != (LUNG, wanted):
            fail(rule, f"{at}: site {region} {side}")
    elif region != (finding["lobe"], "SCT") or side not in (None, wanted):
        fail(rule, f"{at}: lobe {region} {side}")
