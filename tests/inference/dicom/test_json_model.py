"""A header as DICOM JSON: numbers, texts, sequences, addresses; what is broken stays itself."""

import base64
import json
import math
import re
import struct
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, Sequence
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from inference.dicom import elements, json_model
from inference.dicom.charsets import decide
from inference.dicom.json_model import ElementMissing, open_header
from inference.dicom.walked import HeaderRefused
from tests.shared import SHARED, needs_shared

CONFORMANCE = SHARED / "data" / "conformance"
BULK = "bulk/"
_PRIVATE = re.compile(r"[0-9A-F]{3}[13579BDF][0-9A-F]{4}")
SYNTAXES = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)


def a_file(folder: Path, data_set: Dataset, syntax: Any = ExplicitVRLittleEndian) -> Path:
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = syntax
    data_set.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    data_set.SOPInstanceUID = "1.2.3"
    path = folder / "file.dcm"
    data_set.save_as(path, enforce_file_format=True, overwrite=True)
    return path


def a_raw_file(folder: Path, *elements: bytes) -> Path:
    """Write explicit little endian elements as they are."""
    syntax = b"\x02\x00\x10\x00UI\x14\x00" + b"1.2.840.10008.1.2.1\0"
    sop_class = element(0x00080016, b"UI", b"1.2.840.10008.5.1.4.1.1.2\0")
    path = folder / "raw.dcm"
    path.write_bytes(bytes(128) + b"DICM" + syntax + sop_class + b"".join(elements))
    return path


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr
    if vr in (b"SQ", b"UN", b"OB", b"OW", b"UT"):
        return head + bytes(2) + struct.pack("<L", len(value)) + value
    return head + struct.pack("<H", len(value)) + value


def item(*elements: bytes) -> bytes:
    inner = b"".join(elements)
    return b"\xfe\xff\x00\xe0" + struct.pack("<L", len(inner)) + inner


def model_of(path: Path) -> dict[str, Any]:
    with open_header(path, lambda declared: decide([], [], declared).codec, BULK) as header:
        model = header.model()
    # No NaN, no bytes, nothing that is no JSON.
    json.dumps(model, allow_nan=False)
    return model


def value_of(path: Path, address: str) -> bytes:
    with open_header(path, lambda _: "", BULK) as header:
        return header.value(address)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_every_transfer_syntax_says_the_same(tmp_path: Path, syntax: Any) -> None:
    inner = Dataset()
    inner.CodeValue, inner.ReferencedFrameNumber = "R-1", [1, 2]
    data_set = Dataset()
    data_set.SpecificCharacterSet = "ISO_IR 192"
    data_set.PatientName = "王^小东"
    data_set.ImageType = ["ORIGINAL", "PRIMARY", "", "AXIAL"]
    data_set.Rows, data_set.PixelRepresentation = 512, 1
    data_set.SmallestImagePixelValue = -5
    data_set.add_new(0x00189087, "FD", 0.5)
    data_set.add_new(0x00289001, "UL", 7)
    data_set.FrameIncrementPointer = [0x00181063]
    data_set.PixelSpacing = ["0.7421875", "1"]
    data_set.InstanceNumber = "12"
    data_set.add_new(
        0x00281201, "OW", struct.pack("<2H" if syntax != ExplicitVRBigEndian else ">2H", 1, 2)
    )
    data_set.AnatomicRegionSequence = Sequence([inner, Dataset()])
    data_set.ReferencedImageSequence = Sequence([])
    model = model_of(a_file(tmp_path, data_set, syntax))
    assert model["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "王^小东"}]}
    assert model["00080008"] == {"vr": "CS", "Value": ["ORIGINAL", "PRIMARY", None, "AXIAL"]}
    assert model["00280106"] == {"vr": "SS", "Value": [-5]}
    assert model["00189087"] == {"vr": "FD", "Value": [0.5]}
    assert model["00280009"] == {"vr": "AT", "Value": ["00181063"]}
    assert model["00280030"] == {"vr": "DS", "Value": [0.7421875, 1]}
    assert model["00200013"] == {"vr": "IS", "Value": [12]}
    inline = base64.b64decode(model["00281201"]["InlineBinary"])
    assert inline == struct.pack("<2H", 1, 2)
    assert model["00082218"]["Value"] == [
        {
            "00080100": {"vr": "SH", "Value": ["R-1"]},
            "00081160": {"vr": "IS", "Value": [1, 2]},
        },
        {},
    ]
    assert model["00081140"] == {"vr": "SQ"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"nan\\1e999\\abc\\ 1.5\\\\-2 ", ["nan", "1e999", "abc", 1.5, None, -2]),
        (b"1_0\\0x1\\+.5e1", ["1_0", "0x1", 5.0]),
    ],
)
def test_numbers_that_are_none_stay_texts(tmp_path: Path, text: bytes, told: list[Any]) -> None:
    path = a_raw_file(tmp_path, element(0x00281053, b"DS", text))
    assert model_of(path)["00281053"]["Value"] == told


def test_numbers_without_end_are_named(tmp_path: Path) -> None:
    raw = struct.pack("<4d", math.nan, math.inf, -math.inf, 2.5)
    path = a_raw_file(tmp_path, element(0x00189087, b"FD", raw + b"x"))
    assert model_of(path)["00189087"]["Value"] == ["NaN", "inf", "-inf", 2.5]


def test_each_item_may_have_a_character_set_of_its_own(tmp_path: Path) -> None:
    chinese = item(
        element(0x00080005, b"CS", b"GB18030 "), element(0x00080104, b"LO", "肺 ".encode("gb18030"))
    )
    path = a_raw_file(
        tmp_path,
        element(0x00080005, b"CS", b"ISO_IR 100"),
        element(0x00081030, b"LO", "Brüste".encode("latin-1")),
        element(0x00082218, b"SQ", chinese),
        element(0x00100010, b"PN", "Müller".encode("latin-1")),
    )
    model = model_of(path)
    assert model["00080005"]["Value"] == ["ISO_IR 192"]
    assert model["00081030"]["Value"] == ["Brüste"]
    assert model["00082218"]["Value"] == [{"00080104": {"vr": "LO", "Value": ["肺"]}}]
    assert model["00100010"]["Value"] == [{"Alphabetic": "Müller"}]


@pytest.mark.parametrize(
    "broken",
    [
        b"\xfe\xff\x00\xe0\xff\xff\xff\x7f",
        b"nothing like an item",
        item(b"\x08\x00\x04\x01LO\xff\x7f"),
        item(b"\x08\x00\x04\x01\1\2\3\4"),
        b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + element(0x00080100, b"SH", b"ab"),
    ],
)
def test_a_broken_sequence_is_bytes_and_the_rest_is_told(tmp_path: Path, broken: bytes) -> None:
    path = a_raw_file(
        tmp_path, element(0x00082218, b"SQ", broken), element(0x00100020, b"LO", b"P1")
    )
    model = model_of(path)
    assert model["00082218"] == {"vr": "UN", "BulkDataURI": f"{BULK}00082218"}
    assert value_of(path, "00082218") == broken
    assert model["00100020"]["Value"] == ["P1"]


def test_nesting_beyond_every_use_is_bytes(tmp_path: Path) -> None:
    nested = b""
    for _ in range(elements.DEPTH + 10):
        nested = element(0x00400275, b"SQ", item(nested))
    text = json.dumps(model_of(a_raw_file(tmp_path, nested)))
    assert text.count("00400275") >= elements.DEPTH
    assert '"UN"' in text


def test_open_sequences_within_a_defined_one_are_not_followed_without_end(tmp_path: Path) -> None:
    deep = b"\x40\x00\x75\x02SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 3000
    path = a_raw_file(tmp_path, element(0x00400275, b"SQ", item(deep)))
    assert model_of(path)["00400275"]["vr"] == "UN"
    assert value_of(path, "00400275") == item(deep)
    for address in ("00400275/1/00400275", "00400275/1/00400276"):
        with pytest.raises(ElementMissing):
            value_of(path, address)


def test_elements_without_number_are_refused_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elements, "ELEMENTS", 1000)
    path = a_raw_file(tmp_path, element(0x00082218, b"SQ", item() * 2000))
    with pytest.raises(HeaderRefused) as refused:
        model_of(path)
    assert refused.value.reason == "too-many-elements"


def test_long_values_of_every_kind_have_an_address(tmp_path: Path) -> None:
    text = b"x" * (json_model.VALUE_BYTES + 2)
    path = a_raw_file(
        tmp_path,
        element(0x00080100, b"UT", text),
        element(0x00420011, b"OB", b"y" * (json_model.INLINE_BYTES + 2)),
    )
    model = model_of(path)
    assert model["00080100"] == {"vr": "UT", "BulkDataURI": f"{BULK}00080100"}
    assert model["00420011"] == {"vr": "OB", "BulkDataURI": f"{BULK}00420011"}
    assert value_of(path, "00080100") == text


@pytest.mark.parametrize(
    "address",
    [
        "",
        "x",
        "00100020/1",
        "00100020/1/00100020",
        "00082218/2/00080100",
        "00082218/0/00080100",
        "7FE00010",
    ],
)
def test_an_address_of_nothing_is_missing(tmp_path: Path, address: str) -> None:
    sequence = element(0x00082218, b"SQ", item(element(0x00080100, b"SH", b"ab")))
    path = a_raw_file(tmp_path, sequence, element(0x00100020, b"LO", b"P1"))
    with pytest.raises(ElementMissing):
        value_of(path, address)
    assert value_of(path, "00082218/1/00080100") == b"ab"


@given(st.binary(max_size=300))
def test_any_bytes_end_in_a_document_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, tail: bytes
) -> None:
    path = a_raw_file(tmp_path_factory.getbasetemp(), element(0x00082218, b"SQ", tail), tail)
    with suppress(HeaderRefused):
        # What is told can be written as JSON, whatever came.
        assert json.loads(json.dumps(model_of(path)))["00082218"]["vr"] == "SQ"


@pytest.mark.slow
@needs_shared
def test_real_headers_say_what_pydicom_reads() -> None:
    paths = [path for path in CONFORMANCE.rglob("*.dcm") if path.parent.parent.name != "geometry"]
    refused = {path.name: reason for path in paths if (reason := _refusal(path))}
    assert set(refused.values()) == {
        "truncated",
        "not-dicom",
        "transfer-syntax-missing",
        "frames-inconsistent",
    }
    differing = {path.name: _differing(path) for path in paths if path.name not in refused}
    assert len(differing) > 60
    assert {name: tags for name, tags in differing.items() if tags} == {}


def _refusal(path: Path) -> str:
    try:
        model_of(path)
    except HeaderRefused as refused:
        return refused.reason
    return ""


def _differing(path: Path) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = pydicom.dcmread(path, force=True).to_json_dict(
            bulk_data_threshold=json_model.INLINE_BYTES,
            bulk_data_element_handler=lambda element: f"{BULK}{element.tag:08X}",
            suppress_invalid_tags=True,
        )
    model = model_of(path)
    return {
        tag: (model[tag], expected[tag])
        for tag in model.keys() & expected.keys() - {"00080005", "7FE00010"}
        if _plain(model[tag]) != _plain(expected[tag])
        # pydicom knows some vendors' elements; the file does not say what they are.
        and "UN" not in (model[tag]["vr"], expected[tag]["vr"])
        # In pydicom 3 the escapes stay in texts.
        and "\\u001b" not in json.dumps(expected[tag])
    }


def _plain(value: Any) -> Any:
    """Return a document's part without what is no matter: blanks, private elements, addresses."""
    if isinstance(value, dict):
        return {
            key: _plain(part)
            for key, part in value.items()
            if key not in ("BulkDataURI", "00080005") and part != [] and not _PRIVATE.fullmatch(key)
        }
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value.strip() if isinstance(value, str) else value
