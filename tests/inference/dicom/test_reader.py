import json
import os
import resource
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firstread.errors import NothingReadable, OutputError, UsageError
from inference.dicom import reader
from inference.dicom.files import ZipLimits
from inference.dicom.instance import Instance, Upload
from inference.dicom.reader import open_upload
from inference.dicom.walked import LIMITS
from tests.inference.dicom import raw
from tests.inference.dicom.raw import ct_file, element, sequence, write
from tests.shared import SHARED, needs_shared

CONFORMANCE = SHARED / "data/conformance"


SHARED_GROUPS = (
    sequence(0x00209116, element(0x00200037, "DS", "1\\0\\0\\0\\1\\0 "))
    + sequence(0x00289110, element(0x00280030, "DS", "0.7\\0.8"))
    + sequence(0x00289145, element(0x00281052, "DS", "-1024") + element(0x00281053, "DS", "1 "))
    + sequence(0x00189314, element(0x00181210, "SH", "Br40\\3"))
    + sequence(0x00189304, element(0x00181120, "DS", "-12.5"))
)
PER_FRAME_GROUPS = (
    sequence(0x00209113, element(0x00200032, "DS", "0\\0\\1 ")),
    sequence(0x00209113, element(0x00200032, "DS", "0\\0\\2 "))
    + sequence(0x00289145, element(0x00281052, "DS", "0 ") + element(0x00281053, "DS", "2 ")),
)


def instances(upload: Upload) -> list[Instance]:
    return [i for study in upload.studies for series in study.series for i in series.instances]


def reasons(upload: Upload) -> dict[str, str]:
    return {unread.path.name: unread.reason for unread in upload.unread}


def read_one(folder: Path, data: bytes) -> Instance:
    with open_upload([write(folder, "one", data)]) as upload:
        return instances(upload)[0]


def deflated_file(data_set: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return raw.meta(raw.DEFLATED) + packer.compress(data_set) + packer.flush()


def a_zip(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_values_of_a_header_arrive_as_numbers(tmp_path: Path) -> None:
    instance = read_one(tmp_path, ct_file(birth_date="20000101"))
    frame = instance.frames[0]
    assert frame.position_lps_mm == (-10.0, -20.0, 30.5)
    assert (frame.rescale_slope, frame.rescale_intercept) == (1.0, -1024.0)
    assert (instance.rows, instance.columns, instance.is_signed) == (4, 4, True)
    assert instance.image_type == ("ORIGINAL", "PRIMARY", "AXIAL")
    assert instance.patient_age_years == 65


@pytest.mark.parametrize(
    "text", ["nan\\0\\0", "1e999\\0\\0", "1_0\\0\\0", "a\\0\\0", "1\\2", "", "\\\\"]
)
def test_a_position_that_is_none_is_absent(tmp_path: Path, text: str) -> None:
    assert read_one(tmp_path, ct_file(position=text)).frames[0].position_lps_mm is None


def test_a_number_of_ten_million_values_is_absent_at_once(tmp_path: Path) -> None:
    data = raw.meta(raw.IMPLICIT_LITTLE) + raw.ct_elements(
        raw.IMPLICIT_LITTLE, thickness="1\\" * 5_000_000
    )
    data += raw.pixels(syntax=raw.IMPLICIT_LITTLE)
    assert read_one(tmp_path, data).frames[0].slice_thickness_mm is None


@pytest.mark.parametrize(
    ("age", "birth_date", "years"),
    [
        ("018M", "", 1.5),
        ("", "20200101", 6.0),
        ("", "20270101", None),
        ("", "20201332", None),
        ("x", "", None),
        ("065Y", "20200101", 65.0),
    ],
)
def test_the_age_is_as_stated_else_from_birth_to_study(
    tmp_path: Path, age: str, birth_date: str, years: float | None
) -> None:
    found = read_one(tmp_path, ct_file(age=age, birth_date=birth_date)).patient_age_years
    assert found == (pytest.approx(years, abs=0.01) if years is not None else None)


def test_the_header_keeps_the_senders_bytes(tmp_path: Path) -> None:
    name = "王^小东".encode("gb18030")
    instance = read_one(tmp_path, ct_file(name=name, charset="ISO_IR 100"))
    assert instance.header.get_item(0x00100010).value.rstrip() == name


def test_what_is_no_uid_counts_as_missing(tmp_path: Path) -> None:
    instance = read_one(tmp_path, ct_file(sop_instance="dccc9599", study="1.2\\1.3"))
    assert (instance.sop_instance_uid, instance.study_uid) == ("", "")
    assert not instance.has_uids


def test_an_unpadded_or_space_padded_uid_is_the_same_uid(tmp_path: Path) -> None:
    for padded in (b"1.2.345\0", b"1.2.345 ", b"1.2.345"):
        assert read_one(tmp_path, ct_file(series=padded)).series_uid == "1.2.345"


def test_a_dicom_file_that_is_a_zip_too_is_read_as_dicom(tmp_path: Path) -> None:
    hidden = a_zip(tmp_path / "hidden.zip", {"x": ct_file(sop_instance="1.9")}).read_bytes()
    both = bytearray(ct_file(sop_instance="1.8") + hidden)
    both[:4] = b"PK\x03\x04"
    path = write(tmp_path, "both", bytes(both))
    assert zipfile.is_zipfile(path)
    with open_upload([path]) as upload:
        assert [instance.sop_instance_uid for instance in instances(upload)] == ["1.8"]


def test_a_folder_is_read_whatever_the_names_and_however_nested(tmp_path: Path) -> None:
    write(tmp_path, "a/b/c/IM 1", ct_file(sop_instance="1.1"))
    write(tmp_path, "检查/图像.jpg", ct_file(sop_instance="1.2"))
    write(tmp_path, "notes.txt", b"hello" * 100)
    write(tmp_path, "empty", b"")
    with open_upload([tmp_path]) as upload:
        assert [i.sop_instance_uid for i in instances(upload)] == ["1.1", "1.2"]
        assert reasons(upload) == {"notes.txt": "not-dicom", "empty": "empty"}


def test_links_are_not_followed_out_of_a_folder(tmp_path: Path) -> None:
    write(tmp_path, "outside/other.dcm", ct_file(sop_instance="1.9"))
    write(tmp_path, "study/one.dcm", ct_file(sop_instance="1.1"))
    (tmp_path / "study/out.dcm").symlink_to(tmp_path / "outside/other.dcm")
    (tmp_path / "study/out").symlink_to(tmp_path / "outside")
    (tmp_path / "study/round").symlink_to(tmp_path / "study")
    (tmp_path / "study/again.dcm").symlink_to("one.dcm")
    (tmp_path / "study/nowhere").symlink_to("nothing")
    with open_upload([tmp_path / "study"]) as upload:
        assert [i.sop_instance_uid for i in instances(upload)] == ["1.1"]
        assert not upload.unread


def test_pipes_and_sockets_are_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    write(tmp_path, "one.dcm", ct_file())
    with open_upload([tmp_path]) as upload:
        assert len(instances(upload)) == 1
    with pytest.raises(NothingReadable), open_upload([tmp_path / "pipe"]):
        pass


def test_a_file_named_twice_is_one_file(tmp_path: Path) -> None:
    path = write(tmp_path, "one.dcm", ct_file(sop_instance=""))
    with open_upload([path, tmp_path, path]) as upload:
        assert len(instances(upload)) == 1


def test_a_path_that_does_not_exist_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError), open_upload([tmp_path / "nothing"]):
        pass


def test_nothing_readable_is_an_error_that_names_no_file(tmp_path: Path) -> None:
    write(tmp_path, "Zhang San.txt", b"no scan")
    with pytest.raises(NothingReadable) as raised, open_upload([tmp_path]):
        pass
    assert "Zhang" not in str(raised.value)


def test_the_same_bytes_count_once_and_other_bytes_of_one_uid_are_both_kept(tmp_path: Path) -> None:
    write(tmp_path, "one.dcm", ct_file())
    write(tmp_path, "copy.dcm", ct_file())
    with open_upload([tmp_path]) as upload:
        assert len(instances(upload)) == 1
    write(tmp_path, "other.dcm", ct_file(position="-10\\-20\\33"))
    with open_upload([tmp_path]) as upload:
        assert len(instances(upload)) == 2


def test_many_files_of_one_uid_are_read_once_more_each_and_not_against_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digested: list[Path] = []
    digest = reader._digest

    def counted(path: Path) -> bytes:
        digested.append(path)
        return digest(path)

    monkeypatch.setattr(reader, "_digest", counted)
    for number in range(30):
        write(tmp_path, str(number), ct_file(position=f"-10\\-20\\{number // 2 + 100}"))
    with open_upload([tmp_path]) as upload:
        assert len(instances(upload)) == 15
    assert len(digested) == 30


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let the operating system refuse to write beyond a size, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("packed", ["zip", "deflated"])
def test_no_room_to_unpack_is_an_error_with_advice_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: str
) -> None:
    big = ct_file(sop_instance="1.9") + bytes(3_000_000)
    path = (
        a_zip(tmp_path / "study.zip", {"one": big})
        if packed == "zip"
        else write(tmp_path, "one", deflated_file(raw.ct_elements() + raw.pixels(big)))
    )
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    with (
        files_of_at_most(2_000_000),
        pytest.raises(OutputError, match="temporary folder") as raised,
        open_upload([path]),
    ):
        pass
    assert "TMPDIR" in raised.value.advice
    assert list(scratch.iterdir()) == []


def test_no_temporary_folder_at_all_is_an_error_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(OutputError), open_upload([write(tmp_path, "one", ct_file())]):
        pass


@pytest.mark.parametrize("exit_by", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_unpacked_files_are_gone_however_the_reading_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exit_by: type[BaseException]
) -> None:
    archive = a_zip(tmp_path / "study.zip", {"one": ct_file()})
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))

    def stop(stage: str, done: int, total: int) -> None:
        assert len(list(scratch.rglob("000001"))) == 1
        raise exit_by(stage, done, total)

    with pytest.raises(exit_by), open_upload([archive], stop):
        pass
    assert list(scratch.iterdir()) == []


def test_empty_uids_are_never_equal_to_each_other(tmp_path: Path) -> None:
    nameless = ct_file(sop_instance="", study="", series="")
    for name in "abc":
        write(tmp_path, name, nameless)
    write(tmp_path, "d", ct_file(series=""))
    write(tmp_path, "e", ct_file(series="", sop_instance="1.5"))
    with open_upload([tmp_path]) as upload:
        assert [(study.uid, len(study.series)) for study in upload.studies] == [("", 1)] * 3 + [
            ("1.2.3", 2)
        ]


def test_studies_and_series_come_sorted_by_uid(tmp_path: Path) -> None:
    for number, (study, series) in enumerate([("1.9", "1.1"), ("1.2", "1.4"), ("1.2", "1.3")]):
        write(
            tmp_path, str(number), ct_file(study=study, series=series, sop_instance=f"1.{number}")
        )
    with open_upload([tmp_path]) as upload:
        found = [(study.uid, [series.uid for series in study.series]) for study in upload.studies]
    assert found == [("1.2", ["1.3", "1.4"]), ("1.9", ["1.1"])]


def test_character_sets_are_decided_on_the_names_of_the_whole_study(tmp_path: Path) -> None:
    for number, name in enumerate(["Wang^XiaoDong", "王^小东"]):
        data = ct_file(
            name=name.encode("gb18030"), charset="ISO_IR 100", sop_instance=f"1.{number}"
        )
        write(tmp_path, str(number), data)
    with open_upload([tmp_path]) as upload:
        assert upload.studies[0].codecs == {("ISO_IR 100",): "gb18030"}


def test_a_zip_is_read_and_removed_afterwards(tmp_path: Path) -> None:
    archive = a_zip(
        tmp_path / "study.zip", {"x/1": ct_file(sop_instance="1.1"), "notes": b"hello" * 99}
    )
    with open_upload([archive]) as upload:
        found = instances(upload)[0]
        assert found.sop_instance_uid == "1.1"
        assert upload.unread[0].path == archive / "notes"
    assert not found.path.exists()


def test_no_name_in_a_zip_leads_anywhere(tmp_path: Path) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    names = ["../evil", "/evil", "a/../../evil", "C:\\evil"]
    archive = a_zip(
        inside / "study.zip", {name: ct_file(sop_instance=f"1.{k}") for k, name in enumerate(names)}
    )
    before = sorted(tmp_path.rglob("*"))
    with open_upload([archive]) as upload:
        assert len(instances(upload)) == 4
        assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (ZipLimits(members=3), "zip-too-many-members"),
        (ZipLimits(total_bytes=100_000), "zip-too-large"),
        (ZipLimits(member_bytes=100_000), "zip-too-large"),
        (ZipLimits(ratio=2, free_bytes=1000), "zip-too-large"),
    ],
)
def test_a_zip_that_unpacks_too_far_is_stopped(
    tmp_path: Path, limits: ZipLimits, reason: str
) -> None:
    archive = a_zip(tmp_path / "bomb.zip", {str(number): bytes(200_000) for number in range(5)})
    with pytest.raises(NothingReadable), open_upload([archive], zip_limits=limits):
        pass
    good = write(tmp_path, "good.dcm", ct_file())
    with open_upload([good, archive], zip_limits=limits) as upload:
        assert [unread.reason for unread in upload.unread] == [reason]


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (ZipLimits(members=3), "zip-too-many-members"),
        (ZipLimits(total_bytes=500_000), "zip-too-large"),
        (ZipLimits(ratio=2, free_bytes=500_000), "zip-too-large"),
    ],
)
def test_several_zips_share_one_budget(tmp_path: Path, limits: ZipLimits, reason: str) -> None:
    good = write(tmp_path, "good.dcm", ct_file())
    zips = [
        a_zip(tmp_path / f"{k}.zip", {"a": bytes(200_000), "b": bytes(k + 1)}) for k in range(3)
    ]
    with open_upload([good, zips[0]], zip_limits=limits) as upload:
        assert reason not in {unread.reason for unread in upload.unread}
    with open_upload([good, *zips], zip_limits=limits) as upload:
        assert reason in {unread.reason for unread in upload.unread}


def test_damaged_encrypted_and_strangely_packed_members_are_named(tmp_path: Path) -> None:
    good = write(tmp_path, "good.dcm", ct_file())
    cut = write(tmp_path, "cut.zip", a_zip(tmp_path / "whole", {"a": ct_file()}).read_bytes()[:-30])
    strange = a_zip(
        tmp_path / "lzma.zip", {"packed": ct_file(sop_instance="1.8")}, zipfile.ZIP_LZMA
    )
    flipped = bytearray(
        a_zip(tmp_path / "x", {"damaged": ct_file(sop_instance="1.7")}).read_bytes()
    )
    flipped[60:80] = bytes(20)
    sealed = bytearray(a_zip(tmp_path / "y", {"sealed": ct_file(sop_instance="1.6")}).read_bytes())
    sealed[sealed.index(b"PK\x01\x02") + 8] |= 1
    paths = [
        good,
        cut,
        strange,
        write(tmp_path, "d.zip", bytes(flipped)),
        write(tmp_path, "s.zip", bytes(sealed)),
    ]
    with open_upload(paths) as upload:
        assert reasons(upload) == {
            "cut.zip": "zip-damaged",
            "packed": "zip-method-unsupported",
            "damaged": "zip-damaged",
            "sealed": "zip-encrypted",
        }


def test_a_deflated_file_is_the_same_instance(tmp_path: Path) -> None:
    instance = read_one(tmp_path, deflated_file(raw.ct_elements() + raw.pixels()))
    assert instance.sop_instance_uid == "1.2.3.4"
    assert instance.transfer_syntax_uid == raw.DEFLATED
    assert instance.pixel_length == 32


def test_a_deflate_bomb_is_stopped_at_the_ceiling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "INFLATED_FREE_BYTES", 1_000_000)
    bomb = deflated_file(raw.ct_elements() + raw.pixels(bytes(50_000_000)))
    assert len(bomb) < 60_000
    with pytest.raises(NothingReadable), open_upload([write(tmp_path, "bomb", bomb)]):
        pass
    with open_upload([tmp_path / "bomb", write(tmp_path, "good", ct_file())]) as upload:
        assert reasons(upload) == {"bomb": "inflates-too-far"}


def test_what_inflates_to_thousands_of_times_its_size_is_read_below_the_ceiling(
    tmp_path: Path,
) -> None:
    data = deflated_file(raw.ct_elements() + raw.pixels(bytes(5_000_000)))
    assert len(data) < 7_000
    assert read_one(tmp_path, data).pixel_length == 5_000_000


def test_damaged_deflate_is_named(tmp_path: Path) -> None:
    good = write(tmp_path, "good", ct_file())
    whole = deflated_file(raw.ct_elements() + raw.pixels())
    cut = write(tmp_path, "cut", whole[:-10])
    broken = write(tmp_path, "broken", raw.meta(raw.DEFLATED) + b"\xff" * 200)
    with open_upload([good, cut, broken]) as upload:
        assert reasons(upload) == {"cut": "truncated", "broken": "deflate-damaged"}


def test_frames_that_do_not_match_their_groups_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "good", ct_file())
    write(tmp_path, "bad", ct_file(frames="3", sop_instance="1.5"))
    three = raw.enhanced_file(SHARED_GROUPS, *PER_FRAME_GROUPS, b"")
    write(tmp_path, "worse", three.replace(b"IS\x02\x003 ", b"IS\x02\x004 "))
    with open_upload([tmp_path]) as upload:
        assert reasons(upload) == {"bad": "frames-inconsistent", "worse": "frames-inconsistent"}


def test_a_frames_own_values_go_before_the_shared_ones(tmp_path: Path) -> None:
    instance = read_one(tmp_path, raw.enhanced_file(SHARED_GROUPS, *PER_FRAME_GROUPS))
    first, second = instance.frames
    assert (first.position_lps_mm, second.position_lps_mm) == ((0, 0, 1), (0, 0, 2))
    assert first.pixel_spacing_mm == second.pixel_spacing_mm == (0.7, 0.8)
    assert (first.rescale_slope, first.rescale_intercept) == (1, -1024)
    assert (second.rescale_slope, second.rescale_intercept) == (2, 0)
    assert (instance.kernel, instance.gantry_tilt_deg) == ("Br40", -12.5)


def frame_groups(number: int, *, kernel: str, tilt: str, acquisition: int) -> bytes:
    return (
        sequence(0x00209111, element(0x00209156, "US", raw.short(acquisition)))
        + sequence(0x00209113, element(0x00200032, "DS", f"0\\0\\{number}"))
        + sequence(0x00189314, element(0x00181210, "SH", kernel))
        + sequence(0x00189304, element(0x00181120, "DS", tilt))
    )


def test_frames_that_differ_in_kernel_and_tilt_say_so(tmp_path: Path) -> None:
    frames = [
        frame_groups(number, kernel=kernel, tilt=tilt, acquisition=32)
        for number, (kernel, tilt) in enumerate([("Br40", "0"), ("Bl57", "-15"), ("Br40", "3")])
    ]
    instance = read_one(tmp_path, raw.enhanced_file(SHARED_GROUPS, *frames))
    assert (instance.kernel, instance.gantry_tilt_deg) == ("Bl57\\Br40", -15.0)


@pytest.mark.parametrize(("numbers", "found"), [((32, 32), 32), ((1, 2), None), ((0, 0), 0)])
def test_an_acquisition_number_that_all_frames_share_is_the_instances(
    tmp_path: Path, numbers: tuple[int, ...], found: int | None
) -> None:
    frames = [
        frame_groups(k, kernel="Br40", tilt="0", acquisition=number)
        for k, number in enumerate(numbers)
    ]
    assert read_one(tmp_path, raw.enhanced_file(b"", *frames)).acquisition_number == found


@pytest.mark.parametrize(
    ("body_part", "charset", "expected"),
    [
        ("胸部".encode("gb18030"), "ISO_IR 100", "胸部"),
        ("胸部".encode(), "ISO_IR 192", "胸部"),
        ("thorax ", "ISO_IR 100", "THORAX"),
        ("tórax".encode("latin-1"), "ISO_IR 100", "TÓRAX"),
        ("", "ISO_IR 100", ""),
    ],
)
def test_a_body_part_is_decoded_as_its_study_is(
    tmp_path: Path, body_part: bytes | str, charset: str, expected: str
) -> None:
    data = ct_file(body_part=body_part, charset=charset, kernel="Lunge  ")
    instance = read_one(tmp_path, data)
    assert (instance.body_part, instance.kernel) == (expected, "Lunge")


def test_the_names_of_a_study_decide_for_its_body_parts(tmp_path: Path) -> None:
    name, body_part = "王^小东".encode("gb18030"), "胸".encode("gb18030")
    write(tmp_path, "1", ct_file(sop_instance="1.1", charset="ISO_IR 100", name=name))
    write(tmp_path, "2", ct_file(sop_instance="1.2", charset="ISO_IR 100", body_part=body_part))
    with open_upload([tmp_path]) as upload:
        assert {instance.body_part for instance in instances(upload)} == {"CHEST", "胸"}


@given(st.data())
@settings(max_examples=200)
def test_a_damaged_enhanced_file_is_an_instance_or_has_a_reason(data: st.DataObject) -> None:
    damaged = bytearray(raw.enhanced_file(SHARED_GROUPS, *PER_FRAME_GROUPS))
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(300, len(damaged) - 64))
        damaged[at] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        files = [write(Path(folder), "good", ct_file()), write(Path(folder), "bad", bytes(damaged))]
        with open_upload(files) as upload:
            assert len(instances(upload)) + len(upload.unread) == 2


def test_limits_hold_for_every_file(tmp_path: Path) -> None:
    write(tmp_path, "one", ct_file())
    with (
        pytest.raises(NothingReadable),
        open_upload([tmp_path], limits=replace(LIMITS, elements=5)),
    ):
        pass


def test_progress_tells_files_done_and_their_number(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path, str(number), ct_file(sop_instance=f"1.{number}"))
    told: list[tuple[str, int, int]] = []
    with open_upload([tmp_path], lambda *step: told.append(step)):
        pass
    assert told == [("read", 1, 3), ("read", 2, 3), ("read", 3, 3)]


@needs_shared
def test_single_frames_and_their_multi_frame_twin_lie_at_the_same_places() -> None:
    with open_upload([CONFORMANCE / "dcmqi/tiny-24x38x3"]) as upload:
        ct = [i for i in instances(upload) if i.is_ct_image]
    single = {i.frames[0].position_lps_mm for i in ct if len(i.frames) == 1}
    [multi] = [i for i in ct if len(i.frames) > 1]
    assert {frame.position_lps_mm for frame in multi.frames} == single
    assert {frame.pixel_spacing_mm for frame in multi.frames} == {(0.7, 0.7)}
    assert {frame.rescale_slope for frame in multi.frames} == {1.0}


@needs_shared
def test_every_conformance_file_is_an_instance_or_has_a_reason() -> None:
    files = sum(path.is_file() for path in CONFORMANCE.rglob("*"))
    with open_upload([CONFORMANCE]) as upload:
        assert len(instances(upload)) + len(upload.unread) == files
        assert {unread.reason for unread in upload.unread} == {
            "not-dicom",
            "gzip",
            "dicomdir",
            "truncated",
            "transfer-syntax-missing",
            "frames-inconsistent",
            "not-an-instance",
        }


@needs_shared
def test_the_files_that_must_be_refused_are_and_say_why() -> None:
    with open_upload([CONFORMANCE / "pydicom"]) as upload:
        found = reasons(upload)
    assert found["DICOMDIR"] == "dicomdir"
    assert found["zipMR.gz"] == "gzip"
    assert found["MR_truncated.dcm"] == found["rtplan_truncated.dcm"] == "truncated"
    assert found["meta_missing_tsyntax.dcm"] == "transfer-syntax-missing"
    assert found["no_meta.dcm"] == found["ExplVR_BigEndNoMeta.dcm"] == "not-dicom"


@needs_shared
def test_a_scan_without_uids_is_as_many_studies_as_instances() -> None:
    with open_upload([SHARED / "data/ct/totalsegmentator-tests"]) as upload:
        assert [study.uid for study in upload.studies] == [""] * 20
        assert all(i.modality == "CT" and not i.has_uids for i in instances(upload))


@needs_shared
def test_the_geometry_cases_have_the_instances_that_their_truth_counts() -> None:
    truth = json.loads((CONFORMANCE / "geometry/truth.json").read_text())
    assert truth
    with open_upload([CONFORMANCE / "geometry/regular"]) as upload:
        [study] = upload.studies
        [series] = study.series
    assert len(series.instances) == 66
    assert {len(i.frames) for i in series.instances} == {1}
