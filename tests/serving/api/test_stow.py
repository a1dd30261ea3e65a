"""STOW-RS against a real server: what is answered, what is kept, what leaves nothing behind."""

import json
import threading
import time
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from serving.api import stow
from serving.archive.index import find_instances
from serving.archive.store import Store
from serving.database.engine import reading
from serving.errors import TooLarge, Unavailable
from serving.studies.arrival import InstanceFacts, read_facts
from tests.serving.api.a_server import (
    BOUNDARY,
    JSON,
    RELATED,
    Server,
    a_server,
    body_of,
    status_of,
)
from tests.serving.databases import locked
from tests.serving.studies.a_study import SR, an_instance

XML = "application/dicom+xml"
NAMESPACE = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"


@pytest.fixture(scope="module")
def running(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with a_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def server(running: Server) -> Server:
    running.forget()
    return running


def reasons(document: dict[str, Any]) -> list[tuple[int, str]]:
    """Return Failure Reason and Error Comment of each failed instance."""
    items = document.get("00081198", {}).get("Value", [])
    return [(item["00081197"]["Value"][0], item["00000902"]["Value"][0]) for item in items]


def referenced(document: dict[str, Any]) -> list[str]:
    items = document.get("00081199", {}).get("Value", [])
    return [item["00081155"]["Value"][0] for item in items]


def filed(server: Server) -> int:
    with reading(server.house.engine) as connection:
        return len(find_instances(connection, None))


def leaves_nothing(server: Server) -> bool:
    """Whether neither rows nor temporary files are left."""
    return filed(server) == 0 and not server.temporary_files()


def test_what_is_stored_is_told_with_its_address(server: Server) -> None:
    answer = server.stow(an_instance(1), an_instance(2))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == JSON
    assert len(referenced(answer.json())) == 2
    for item in answer.json()["00081199"]["Value"]:
        assert server.client.get(item["00081190"]["Value"][0]).status_code == 200


def test_what_is_there_already_is_stored_again_without_a_change(server: Server) -> None:
    server.stow(an_instance(1))
    answer = server.stow(an_instance(1))
    assert (answer.status_code, len(referenced(answer.json())), filed(server)) == (200, 1, 1)


def test_other_content_under_a_known_uid_is_a_failure(server: Server) -> None:
    server.stow(an_instance(1))
    answer = server.stow(an_instance(1, content="other"))
    assert answer.status_code == 409
    assert reasons(answer.json()) == [
        (0x0110, "this SOP Instance UID is stored with other content")
    ]


def test_some_stored_and_some_not_is_202_with_the_part_that_failed(server: Server) -> None:
    answer = server.stow(an_instance(1), b"no instance", an_instance(2)[:300])
    assert (answer.status_code, len(referenced(answer.json()))) == (202, 1)
    assert reasons(answer.json()) == [
        (0xC000, "part 2: meta-header-missing"),
        (0xC000, "part 3: truncated"),
    ]


def test_none_stored_is_409(server: Server) -> None:
    answer = server.stow(b"no instance", b"")
    assert answer.status_code == 409
    assert len(reasons(answer.json())) == 2
    assert leaves_nothing(server)


def test_an_instance_of_another_study_than_the_address_names_fails(server: Server) -> None:
    answer = server.stow(an_instance(1), study="1.2.3")
    assert answer.status_code == 409
    assert reasons(answer.json()) == [(0xA901, "part 1: of another study than the address names")]
    assert leaves_nothing(server)


def test_a_study_of_another_site_is_refused(server: Server) -> None:
    server.stow(an_instance(1))
    body = body_of([an_instance(2)])
    with server.other() as other:
        answer = other.post("/studies", content=body, headers={"Content-Type": RELATED})
    assert answer.status_code == 403
    assert reasons(answer.json()) == [(0x0124, "the study belongs to another site")]
    assert filed(server) == 1


def test_what_was_not_taken_is_counted_by_failure_reason(server: Server) -> None:
    def counted(reason: str) -> float:
        figures = server.house.app.state.figures
        return figures.get_sample_value(
            "firstread_instances_refused_total", {"reason": reason}
        ) or 0.0  # fmt: skip

    before = counted("0110"), counted("C000")
    server.stow(an_instance(1))
    server.stow(an_instance(1, content="other"), b"no instance", b"nor this")
    assert (counted("0110") - before[0], counted("C000") - before[1]) == (1, 2)


def test_the_answer_is_xml_where_xml_is_accepted(server: Server) -> None:
    answer = server.stow(an_instance(1), b"", accept=XML)
    assert (answer.status_code, answer.headers["content-type"]) == (202, XML)
    root = ET.fromstring(answer.content)
    assert root.tag == f"{NAMESPACE}NativeDicomModel"
    assert {child.get("keyword") for child in root} == {
        "RetrieveURL",
        "FailedSOPSequence",
        "ReferencedSOPSequence",
    }


def test_results_of_others_are_stored_and_open_no_case(server: Server) -> None:
    assert server.stow(an_instance(1, sop_class=SR, modality="SR")).status_code == 200
    assert server.client.get("/studies").json()[0]["00080061"]["Value"] == ["SR"]


def test_a_body_in_chunks_without_a_length_is_taken(server: Server) -> None:
    body = body_of([an_instance(1), an_instance(2)])
    chunks = (body[i : i + 7] for i in range(0, len(body), 7))
    answer = server.client.post("/studies", content=chunks, headers={"Content-Type": RELATED})
    assert (answer.status_code, filed(server)) == (200, 2)


@pytest.mark.parametrize(
    "content_type",
    [
        f"multipart/related; boundary={BOUNDARY}",
        f'multipart/related;boundary="{BOUNDARY}";type=application/dicom;',
        f"multipart/related; type=application/dicom; boundary={BOUNDARY}; start=x",
    ],
)
def test_content_types_of_all_writings_are_taken(server: Server, content_type: str) -> None:
    body = b"preamble\r\n" + body_of([an_instance(1)], "application/dicom; transfer-syntax=1.2")
    answer = server.client.post("/studies", content=body, headers={"Content-Type": content_type})
    assert answer.status_code == 200


def test_a_part_without_a_type_is_what_the_body_says(server: Server) -> None:
    body = f"--{BOUNDARY}\r\n\r\n".encode() + an_instance(1) + f"\r\n--{BOUNDARY}--".encode()
    answer = server.client.post("/studies", content=body, headers={"Content-Type": RELATED})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Type": "application/dicom"}, b"x", 415),
        ({"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}, body_of([b"x"]), 415),
        (
            {"Content-Type": f"multipart/related; type=text/plain; boundary={BOUNDARY}"},
            body_of([b"x"]),
            415,
        ),
        ({"Content-Type": RELATED}, body_of([b"x"], "text/html"), 415),
        ({"Content-Type": RELATED, "Accept": "text/html"}, body_of([b"x"]), 406),
        ({"Content-Type": "multipart/related; type=application/dicom"}, b"x", 400),
        ({"Content-Type": RELATED}, b"", 400),
        ({"Content-Type": RELATED}, f"--{BOUNDARY}--".encode(), 400),
        ({"Content-Type": RELATED}, body_of([an_instance(1)])[:-10], 400),
        ({"Content-Type": RELATED}, body_of([an_instance(1)])[:300], 400),
        ({"Content-Type": RELATED}, b"no boundary at all", 400),
    ],
)
def test_a_request_that_is_wrong_is_refused_as_a_whole(
    server: Server, headers: dict[str, str], body: bytes, status: int
) -> None:
    answer = server.client.post("/studies", content=body, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]
    assert leaves_nothing(server)


def test_a_truncated_body_keeps_none_of_its_whole_parts(server: Server) -> None:
    body = body_of([an_instance(1), an_instance(2)])
    headers = {"Content-Type": RELATED}
    assert server.client.post("/studies", content=body[:-30], headers=headers).status_code == 400
    assert leaves_nothing(server)


def test_an_address_without_a_uid_is_refused(server: Server) -> None:
    assert server.stow(an_instance(1), study="..%2f..%2fetc").status_code in (400, 404)
    assert server.stow(an_instance(1), study="not-a-uid").status_code == 400


@pytest.mark.parametrize(
    ("settings", "files", "named"),
    [
        ({"max_parts": 2}, [b"x"] * 3, "FIRSTREAD_MAX_PARTS"),
        ({"max_instance_bytes": 100}, [bytes(101)], "FIRSTREAD_MAX_INSTANCE_BYTES"),
        ({"max_request_bytes": 1000}, [bytes(2000)], "FIRSTREAD_MAX_REQUEST_BYTES"),
    ],
)
def test_a_ceiling_is_named(
    tmp_path: Path, settings: dict[str, Any], files: list[bytes], named: str
) -> None:
    with a_server(tmp_path, **settings) as server:
        answer = server.stow(*files)
        assert answer.status_code == 413
        assert named in answer.json()["detail"]
        assert leaves_nothing(server)


def test_a_body_above_the_ceiling_is_noticed_without_a_length(tmp_path: Path) -> None:
    with a_server(tmp_path, max_request_bytes=100_000) as server:
        chunks = (bytes(1000) for _ in range(101))
        headers = {"Content-Type": RELATED}
        assert server.client.post("/studies", content=chunks, headers=headers).status_code == 413


@pytest.mark.slow
def test_many_empty_parts_are_cut_at_the_ceiling(server: Server) -> None:
    began = time.monotonic()
    body = f"--{BOUNDARY}\r\n\r\n".encode() * 300_000 + f"--{BOUNDARY}--".encode()
    answer = server.client.post("/studies", content=body, headers={"Content-Type": RELATED})
    assert answer.status_code == 413
    assert time.monotonic() - began < 60
    assert leaves_nothing(server)


def test_without_room_the_sender_is_told_to_come_back(tmp_path: Path) -> None:
    with a_server(tmp_path, free_bytes=1 << 60) as server:
        answer = server.stow(an_instance(1))
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert "FIRSTREAD_FREE_BYTES" in answer.json()["detail"]
        assert leaves_nothing(server)


def test_a_body_that_would_not_fit_is_refused_before_it_comes(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "free_bytes", lambda _store: 1_000_000)
    with server.raw(server.post_head("Content-Length: 2000000")) as connection:
        assert status_of(connection) == 503


def test_a_disk_that_is_full_in_the_middle_leaves_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Looked at before the body, and with each batch of it.
    free = iter([1 << 40, 1 << 40, 0])
    monkeypatch.setattr(Store, "free_bytes", lambda _store: next(free))
    answer = server.stow(an_instance(1), bytes(3 * stow.BATCH_BYTES))
    assert answer.status_code == 503
    assert leaves_nothing(server)


@pytest.mark.slow
def test_a_locked_database_is_503_and_the_next_try_succeeds(server: Server) -> None:
    with locked(server.house.engine):
        answer = server.stow(an_instance(1))
    assert (answer.status_code, answer.json()["code"]) == (503, "database-busy")
    assert "retry-after" in answer.headers
    assert leaves_nothing(server)
    assert server.stow(an_instance(1)).status_code == 200


@pytest.mark.slow
def test_a_deflate_bomb_of_a_megabyte_is_refused_in_little_time(server: Server) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    deflated = b"".join(packer.compress(bytes(1 << 20)) for _ in range(1024)) + packer.flush()
    bomb = _with_syntax("1.2.840.10008.1.2.1.99") + deflated
    assert 1_000_000 < len(bomb) < 1_100_000
    began = time.monotonic()
    answer = server.stow(bomb)
    assert answer.status_code == 409
    assert time.monotonic() - began < 20
    assert leaves_nothing(server)


@pytest.mark.parametrize("is_open", [True, False])
def test_nesting_ten_thousand_deep_is_refused_or_kept_without_being_entered(
    server: Server, is_open: bool
) -> None:
    depth = 10_000
    if is_open:
        begin = b"\x40\x00\x75\x02SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
        nested = begin * depth
    else:
        nested = b""
        for _ in range(500):
            item = b"\xfe\xff\x00\xe0" + len(nested).to_bytes(4, "little") + nested
            nested = b"\x40\x00\x75\x02SQ\0\0" + len(item).to_bytes(4, "little") + item
    instance = an_instance(1)
    answer = server.stow(instance[: instance.index(b"\xe0\x7f\x10\x00")] + nested)
    assert answer.status_code == (409 if is_open else 200)
    if not is_open:
        url = referenced_url(answer.json())
        assert server.client.get(f"{url}/metadata").status_code == 200


def referenced_url(document: dict[str, Any]) -> str:
    url: str = document["00081199"]["Value"][0]["00081190"]["Value"][0]
    return url


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>^&\"'",
        "WANG\u202egnaw^\u200fWEI",
        "X" * 300,
        "\u5f20^\u4e09=\U0001f600",
    ],
)
def test_hostile_names_are_kept_and_told_as_they_are(server: Server, name: str) -> None:
    file = an_instance(1, SpecificCharacterSet="ISO_IR 192", PatientName=name)
    assert server.stow(file).status_code == 200
    answer = server.client.get("/studies")
    assert answer.headers["x-content-type-options"] == "nosniff"
    told = answer.json()[0]["00100010"]["Value"][0]
    assert "=".join(told.values())[:64] in name
    assert name[:20] not in str(answer.headers)


def test_senders_at_once_do_not_disturb_each_other(server: Server) -> None:
    statuses: list[int] = []

    def send(first: int) -> None:
        files = [an_instance(number) for number in range(first, first + 10)]
        statuses.append(server.stow(*files).status_code)

    threads = [threading.Thread(target=send, args=(first,)) for first in range(0, 60, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (statuses, filed(server)) == ([200] * 6, 60)


def test_who_may_not_send_is_told_so(server: Server) -> None:
    headers = {"Content-Type": RELATED, "Authorization": "Bearer frst_wrong"}
    answer = server.client.post("/studies", content=body_of([b"x"]), headers=headers)
    assert answer.status_code == 401


def test_a_failed_store_is_told_and_leaves_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_anything: object) -> None:
        raise Unavailable("the store cannot be written: No space left on device")

    monkeypatch.setattr(Store, "_keep", full)
    assert server.stow(an_instance(1)).status_code == 503
    assert filed(server) == 0


def _with_syntax(uid: str) -> bytes:
    value = uid.encode() + b"\0" * (len(uid) % 2)
    syntax = b"\x02\x00\x10\x00UI" + len(value).to_bytes(2, "little") + value
    return bytes(128) + b"DICM" + syntax


def test_the_answer_holds_nothing_of_what_was_sent(server: Server) -> None:
    answer = server.stow(b"DICM-secret-name", accept=JSON)
    assert "secret" not in json.dumps(answer.json())


def heavy_facts(tmp_path: Path, number: int, text: str) -> InstanceFacts:
    path = tmp_path / "one"
    path.write_bytes(an_instance(number, PatientName="王" * 300 + text, ImageComments="肺 " * 9000))
    return read_facts(path)


def test_equal_texts_of_a_request_are_in_memory_once(tmp_path: Path) -> None:
    texts = stow._Texts()
    first, second = (texts.shared(heavy_facts(tmp_path, n, "")) for n in (1, 2))
    assert first.sop_instance_uid != second.sop_instance_uid
    for name in ("names", "texts", "study_texts", "series_texts", "declared"):
        assert getattr(first, name) is getattr(second, name)


def test_different_texts_of_a_request_have_a_ceiling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stow, "MOST_TEXT_BYTES", 60_000)
    texts = stow._Texts()
    for number in range(10):
        texts.shared(heavy_facts(tmp_path, number, str(number)))

    def many() -> None:
        for number in range(10, 40):
            texts.shared(heavy_facts(tmp_path, number, str(number)))

    with pytest.raises(TooLarge, match="60000 bytes of different texts"):
        many()


def test_one_site_has_so_many_uploads_at_once_and_others_have_theirs() -> None:
    uploads = stow.Uploads()
    with ExitStack() as held:
        for _ in range(stow.MOST_UPLOADS_OF_ONE):
            held.enter_context(uploads.one_of("a"))
        with pytest.raises(Unavailable, match="too many uploads"), uploads.one_of("a"):
            pass
        for sender in range(stow.MOST_UPLOADS - stow.MOST_UPLOADS_OF_ONE):
            held.enter_context(uploads.one_of(sender))
        with pytest.raises(Unavailable, match="too many uploads"), uploads.one_of("b"):
            pass
    with uploads.one_of("a"):
        pass


def test_an_upload_above_the_number_is_told_to_come_back(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stow, "MOST_UPLOADS", 0)
    answer = server.stow(an_instance(1, study="later"))
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert int(answer.headers["retry-after"]) > 0
