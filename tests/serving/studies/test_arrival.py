"""What is read of an instance when it arrives, and what is refused."""

import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firstread.uids import uid_from
from serving.studies.arrival import (
    CANNOT_UNDERSTAND,
    SOP_CLASS_NOT_SUPPORTED,
    VOTING_BYTES,
    InstanceFacts,
    Unreadable,
    is_acquired,
    read_facts,
)
from tests.serving.studies.a_study import CT, SEG, SR, an_instance

META = bytes(128) + b"DICM" + b"\x02\x00\x10\x00UI"
STORAGE = "1.2.840.10008.5.1.4.1.1."


def facts_of(tmp_path: Path, data: bytes) -> InstanceFacts:
    path = tmp_path / "one.part"
    path.write_bytes(data)
    return read_facts(path)


def refused(tmp_path: Path, data: bytes) -> Unreadable:
    with pytest.raises(Unreadable) as error:
        facts_of(tmp_path, data)
    assert [path.name for path in tmp_path.iterdir()] == ["one.part"]
    return error.value


def test_the_facts_are_what_the_header_says(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, an_instance(7, StudyTime="10:20:30", NumberOfFrames="3"))
    assert facts.study_uid == uid_from("study")
    assert facts.series_uid == uid_from("study", "CT")
    assert facts.sop_class_uid == CT
    assert (facts.number, facts.series_number) == (7, 2)
    assert (facts.rows, facts.columns, facts.frames) == (2, 2, 3)
    assert facts.coded["study_time"] == "102030"
    assert facts.study_texts["patient_name"] == b"WANG^WEI"
    assert facts.is_source


@pytest.mark.parametrize(
    ("count", "code"),
    [(b"+30000000 ", "too-many-frames"), (b"30000000\\1", "frames-inconsistent")],
)
def test_frames_that_cannot_be_are_not_filed(tmp_path: Path, count: bytes, code: str) -> None:
    data = an_instance(NumberOfFrames="1234567890")
    assert data.count(b"1234567890") == 1
    assert refused(tmp_path, data.replace(b"1234567890", count)).code == code


@pytest.mark.parametrize(
    "keyword", ["SOPInstanceUID", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID"]
)
def test_an_instance_without_one_of_the_four_uids_is_refused(tmp_path: Path, keyword: str) -> None:
    absent: dict[str, Any] = {keyword: None}
    error = refused(tmp_path, an_instance(**absent))
    assert error.code == "uids-missing"
    assert error.failure_reason == CANNOT_UNDERSTAND


@pytest.mark.parametrize("uid", ["1.2.x", "1", "1..2", "../../etc/passwd", "1.2." + "3" * 64])
def test_what_is_no_uid_is_refused(tmp_path: Path, uid: str) -> None:
    error = refused(tmp_path, an_instance(uid=uid))
    assert error.code == "uids-invalid"
    assert error.sop_instance_uid == ""
    assert error.sop_class_uid == CT


def test_a_uid_with_leading_zeros_is_met_in_the_field_and_kept(tmp_path: Path) -> None:
    assert facts_of(tmp_path, an_instance(uid="1.02.3")).sop_instance_uid == "1.02.3"


@pytest.mark.parametrize("end", [0, 100, 132, 200, -1, -8])
def test_a_truncated_file_is_refused(tmp_path: Path, end: int) -> None:
    assert refused(tmp_path, an_instance()[:end]).comment.startswith("cannot be kept: ")


def test_a_data_set_without_a_file_around_it_is_refused(tmp_path: Path) -> None:
    data = an_instance()
    bare = data[data.index(b"\x08\x00\x16\x00") :]
    assert refused(tmp_path, bare).code == "meta-header-missing"


def test_a_dicomdir_is_no_instance(tmp_path: Path) -> None:
    data = an_instance(sop_class="1.2.840.10008.1.3.10")
    assert refused(tmp_path, data).failure_reason == SOP_CLASS_NOT_SUPPORTED


def test_a_deflate_bomb_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    syntax = b"1.2.840.10008.1.2.1.99"
    meta = META + len(syntax).to_bytes(2, "little") + syntax
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(32)) + packer.flush()
    assert len(bomb) < 1 << 16
    assert refused(tmp_path, meta + bomb).code == "inflates-too-far"


def test_deep_nesting_is_refused_at_once(tmp_path: Path) -> None:
    item = b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    data = an_instance()
    at = data.index(b"\x10\x00\x10\x00PN")
    assert refused(tmp_path, data[:at] + item * 10_000).code == "nested-too-deep"


def test_names_with_high_bytes_vote_on_character_sets_and_others_do_not(tmp_path: Path) -> None:
    name = "王^伟".encode("gbk")
    facts = facts_of(
        tmp_path,
        an_instance(SpecificCharacterSet="ISO_IR 100", PatientName=name, StudyDescription=b"CT"),
    )
    assert facts.declared == ("ISO_IR 100",)
    assert facts.names == {name}
    assert facts.texts == frozenset()


@pytest.mark.parametrize(
    ("sop_class", "modality", "expected"),
    [
        (CT, "CT", True),
        (STORAGE + "2.1", "CT", True),
        (STORAGE + "2.2", "CT", True),
        (STORAGE + "4", "MR", True),
        (STORAGE + "128", "PT", True),
        (STORAGE + "1.1", "DX", True),
        (SEG, "SEG", False),
        (SR, "SR", False),
        (STORAGE + "7", "CT", False),
        (STORAGE + "7.4", "CT", False),
        (STORAGE + "11.1", "PR", False),
        (STORAGE + "88.59", "KO", False),
        (STORAGE + "104.1", "DOC", False),
        (STORAGE + "481.2", "RTDOSE", False),
        (STORAGE + "481.3", "RTSTRUCT", False),
        (STORAGE + "30", "CT", False),
        (STORAGE + "4.2", "MR", False),
        (STORAGE + "66.7", "SEG", False),
        ("1.3.12.2.1107.5.9.1", "CT", True),
        ("1.3.12.2.1107.5.9.1", "SR", False),
    ],
)
def test_only_what_a_modality_acquired_is_a_source(
    sop_class: str, modality: str, expected: bool
) -> None:
    assert is_acquired(sop_class, modality, has_pixels=True) is expected


def test_a_private_class_without_pixels_is_no_source() -> None:
    assert not is_acquired("1.3.12.2.1107.5.9.1", "CT", has_pixels=False)


@settings(max_examples=60)
@given(
    changes=st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), min_size=1, max_size=6)
)
def test_changed_bytes_are_read_or_refused_and_nothing_else(
    changes: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = bytearray(an_instance())
    for place, value in changes:
        data[place % len(data)] = value
    path = tmp_path_factory.mktemp("mutant") / "one.part"
    path.write_bytes(data)
    try:
        facts = read_facts(path)
    except Unreadable:
        return
    assert facts.sop_instance_uid
    assert facts.frames > 0


def test_a_long_text_votes_with_its_beginning_only(tmp_path: Path) -> None:
    whole = ("肺 " * 9000).encode("gb18030")
    (vote,) = facts_of(tmp_path, an_instance(ImageComments=whole)).texts
    assert len(vote) <= VOTING_BYTES
    assert set(vote.decode("gb18030")) == {"肺", " "}


def test_a_long_text_without_a_place_to_cut_votes_not_at_all(tmp_path: Path) -> None:
    assert not facts_of(tmp_path, an_instance(ImageComments=b"\xb0" * 9000)).texts
