"""Instances over WADO-RS: the transfer syntax that is asked for, or Explicit VR Little Endian."""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
)

from inference.dicom import converted
from serving.api import instances
from serving.api.media_types import read_accept
from serving.api.negotiation import instance_forms
from tests.serving.api.a_server import Server, a_server
from tests.serving.api.images import JPEG_2000, JPEG_LS, RLE, SEG, a_ramp, an_image
from tests.serving.api.test_wado import DICOM, EXPLICIT, get, parts_of, stored
from tests.serving.studies.a_study import SR, an_instance

AS_STORED = f"{DICOM}; transfer-syntax=*"
MPEG = "1.2.840.10008.1.2.4.102"
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
SYNTAXES = (ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
NO_ROOM = 1 << 60


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with a_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def server(running: Server) -> Server:
    running.forget()
    return running


def read(data: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(data))


def a_compressed(number: int, syntax: str) -> bytes:
    """Return an instance whose frames are said to be of another syntax than they are."""
    file = an_image(number=number, compressed=RLE)
    return file.replace(_syntax(RLE), _syntax(syntax), 1)


def _syntax(uid: str) -> bytes:
    """Return VR, length and value of a transfer syntax."""
    padded = uid.encode() + b"\0" * (len(uid) % 2)
    return b"UI" + len(padded).to_bytes(2, "little") + padded


def a_damaged(number: int) -> bytes:
    file = bytearray(an_image(number=number, compressed=JPEG_2000))
    at = file.index(b"\xff\x4f\xff\x51")
    file[at + 8 : at + 80] = b"\xff" * 72
    return bytes(file)


def study_of(path: str) -> str:
    return path.partition("/series")[0]


def forms_of(accept: str, syntax: str, *, alone: bool = True) -> list[tuple[bool, str]]:
    forms = instance_forms(read_accept([accept]), syntax, alone=alone)
    return [(form.is_multipart, form.media_type.partition("=")[2]) for form in forms]


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("accept", ["", "*/*", DICOM, f"{DICOM}; transfer-syntax={EXPLICIT}"])
def test_what_is_stored_otherwise_comes_in_explicit_little_endian(
    server: Server, accept: str, syntax: pydicom.uid.UID
) -> None:
    pixels = a_ramp()
    is_big = syntax == ExplicitVRBigEndian
    file = an_image(pixels.byteswap() if is_big else pixels, syntax=syntax)
    (path,) = stored(server, file)
    ((kind, data),) = parts_of(get(server, path, accept))
    assert kind == f"application/dicom; transfer-syntax={EXPLICIT}"
    came = read(data)
    assert came.file_meta.TransferSyntaxUID == EXPLICIT
    assert came.PixelData == pixels.tobytes()
    assert came.SOPInstanceUID == read(file).SOPInstanceUID
    ((kind, data),) = parts_of(get(server, path, AS_STORED))
    assert (kind, data) == (f"application/dicom; transfer-syntax={syntax}", file)


@pytest.mark.parametrize("compressed", [RLE, JPEG_LS, JPEG_2000])
def test_compressed_frames_come_decoded_unless_wanted_as_stored(
    server: Server, compressed: str
) -> None:
    frames = a_ramp(frames=3)
    file = an_image(frames, compressed=compressed)
    (path,) = stored(server, file)
    alone = get(server, path, "application/dicom")
    assert alone.headers["content-type"] == f"application/dicom; transfer-syntax={EXPLICIT}"
    assert int(alone.headers["content-length"]) == len(alone.content)
    assert read(alone.content).PixelData == frames.tobytes()
    for accept in (AS_STORED, f"{DICOM}; transfer-syntax={compressed}"):
        assert parts_of(get(server, path, accept))[0][1] == file


def test_colour_comes_as_rgb(server: Server) -> None:
    colour = np.random.default_rng(1).integers(0, 255, (1, 20, 30, 3), np.uint8)
    (path,) = stored(server, an_image(colour, compressed=RLE))
    came = read(get(server, path, "application/dicom").content)
    assert (came.PhotometricInterpretation, came.PlanarConfiguration) == ("RGB", 0)
    assert (came.pixel_array == colour[0]).all()


def test_what_is_stored_so_is_not_touched(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [
        an_image(number=1),
        an_image(a_ramp() > 0, number=2, sop_class=SEG, modality="SEG"),
        an_instance(3, sop_class=SR, modality="SR", MediaStorageSOPInstanceUID=None),
    ]
    paths = stored(server, *files)
    monkeypatch.setattr(instances, "converted", None)
    monkeypatch.setattr(instances, "ensure_convertible", None)
    answer = get(server, study_of(paths[0]), DICOM)
    assert "content-length" in answer.headers
    assert sorted(data for _, data in parts_of(answer)) == sorted(files)


def test_a_study_of_many_syntaxes_comes_whole(server: Server) -> None:
    files = [
        an_image(number=1),
        an_image(number=2, compressed=JPEG_LS),
        an_image(number=3, syntax=ImplicitVRLittleEndian),
        an_image(number=4, compressed=RLE),
    ]
    paths = stored(server, *files)
    parts = parts_of(get(server, study_of(paths[0]), DICOM))
    assert {kind for kind, _ in parts} == {f"application/dicom; transfer-syntax={EXPLICIT}"}
    assert [read(data).PixelData for _, data in parts] == [a_ramp().tobytes()] * 4
    assert parts[0][1] == files[0]


@pytest.mark.parametrize(
    ("accept", "syntax", "expected"),
    [
        (f"{DICOM}; transfer-syntax=*, {DICOM}", RLE, [(True, RLE), (True, EXPLICIT)]),
        (f"{DICOM}; transfer-syntax=*;q=0.5, {DICOM}", RLE, [(True, EXPLICIT), (True, RLE)]),
        (f"{DICOM}; transfer-syntax={JPEG_LS}, {DICOM};q=0.1", JPEG_LS, [
            (True, JPEG_LS), (True, EXPLICIT),
        ]),
        (f"{DICOM}; transfer-syntax={JPEG_LS}, {DICOM};q=0.1", RLE, [(True, EXPLICIT)]),
        (f"{DICOM}; transfer-syntax={JPEG_LS}", RLE, []),
        ("*/*", RLE, [(True, EXPLICIT)]),
        ("multipart/related", RLE, [(True, EXPLICIT)]),
        ("application/dicom", RLE, [(False, EXPLICIT)]),
        (f"application/dicom, {DICOM};q=0.5", EXPLICIT, [(False, EXPLICIT), (True, EXPLICIT)]),
        # The most exact range counts.
        (f"*/*, {DICOM};q=0", RLE, []),
        (f"{DICOM}, {DICOM}; transfer-syntax={EXPLICIT};q=0", RLE, []),
        # With loss alone, and not decoded here: as it is (PS3.18 8.7.3).
        (DICOM, MPEG, [(True, MPEG)]),
        (f"{DICOM}; transfer-syntax={EXPLICIT}", MPEG, []),
        (DICOM, DEFLATED_FRAMES, []),
        (AS_STORED, DEFLATED_FRAMES, [(True, DEFLATED_FRAMES)]),
    ],
)  # fmt: skip
def test_the_best_acceptable_form_is_given(
    accept: str, syntax: str, expected: list[tuple[bool, str]]
) -> None:
    assert forms_of(accept, syntax) == expected


@given(
    st.lists(st.tuples(st.sampled_from(["", "*", EXPLICIT, RLE]), st.integers(0, 10)), max_size=6),
    st.sampled_from([EXPLICIT, RLE, JPEG_LS, MPEG]),
)
def test_no_form_is_given_that_nobody_wants(wishes: list[tuple[str, int]], syntax: str) -> None:
    ranges = [
        DICOM + (f"; transfer-syntax={asked}" if asked else "") + f"; q={tenths / 10}"
        for asked, tenths in wishes
    ]
    forms = forms_of(", ".join(ranges) or "text/html", syntax)
    assert len(forms) == len(set(forms))
    for _, given_as in forms:
        names = {given_as}
        names |= {"*"} if given_as == syntax else set()
        names |= {""} if given_as == (syntax if syntax == MPEG else EXPLICIT) else set()
        assert any(asked in names and tenths for asked, tenths in wishes)


def test_each_form_has_a_tag_of_its_own_and_is_told_again(server: Server) -> None:
    (path,) = stored(server, an_image(compressed=RLE))
    accepts = (DICOM, AS_STORED, "application/dicom")
    tags = [get(server, path, accept).headers["etag"] for accept in accepts]
    for accept, own in zip(accepts, tags, strict=True):
        for tag in tags:
            answer = get(server, path, accept, **{"If-None-Match": tag})
            assert answer.status_code == (304 if tag == own else 200)


@pytest.mark.parametrize(
    "file",
    [a_compressed(8, DEFLATED_FRAMES), a_damaged(8)],
    ids=["syntax", "damaged"],
)
def test_what_cannot_be_decoded_is_406_and_says_how_to_have_it(server: Server, file: bytes) -> None:
    (path,) = stored(server, file)
    for level in (path, study_of(path)):
        answer = get(server, level, DICOM)
        assert (answer.status_code, answer.json()["code"]) == (406, "not-acceptable")
        assert "transfer-syntax=*" in answer.text
        assert parts_of(get(server, level, AS_STORED))[0][1] == file
    # The first of the wishes that can be met.
    either = get(server, path, f"{DICOM}, {DICOM}; transfer-syntax=*; q=0.1")
    assert parts_of(either)[0][1] == file


def test_video_comes_as_it_is_unless_another_syntax_is_named(server: Server) -> None:
    file = a_compressed(8, MPEG)
    (path,) = stored(server, file)
    assert parts_of(get(server, path, DICOM)) == [
        (f"application/dicom; transfer-syntax={MPEG}", file)
    ]
    assert get(server, path, f"{DICOM}; transfer-syntax={EXPLICIT}").status_code == 406


def test_what_cannot_be_given_of_a_study_is_left_out_and_told(server: Server) -> None:
    one_bit = an_image(number=4, compressed=RLE).replace(
        b"\x28\0\0\x01US\x02\0\x10\0", b"\x28\0\0\x01US\x02\0\x01\0", 1
    )
    good = an_image(number=2, compressed=JPEG_LS)
    files = [a_damaged(1), good, a_compressed(3, DEFLATED_FRAMES), one_bit]
    paths = stored(server, *files)
    answer = get(server, study_of(paths[0]), DICOM)
    assert answer.status_code == 206
    assert answer.headers["warning"].startswith("299 firstread ")
    assert ": 3 instances" in answer.headers["warning"]
    answer.status_code = 200
    ((_, data),) = parts_of(answer)
    assert read(data).SOPInstanceUID == read(good).SOPInstanceUID
    assert len(parts_of(get(server, study_of(paths[0]), AS_STORED))) == 4
    named = get(server, study_of(paths[0]), f"{DICOM}; transfer-syntax={JPEG_LS}")
    assert (named.status_code, named.content.count(b"DICM")) == (206, 1)


def test_a_later_frame_that_does_not_decode_ends_the_answer_early(server: Server) -> None:
    paths = stored(server, an_image(number=1), a_damaged(2))
    with pytest.raises(httpx.RemoteProtocolError):
        get(server, study_of(paths[0]), DICOM)


def test_too_large_is_told_before_it_is_made(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = stored(server, an_image(compressed=RLE))
    monkeypatch.setattr(converted, "MOST_DECODED_BYTES", 1000)
    answer = get(server, path, DICOM)
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")


def test_without_room_nothing_is_converted(tmp_path: Path) -> None:
    with a_server(tmp_path) as server:
        (path,) = stored(server, an_image(compressed=RLE))
        service = server.house.app.state.service
        settings = service.settings.model_copy(update={"free_bytes": NO_ROOM})
        server.house.app.state.service = replace(service, settings=settings)
        answer = get(server, path, DICOM)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert get(server, path, AS_STORED).status_code == 200
