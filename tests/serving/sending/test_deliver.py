"""Studies to a server that answers in every way that servers answer."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstread.errors import NotDelivered, ServiceUnreachable, UsageError
from serving.sending import deliver as delivering
from serving.sending.deliver import Patience, batches, deliver, open_client
from serving.sending.outgoing import OutgoingFile
from tests.serving.sending.a_peer import STORED, a_server, a_study, address, json_reply


def impatient(seconds: float = 5.0) -> tuple[Patience, list[float]]:
    """Return a patience whose clock runs only while it sleeps, and what it slept."""
    slept: list[float] = []
    return Patience(seconds, lambda: sum(slept), slept.append), slept


def test_files_arrive_as_they_are(tmp_path: Path) -> None:
    contents = (b"first \x00\xff", b"--second\r\n" * 1000)
    with a_server(json_reply(200, {"00081199": {"vr": "SQ", "Value": [{}, {}]}})) as server:
        with open_client(address(server), "t") as client:
            (said,) = deliver(client, [a_study(tmp_path, *contents)], patience=impatient()[0])
        assert (said.stored, said.files, said.refused) == (2, 2, ())
        (body,) = server.bodies
        boundary = server.headers_seen[0]["Content-Type"].rpartition("=")[2]
    parts = body.split(f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode())
    assert parts[0] == b""
    assert parts[1] == contents[0] + b"\r\n"
    assert parts[2] == contents[1] + f"\r\n--{boundary}--\r\n".encode()


def test_the_token_goes_along(tmp_path: Path) -> None:
    with a_server(json_reply(200, STORED)) as server:
        with open_client(address(server), "secret") as client:
            list(deliver(client, [a_study(tmp_path, b"x")], patience=impatient()[0]))
        assert server.headers_seen[0]["Authorization"] == "Bearer secret"


def test_what_was_refused_is_told_with_its_reason(tmp_path: Path) -> None:
    failed = {
        "00081155": {"vr": "UI", "Value": ["1.2.0"]},
        "00081197": {"vr": "US", "Value": [272]},
        "00000902": {"vr": "LO", "Value": ["other content under this UID"]},
    }
    reply = json_reply(409, {"00081198": {"vr": "SQ", "Value": [failed]}})
    with a_server(reply) as server, open_client(address(server), "") as client:
        (said,) = deliver(client, [a_study(tmp_path, b"x")], patience=impatient()[0])
    assert said.stored == 0
    (refused,) = said.refused
    assert (refused.reason, refused.comment) == (272, "other content under this UID")


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(tmp_path: Path, status: int) -> None:
    patience, slept = impatient()
    with a_server(json_reply(status, {}), json_reply(200, STORED)) as server:
        with open_client(address(server), "") as client:
            (said,) = deliver(client, [a_study(tmp_path, b"x")], patience=patience)
        assert said.stored == 1
        assert server.bodies[0].split(b"\r\n")[1:-2] == server.bodies[1].split(b"\r\n")[1:-2]
    assert slept == [1.0]


def test_a_server_is_left_alone_for_as_long_as_it_asks(tmp_path: Path) -> None:
    patience, slept = impatient(60)
    busy = json_reply(503, {}, Retry_After="17")
    replies = (busy, json_reply(200, STORED))
    with a_server(*replies) as server, open_client(address(server), "") as client:
        list(deliver(client, [a_study(tmp_path, b"x")], patience=patience))
    assert slept == [17.0]


def test_patience_ends(tmp_path: Path) -> None:
    patience, slept = impatient(20)
    with (
        a_server(json_reply(503, {})) as server,
        open_client(address(server), "") as client,
        pytest.raises(ServiceUnreachable),
    ):
        list(deliver(client, [a_study(tmp_path, b"x")], patience=patience))
    assert slept == [1.0, 2.0, 4.0, 8.0]


def test_nobody_there_is_unreachable(tmp_path: Path) -> None:
    with (
        open_client("http://127.0.0.1:9", "") as client,
        pytest.raises(ServiceUnreachable, match="ConnectError"),
    ):
        list(deliver(client, [a_study(tmp_path, b"x")], patience=impatient(0)[0]))


@pytest.mark.parametrize("status", [400, 413, 415])
def test_files_that_are_refused_as_a_whole_keep_no_other_study_back(
    tmp_path: Path, status: int
) -> None:
    replies = (json_reply(status, {"detail": "because"}), json_reply(200, STORED))
    with a_server(*replies) as server, open_client(address(server), "") as client:
        study = a_study(tmp_path, b"x")
        first, second = deliver(client, [study, study], patience=impatient()[0])
    assert (first.stored, second.stored) == (0, 1)
    assert "because" in first.refused[0].comment


def test_another_hospital_s_study_is_refused_alone_and_with_its_reason(tmp_path: Path) -> None:
    failed = {
        "00081197": {"vr": "US", "Value": [0x0124]},
        "00000902": {"vr": "LO", "Value": ["another hospital's study"]},
    }
    theirs = json_reply(403, {"00081198": {"vr": "SQ", "Value": [failed]}})
    with (
        a_server(theirs, json_reply(200, STORED)) as server,
        open_client(address(server), "") as client,
    ):
        study = a_study(tmp_path, b"x")
        first, second = deliver(client, [study, study], patience=impatient()[0])
    assert (first.stored, second.stored) == (0, 1)
    assert first.refused[0].comment == "another hospital's study"


@pytest.mark.parametrize("status", [401, 403, 404, 406])
def test_a_refused_request_is_not_sent_again(tmp_path: Path, status: int) -> None:
    patience, slept = impatient()
    with (
        a_server(json_reply(status, {"detail": "because"})) as server,
        open_client(address(server), "") as client,
        pytest.raises(NotDelivered, match="because"),
    ):
        list(deliver(client, [a_study(tmp_path, b"x")], patience=patience))
    assert slept == []


def test_a_wrong_token_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    with a_server(json_reply(200, STORED)) as server:
        with open_client(address(server), "wrong") as client, pytest.raises(NotDelivered):
            list(deliver(client, [a_study(tmp_path, b"x")], patience=impatient()[0]))
        assert server.bodies == []


@pytest.mark.parametrize(
    ("token", "advice"), [("", "FIRSTREAD_TOKEN"), ("known", "firstread tokens add")]
)
def test_who_gave_no_token_is_told_how_and_who_gave_one_that_it_is_no_good(
    tmp_path: Path, token: str, advice: str
) -> None:
    with (
        a_server(json_reply(401, {"detail": "because"})) as server,
        open_client(address(server), token) as client,
        pytest.raises(NotDelivered) as told,
    ):
        list(deliver(client, [a_study(tmp_path, b"x")], patience=impatient()[0]))
    assert advice in told.value.advice


def test_files_that_vanish_or_change_are_listed_and_the_others_arrive(tmp_path: Path) -> None:
    study = a_study(tmp_path, b"gone", b"kept", b"longer", b"shorter", b"gone, too", b"last")
    (tmp_path / "0").unlink()
    (tmp_path / "2").write_bytes(b"longer than before")
    (tmp_path / "3").write_bytes(b"short")
    (tmp_path / "4").unlink()
    patience, slept = impatient()
    both = json_reply(200, {"00081199": {"vr": "SQ", "Value": [{}, {}]}})
    with a_server(both) as server, open_client(address(server), "") as client:
        (said,) = deliver(client, [study], patience=patience)
        (body,) = server.bodies
    assert (said.files, said.stored, slept) == (6, 2, [])
    assert {(Path(one.file).name, one.reason) for one in said.not_sent} == {
        ("0", "vanished"), ("2", "changed"), ("3", "changed"), ("4", "vanished"),
    }  # fmt: skip
    assert b"kept" in body
    assert b"last" in body


def test_a_study_all_of_whose_files_are_gone_keeps_no_other_back(tmp_path: Path) -> None:
    gone, there = a_study(tmp_path / "a", b"x"), a_study(tmp_path / "b", b"y")
    (tmp_path / "a" / "0").unlink()
    with a_server(json_reply(200, STORED)) as server, open_client(address(server), "") as client:
        first, second = deliver(client, [gone, there], patience=impatient()[0])
    assert (first.stored, len(first.not_sent), second.stored) == (0, 1, 1)


def test_progress_ends_at_the_total_although_a_request_was_sent_twice(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    def progress(stage: str, done: int, total: int) -> None:
        told.append((done, total))

    study = a_study(tmp_path, b"x" * 100, b"y" * 50)
    replies = (json_reply(503, {}), json_reply(200, STORED))
    with a_server(*replies) as server, open_client(address(server), "") as client:
        list(deliver(client, [study], progress, impatient()[0]))
    assert max(done for done, _ in told) == 150
    assert told[-1] == (150, 150)


@given(
    sizes=st.lists(st.integers(0, 3 * delivering.BATCH_BYTES // 2), max_size=40),
    many=st.integers(0, 900),
)
def test_batches_hold_every_file_once_and_in_order(sizes: list[int], many: int) -> None:
    sizes = [*sizes, *[1] * many]
    files = [OutgoingFile(Path(str(n)), size, str(n)) for n, size in enumerate(sizes)]
    made = list(batches(files))
    assert [file for batch in made for file in batch] == files
    for batch in made:
        assert 0 < len(batch) <= delivering.BATCH_FILES
        assert len(batch) == 1 or sum(f.size_bytes for f in batch) <= delivering.BATCH_BYTES


@pytest.mark.parametrize("url", ["reader.example", "ftp://x", "http://", ""])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        open_client(url, "")


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("https://a.example", "https://a.example/dicom-web/"),
        ("https://a.example/", "https://a.example/dicom-web/"),
        ("http://a.example:8042/orthanc/dicom-web", "http://a.example:8042/orthanc/dicom-web/"),
    ],
)
def test_the_root_is_found_from_the_service_s_address(url: str, root: str) -> None:
    with open_client(url, "") as client:
        assert str(client.base_url) == root
