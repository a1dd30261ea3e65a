"""The application behind a real uvicorn, with two sites; what is sent to it, and raw sockets."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from sqlalchemy import delete

from serving.database.engine import writing
from serving.database.tables import (
    cases,
    conflicts,
    events,
    instances,
    jobs,
    results,
    series,
    studies,
    views,
)
from serving.http.limits import BodyLimits
from serving.http.protocol import DeadlineH11Protocol
from tests.serving.house import House, a_house

BOUNDARY = "a-boundary-of-tests"
RELATED = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
JSON = "application/dicom+json"
# Of the test's server: short enough to be waited for, and longer than a busy machine makes an
# honest client stop between its connection and its header.
HEADER_S = 1.0
LINGER_S = 0.3
WINDOW_S = 0.3


class _QuickProtocol(DeadlineH11Protocol):
    header_s = HEADER_S
    linger_s = LINGER_S


@dataclass
class Server:
    """A running server; ``client`` asks with the token of site A."""

    house: House
    port: int
    token: str
    other_token: str
    client: httpx.Client

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/dicom-web"

    def forget(self) -> None:
        """Empty the archive; sites and tokens stay."""
        with writing(self.house.engine) as connection:
            for table in (
                views,
                events,
                jobs,
                conflicts,
                instances,
                series,
                results,
                cases,
                studies,
            ):
                connection.execute(delete(table))

    def other(self) -> httpx.Client:
        """Return a client with the token of site B."""
        return httpx.Client(base_url=self.url, headers=bearer(self.other_token), timeout=30)

    def stow(self, *files: bytes, study: str = "", accept: str = JSON) -> httpx.Response:
        path = f"/studies/{study}" if study else "/studies"
        headers = {"Content-Type": RELATED, "Accept": accept}
        return self.client.post(path, content=body_of(files), headers=headers)

    def temporary_files(self) -> list[Path]:
        folder = self.house.app.state.service.store.folder
        return list((folder / "tmp").iterdir())

    def raw(self, head: str = "") -> socket.socket:
        """Return a connection on which the beginning of a request was sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        if head:
            connection.sendall(head.replace("\n", "\r\n").encode())
        return connection

    def post_head(self, *headers: str, path: str = "/dicom-web/studies") -> str:
        lines = (
            f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}",
            f"Authorization: Bearer {self.token}", f"Content-Type: {RELATED}", *headers,
        )  # fmt: skip
        return "\n".join((*lines, "", ""))


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def body_of(files: Sequence[bytes], content_type: str = "application/dicom") -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Type: {content_type}\r\n\r\n".encode()
    parts = (head + data + b"\r\n" for data in files)
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def answer_of(connection: socket.socket) -> bytes:
    """Return what comes until the other side closes."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while data := connection.recv(65536):
            received += data
    return received


def status_of(connection: socket.socket) -> int:
    """Return the status of the answer that comes next."""
    received = b""
    while b"\r\n" not in received:
        data = connection.recv(65536)
        assert data, "closed without an answer"
        received += data
    return int(received.split()[1])


@contextmanager
def a_server(folder: Path, **settings: Any) -> Iterator[Server]:
    with a_house(folder, **{"free_bytes": 1, **settings}) as house:
        _quicken(house)
        with listening(house) as port:
            token, other_token = house.token(house.site("a")), house.token(house.site("b"))
            url = f"http://127.0.0.1:{port}/dicom-web"
            with httpx.Client(base_url=url, headers=bearer(token), timeout=60) as client:
                yield Server(house, port, token, other_token, client)


def _quicken(house: House) -> None:
    """Let the rate be looked at so often that a test can wait for it."""
    classes: list[object] = [one.cls for one in house.app.user_middleware]
    house.app.user_middleware[classes.index(BodyLimits)].kwargs["window_s"] = WINDOW_S


@contextmanager
def listening(house: House) -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        house.app, http=_QuickProtocol, ws="none", lifespan="off", log_level="critical",
        timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < until
        time.sleep(0.01)
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()
