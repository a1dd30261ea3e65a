"""Frames as stored and decoded: real files of every transfer syntax beside pydicom's own pixels."""

import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import UID, ExplicitVRBigEndian

from inference.dicom.stored_frames import FrameRefused, decoded_frame, open_pixels, stored_frame
from tests.serving.api.images import JPEG_LS, RLE, a_ramp, an_image
from tests.shared import SHARED, needs_shared

CONFORMANCE = SHARED / "data" / "conformance"
# Of these pydicom has no decoder here, or none that agrees with the file.
UNDECODED = ("4.51", "4.53", "4.55")


def the_file(folder: Path, data: bytes) -> Path:
    path = folder / "file.dcm"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("compressed", ["", RLE, JPEG_LS])
def test_all_values_of_sixteen_bits_come_back(tmp_path: Path, compressed: str) -> None:
    pixels = np.arange(65536, dtype=np.uint16).reshape(1, 256, 256)
    path = the_file(tmp_path, an_image(pixels, compressed=compressed))
    with open_pixels(path) as opened:
        assert decoded_frame(opened, 1) == pixels.tobytes()


def test_a_frame_behind_the_last_is_short(tmp_path: Path) -> None:
    with open_pixels(the_file(tmp_path, an_image(a_ramp(frames=2)))) as pixels:
        assert (pixels.frames, pixels.is_encapsulated) == (2, False)
        with pytest.raises(FrameRefused) as refused:
            decoded_frame(pixels, 3)
    assert refused.value.reason == "pixels-short"


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"Rows": 0}, "size-missing"),
        ({"BitsAllocated": 12}, "bits-unsupported"),
        ({"SamplesPerPixel": 4}, "bits-unsupported"),
        ({"Rows": 65535, "Columns": 65535}, "too-large"),
    ],
)
def test_pixels_that_cannot_be_are_refused(
    tmp_path: Path, attributes: dict[str, Any], reason: str
) -> None:
    path = the_file(tmp_path, an_image(**attributes))
    with pytest.raises(FrameRefused) as refused, open_pixels(path):
        pass
    assert refused.value.reason == reason


@pytest.mark.slow
@needs_shared
def test_real_frames_are_what_pydicom_decodes() -> None:
    syntaxes = set()
    for path in sorted((CONFORMANCE / "cornerstone").iterdir()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data_set = pydicom.dcmread(path)
            if "PixelData" not in data_set:
                continue
            syntax = UID(data_set.file_meta.TransferSyntaxUID)
            syntaxes.add(syntax)
            with open_pixels(path) as pixels:
                decoded, stored = decoded_frame(pixels, 1), stored_frame(pixels, 1)
            assert (len(stored) < len(decoded)) == syntax.is_encapsulated, path.name
            if not syntax.endswith(UNDECODED):
                expected = data_set.pixel_array
                little = expected.dtype.newbyteorder("<")
                assert (np.frombuffer(decoded, little) == expected.ravel()).all(), path.name
    assert len(syntaxes) == 15


@needs_shared
def test_single_bits_of_a_big_endian_file_are_those_of_its_twin() -> None:
    path = CONFORMANCE / "pydicom" / "liver_expb.dcm"
    expected = pydicom.dcmread(path).pixel_array
    with open_pixels(path) as pixels:
        for number in (1, 2, 3):
            frame = np.frombuffer(decoded_frame(pixels, number), np.uint8)
            bits = np.unpackbits(frame, bitorder="little")
            assert (bits == expected[number - 1].ravel()).all()


def test_bytes_that_were_swapped_as_words_are_not_given(tmp_path: Path) -> None:
    pixels = np.arange(16, dtype=np.uint8).reshape(1, 4, 4)
    data = an_image(pixels, syntax=ExplicitVRBigEndian)
    as_words = data.replace(b"\x7f\xe0\x00\x10OB", b"\x7f\xe0\x00\x10OW")
    with open_pixels(the_file(tmp_path, data)) as opened:
        assert decoded_frame(opened, 1) == pixels.tobytes()
    with open_pixels(the_file(tmp_path, as_words)) as opened, pytest.raises(FrameRefused):
        decoded_frame(opened, 1)


def test_all_frames_of_a_file_share_one_time(tmp_path: Path) -> None:
    path = the_file(tmp_path, an_image(a_ramp(frames=2), compressed=RLE))
    with open_pixels(path) as opened:
        assert opened.deadline <= time.monotonic() + 60
        over = replace(opened, deadline=time.monotonic())
        with pytest.raises(FrameRefused) as refused:
            decoded_frame(over, 1)
    assert refused.value.reason == "decoder-hung"
