import os
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.encaps import encapsulate

from firstread.errors import OutputError
from inference.dicom import decoder_process, decoding
from inference.dicom.decoding import PixelsUndecodable, read_pixels
from inference.dicom.instance import Frame, Instance
from inference.dicom.reader import open_upload
from inference.dicom.stored import StoredFormat, rescale, words_of
from tests.inference.dicom import raw
from tests.inference.dicom.raw import (
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    ct_file,
    short,
    write,
)
from tests.shared import SHARED, needs_shared

CONFORMANCE = SHARED / "data/conformance"
TWIN = "CTImage.dcm_LittleEndianExplicitTransferSyntax_1.2.840.10008.1.2.1.dcm"
RLE = "1.2.840.10008.1.2.5"

Planes = list[tuple[Instance, Frame]]


@contextmanager
def planes_of(*paths: Path) -> Iterator[Planes]:
    with open_upload(list(paths)) as upload:
        yield [
            (instance, frame)
            for study in upload.studies
            for series in study.series
            for instance in series.instances
            for frame in instance.frames
        ]


def hu_of(path: Path) -> NDArray[np.int16]:
    with planes_of(path) as planes:
        return read_pixels(planes)


def reason_of(path: Path) -> str:
    with planes_of(path) as planes, pytest.raises(PixelsUndecodable) as raised:
        read_pixels(planes)
    return raised.value.reason


def outcome_of(path: Path) -> str:
    """Return ``pixels``, or the reason why there are none."""
    try:
        return "pixels" if hu_of(path).size else "nothing"
    except PixelsUndecodable as undecodable:
        return undecodable.reason


def compressed_file(syntax: str = RLE, /, **changed: bytes | str | None) -> bytes:
    """Return a CT file of one fragment without meaning."""
    pixels = raw.element(0x7FE00010, "OB", encapsulate([bytes(range(64))]), length=raw.UNDEFINED)
    return raw.meta(syntax) + raw.ct_elements(**changed) + pixels + raw.delimiter(raw.SEQUENCE_END)


@pytest.fixture
def decoder(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Children started within the test are its own."""
    decoder_process.close_all()
    yield monkeypatch
    decoder_process.close_all()


def put_in_place(decoder: pytest.MonkeyPatch, body: str, *, frame_cpu_s: int = 20) -> None:
    """Let children decode RLE by a Python expression."""
    start = (
        "import json, sys; sys.path[:] = json.loads(sys.argv[1]); import os, socket, time, numpy;"
        "from inference.dicom import decoder_child, decoders;"
        f"decoder_child.FRAME_CPU_S = {frame_cpu_s};"
        f"decoders.DECODERS[{RLE!r}] = lambda frame, syntax, form: {body};"
        "decoder_child.serve(socket.socket(fileno=int(sys.argv[2])))"
    )
    decoder.setattr(decoder_process, "_START", start)


@pytest.mark.parametrize("syntax", [IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG])
def test_native_pixels_become_hu(tmp_path: Path, syntax: str) -> None:
    order = ">" if syntax == EXPLICIT_BIG else "<"
    stored = (np.arange(-8, 8).reshape(4, 4) * 100).astype(f"{order}i2")
    data = raw.meta(syntax) + raw.ct_elements(syntax) + raw.pixels(stored.tobytes(), syntax=syntax)
    assert np.array_equal(hu_of(write(tmp_path, "one", data))[0], stored.astype(int) - 1024)


def test_each_frame_is_rescaled_by_its_own_slope_and_intercept(tmp_path: Path) -> None:
    for number, slope in enumerate(("1", "2", "0.5")):
        write(
            tmp_path,
            str(number),
            ct_file(slope=slope, sop_instance=f"1.{number}", intercept="-100.5"),
        )
    with planes_of(tmp_path) as planes:
        hu = read_pixels(planes)
    stored = np.frombuffer(bytes(range(32)), "<i2").reshape(4, 4)
    for got, factor in zip(hu, (1.0, 2.0, 0.5), strict=True):
        assert np.array_equal(got, np.rint(stored * factor - 100.5))


@given(
    st.integers(-32768, 65535),
    st.sampled_from([1.0, 0.5, 2.0002, -1.0, 32.1, 1e300]),
    st.sampled_from([0.0, -1024.0, -0.5, 40000.0, -1e30, 1e300]),
)
def test_hu_are_rounded_and_saturate_and_never_wrap_around(
    stored: int, slope: float, intercept: float
) -> None:
    kind = np.int16 if stored < 0 else np.uint16
    out = np.zeros((1, 1), np.int16)
    rescale(np.full((1, 1), stored, kind), slope, intercept, out)
    assert out[0, 0] == np.clip(np.rint(stored * slope + intercept), -32768, 32767)


@given(st.integers(1, 16), st.booleans(), st.binary(min_size=8, max_size=8))
def test_bits_above_the_stored_ones_do_not_count(bits: int, is_signed: bool, data: bytes) -> None:
    words = words_of(data, StoredFormat(2, 2, 16, bits, is_signed))
    for word, value in zip(struct.unpack("<4H", data), words.ravel().tolist(), strict=True):
        kept = word % 2**bits
        assert value == (kept - 2**bits if is_signed and kept >= 2 ** (bits - 1) else kept)


def test_eight_bit_pixels_are_read(tmp_path: Path) -> None:
    changed = {
        "bits_allocated": short(8),
        "bits_stored": short(8),
        "high_bit": short(7),
        "is_signed": short(0),
    }
    data = raw.meta() + raw.ct_elements(**changed) + raw.pixels(bytes(range(240, 256)))
    assert np.array_equal(hu_of(write(tmp_path, "one", data)).ravel(), np.arange(240, 256) - 1024)


def test_results_come_in_the_order_asked_for(tmp_path: Path) -> None:
    for number in range(12):
        pixels = raw.pixels(np.full(16, number, "<i2").tobytes())
        write(
            tmp_path,
            str(number),
            raw.meta() + raw.ct_elements(sop_instance=f"1.{number}", intercept="0") + pixels,
        )
    with planes_of(tmp_path) as planes:
        order = np.random.default_rng(1).permutation(12)
        by_uid = {
            int(instance.sop_instance_uid[2:]): (instance, frame) for instance, frame in planes
        }
        hu = read_pixels([by_uid[number] for number in order])
    assert hu[:, 0, 0].tolist() == order.tolist()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"samples": short(3), "photometric": "RGB"}, "not-monochrome"),
        ({"photometric": "PALETTE COLOR"}, "not-monochrome"),
        ({"rows": short(0)}, "size-missing"),
        ({"bits_allocated": short(32)}, "bits-unsupported"),
        ({"bits_stored": short(0)}, "bits-unsupported"),
        ({"bits_stored": short(17)}, "bits-unsupported"),
        (
            {"bits_stored": short(12)},
            "bits-unsupported",
        ),  # high bit 15: not where bits are stored today
        ({"rows": short(5)}, "pixels-short"),
        ({"rows": short(65535), "columns": short(65535)}, "too-large"),
    ],
)
def test_pixels_that_cannot_be_had_say_why(
    tmp_path: Path, changed: dict[str, bytes | str], reason: str
) -> None:
    assert reason_of(write(tmp_path, "one", ct_file(**changed))) == reason


def test_a_slice_without_pixels_says_so(tmp_path: Path) -> None:
    assert reason_of(write(tmp_path, "one", raw.meta() + raw.ct_elements())) == "pixels-missing"


def test_an_unknown_transfer_syntax_is_refused_by_name(tmp_path: Path) -> None:
    assert (
        reason_of(write(tmp_path, "one", compressed_file("1.2.840.10008.9.9.9")))
        == "transfer-syntax-unsupported"
    )


def test_sizes_that_lie_are_refused_before_anything_is_decoded(
    tmp_path: Path, decoder: pytest.MonkeyPatch
) -> None:
    put_in_place(decoder, "os.abort()")
    huge = write(tmp_path, "one", compressed_file(rows=short(65535), columns=short(65535)))
    assert reason_of(huge) == "too-large"


def test_a_decoder_that_crashes_ends_its_child_and_not_us(
    tmp_path: Path, decoder: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "one", compressed_file())
    put_in_place(decoder, "os.abort()")
    assert reason_of(path) == "decoder-crashed"
    put_in_place(decoder, "numpy.full((4, 4), 7)")
    assert hu_of(path).max() == 7 - 1024


@pytest.mark.slow
def test_a_decoder_that_hangs_is_killed(tmp_path: Path, decoder: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "one", compressed_file())
    put_in_place(decoder, "time.sleep(600)")
    decoder.setattr(decoder_process, "FRAME_WALL_S", 3.0)
    assert reason_of(path) == "decoder-hung"


@pytest.mark.slow
def test_a_stack_whose_frames_take_too_long_together_is_given_up(
    tmp_path: Path, decoder: pytest.MonkeyPatch
) -> None:
    for number in range(10, 40):
        write(tmp_path, str(number), compressed_file(sop_instance=f"1.{number}"))
    put_in_place(decoder, "time.sleep(0.3) or numpy.ones((4, 4))")
    decoder.setattr(decoding, "WALL_S", 2.0)
    decoder.setattr(decoding, "FRAME_SHARE_S", 0.0)
    with planes_of(tmp_path) as planes, pytest.raises(PixelsUndecodable) as raised:
        read_pixels(planes, workers=1)
    assert raised.value.reason == "too-slow"


def test_a_child_that_is_killed_leaves_no_temporary_file(
    tmp_path: Path, decoder: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "one", compressed_file())
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    put_in_place(decoder, "open(os.environ['TMPDIR'] + '/frame.dcm', 'w') and os.abort()")
    decoder.setattr(tempfile, "tempdir", str(scratch))
    assert reason_of(path) == "decoder-crashed"
    assert list(scratch.iterdir()) == []


def test_no_room_in_a_child_is_an_error_and_not_a_bad_frame(
    tmp_path: Path, decoder: pytest.MonkeyPatch
) -> None:
    put_in_place(decoder, "open('/dev/full', 'wb', buffering=0).write(b'frame')")
    path = write(tmp_path, "one", compressed_file())
    with planes_of(path) as planes, pytest.raises(OutputError) as raised:
        read_pixels(planes)
    assert "TMPDIR" in raised.value.advice


def test_whoever_stops_does_not_wait_for_a_decoder_that_hangs(
    tmp_path: Path, decoder: pytest.MonkeyPatch
) -> None:
    for number in range(10, 12):
        data = compressed_file(sop_instance=f"1.{number}")
        write(tmp_path, str(number), data.replace(bytes(range(64)), bytes([number]) * 64))
    put_in_place(decoder, "time.sleep(600 * (frame[0] - 10)) or numpy.ones((4, 4))")

    def stop(stage: str, done: int, total: int) -> None:
        raise SystemExit(stage, done, total)

    started = time.monotonic()
    with planes_of(tmp_path) as planes, pytest.raises(SystemExit):
        read_pixels(planes, stop, workers=1)
    assert time.monotonic() - started < 30


def test_a_file_replaced_by_another_of_its_name_is_read_anew(
    tmp_path: Path, decoder: pytest.MonkeyPatch
) -> None:
    put_in_place(decoder, "numpy.full((4, 4), frame[0])")
    for first in (1, 2):
        # The second header is longer, so the pixels lie elsewhere.
        data = compressed_file(intercept="0", patient_id="P" * 20 * first)
        path = write(tmp_path, "one", data.replace(bytes(range(64)), bytes([first]) * 64))
        assert hu_of(path).max() == first


@pytest.mark.slow
def test_a_decoder_that_spins_runs_out_of_processor_time(
    tmp_path: Path, decoder: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "one", compressed_file())
    put_in_place(decoder, "[None for _ in iter(int, 1)]", frame_cpu_s=1)
    assert reason_of(path) == "decoder-crashed"


@pytest.mark.slow
def test_a_decoder_that_wants_too_much_memory_is_refused(
    tmp_path: Path, decoder: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "one", compressed_file())
    put_in_place(decoder, "numpy.ones(2**30)")
    assert reason_of(path) == "too-large"


def test_whatever_a_decoder_raises_is_a_reason_and_its_child_goes_on(
    tmp_path: Path, decoder: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        write(tmp_path, str(number), compressed_file(sop_instance=f"1.{number}"))
    put_in_place(decoder, "sys.exit('no Exception, like a Rust panic')")
    with planes_of(tmp_path) as planes, pytest.raises(PixelsUndecodable) as raised:
        read_pixels(planes, workers=2)
    assert raised.value.reason == "decoder-failed"
    assert raised.value.instance is planes[0][0]
    child = decoder_process.take()
    assert not child.is_worn
    child.close()


@pytest.mark.slow
def test_the_first_frame_that_fails_is_named_whatever_the_workers_do(
    tmp_path: Path, decoder: pytest.MonkeyPatch
) -> None:
    for number in range(10, 30):
        write(tmp_path, str(number), compressed_file(sop_instance=f"1.{number}"))
    put_in_place(decoder, "1 / 0")
    for workers in (1, 2, 3):
        with planes_of(tmp_path) as planes, pytest.raises(PixelsUndecodable) as raised:
            read_pixels(planes, workers=workers)
        assert raised.value.instance.sop_instance_uid == "1.10"


def test_a_decoder_of_another_size_is_refused(tmp_path: Path, decoder: pytest.MonkeyPatch) -> None:
    put_in_place(decoder, "numpy.ones((4, 5))")
    assert reason_of(write(tmp_path, "one", compressed_file())) == "size-differs"


@pytest.mark.slow
def test_no_secret_of_ours_reaches_a_child(tmp_path: Path, decoder: pytest.MonkeyPatch) -> None:
    decoder.setenv("FIRSTREAD_DATABASE", "postgresql://user:password@host/db")
    put_in_place(
        decoder, "numpy.full((4, 4), sum(name.startswith('FIRSTREAD') for name in os.environ))"
    )
    assert hu_of(write(tmp_path, "one", compressed_file())).max() == -1024


def test_children_stay_warm_between_calls(tmp_path: Path, decoder: pytest.MonkeyPatch) -> None:
    put_in_place(decoder, "numpy.full((4, 4), os.getpid() % 10000)")
    path = write(tmp_path, "one", compressed_file(intercept="0"))
    assert np.array_equal(hu_of(path), hu_of(path))


@pytest.mark.slow
def test_nothing_more_is_decoded_after_a_failure(
    tmp_path: Path, decoder: pytest.MonkeyPatch
) -> None:
    for number in range(10, 40):
        data = compressed_file(sop_instance=f"1.{number}")
        if number == 10:
            data = data.replace(bytes(range(64)), bytes(64))
        write(tmp_path, str(number), data)
    put_in_place(decoder, "1 // (frame[1] - frame[0]) * (time.sleep(0.05) or numpy.ones((4, 4)))")
    told: list[int] = []
    with planes_of(tmp_path) as planes, pytest.raises(PixelsUndecodable):
        read_pixels(planes, lambda _stage, done, _total: told.append(done), workers=2)
    assert len(told) < 25


@pytest.mark.slow
def test_a_worn_child_is_replaced(tmp_path: Path, decoder: pytest.MonkeyPatch) -> None:
    decoder.setattr(decoder_process, "RECYCLE_FRAMES", 1)
    put_in_place(decoder, "numpy.full((4, 4), os.getpid() % 10000)")
    path = write(tmp_path, "one", compressed_file(intercept="0"))
    assert not np.array_equal(hu_of(path), hu_of(path))


def test_progress_tells_frames_done_and_their_number(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path, str(number), ct_file(sop_instance=f"1.{number}"))
    told: list[tuple[str, int, int]] = []
    with planes_of(tmp_path) as planes:
        read_pixels(planes, lambda *step: told.append(step))
    assert told == [("pixels", 1, 3), ("pixels", 2, 3), ("pixels", 3, 3)]


@needs_shared
@pytest.mark.parametrize(
    "syntax", ["1.2", "1.2.2", "1.2.1.99", "1.2.5", "1.2.4.57", "1.2.4.70", "1.2.4.80", "1.2.4.90"]
)
def test_lossless_pixels_are_those_of_the_uncompressed_twin(syntax: str) -> None:
    [path] = (CONFORMANCE / "cornerstone").glob(f"*Syntax_1.2.840.10008.{syntax}.dcm")
    twin = hu_of(CONFORMANCE / "cornerstone" / TWIN)
    assert (twin.min(), twin.max()) == (-2000 - 1024, 2402 - 1024)
    assert np.array_equal(hu_of(path), twin)


@needs_shared
@pytest.mark.parametrize(
    ("syntax", "error_hu"),
    [
        ("1.2.4.81", 1),
        ("1.2.4.91", 5),
        ("1.2.4.51", 36),
        ("1.2.4.53", 36),
        ("1.2.4.55", 36),
        ("1.2.4.50", 64),
    ],
)
def test_lossy_pixels_are_near_and_marked(syntax: str, error_hu: int) -> None:
    [path] = (CONFORMANCE / "cornerstone").glob(f"*Syntax_1.2.840.10008.{syntax}.dcm")
    twin = hu_of(CONFORMANCE / "cornerstone" / TWIN).astype(int)
    with planes_of(path) as planes:
        assert planes[0][0].is_lossy
        assert np.abs(read_pixels(planes) - twin).max() <= error_hu


@needs_shared
@pytest.mark.parametrize(
    ("file", "lowest", "highest"),
    [
        ("693_J2KR.dcm", -2000, 2492),
        ("bad_sequence.dcm", 13, 2267),
        ("explicit_VR-UN.dcm", -1024, 1186),
        ("J2K_pixelrep_mismatch.dcm", -2000, 1896),
        ("CT_small.dcm", 128, 2191),
    ],
)
def test_unusual_files_are_decoded_without_wrapping_around(
    file: str, lowest: int, highest: int
) -> None:
    with planes_of(CONFORMANCE / "pydicom" / file) as [(instance, frame)]:
        hu = read_pixels([(instance, frame)])
        shift = frame.rescale_intercept or 0
    assert (hu.min() - shift, hu.max() - shift) == (lowest, highest)


@needs_shared
def test_frames_in_several_fragments_are_put_together() -> None:
    hu = hu_of(CONFORMANCE / "cornerstone/CT0012.fragmented_no_bot_jpeg_baseline.51.dcm")
    assert hu.shape == (2, 512, 512)
    assert not np.array_equal(hu[0], hu[1])


@needs_shared
def test_single_frames_and_their_multi_frame_twin_have_the_same_pixels() -> None:
    with planes_of(CONFORMANCE / "dcmqi/tiny-24x38x3") as planes:
        ct = [plane for plane in planes if plane[0].is_ct_image]
        by_place: dict[object, list[NDArray[np.int16]]] = {}
        for plane, hu in zip(ct, read_pixels(ct), strict=True):
            by_place.setdefault(plane[1].position_lps_mm, []).append(hu)
    assert len(by_place) == 3
    assert all(np.array_equal(single, multi) for single, multi in by_place.values())


@needs_shared
def test_the_number_of_workers_changes_no_byte() -> None:
    with planes_of(CONFORMANCE / "geometry/regular") as planes:
        assert np.array_equal(read_pixels(planes, workers=1), read_pixels(planes, workers=3))


@needs_shared
def test_a_scan_of_two_transfer_syntaxes_is_what_pydicom_decodes() -> None:
    files = [SHARED / f"data/ct/lidc-idri-0001/{number:04d}.dcm" for number in (1, 66, 67, 68, 133)]
    expected = {}
    for file in files:
        dataset = pydicom.dcmread(file)
        expected[dataset.SOPInstanceUID] = dataset.pixel_array.astype(int) - 1024
    with planes_of(*files) as planes:
        for (instance, _), hu in zip(planes, read_pixels(planes), strict=True):
            assert np.array_equal(hu, expected[instance.sop_instance_uid])


@needs_shared
@pytest.mark.slow
@pytest.mark.parametrize(
    "syntax", ["1.2.5", "1.2.4.50", "1.2.4.51", "1.2.4.70", "1.2.4.80", "1.2.4.90"]
)
def test_damaged_frames_give_pixels_or_a_reason(tmp_path: Path, syntax: str) -> None:
    [path] = (CONFORMANCE / "cornerstone").glob(f"*Syntax_1.2.840.10008.{syntax}.dcm")
    whole = path.read_bytes()
    random = np.random.default_rng(7)
    for _ in range(20):
        damaged = bytearray(whole)
        # The codestream's own header is where decoders believe lengths and sizes.
        reach = 400 if random.random() < 0.7 else len(whole) - 8000
        for at in random.integers(7600, 7600 + reach, 6):
            damaged[at] = random.integers(256)
        assert outcome_of(write(tmp_path, "damaged", bytes(damaged))) in {
            "pixels",
            "decoder-failed",
            "decoder-crashed",
            "decoder-hung",
            "size-differs",
            "too-large",
        }


@pytest.mark.slow
def test_no_child_outlives_a_parent_that_was_killed() -> None:
    code = (
        "import time; from inference.dicom import decoder_process as d; child = d.take();"
        "print(child._process.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 30
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{child}/exe").exists()


@pytest.mark.slow
def test_three_hundred_plain_slices_cost_less_than_a_second(tmp_path: Path) -> None:
    pixels = raw.pixels(np.random.default_rng(1).integers(-1024, 1000, 512 * 512, "<i2").tobytes())
    for number in range(300):
        header = raw.ct_elements(rows=short(512), columns=short(512), sop_instance=f"1.{number}")
        private = b"".join(raw.element(0x00091000 + k, "LO", "private value") for k in range(220))
        write(tmp_path, str(number), raw.meta() + header + private + pixels)
    started = time.process_time()
    with planes_of(tmp_path) as planes:
        hu = read_pixels(planes)
    cpu_s = time.process_time() - started
    print(f"300 uncompressed slices: {cpu_s:.2f} CPU s")  # noqa: T201
    assert hu.shape == (300, 512, 512)
    assert cpu_s < 1.0 or os.getloadavg()[0] > 4


@needs_shared
@pytest.mark.slow
@pytest.mark.usefixtures("decoder")
def test_a_compressed_scan_costs_little_more_than_its_decoder() -> None:
    before = _cpu_s()
    with open_upload([SHARED / "data/ct/lidc-idri-0002"]):
        print(f"headers of 261 slices: {_cpu_s() - before:.2f} CPU s")  # noqa: T201
    before = _cpu_s()
    with planes_of(SHARED / "data/ct/lidc-idri-0001") as planes:
        assert read_pixels(planes).shape == (133, 512, 512)
    decoder_process.close_all()
    cpu_s = _cpu_s() - before
    print(f"lidc-idri-0001, headers and HU: {cpu_s:.2f} CPU s")  # noqa: T201
    # pyjpegls alone takes 0.011 s a slice.
    assert cpu_s < 133 * 0.011 * 3


def _cpu_s() -> float:
    """Return the processor time of this process and of its children that have ended."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(sum(resource.getrusage(kind)[:2]) for kind in kinds)
