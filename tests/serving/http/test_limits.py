"""Attacks by raw sockets on a real server: each is cut in time, and nobody else notices."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.types import Message, Receive, Scope, Send

from serving.errors import TooSlow
from serving.http.limits import BodyLimits
from serving.settings import Settings
from tests.serving.api.a_server import (
    HEADER_S,
    WINDOW_S,
    Server,
    a_server,
    answer_of,
    body_of,
    status_of,
)
from tests.serving.studies.a_study import an_instance

PATIENCE_S = 15.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with a_server(tmp_path_factory.mktemp("server")) as server:
        yield server


def is_fine(server: Server) -> bool:
    """Whether somebody else is answered at once."""
    began = time.monotonic()
    return server.client.get("/studies").status_code in (200, 204) and time.monotonic() - began < 5


def closed_within(connection: socket.socket, seconds: float) -> bool:
    connection.settimeout(seconds)
    try:
        return not connection.recv(1)
    except ConnectionError:
        return True
    except TimeoutError:
        return False


@pytest.mark.parametrize(
    "said", ["", "G", "POST /dicom-web/studies HTTP/1.1\nHost: 127.0.0.1\nX-Half: "]
)
def test_who_says_nothing_or_half_a_header_is_cut(server: Server, said: str) -> None:
    with server.raw(said) as connection:
        assert closed_within(connection, HEADER_S + PATIENCE_S)
    assert is_fine(server)


def test_a_header_that_drips_is_cut(server: Server) -> None:
    with server.raw("GET / HTTP/1.1\n") as connection:
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - began < HEADER_S + PATIENCE_S:
                connection.sendall(b"X-A: b\r\n")
                time.sleep(0.05)
        assert time.monotonic() - began < HEADER_S + PATIENCE_S


def test_the_second_header_of_a_connection_has_a_deadline_too(server: Server) -> None:
    head = f"GET /healthz HTTP/1.1\nHost: 127.0.0.1:{server.port}\n\n"
    with server.raw(head) as connection:
        assert status_of(connection) == 200
        connection.sendall(b"GET /healthz HT")
        time.sleep(0.1)
        connection.settimeout(HEADER_S + PATIENCE_S)
        answer_of(connection)


@pytest.mark.slow
def test_a_connection_is_kept_for_several_requests(server: Server) -> None:
    for _ in range(3):
        assert is_fine(server)
        time.sleep(HEADER_S * 0.7)


@pytest.mark.parametrize("value", ["x" * 200_000, "x: y\r\nA" * 50_000])
def test_headers_without_end_are_cut(server: Server, value: str) -> None:
    with server.raw("GET / HTTP/1.1\nA: ") as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(value.encode())
        assert closed_within(connection, PATIENCE_S) or status_of(connection) == 400
    assert is_fine(server)


def test_a_stalled_body_is_answered_408_and_nothing_is_left(server: Server) -> None:
    body = body_of([an_instance(1)])
    with server.raw(server.post_head(f"Content-Length: {len(body)}")) as connection:
        connection.sendall(body[:200])
        connection.settimeout(WINDOW_S + PATIENCE_S)
        assert status_of(connection) == 408
        assert is_fine(server)
        # It may still read its answer, but not hold the connection.
        answer_of(connection)
    assert not server.temporary_files()


def test_a_body_that_comes_steadily_has_an_end_too(tmp_path: Path) -> None:
    chunks = 0

    async def steady() -> Message:
        nonlocal chunks
        chunks += 1
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"x" * 1000, "more_body": True}

    async def reader(_scope: Scope, receive: Receive, _send: Send) -> None:
        while True:
            await receive()

    limits = BodyLimits(reader, Settings(data=tmp_path), window_s=0.1, longest_s=0.5)
    scope = {"type": "http", "path": "/dicom-web/studies", "headers": []}
    with pytest.raises(TooSlow, match=r"within 0\.5 s"):
        asyncio.run(limits(scope, steady, reader))  # type: ignore[arg-type]
    assert chunks > 5


def test_a_body_that_drips_is_answered_408_while_others_are_served(server: Server) -> None:
    with server.raw(server.post_head("Transfer-Encoding: chunked")) as connection:
        connection.settimeout(0.05)
        began, answer = time.monotonic(), b""
        while not answer and time.monotonic() - began < WINDOW_S + PATIENCE_S:
            connection.sendall(b"1\r\nx\r\n")
            with contextlib.suppress(TimeoutError):
                answer = connection.recv(100)
        assert b" 408 " in answer
    assert is_fine(server)


@pytest.mark.slow
def test_a_body_above_the_least_rate_may_take_its_time(tmp_path: Path) -> None:
    body = body_of([an_instance(1)])
    with (
        a_server(tmp_path, min_rate_bytes_s=20) as server,
        server.raw(server.post_head(f"Content-Length: {len(body)}")) as connection,
    ):
        began = time.monotonic()
        for start in range(0, len(body), 150):
            connection.sendall(body[start : start + 150])
            time.sleep(WINDOW_S / 2)
        connection.settimeout(PATIENCE_S)
        assert status_of(connection) == 200
        assert time.monotonic() - began > 2 * WINDOW_S


def test_a_length_and_chunks_together_are_refused(server: Server) -> None:
    body = body_of([an_instance(1)])
    both = ("Content-Length: 5", "Transfer-Encoding: chunked")
    for headers, status in ((both[1:], 200), (both, 400)):
        with server.raw(server.post_head(*headers)) as connection:
            connection.sendall(f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n")
            assert status_of(connection) == status


@pytest.mark.parametrize("length", ["-1", "abc", "1, 2", "1" * 30])
def test_a_lying_length_is_refused(server: Server, length: str) -> None:
    with server.raw(server.post_head(f"Content-Length: {length}")) as connection:
        assert status_of(connection) in (400, 413)
    assert is_fine(server)


def test_a_length_that_is_never_met_is_told_when_the_sender_leaves(server: Server) -> None:
    body = body_of([an_instance(77)])
    with server.raw(server.post_head(f"Content-Length: {len(body) + 100}")) as connection:
        connection.sendall(body)
        connection.shutdown(socket.SHUT_WR)
        answer_of(connection)
    assert not server.temporary_files()
    assert is_fine(server)


def test_413_comes_while_the_sender_still_writes(tmp_path: Path) -> None:
    with a_server(tmp_path, max_request_bytes=1000) as server:
        with server.raw(server.post_head("Content-Length: 1000000000000")) as connection:
            with contextlib.suppress(ConnectionError):
                for _ in range(20):
                    connection.sendall(bytes(65536))
            assert status_of(connection) == 413
            # Who goes on without reading is cut.
            began = time.monotonic()
            with contextlib.suppress(ConnectionError):
                while time.monotonic() - began < PATIENCE_S:
                    connection.sendall(bytes(1000))
                    time.sleep(0.01)
            assert time.monotonic() - began < PATIENCE_S
        assert is_fine(server)


def test_a_body_of_what_is_no_upload_is_small(server: Server) -> None:
    head = server.post_head("Content-Length: 2000000", path="/login")
    with server.raw(head) as connection:
        connection.sendall(bytes(1000))
        assert status_of(connection) in (403, 413, 400)


def test_many_silent_connections_leave_room_for_others(server: Server) -> None:
    silent = [server.raw() for _ in range(100)]
    try:
        assert is_fine(server)
    finally:
        for connection in silent:
            connection.close()
