import io
import struct
import time
import zlib
from collections import Counter
from dataclasses import replace

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.dicom.attributes import WANTED
from inference.dicom.walked import LIMITS, Header, HeaderRefused, Limits
from inference.dicom.walker import walk
from tests.inference.dicom import raw
from tests.inference.dicom.raw import (
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    ITEM,
    ITEM_END,
    SEQUENCE_END,
    UNDEFINED,
    delimiter,
    element,
    sequence,
)
from tests.shared import SHARED, needs_shared

SOP_INSTANCE, PATIENT_NAME, PER_FRAME = 0x00080018, 0x00100010, 0x52009230
PRIVATE_SEQUENCE = 0x00091001


def walked(data: bytes, limits: Limits = LIMITS) -> Header:
    return walk(io.BytesIO(data), len(data), WANTED, limits=limits)


def reason(data: bytes, limits: Limits = LIMITS) -> str:
    started = time.process_time()
    with pytest.raises(HeaderRefused) as refused:
        walked(data, limits)
    assert time.process_time() - started < 5
    return refused.value.reason


def outcome(data: bytes) -> str:
    """Return what the walk found, or the reason why it stopped."""
    try:
        return "pixels" if walked(data).pixels else "no pixels"
    except HeaderRefused as refused:
        return refused.reason


@pytest.mark.parametrize("syntax", [IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG])
def test_the_same_values_are_found_in_every_byte_order(syntax: str) -> None:
    header = walked(raw.ct_file(syntax))
    assert header.elements[SOP_INSTANCE].value.rstrip(b"\0") == b"1.2.3.4"
    assert header.transfer_syntax_uid == syntax
    assert header.pixels is not None
    assert header.pixels.length == 32


def test_the_pixels_lie_where_the_walk_says() -> None:
    data = raw.ct_file()
    pixels = walked(data).pixels
    assert pixels is not None
    assert data[pixels.offset :] == bytes(range(32))


def test_float_pixels_are_no_pixels() -> None:
    floats = element(0x7FE00008, "OF", bytes(32))
    assert walked(raw.meta() + raw.ct_elements() + floats).pixels is None


def test_fragments_are_found_each_with_its_place() -> None:
    encapsulated = (
        element(0x7FE00010, "OB", length=UNDEFINED) + delimiter(ITEM) + delimiter(ITEM, 4) + b"abcd"
    )
    data = raw.meta("1.2.840.10008.1.2.4.80") + raw.ct_elements() + encapsulated
    pixels = walked(data + delimiter(SEQUENCE_END)).pixels
    assert pixels is not None
    assert [data[at : at + length] for at, length in pixels.fragments] == [b"", b"abcd"]


def test_millions_of_fragments_end_at_the_limit() -> None:
    encapsulated = element(0x7FE00010, "OB", length=UNDEFINED) + delimiter(ITEM, 0) * 300_000
    data = raw.meta("1.2.840.10008.1.2.4.80") + raw.ct_elements() + encapsulated
    assert reason(data + delimiter(SEQUENCE_END)) == "too-many-items"


def test_encapsulated_pixels_without_their_end_are_truncated() -> None:
    encapsulated = (
        element(0x7FE00010, "OB", length=UNDEFINED) + delimiter(ITEM) + delimiter(ITEM, 4) + b"abcd"
    )
    data = raw.meta("1.2.840.10008.1.2.4.80") + raw.ct_elements() + encapsulated
    assert reason(data) == "truncated"
    assert reason(data[:-2]) == "truncated"


def test_a_sequence_without_declared_length_is_stepped_over() -> None:
    nested = (
        element(PRIVATE_SEQUENCE, "SQ", length=UNDEFINED)
        + delimiter(ITEM, UNDEFINED)
        + element(PATIENT_NAME, "PN", "Another^Name")
        + delimiter(ITEM_END)
        + delimiter(ITEM, 0)
        + delimiter(SEQUENCE_END)
    )
    header = walked(raw.meta() + nested + raw.ct_elements() + raw.pixels())
    assert header.elements[PATIENT_NAME].value == b"Wang^XiaoDong "


def test_an_unknown_sequence_is_implicit_within_an_explicit_file() -> None:
    nested = (
        element(PRIVATE_SEQUENCE, "UN", length=UNDEFINED)
        + delimiter(ITEM, UNDEFINED)
        + element(PATIENT_NAME, "PN", "Another^Name", syntax=IMPLICIT_LITTLE)
        + delimiter(ITEM_END)
        + delimiter(SEQUENCE_END)
    )
    assert SOP_INSTANCE in walked(raw.meta() + nested + raw.ct_elements() + raw.pixels()).elements


def test_an_encapsulated_icon_is_stepped_over() -> None:
    icon = (
        element(0x00880200, "SQ", length=UNDEFINED)
        + delimiter(ITEM, UNDEFINED)
        + element(0x7FE00010, "OB", length=UNDEFINED)
        + delimiter(ITEM, 2)
        + b"ab"
        + delimiter(SEQUENCE_END)
        + delimiter(ITEM_END)
        + delimiter(SEQUENCE_END)
    )
    header = walked(raw.meta() + raw.ct_elements() + icon + raw.pixels())
    assert header.pixels is not None
    assert header.pixels.length == 32


@pytest.mark.parametrize("is_open", [False, True])
@pytest.mark.parametrize("syntax", [IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG])
def test_values_of_functional_groups_are_kept_for_each_frame(syntax: str, is_open: bool) -> None:
    def planes(*positions: str) -> bytes:
        items = (element(0x00200032, "DS", position, syntax=syntax) for position in positions)
        return sequence(0x00209113, *items, is_open=is_open, syntax=syntax)

    frames = [planes("0\\0\\1 ", "not the first item"), planes("0\\0\\2 "), b""]
    groups = sequence(PER_FRAME, *frames, is_open=is_open, syntax=syntax)
    elsewhere = sequence(PRIVATE_SEQUENCE, planes("9\\9\\9 "), is_open=is_open, syntax=syntax)
    data = raw.meta(syntax) + raw.ct_elements(syntax) + elsewhere + groups
    assert walked(data + raw.pixels(syntax=syntax)).groups == {
        (PER_FRAME, 0): {(0x00209113, 0x00200032): b"0\\0\\1 "},
        (PER_FRAME, 1): {(0x00209113, 0x00200032): b"0\\0\\2 "},
        (PER_FRAME, 2): {},
    }


def test_a_file_of_anything_else_is_not_dicom() -> None:
    assert reason(b"hello, world" * 100) == "not-dicom"
    assert reason(b"\x1f\x8b\x08" + bytes(200)) == "gzip"
    assert reason(bytes(5_000_000)) == "not-dicom"


@pytest.mark.parametrize("syntax", [IMPLICIT_LITTLE, EXPLICIT_LITTLE])
def test_a_stream_without_meta_header_passes_when_it_names_class_and_instance(syntax: str) -> None:
    header = walked(raw.ct_elements(syntax) + raw.pixels(syntax=syntax))
    assert header.transfer_syntax_uid == syntax


@pytest.mark.parametrize("missing", ["sop_class", "sop_instance"])
def test_a_stream_without_meta_header_that_does_not_name_itself_is_not_dicom(missing: str) -> None:
    assert reason(raw.ct_elements(**{missing: None}) + raw.pixels()) == "not-dicom"


def test_compressed_pixels_without_meta_header_have_no_transfer_syntax() -> None:
    pixels = (
        element(0x7FE00010, "OB", length=UNDEFINED) + delimiter(ITEM, 0) + delimiter(SEQUENCE_END)
    )
    assert walked(raw.ct_elements() + pixels).transfer_syntax_uid == ""


def test_a_meta_header_without_transfer_syntax_is_refused() -> None:
    meta = bytes(128) + b"DICM" + element(0x00020002, "UI", raw.CT)
    assert reason(meta + raw.ct_elements() + raw.pixels()) == "transfer-syntax-missing"


def test_a_file_that_ends_after_its_meta_header_has_no_elements() -> None:
    assert reason(raw.meta()) == "no-elements"


def test_an_element_that_comes_twice_is_refused() -> None:
    twice = raw.ct_elements() + element(0x00200052, "UI", "1.2")
    assert reason(raw.meta() + twice + raw.pixels()) == "element-repeated"


@pytest.mark.parametrize("vr", [b"\0\0", b"zz", b"1A"])
def test_a_vr_that_is_none_is_refused(vr: bytes) -> None:
    strange = struct.pack("<HH", 0x0009, 0x1001) + vr + struct.pack("<H", 0)
    assert reason(raw.meta() + strange + raw.ct_elements() + raw.pixels()) == "vr-unknown"


def test_a_vr_of_tomorrow_is_stepped_over_by_its_short_length() -> None:
    strange = struct.pack("<HH", 0x0009, 0x1001) + b"ZZ" + struct.pack("<H", 4) + b"abcd"
    assert SOP_INSTANCE in walked(raw.meta() + strange + raw.ct_elements() + raw.pixels()).elements


@pytest.mark.parametrize("length", [0xFFFFFFFE, 0x7FFFFFFF, 33])
def test_pixels_that_promise_more_than_the_file_holds_are_truncated(length: int) -> None:
    assert reason(raw.meta() + raw.ct_elements() + raw.pixels(length=length)) == "truncated"


@pytest.mark.parametrize("vr", ["SQ", "UT", "OB"])
def test_a_length_beyond_the_end_of_the_file_is_truncated(vr: str) -> None:
    lying = element(PRIVATE_SEQUENCE, vr, b"", length=0xFFFFFFFE)
    assert reason(raw.meta() + lying + raw.ct_elements() + raw.pixels()) == "truncated"


def test_an_item_that_reaches_beyond_its_sequence_is_inconsistent() -> None:
    groups = element(PER_FRAME, "SQ", delimiter(ITEM, 100) + element(0x00200013, "IS", "1 "))
    data = raw.meta() + raw.ct_elements() + groups + raw.pixels(bytes(4096))
    assert reason(data) == "length-inconsistent"


@pytest.mark.parametrize("syntax", [IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG])
def test_every_cut_within_an_element_is_noticed_and_no_cut_leaves_pixels(syntax: str) -> None:
    whole = raw.ct_file(syntax)
    outcomes = Counter(outcome(whole[:end]) for end in range(132, len(whole)))
    walks_to_the_end = outcomes.pop("no pixels")
    assert outcomes.keys() == {"truncated", "no-elements", "transfer-syntax-missing"}
    # A cut between two elements is a shorter file, and all that can be seen is that it has no
    # pixels.
    assert walks_to_the_end == 30


def test_nesting_ends_at_the_limit() -> None:
    deep = element(PRIVATE_SEQUENCE, "SQ", length=UNDEFINED) + delimiter(ITEM, UNDEFINED)
    assert reason(raw.meta() + deep * 10_000) == "nested-too-deep"
    unknown = element(PRIVATE_SEQUENCE, "UN", length=UNDEFINED) + delimiter(ITEM, UNDEFINED)
    implicit = element(PRIVATE_SEQUENCE, "SQ", length=UNDEFINED, syntax=IMPLICIT_LITTLE)
    assert (
        reason(raw.meta() + unknown + (implicit + delimiter(ITEM, UNDEFINED)) * 2_000)
        == "nested-too-deep"
    )


def test_nesting_of_declared_lengths_within_functional_groups_ends_at_the_limit() -> None:
    nested = b""
    for _ in range(200):
        nested = element(0x00209113, "SQ", delimiter(ITEM, len(nested)) + nested)
    groups = element(PER_FRAME, "SQ", delimiter(ITEM, len(nested)) + nested)
    assert reason(raw.meta() + raw.ct_elements() + groups + raw.pixels()) == "nested-too-deep"


def test_millions_of_empty_elements_end_at_the_limit() -> None:
    assert reason(raw.meta() + element(PRIVATE_SEQUENCE, "LO") * 2_600_000) == "too-many-elements"


def test_millions_of_empty_items_end_at_the_limit() -> None:
    items = delimiter(ITEM) * 2_600_000
    data = raw.meta() + element(PRIVATE_SEQUENCE, "SQ", length=UNDEFINED) + items
    assert reason(data) == "too-many-items"
    groups = element(PER_FRAME, "SQ", items)
    assert reason(raw.meta() + raw.ct_elements() + groups + raw.pixels()) == "too-many-items"


def test_elements_hidden_in_functional_groups_are_counted() -> None:
    hidden = element(PRIVATE_SEQUENCE, "LO") * 60_000
    for vr in ("SQ", "UN"):
        body = (
            element(PRIVATE_SEQUENCE, "LO", syntax=IMPLICIT_LITTLE) * 60_000
            if vr == "UN"
            else hidden
        )
        position = element(0x00209113, vr, delimiter(ITEM, len(body)) + body)
        groups = element(PER_FRAME, "SQ", delimiter(ITEM, len(position)) + position)
        assert reason(raw.meta() + raw.ct_elements() + groups + raw.pixels()) == "too-many-elements"


@pytest.mark.parametrize("count", ["2000000000", "+999999999", "20001", " 99999999.0 "])
def test_a_frame_count_that_lies_does_not_lift_the_limit_without_end(count: str) -> None:
    many = element(PRIVATE_SEQUENCE, "LO") * 60_000
    data = raw.meta() + raw.ct_elements(frames=count) + many
    assert reason(data) == "too-many-frames"


@pytest.mark.parametrize(
    "count", [b"\xb2", b"x", b"-1", b"1\\2", b"99999999\\1", b"1_0", b"9" * 13, b"1.5", "١"]
)
def test_a_frame_count_that_is_no_number_is_refused(count: bytes | str) -> None:
    assert reason(raw.meta() + raw.ct_elements(frames=count)) == "frames-inconsistent"


@pytest.mark.parametrize(
    ("count", "frames"),
    [(None, 1), ("", 1), ("0", 1), ("3", 3), (" +3 ", 3), ("3.0", 3), ("20000\0", 20_000)],
)
def test_a_frame_count_is_read_whoever_asks(count: str | None, frames: int) -> None:
    data = raw.meta() + raw.ct_elements(frames=count) + raw.pixels()
    assert walk(io.BytesIO(data), len(data), frozenset()).frames == frames


def test_many_frames_may_have_many_elements() -> None:
    many = element(PRIVATE_SEQUENCE, "LO") * 60_000
    data = raw.meta() + raw.ct_elements(frames="400") + many + raw.pixels()
    assert SOP_INSTANCE in walked(data).elements


def test_a_long_value_before_the_pixels_is_refused() -> None:
    long = element(PRIVATE_SEQUENCE, "UT", bytes(2000))
    data = raw.meta() + long + raw.ct_elements() + raw.pixels()
    assert reason(data, replace(LIMITS, value_bytes=1000)) == "value-too-long"
    assert reason(data, replace(LIMITS, header_bytes=1500)) == "header-too-long"


def test_a_walk_ends_when_its_time_is_over() -> None:
    data = raw.meta() + element(PRIVATE_SEQUENCE, "LO") * 40_000
    clock = iter(float(second) for second in range(100))
    with pytest.raises(HeaderRefused) as refused:
        walk(io.BytesIO(data), len(data), WANTED, clock=lambda: next(clock))
    assert refused.value.reason == "too-slow"


@given(st.data())
@settings(max_examples=300)
def test_a_damaged_header_gives_a_header_or_a_reason(data: st.DataObject) -> None:
    syntax = data.draw(st.sampled_from([IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG]))
    damaged = bytearray(raw.ct_file(syntax))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(128, len(damaged) - 1))
        damaged[at] = data.draw(
            st.sampled_from([0, 1, 0x7F, 0x80, 0xFE, 0xFF, ord("S"), ord("Q"), ord("U")])
        )
    end = data.draw(st.integers(0, len(damaged)))
    assert outcome(bytes(damaged[:end])).replace("-", "").replace(" ", "").isalpha()


@needs_shared
@pytest.mark.parametrize("folder", ["cornerstone", "charsets", "dcmqi/tiny-24x38x3"])
def test_the_walk_finds_what_pydicom_finds(folder: str) -> None:
    for path in sorted((SHARED / "data/conformance" / folder).iterdir()):
        data = path.read_bytes()
        header = walked(data)
        if header.transfer_syntax_uid == raw.DEFLATED:
            continue
        expected = pydicom.dcmread(path, stop_before_pixels=True)
        present = {tag: expected.get_item(tag) for tag in WANTED if tag in expected}
        assert header.elements.keys() == present.keys(), path.name
        for tag, found in present.items():
            if getattr(found, "is_raw", False) and found.VR != "SQ":
                assert header.elements[tag].value == (found.value or b""), (path.name, tag)


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def test_a_deflated_file_says_only_that_it_is() -> None:
    header = walked(raw.meta(raw.DEFLATED) + deflated(raw.ct_elements()))
    assert header.transfer_syntax_uid == raw.DEFLATED
    assert not header.elements
