"""The parts of the service's bench; each returns its figures as plain values."""

import http.client
import json
import re
import secrets
import selectors
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any
from urllib.parse import urlsplit

import httpx

from serving.database.engine import open_engine
from serving.database.migrate import migrate
from serving.worklist.store import PAGE_ROWS
from tests.bench.service.instances import Template, a_study
from tests.bench.service.running import Running, firstread, has_orthanc, orthanc, orthanc_version
from tests.bench.worklist import fill
from tests.serving.demonstration import log_in

Figures = dict[str, Any]
GB = 1e9
MB = 1e6
WAIT_S = 600.0
DECIDED = ("scored", "not-analysed")


def start(scratch: Path, runs: int) -> Figures:
    """Seconds from typing ``firstread up`` until ``/readyz`` says so."""
    taken = []
    for number in range(runs):
        with firstread(scratch / f"start-{number}") as service:
            taken.append(service.ready_s)
    return {"ready_s": median(taken), "runs_s": taken}


def stow(scratch: Path, templates: Sequence[Template], rounds: int) -> Figures:
    """Instances a second of one sender in one request, beside Orthanc, in turns."""
    rates: dict[str, list[float]] = {"firstread": [], "orthanc": []}
    folder = scratch / "orthanc"
    folder.mkdir()
    figures: Figures = {"instances": len(templates)}
    with firstread(scratch / "stow", settle_s=3600) as ours:
        if not has_orthanc():
            for number in range(rounds):
                rates["firstread"].append(_stow_rate(ours, templates, f"stow-{number}"))
        else:
            figures["peer"] = f"Orthanc {orthanc_version()}"
            with orthanc(folder) as peer:
                for number in range(rounds):
                    rates["firstread"].append(_stow_rate(ours, templates, f"stow-{number}"))
                    rates["orthanc"].append(_stow_rate(peer, templates, f"stow-{number}"))
    for name, each in rates.items():
        if each:
            figures[name] = {"per_s": median(each), "rounds": each}
    if rates["orthanc"]:
        figures["ratio"] = median(
            a / b for a, b in zip(rates["firstread"], rates["orthanc"], strict=True)
        )
    return figures


def _stow_rate(service: Running, templates: Sequence[Template], name: str) -> float:
    """Send one request and return instances a second; the body is made before the clock starts."""
    boundary = secrets.token_hex(16)
    body = b"".join(_parts(a_study(templates, name), boundary))
    headers = _headers(boundary, len(body))
    if service.token:
        headers["Authorization"] = f"Bearer {service.token}"
    parts = urlsplit(service.root)
    connection = http.client.HTTPConnection(parts.netloc, timeout=600)
    connection.connect()
    started = time.perf_counter()
    connection.request("POST", f"{parts.path}/studies", body, headers)
    response = connection.getresponse()
    document = response.read()
    taken_s = time.perf_counter() - started
    connection.close()
    stored = json.loads(document)["00081199"]["Value"] if response.status == 200 else []
    if len(stored) != len(templates):
        raise RuntimeError(f"status {response.status}, {len(stored)} of {len(templates)} stored")
    return len(templates) / taken_s


def _parts(files: Iterable[bytes], boundary: str) -> Iterator[bytes]:
    for file in files:
        yield f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        yield file
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


def _headers(boundary: str, size: int | None = None) -> dict[str, str]:
    headers = {
        "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
        "Accept": "application/dicom+json",
    }
    return headers | ({"Content-Length": str(size)} if size is not None else {})


def send(service: Running, templates: Sequence[Template], name: str) -> None:
    """Send a study in one request."""
    _stow_rate(service, templates, name)


def case_states(service: Running) -> dict[str, str]:
    """Return the state of every case on the list: id -> state."""
    found: dict[str, str] = {}
    address = f"{service.url}/api/v1/worklist"
    headers = {"Authorization": f"Bearer {service.token}"}
    after = None
    while True:
        params = {"limit": "200"} | ({"after": after} if after else {})
        page = httpx.get(address, params=params, headers=headers, timeout=30).json()
        found |= {row["case_id"]: row["ai_state"] for row in page["cases"]}
        after = page["after"]
        if not after:
            return found


def last_slice_to_row(
    scratch: Path, templates: Sequence[Template], studies: int, settle_s: float
) -> Figures:
    """Seconds from the acknowledgement of a study until its row says scored, settling apart."""
    taken = []
    with firstread(scratch / "row", settle_s=settle_s) as service:
        for number in range(studies):
            before = case_states(service)
            send(service, templates, f"row-{number}")
            acknowledged = time.perf_counter()
            _wait_until(partial(_is_decided, service, before.keys()))
            taken.append(time.perf_counter() - acknowledged - settle_s)
    return {
        "slices": len(templates),
        "median_s": median(taken),
        "p95_s": quantiles(taken, n=20, method="inclusive")[-1],
        "runs_s": taken,
    }


def _is_decided(service: Running, others: Collection[str]) -> bool:
    states = case_states(service)
    return any(state in DECIDED for case, state in states.items() if case not in others)


def throughput(scratch: Path, templates: Sequence[Template], studies: int, engine: str) -> Figures:
    """Studies an hour of two analyses at a time with one thread each."""
    with firstread(scratch / engine, engine=engine, workers=2, threads=1, settle_s=0.5) as service:
        send(service, templates, f"{engine}-warm")
        _wait_until(lambda: _finished(service) == 1)
        for number in range(studies):
            send(service, templates, f"{engine}-{number}")
        first = _finished(service)
        started = time.perf_counter()
        _wait_until(lambda: _finished(service) == studies + 1)
        taken_s = time.perf_counter() - started
    return {"studies": studies + 1 - first, "per_hour": (studies + 1 - first) / taken_s * 3600}


def _finished(service: Running) -> int:
    states = case_states(service).values()
    return sum(state in DECIDED for state in states)


@dataclass(slots=True)
class _Peak:
    bytes: int = 0


def pages(scratch: Path, cases: int, rounds: int) -> Figures:
    """Milliseconds of whole pages of the list over HTTP, among many cases."""
    data = scratch / "pages"
    data.mkdir()
    database = open_engine(f"sqlite:///{data / 'firstread.sqlite'}")
    migrate(database)
    fill(database, cases)
    database.dispose()
    asked = {
        "first page": {},
        "name of two characters": {"search": "王伟"},
        "a name that nobody has": {"search": "欧阳娜"},
        "not analysed": {"state": "not-analysed"},
    }
    figures: Figures = {"cases": cases}
    with (
        firstread(data, settle_s=1e9) as service,
        httpx.Client(base_url=service.url, follow_redirects=True, timeout=60) as client,
    ):
        log_in(client, "reader", service.reader_password)
        shown = client.get("/").text
        assert shown.count('<tr role="row" id="case-') == PAGE_ROWS
        assert f"<b>{cases}</b>" in shown
        for name, form in asked.items():
            taken = []
            for _ in range(rounds):
                started = time.perf_counter()
                answer = _list_page(client, form)
                taken.append((time.perf_counter() - started) * 1000)
                answer.raise_for_status()
            figures[name] = {
                "median_ms": median(taken),
                "p95_ms": quantiles(taken, n=20, method="inclusive")[-1],
            }
    return figures


def _list_page(client: httpx.Client, form: Mapping[str, str]) -> httpx.Response:
    """Ask for a whole page: what is searched goes in a body, as the form sends it."""
    if not form:
        return client.get("/")
    if "X-CSRF-Token" not in client.headers:
        found = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/").text)
        assert found is not None
        client.headers["X-CSRF-Token"] = found.group(1)
    return client.post("/worklist", data=dict(form))


def upload_memory(scratch: Path, template: Template, total_bytes: float) -> Figures:
    """Peak resident memory of the web process while a body of so many bytes streams in."""
    count = round(total_bytes / len(template.data))
    boundary = secrets.token_hex(16)
    with firstread(scratch / "memory", settle_s=3600) as service:
        peak, stop = _Peak(), threading.Event()

        def watch() -> None:
            while not stop.wait(0.05):
                peak.bytes = max(peak.bytes, service.memory_bytes("web_process"))

        before = service.memory_bytes("web_process")
        thread = threading.Thread(target=watch)
        thread.start()
        files = (template.named("memory", str(number)) for number in range(count))
        started = time.perf_counter()
        with service.client() as client:
            response = client.post(
                "studies", content=_parts(files, boundary), headers=_headers(boundary)
            )
        taken_s = time.perf_counter() - started
        stop.set()
        thread.join()
        response.raise_for_status()
    return {
        "body_gb": count * len(template.data) / GB,
        "before_mb": before / MB,
        "peak_mb": peak.bytes / MB,
        "seconds": taken_s,
    }


def fan_out(scratch: Path, template: Template, listeners: int, events: int) -> Figures:
    """Seconds from the acknowledgement of an image until the last of many pages heard of it."""
    with firstread(scratch / "events", settle_s=3600) as service:
        streams = [_open_stream(service) for _ in range(listeners)]
        _hear(streams, b"retry:")
        slowest = []
        for number in range(events):
            send(service, [template], f"event-{number}")
            acknowledged = time.perf_counter()
            slowest.append(max(0.0, _hear(streams, b"event: case") - acknowledged))
        for stream in streams:
            stream.close()
    return {"listeners": listeners, "median_s": median(slowest), "worst_s": max(slowest)}


def _open_stream(service: Running) -> socket.socket:
    parts = urlsplit(service.url)
    stream = socket.create_connection((parts.hostname or "", parts.port or 80), 60)
    stream.sendall(
        f"GET /events HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Authorization: Bearer {service.token}\r\nAccept: text/event-stream\r\n\r\n".encode()
    )
    return stream


def _hear(streams: Sequence[socket.socket], word: bytes, limit_s: float = 60.0) -> float:
    """Read all streams until each has said a word; return when the last one did."""
    end = time.monotonic() + limit_s
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            selector.register(stream, selectors.EVENT_READ, b"")
        while selector.get_map():
            if time.monotonic() > end:
                raise RuntimeError(f"{len(selector.get_map())} pages heard nothing")
            for key, _ in selector.select(1.0):
                assert isinstance(key.fileobj, socket.socket)
                seen = key.data + key.fileobj.recv(65536)
                if word in seen:
                    selector.unregister(key.fileobj)
                else:
                    selector.modify(key.fileobj, selectors.EVENT_READ, seen)
    return time.perf_counter()


def _wait_until(holds: Callable[[], bool], limit_s: float = WAIT_S) -> None:
    end = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > end:
            raise RuntimeError(f"nothing after {limit_s:.0f} s")
        time.sleep(0.05)
