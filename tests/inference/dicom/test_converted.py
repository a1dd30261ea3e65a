"""Every instance says the same in Explicit VR Little Endian; what cannot be said is refused."""

import io
import struct
import time
import tracemalloc
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom.data
import pytest
import SimpleITK as sitk  # noqa: N813  (its usual name)
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import Dataset, Sequence
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from inference.dicom import converted as module
from inference.dicom.converted import CONVERTIBLE, converted, ensure_convertible
from inference.dicom.elements import DEPTH, ELEMENTS, UNDEFINED
from inference.dicom.stored_frames import FrameRefused
from tests.serving.api.images import JPEG_LS, RLE, a_ramp, an_image
from tests.shared import SHARED, needs_shared

NATIVE = (ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
OF_PYDICOM = Path(pydicom.data.__file__).parent / "test_files"
CONFORMANCE = SHARED / "data" / "conformance"
CT = "1.2.840.10008.5.1.4.1.1.2"
PIXELS, PHOTOMETRIC, PLANAR = 0x7FE00010, 0x00280004, 0x00280006
JPEG = "1.2.840.10008.1.2.4.50"
# Files that the walk refuses, which no archive takes, and a damaged codestream.
REFUSED = {
    "SC_rgb_jpeg.dcm": "vr-unknown",
    "rtplan_truncated.dcm": "truncated",
    "JPEG2000-embedded-sequence-delimiter.dcm": "decoder-failed",
}


def read(data: bytes | Path) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(io.BytesIO(data) if isinstance(data, bytes) else data, force=True)


def given_of(path: Path) -> Dataset:
    """Return what a file is given as."""
    data_set = read(b"".join(converted(path)))
    assert data_set.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    return data_set


def a_file(folder: Path, data: bytes) -> Path:
    path = folder / "file.dcm"
    path.write_bytes(data)
    return path


def written(data_set: Dataset, syntax: UID) -> bytes:
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = syntax
    data_set.SOPClassUID, data_set.SOPInstanceUID = CT, "1.2.3"
    out = io.BytesIO()
    data_set.save_as(out, enforce_file_format=True)
    return out.getvalue()


def convertible(folder: Path) -> list[Path]:
    """Return the files of a folder that are stored in another syntax and can be converted."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [path for path in files if _syntax(path) in CONVERTIBLE]


def _syntax(path: Path) -> str:
    with path.open("rb") as stream:
        if stream.read(132)[128:] != b"DICM":
            return ""
    return str(pydicom.filereader.read_file_meta_info(path).get("TransferSyntaxUID", ""))


def differing(stored: Dataset, given: Dataset, where: str = "") -> Iterator[str]:
    """Yield where two data sets differ in more than their pixels and group lengths."""
    with warnings.catch_warnings():
        # pydicom tells of each element that it does not know.
        warnings.simplefilter("ignore")
        for data_set in (stored, given):
            data_set.decode()
    for tag in sorted({*stored.keys(), *given.keys()}):
        if not tag.element or tag == PIXELS:
            continue
        place = f"{where}{tag}"
        if tag not in stored or tag not in given:
            yield f"{place}: only in one"
            continue
        ours, theirs = given[tag], stored[tag]
        if ours.VR == theirs.VR == "SQ":
            pairs = zip(theirs.value, ours.value, strict=True)
            for number, (one, other) in enumerate(pairs):
                yield from differing(one, other, f"{place}[{number}]/")
        elif ours != theirs:
            yield f"{place}: {theirs.value!r:.40} became {ours.value!r:.40}"


def pixels_of(path: Path, data_set: Dataset) -> NDArray[Any]:
    """Return the pixels of a stored file by a program that is not ours."""
    try:
        return data_set.pixel_array
    except (NotImplementedError, RuntimeError):
        array = sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="GDCMImageIO"))
        groups = data_set.get("SharedFunctionalGroupsSequence", [data_set])[0]
        rescale = groups.get("PixelValueTransformationSequence", [data_set])[0]
        slope = float(rescale.get("RescaleSlope", 1))
        intercept = float(rescale.get("RescaleIntercept", 0))
        return np.asarray(np.rint((np.squeeze(array) - intercept) / slope))


def ensure_the_same(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stored, given = read(path), given_of(path)
        is_colour = stored.get("SamplesPerPixel") == 3
        is_decoded = "PixelData" in stored and stored["PixelData"].is_undefined_length
        if is_colour and is_decoded:
            assert (given.PhotometricInterpretation, given.PlanarConfiguration) == ("RGB", 0)
        if "PixelData" in stored and "Rows" in stored:
            assert (given.pixel_array == pixels_of(path, stored)).all()
            assert len(given.PixelData) % 2 == 0
            if not is_decoded:
                assert given["PixelData"].VR in ("OB", "OW")
        if is_colour and is_decoded:
            for data_set in (stored, given):
                for tag in (PHOTOMETRIC, PLANAR):
                    data_set.pop(tag, None)
        assert not list(differing(stored, given))


@pytest.mark.slow
@pytest.mark.parametrize("path", convertible(OF_PYDICOM), ids=lambda path: path.name)
def test_files_of_pydicom_say_the_same(path: Path) -> None:
    if path.name in REFUSED:
        with pytest.raises(FrameRefused, match=REFUSED[path.name]):
            list(converted(path))
    else:
        ensure_the_same(path)


@needs_shared
@pytest.mark.slow
def test_real_files_of_every_syntax_say_the_same() -> None:
    paths = convertible(CONFORMANCE)
    syntaxes = set()
    for path in paths:
        if path.name in REFUSED or "BigEndianExplicit" in path.name:
            continue
        ensure_the_same(path)
        syntaxes.add(_syntax(path))
    # All but HTJ2K and Big Endian, which comes below.
    assert len(syntaxes) >= 12


@needs_shared
def test_unknown_elements_of_big_endian_keep_their_bytes() -> None:
    """PS3.5 6.2.2: their writer did not know them and could not swap them; nor can we."""
    (path,) = (CONFORMANCE / "cornerstone").glob("*BigEndianExplicit*")
    (twin,) = (CONFORMANCE / "cornerstone").glob("*LittleEndianExplicit*")
    given, expected = given_of(path), read(twin)
    assert given[0x00091027].value == expected[0x00091027].value == 978683914
    assert given.PixelData == expected.PixelData
    assert not [one for one in differing(expected, given) if "only in one" not in one]


names = st.text(st.characters(codec="ascii", categories=["Lu"]), min_size=1, max_size=8)
shorts = st.integers(-(2**15), 2**15 - 1)


@st.composite
def data_sets(draw: st.DrawFn, depth: int = 3) -> Dataset:
    """Return data sets of elements of every width, private and unknown ones, and sequences."""
    data_set = Dataset()
    is_signed = draw(st.booleans())
    data_set.PixelRepresentation = int(is_signed)
    data_set.PatientID = draw(names)
    data_set.ImageType = draw(st.lists(names, max_size=3))
    data_set.SmallestImagePixelValue = draw(shorts) if is_signed else draw(st.integers(0, 65535))
    data_set.add_new(0x00189087, "FD", draw(st.floats(allow_nan=False)))
    data_set.add_new(0x00289001, "UL", draw(st.integers(0, 2**32 - 1)))
    data_set.add_new(0x00186020, "SL", draw(st.integers(-(2**31), 2**31 - 1)))
    data_set.FrameIncrementPointer = draw(st.lists(st.just(0x00181063), max_size=3))
    data_set.add_new(0x0008040C, "UV", draw(st.integers(0, 2**64 - 1)))
    data_set.add_new(0x00420011, "OB", draw(st.binary(max_size=9).map(_even)))
    block = data_set.private_block(0x0011, "FIRSTREAD TEST", create=True)
    block.add_new(1, "UN", draw(st.binary(max_size=9).map(_even)))
    # Unknown to the dictionary.
    data_set.add_new(0x00080FF0, "UN", draw(st.binary(max_size=9).map(_even)))
    if depth:
        items = draw(st.lists(data_sets(depth - 1), max_size=2))
        data_set.ReferencedImageSequence = Sequence(items)
        for item in items:
            item.is_undefined_length_sequence_item = draw(st.booleans())
        data_set["ReferencedImageSequence"].is_undefined_length = draw(st.booleans())
    return data_set


def _even(data: bytes) -> bytes:
    return data + b"\0" * (len(data) % 2)


@pytest.mark.slow
@given(data_set=data_sets(), syntax=st.sampled_from(NATIVE))
def test_whatever_is_written_is_given(
    tmp_path_factory: pytest.TempPathFactory, data_set: Dataset, syntax: UID
) -> None:
    data = written(data_set, syntax)
    path = a_file(tmp_path_factory.getbasetemp(), data)
    assert not list(differing(read(data), given_of(path)))


def test_words_of_big_endian_are_swapped_and_bytes_are_not(tmp_path: Path) -> None:
    data_set = Dataset()
    data_set.add_new(0x00420011, "OB", b"\1\2\3\4")
    data_set.add_new(0x60003000, "OW", b"\1\2\3\4")
    data_set.add_new(0x00660016, "OF", b"\1\2\3\4")
    data_set.add_new(0x00660022, "OD", bytes(range(8)))
    given = given_of(a_file(tmp_path, written(data_set, ExplicitVRBigEndian)))
    assert given[0x00420011].value == b"\1\2\3\4"
    assert given[0x60003000].value == b"\2\1\4\3"
    assert given[0x00660016].value == b"\4\3\2\1"
    assert given[0x00660022].value == bytes(range(7, -1, -1))


def test_a_value_too_long_for_its_representation_is_unknown(tmp_path: Path) -> None:
    data_set = Dataset()
    data_set.add_new(0x00720072, "DS", ["1"] * 40_000)
    given = given_of(a_file(tmp_path, written(data_set, ImplicitVRLittleEndian)))
    assert (given[0x00720072].VR, given[0x00720072].value) == ("UN", b"1\\" * 39_999 + b"1 ")


def test_the_meta_header_says_what_the_file_is_now(tmp_path: Path) -> None:
    path = a_file(tmp_path, an_image(syntax=ImplicitVRLittleEndian, preamble=b"MZ".ljust(128)))
    data = b"".join(converted(path))
    stored, meta = read(path), read(data).file_meta
    assert data[:132] == bytes(128) + b"DICM"
    assert meta.MediaStorageSOPInstanceUID == stored.SOPInstanceUID
    assert meta.MediaStorageSOPClassUID == stored.SOPClassUID
    assert meta.ImplementationVersionName == "FIRSTREAD_WEB"
    assert data.startswith(struct.pack("<HH", 8, 5), 144 + meta.FileMetaInformationGroupLength)


def test_frames_of_odd_bytes_lie_together_and_are_padded_once(tmp_path: Path) -> None:
    pixels = np.arange(3 * 33 * 35).astype(np.uint8).reshape(3, 33, 35)
    path = a_file(tmp_path, an_image(pixels, compressed=JPEG_LS))
    assert given_of(path).PixelData == pixels.tobytes() + b"\0"


def test_what_compression_alone_needs_is_gone(tmp_path: Path) -> None:
    data_set = read(an_image(compressed=JPEG_LS))
    data_set.ExtendedOffsetTable = data_set.ExtendedOffsetTableLengths = bytes(8)
    data_set.add_new(0xFFFCFFFC, "OB", b"behind")
    given = given_of(a_file(tmp_path, written(data_set, UID(JPEG_LS))))
    assert not given.dir("ExtendedOffsetTable")
    assert (given[0xFFFCFFFC].value, given.PixelData) == (b"behind", a_ramp().tobytes())


@pytest.mark.parametrize("stated", [None, "00", "01"])
def test_what_was_lossy_stays_marked(tmp_path: Path, stated: str | None) -> None:
    """Of JPEG the transfer syntax was the only witness where the header had none."""
    data_set = read(OF_PYDICOM / "SC_rgb_small_odd_jpeg.dcm")
    data_set.LossyImageCompression = stated
    if stated is None:
        del data_set.LossyImageCompression
    given = given_of(a_file(tmp_path, written(data_set, UID(JPEG))))
    assert given.LossyImageCompression == "01"


def test_group_lengths_go_with_what_they_counted(tmp_path: Path) -> None:
    """pydicom writes none, so they are put in here."""
    data = an_image(compressed=JPEG_LS)
    for tag in (0x00280002, PIXELS):
        number = tag & 0xFFFF
        first = struct.pack("<HH", tag >> 16, number) + (b"OB" if tag == PIXELS else b"US")
        length = struct.pack("<HH2sHL", tag >> 16, 0, b"UL", 4, 99)
        data = data.replace(first, length + first, 1)
    path = a_file(tmp_path, data)
    assert [one.tag.group for one in read(path) if not one.tag.element] == [0x28, 0x7FE0]
    assert not [one for one in given_of(path) if not one.tag.element]


def test_pixels_in_one_piece_are_not_taken_for_compressed_or_for_decoded(tmp_path: Path) -> None:
    data = an_image(np.zeros((1, 20, 30, 3), np.uint8))
    native, theirs = (_meta_syntax(uid) for uid in (ExplicitVRLittleEndian, JPEG_LS))
    path = a_file(tmp_path, data.replace(native, theirs, 1))
    for refuse in (ensure_convertible, lambda path: list(converted(path))):
        with pytest.raises(FrameRefused, match="fragments-unclear"):
            refuse(path)


def _meta_syntax(uid: str) -> bytes:
    value = uid.encode() + b"\0" * (len(uid) % 2)
    return b"UI" + struct.pack("<H", len(value)) + value


@pytest.mark.parametrize(
    ("tag", "length", "is_first"),
    [
        # Of equal ones the first is theirs.
        (PIXELS, UNDEFINED, False),
        (PIXELS, 4, False),
        (0x7FE00008, UNDEFINED, False),
        (0x7FE00008, UNDEFINED, True),
        (0x7FE00008, 4, True),
    ],
)
def test_pixels_beside_the_pixels_are_not_dropped_in_silence(
    tmp_path: Path, tag: int, length: int, is_first: bool
) -> None:
    data = an_image(compressed=JPEG_LS)
    other = struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, b"OB", 0, length) + bytes(4)
    if length == UNDEFINED:
        other = other[:-4] + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    at = data.index(struct.pack("<HH", 0x7FE0, 0x0010)) if is_first else len(data)
    with pytest.raises(FrameRefused, match="sequence-broken"):
        list(converted(a_file(tmp_path, data[:at] + other + data[at:])))


def test_fragments_without_number_behind_the_pixels_are_refused(tmp_path: Path) -> None:
    """The walk ends at the pixels, so what follows them is bounded here alone."""
    fragments = struct.pack("<HHL", 0xFFFE, 0xE000, 0) * ELEMENTS
    end = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    pixels = struct.pack("<HHL", 0x7FE0, 0x0010, UNDEFINED) + fragments + end
    item = struct.pack("<HHL", 0xFFFE, 0xE000, UNDEFINED) + pixels
    item += struct.pack("<HHL", 0xFFFE, 0xE00D, 0)
    private = struct.pack("<HHL", 0x7FE1, 0x1010, UNDEFINED) + item + end
    data = an_image(syntax=ImplicitVRLittleEndian) + private
    with pytest.raises(FrameRefused, match="too-many-elements"):
        list(converted(a_file(tmp_path, data)))


def test_a_long_value_is_never_in_memory_whole(tmp_path: Path) -> None:
    """Behind the pixels no walk has bounded it, nor what an item says of signs."""
    size = 64 << 20
    value = struct.pack("<HHL", 0x0028, 0x0103, size) + bytes(size)
    item = struct.pack("<HHL", 0xFFFE, 0xE000, len(value)) + value
    known = struct.pack("<HHL", 0x0040, 0x0275, len(item)) + item
    data = an_image(syntax=ImplicitVRLittleEndian)
    path = a_file(tmp_path, data + known)
    del value, item, known
    tracemalloc.start()
    try:
        assert sum(map(len, converted(path))) > size
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def an_icon(frames: int) -> Dataset:
    icon = Dataset()
    icon.Rows = icon.Columns = 2
    icon.PixelData = b"\xfe\xff\x00\xe0\0\0\0\0" * frames or bytes(4)
    icon["PixelData"].VR = "OB"
    icon["PixelData"].is_undefined_length = frames > 0
    return icon


def test_an_icon_is_kept_or_all_is_refused(tmp_path: Path) -> None:
    data_set = read(an_image(compressed=JPEG_LS))
    data_set.IconImageSequence = Sequence([an_icon(0)])
    given = given_of(a_file(tmp_path, written(data_set, UID(JPEG_LS))))
    assert given.IconImageSequence[0].PixelData == bytes(4)
    data_set.IconImageSequence = Sequence([an_icon(2)])
    path = a_file(tmp_path, written(data_set, UID(JPEG_LS)))
    for refuse in (ensure_convertible, lambda path: list(converted(path))):
        with pytest.raises(FrameRefused, match="icon-compressed"):
            refuse(path)


def implicit(*elements: tuple[int, bytes]) -> bytes:
    """Return a file of implicit VR as its bytes stand."""
    data_set = written(Dataset(), ImplicitVRLittleEndian)
    return data_set + b"".join(
        struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value)) + value for tag, value in elements
    )


def nested(depth: int) -> bytes:
    value = b""
    for _ in range(depth):
        item = struct.pack("<HHL", 0xFFFE, 0xE000, len(value)) + value
        value = struct.pack("<HHL", 0x0008, 0x1140, len(item)) + item
    return value[8:]


@pytest.mark.parametrize(
    ("sequence", "reason"),
    [
        (nested(DEPTH), ""),
        (nested(DEPTH + 1), "nested-too-deep"),
        (b"\xfe\xff\x00\xe0\xff\xff\0\0", "sequence-broken"),
        # An item without its delimiter, and what is hidden behind one.
        (b"\xfe\xff\x00\xe0\xff\xff\xff\xff\x10\0\x10\0\0\0\0\0", "sequence-broken"),
        (b"\xfe\xff\xdd\xe0\0\0\0\0\x10\0\x10\0\0\0\0\0", "sequence-broken"),
        (
            b"\xfe\xff\x00\xe0\x10\0\0\0\xfe\xff\x0d\xe0\0\0\0\0\x10\0\x10\0\0\0\0\0",
            "sequence-broken",
        ),
        (
            b"\xfe\xff\x00\xe0\x10\0\0\0\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\x00\xe0\0\0\0\0",
            "sequence-broken",
        ),
        (b"\xfe\xff\xdd\xe0\0\0\0\0", ""),
    ],
)
def test_sequences_of_stated_length_are_bounded_or_refused(
    tmp_path: Path, sequence: bytes, reason: str
) -> None:
    path = a_file(tmp_path, implicit((0x00081140, sequence)))
    if reason:
        with pytest.raises(FrameRefused, match=reason):
            list(converted(path))
    else:
        assert "ReferencedImageSequence" in given_of(path)


@pytest.mark.slow
def test_elements_without_number_are_refused(tmp_path: Path) -> None:
    inner = struct.pack("<HHL", 0x0010, 0x0010, 0) * 300_000
    item = struct.pack("<HHL", 0xFFFE, 0xE000, len(inner)) + inner
    with pytest.raises(FrameRefused, match="too-many-elements"):
        list(converted(a_file(tmp_path, implicit((0x00081140, item)))))


@pytest.mark.parametrize("compressed", ["", JPEG_LS])
def test_zeros_behind_the_pixels_are_padding_and_nothing_else_is(
    tmp_path: Path, compressed: str
) -> None:
    syntax = ExplicitVRLittleEndian if compressed else ImplicitVRLittleEndian
    data = an_image(compressed=compressed, syntax=syntax)
    given = given_of(a_file(tmp_path, data + bytes(301)))
    assert given.PixelData == a_ramp().tobytes()
    with pytest.raises(FrameRefused, match="sequence-broken"):
        list(converted(a_file(tmp_path, data + bytes(300) + b"x")))


def test_what_would_be_too_large_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = a_file(tmp_path, an_image(a_ramp(frames=3), compressed=RLE))
    ensure_convertible(path)
    monkeypatch.setattr(module, "MOST_DECODED_BYTES", 3 * a_ramp().nbytes - 1)
    for refuse in (ensure_convertible, lambda path: list(converted(path))):
        with pytest.raises(FrameRefused, match="too-large"):
            refuse(path)


def test_frames_that_take_too_long_are_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = a_file(tmp_path, an_image(compressed=RLE))
    monkeypatch.setattr(module, "WALL_S", -1.0)
    with pytest.raises(FrameRefused, match="too-slow"):
        list(converted(path))


@pytest.mark.slow
def test_who_takes_frames_slowly_takes_no_time_of_the_decoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = a_file(tmp_path, an_image(np.zeros((4, 400, 400), np.int16), compressed=RLE))
    # The child is there before.
    list(converted(path))
    monkeypatch.setattr(module, "WALL_S", 1.0)
    monkeypatch.setattr(module, "FRAME_SHARE_S", 0.0)
    pieces = []
    for piece in converted(path):
        pieces.append(piece)
        time.sleep(1.1)
    assert len(pieces) > 1


@needs_shared
@pytest.mark.parametrize("name", ["liver_deflate.dcm"])
def test_what_nothing_decodes_is_refused(name: str) -> None:
    path = CONFORMANCE / "pydicom" / name
    for refuse in (ensure_convertible, lambda path: list(converted(path))):
        with pytest.raises(FrameRefused, match="transfer-syntax-unsupported"):
            refuse(path)
