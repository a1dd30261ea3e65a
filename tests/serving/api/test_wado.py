"""WADO-RS against a real server: bytes, headers, frames, negotiation, entity tags, borders."""

import base64
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from pydicom import Dataset, Sequence
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian
from sqlalchemy import select, update

from firstread.uids import uid_from
from serving.accounts.views import list_views
from serving.database.engine import reading, writing
from serving.database.tables import cases, instances, results
from tests.serving.api.a_server import Server, a_server, status_of
from tests.serving.api.images import JPEG_2000, JPEG_LS, RLE, SEG, a_ramp, an_image
from tests.serving.studies.a_study import SR, an_instance

DICOM = 'multipart/related; type="application/dicom"'
OCTETS = 'multipart/related; type="application/octet-stream"'
EXPLICIT = "1.2.840.10008.1.2.1"


@pytest.fixture(scope="module")
def running(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with a_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def server(running: Server) -> Server:
    running.forget()
    return running


def stored(server: Server, *files: bytes) -> list[str]:
    """Store files and return the paths of their instances."""
    answer = server.stow(*files)
    assert answer.status_code == 200, answer.text
    items = answer.json()["00081199"]["Value"]
    return [item["00081190"]["Value"][0].partition("/dicom-web")[2] for item in items]


def get(server: Server, path: str, accept: str = "*/*", **headers: str) -> httpx.Response:
    return server.client.get(path, headers={"Accept": accept, **headers})


def parts_of(answer: httpx.Response) -> list[tuple[str, bytes]]:
    """Return type and bytes of each part, by its stated length."""
    assert answer.status_code == 200, answer.text
    rest, parts = answer.content, []
    while b"Content-Length: " in rest:
        head, _, rest = rest.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
        length = int(fields["Content-Length"])
        parts.append((fields["Content-Type"], rest[:length]))
        rest = rest[length:]
    assert rest.endswith(b"--\r\n")
    return parts


def raw_parts(answer: httpx.Response) -> list[bytes]:
    return [data for _, data in parts_of(answer)]


def test_instances_come_back_as_they_were_sent(server: Server) -> None:
    files = [an_image(number=number) for number in (1, 2, 3)]
    paths = stored(server, *files)
    series, study = paths[0].rpartition("/instances")[0], paths[0].partition("/series")[0]
    assert raw_parts(get(server, study, DICOM)) == files
    assert raw_parts(get(server, series, DICOM)) == files
    assert raw_parts(get(server, paths[1], DICOM)) == [files[1]]
    assert get(server, paths[1], "application/dicom").content == files[1]


def test_a_preamble_is_zeroed_unless_it_makes_a_tiff(server: Server) -> None:
    program, tiff = (begin.ljust(128, b"x") for begin in (b"MZ", b"II*\0"))
    paths = stored(server, an_image(preamble=program), an_image(number=2, preamble=tiff))
    first, second = (get(server, path, "application/dicom").content for path in paths)
    assert first[:128] == bytes(128)
    assert second[:128] == tiff
    assert first[128:132] == b"DICM"


def test_nothing_is_sniffed_and_files_are_saved(server: Server) -> None:
    (path,) = stored(server, an_image())
    answer = get(server, path, "application/dicom")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("", 200),
        ("*/*", 200),
        (DICOM, 200),
        (f"{DICOM}; transfer-syntax=*", 200),
        (f"{DICOM}; transfer-syntax={RLE}", 200),
        (f"{DICOM}; transfer-syntax={EXPLICIT}", 406),
        ("application/dicom", 200),
        (f"{DICOM};q=0", 406),
        ("text/html", 406),
        ("text/html, application/dicom;q=0.1", 200),
    ],
)
def test_instances_are_given_as_stored_or_not_at_all(
    server: Server, accept: str, status: int
) -> None:
    (path,) = stored(server, an_image(compressed=RLE))
    assert get(server, path, accept).status_code == status


def test_several_instances_need_parts(server: Server) -> None:
    (path,) = stored(server, an_image())
    assert get(server, path.partition("/series")[0], "application/dicom").status_code == 406


@pytest.mark.parametrize(
    "suffix", ["", "/metadata", "/frames/1", "/rendered", "/thumbnail", "/frames/1/rendered"]
)
def test_who_has_it_already_is_told_so(server: Server, suffix: str) -> None:
    (path,) = stored(server, an_image())
    first = get(server, path + suffix)
    assert first.status_code == 200
    again = get(server, path + suffix, **{"If-None-Match": f'"x", W/{first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert get(server, path + suffix, **{"If-None-Match": "*"}).status_code == 304
    assert get(server, path + suffix, **{"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize("suffix", ["", "/metadata", "/frames/1", "/bulkdata/7FE00010"])
def test_what_says_its_address_has_another_tag_under_another_host(
    server: Server, suffix: str
) -> None:
    (path,) = stored(server, an_image())
    first = get(server, path + suffix)
    tag = first.headers["etag"]
    other = get(server, path + suffix, Host=f"localhost:{server.port}", **{"If-None-Match": tag})
    assert other.status_code == 200
    assert other.headers["etag"] != tag
    assert other.content != first.content


@pytest.mark.parametrize(
    "suffix", ["", "/metadata", "/frames/1", "/rendered", "/bulkdata/7FE00010"]
)
def test_head_is_get_without_the_body(server: Server, suffix: str) -> None:
    (path,) = stored(server, an_image())
    whole, head = get(server, path + suffix), server.client.head(path + suffix)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("etag", "content-type", "content-length"):
        assert head.headers.get(name) == whole.headers.get(name)
    assert server.client.head("/studies/1.2.3").status_code == 404
    assert server.client.head("/studies").status_code == 200


def test_equal_requests_have_equal_bytes(server: Server) -> None:
    (path,) = stored(server, an_image())
    assert get(server, path).content == get(server, path).content


@pytest.mark.parametrize(
    "suffix",
    ["", "/metadata", "/frames/1", "/rendered", "/thumbnail", "/bulkdata/7FE00010"],
)
def test_what_belongs_to_another_site_is_not_there(server: Server, suffix: str) -> None:
    (path,) = stored(server, an_image())
    with server.other() as other:
        for level in (path, path.rpartition("/instances")[0], path.partition("/series")[0]):
            assert other.get(level + suffix).status_code == 404
        assert other.get(path.partition("/series")[0] + "/series").status_code == 404
        assert other.get("/instances").status_code == 204


def test_a_look_at_images_is_recorded_once(server: Server) -> None:
    (path,) = stored(server, an_image())
    for _ in range(3):
        get(server, path)
        get(server, f"{path}/rendered")
    with reading(server.house.engine) as connection:
        (case_id,) = connection.execute(cases.select()).scalars()
        looks = list_views(connection, case_id)
    assert [(view.what, view.kind) for view in looks] == [("dicom", "token")]


def test_a_superseded_result_is_not_there(server: Server) -> None:
    image, seg = stored(server, an_image(), an_image(sop_class=SEG, modality="SEG", number=9))
    uid = uid_from("study", "SEG", "9")
    for is_visible, status in ((True, 200), (False, 404)):
        _belongs_to_a_result(server, uid, is_visible=is_visible)
        assert get(server, seg).status_code == status
        found = get(server, "/instances?Modality=SEG").status_code
        assert found == (200 if is_visible else 204)
        study = get(server, image.partition("/series")[0], DICOM)
        assert len(raw_parts(study)) == (2 if is_visible else 1)


def _belongs_to_a_result(server: Server, sop_uid: str, *, is_visible: bool) -> None:
    with writing(server.house.engine) as connection:
        connection.execute(update(instances).values(result_id=None))
        connection.execute(results.delete())
        (case_id,) = connection.execute(cases.select()).scalars()
        made = connection.execute(
            results.insert().values(
                case_id=case_id, package_name="p", package_version="1", package_sha256="0",
                software_version="1", input_sha256="0", generation=1, status="scored",
                timings_s={}, is_visible=is_visible, created_at=0.0,
            )
        ).inserted_primary_key  # fmt: skip
        assert made is not None
        of = instances.c.sop_instance_uid == sop_uid
        connection.execute(update(instances).where(of).values(result_id=made[0]))


def test_a_damaged_object_is_never_given(server: Server) -> None:
    (path,) = stored(server, an_image(number=5))
    assert get(server, path).status_code == 200
    with reading(server.house.engine) as connection:
        sha256 = connection.execute(select(instances.c.sha256)).scalar_one()
    file = server.house.app.state.service.store.path(sha256)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    for suffix in ("", "/metadata", "/frames/1", "/rendered"):
        answer = get(server, path + suffix)
        assert (answer.status_code, answer.json()["code"]) == (500, "object-damaged")
    file.unlink()
    assert get(server, path).status_code == 500


def test_a_damaged_object_among_others_ends_the_answer_early(server: Server) -> None:
    paths = stored(server, an_image(number=6), an_image(number=7))
    with reading(server.house.engine) as connection:
        rows = connection.execute(instances.select()).mappings().all()
    last = next(row for row in rows if row["number"] == 7)
    server.house.app.state.service.store.path(last["sha256"]).write_bytes(b"other")
    with pytest.raises(httpx.RemoteProtocolError):
        get(server, paths[0].partition("/series")[0], DICOM)


def test_metadata_are_in_utf_8_with_numbers_and_addresses(server: Server) -> None:
    (path,) = stored(server, an_image(SliceThickness="1.25", RescaleIntercept="-1024"))
    answer = get(server, f"{path}/metadata", "application/dicom+json")
    assert answer.headers["content-type"] == "application/dicom+json"
    (header,) = answer.json()
    assert header["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}
    name = {"Alphabetic": "Wang^XiaoDong", "Ideographic": "王^小东"}
    assert header["00100010"] == {"vr": "PN", "Value": [name]}
    assert header["00180050"] == {"vr": "DS", "Value": [1.25]}
    assert header["00281052"] == {"vr": "DS", "Value": [-1024]}
    assert list(header) == sorted(header)
    url = header["7FE00010"]["BulkDataURI"]
    (frame,) = raw_parts(server.client.get(url, headers={"Accept": OCTETS}))
    assert frame == a_ramp().tobytes()


def test_metadata_come_as_xml_in_parts(server: Server) -> None:
    paths = stored(server, an_image(number=1), an_image(number=2))
    accept = 'multipart/related; type="application/dicom+xml"'
    answer = get(server, paths[0].partition("/series")[0] + "/metadata", accept)
    assert answer.status_code == 200
    assert answer.content.count(b"<NativeDicomModel") == 2
    assert "<FamilyName>王</FamilyName>".encode() in answer.content


def test_long_values_have_an_address_and_short_ones_are_inline(server: Server) -> None:
    inner = Dataset()
    inner.EncapsulatedDocument = b"long" * 1000
    (path,) = stored(
        server, an_image(EncapsulatedDocument=b"ab", ReferencedImageSequence=Sequence([inner]))
    )
    (header,) = get(server, f"{path}/metadata").json()
    assert base64.b64decode(header["00420011"]["InlineBinary"]) == b"ab"
    url = header["00081140"]["Value"][0]["00420011"]["BulkDataURI"]
    assert url.endswith("/bulkdata/00081140/1/00420011")
    assert raw_parts(server.client.get(url)) == [b"long" * 1000]
    assert server.client.get(url.replace("/1/", "/2/")).status_code == 404
    assert server.client.get(url.replace("00420011", "zz")).status_code == 404


MULTI = a_ramp(frames=3)


@pytest.mark.parametrize("compressed", ["", RLE, JPEG_LS, JPEG_2000])
def test_frames_come_without_compression_unless_wanted_as_stored(
    server: Server, compressed: str
) -> None:
    (path,) = stored(server, an_image(MULTI, compressed=compressed))
    answer = get(server, f"{path}/frames/3,1")
    assert raw_parts(answer) == [MULTI[2].tobytes(), MULTI[0].tobytes()]
    for kind, _ in parts_of(answer):
        assert kind == f"application/octet-stream; transfer-syntax={EXPLICIT}"
    ((kind, data),) = parts_of(get(server, f"{path}/frames/1", f"{OCTETS}; transfer-syntax=*"))
    assert kind.endswith(compressed or EXPLICIT)
    assert (len(data) == MULTI[0].nbytes) == (not compressed)


def test_frames_come_as_images_where_they_are(server: Server) -> None:
    (path,) = stored(server, an_image(compressed=JPEG_LS))
    for accept in (
        'multipart/related; type="image/jls"',
        f"multipart/related; type=image/jls; transfer-syntax={JPEG_LS}",
        f"multipart/related; type=image/jp2, {OCTETS};q=0.1, multipart/related; type=image/jls",
        "image/jls",
    ):
        answer = get(server, f"{path}/frames/1", accept)
        assert answer.status_code == 200
        assert b"\xff\xd8\xff" in answer.content
    assert get(server, f"{path}/frames/1", "multipart/related; type=image/jp2").status_code == 406
    wrong = f"{OCTETS}; transfer-syntax={JPEG_2000}"
    assert get(server, f"{path}/frames/1", wrong).status_code == 406


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_frames_of_other_byte_orders_are_explicit_little_endian(
    server: Server, syntax: Any
) -> None:
    pixels = a_ramp()
    if syntax == ExplicitVRBigEndian:
        file = an_image(pixels.byteswap(), syntax=syntax)
    else:
        file = an_image(pixels, syntax=syntax)
    (path,) = stored(server, file)
    assert raw_parts(get(server, f"{path}/frames/1")) == [pixels.tobytes()]


def test_single_bits_of_a_later_frame_begin_with_a_byte(server: Server) -> None:
    bits = np.random.default_rng(1).random((3, 3, 5)) > 0.5
    (path,) = stored(server, an_image(bits, sop_class=SEG, modality="SEG"))
    for number, frame in enumerate(raw_parts(get(server, f"{path}/frames/1,2,3"))):
        unpacked = np.unpackbits(np.frombuffer(frame, np.uint8), bitorder="little")
        assert (unpacked[:15].reshape(3, 5) == bits[number]).all()


@pytest.mark.parametrize(
    ("frames", "status"), [("2", 404), ("0", 400), ("x", 400), ("1,,2", 400), ("-1", 400)]
)
def test_frames_that_are_none_are_told(server: Server, frames: str, status: int) -> None:
    (path,) = stored(server, an_image())
    assert get(server, f"{path}/frames/{frames}").status_code == status


def test_frames_that_do_not_decode_are_not_made_up(server: Server) -> None:
    file = bytearray(an_image(compressed=JPEG_2000, number=8))
    at = file.index(b"\xff\x4f\xff\x51")
    file[at + 8 : at + 80] = b"\xff" * 72
    (path,) = stored(server, bytes(file))
    assert get(server, f"{path}/frames/1").status_code == 406
    assert get(server, f"{path}/rendered").status_code == 406
    assert get(server, f"{path}/frames/1", f"{OCTETS}; transfer-syntax=*").status_code == 200


def test_frames_that_are_only_claimed_cost_nothing(server: Server) -> None:
    (path,) = stored(server, an_image(number=9))
    with writing(server.house.engine) as connection:
        connection.execute(update(instances).values(frames=20_000_000))
    started = time.process_time()
    assert get(server, f"{path}/bulkdata/7FE00010", OCTETS).status_code == 404
    assert get(server, f"{path}/rendered").status_code == 404
    assert time.process_time() - started < 2


def test_without_pixels_there_are_no_frames(server: Server) -> None:
    (path,) = stored(server, an_instance(1, sop_class=SR, modality="SR", PixelData=None, Rows=None))
    for suffix in ("/frames/1", "/rendered", "/thumbnail"):
        assert get(server, path + suffix).status_code == 404
    assert get(server, path).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/studies/1.2.3",
        "/studies/1.2.3/series/1.2",
        "/studies/1.2.3/metadata",
        "/studies/%27%20OR%201=1",
        "/studies/..%2f..%2fetc%2fpasswd/series",
    ],
)
def test_what_is_not_there_is_404(server: Server, path: str) -> None:
    assert get(server, path).status_code == 404


def test_without_a_token_nothing_is_told(server: Server) -> None:
    (path,) = stored(server, an_image())
    for suffix in ("", "/metadata", "/frames/1", "/rendered"):
        answer = httpx.get(f"{server.url}{path}{suffix}")
        assert answer.status_code == 401


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["/frames/1", "/bulkdata/7FE00010"])
def test_frames_that_nobody_takes_are_not_in_memory(server: Server, suffix: str) -> None:
    (path,) = stored(server, an_image(np.zeros((1, 6000, 4000), np.int16), number=21))
    before = _anonymous_mib()
    with ExitStack() as stack:
        for _ in range(8):
            head = f"GET /dicom-web{path}{suffix} HTTP/1.1\nHost: 127.0.0.1:{server.port}\n"
            client = server.raw(f"{head}Authorization: Bearer {server.token}\n\n")
            stack.callback(client.close)
            assert status_of(client) == 200
        # Eight times 46 MiB wait to be taken.
        assert _anonymous_mib() - before < 150


def _anonymous_mib() -> float:
    status = Path("/proc/self/status").read_text()
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1024


def test_large_frames_come_back_whole(server: Server) -> None:
    pixels = np.random.default_rng(1).integers(0, 4096, (3, 1000, 1000), np.int16)
    (path,) = stored(server, an_image(pixels, number=22))
    assert raw_parts(get(server, f"{path}/frames/3,1")) == [
        pixels[2].tobytes(),
        pixels[0].tobytes(),
    ]
    alone = get(server, f"{path}/frames/2", "application/octet-stream")
    assert alone.content == pixels[1].tobytes()
    assert int(alone.headers["content-length"]) == pixels[1].nbytes


def test_a_frame_too_large_for_memory_is_refused_alone(server: Server) -> None:
    large = np.zeros((1, 6000, 6000), np.int16)
    (path,) = stored(server, an_image(large, number=23))
    for suffix in ("/frames/1", "/rendered"):
        answer = get(server, path + suffix)
        assert (answer.status_code, answer.json()["code"]) == (413, "too-large")
    many = np.zeros((1, 6000, 6000), bool)
    (path,) = stored(server, an_image(many, number=24))
    assert get(server, f"{path}/frames/1").status_code == 200
    assert get(server, f"{path}/rendered").status_code == 413


def test_fragments_larger_than_a_frame_may_be_are_not_read(server: Server) -> None:
    file = an_image(compressed=RLE, number=25)
    at = file.index(b"\xe0\x7f\x10\x00OB") + 12
    offsets = int.from_bytes(file[at + 4 : at + 8], "little")
    large = (65 << 20).to_bytes(4, "little") + bytes(65 << 20)
    start = at + 8 + offsets
    file = file[:start] + b"\xfe\xff\x00\xe0" + large + b"\xfe\xff\xdd\xe0\0\0\0\0"
    (path,) = stored(server, file)
    for syntax in ("*", EXPLICIT):
        accept = f"{OCTETS}; transfer-syntax={syntax}"
        assert get(server, f"{path}/frames/1", accept).status_code == 413
