"""A DICOMweb server that answers as it is told, and studies of a few bytes for it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from serving.sending.outgoing import OutgoingFile, OutgoingStudy

Reply = tuple[int, dict[str, str], bytes]
STORED = {"00081199": {"vr": "SQ", "Value": [{}]}}


class Server(ThreadingHTTPServer):
    """Plays one reply after the other, and keeps what it was sent; the last reply stays."""

    replies: list[Reply]
    bodies: list[bytes]
    headers_seen: list[dict[str, str]]


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        status = 401 if self.headers.get("Authorization") == "Bearer wrong" else 200
        self._reply((status, {}, b"[]"))

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            # Whoever sends has broken off.
            self.close_connection = True
            return
        self.server.bodies.append(body)
        self.server.headers_seen.append(dict(self.headers))
        replies = self.server.replies
        self._reply(replies.pop(0) if len(replies) > 1 else replies[0])

    def _reply(self, reply: Reply) -> None:
        status, headers, body = reply
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def a_server(*replies: Reply) -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.replies, server.bodies, server.headers_seen = list(replies), [], []
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def json_reply(status: int, document: dict[str, Any], **headers: str) -> Reply:
    said = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, {"Content-Type": "application/dicom+json", **said}, json.dumps(document).encode()


def address(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"


def a_study(folder: Path, *contents: bytes) -> OutgoingStudy:
    folder.mkdir(exist_ok=True)
    files = []
    for number, content in enumerate(contents):
        path = folder / str(number)
        path.write_bytes(content)
        files.append(OutgoingFile(path, len(content), f"1.2.{number}"))
    return OutgoingStudy("1.2", tuple(files))
