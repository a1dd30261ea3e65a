"""A service of our own, and an Orthanc beside it: real processes on ports of their own."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

FIRSTREAD = str(Path(sys.executable).with_name("firstread"))
DICOMWEB_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
START_LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Running:
    """A service that answers.

    Attributes
    ----------
    root
        Its DICOMweb root.
    token
        Of the site ``bench``; empty for Orthanc.
    reader_password
        Of ``reader``, who sees all sites; empty for Orthanc.
    ready_s
        From the start of the command until it was ready.
    """

    url: str
    root: str
    token: str
    reader_password: str
    pid: int
    ready_s: float
    data: Path

    def client(self) -> httpx.Client:
        """Return a client with the token."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return httpx.Client(base_url=self.root + "/", headers=headers, timeout=600)

    def memory_bytes(self, part: str = "") -> int:
        """Return the resident memory of its processes whose command line holds a word."""
        process = psutil.Process(self.pid)
        found = [process, *process.children(recursive=True)]
        return sum(one.memory_info().rss for one in found if part in " ".join(one.cmdline()))


@contextmanager
def firstread(data: Path, **settings: str | float) -> Iterator[Running]:
    """Start ``firstread up`` on a fresh folder, with a site and its token; end it afterwards."""
    port = free_port()
    environment = os.environ | {"FIRSTREAD_DATA": str(data), "FIRSTREAD_PORT": str(port)}
    environment |= {f"FIRSTREAD_{name.upper()}": str(value) for name, value in settings.items()}

    def run(*words: str) -> str:
        command = [FIRSTREAD, *words]
        return subprocess.run(
            command, env=environment, check=True, capture_output=True, text=True
        ).stdout

    run("sites", "add", "bench", "--name", "Bench")
    token = json.loads(run("tokens", "add", "--site", "bench", "--label", "bench", "--json"))
    reader = json.loads(run("users", "add", "reader", "--role", "reader", "--generate", "--json"))
    started = time.monotonic()
    with (data / "up.log").open("wb") as log:
        process = subprocess.Popen(
            [FIRSTREAD, "up"], env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(f"{url}/readyz", process)
        ready_s = time.monotonic() - started
        root, secrets = f"{url}/dicom-web", (token["token"], reader["password"])
        yield Running(url, root, *secrets, process.pid, ready_s, data)
    finally:
        _end(process)


def has_orthanc() -> bool:
    """Whether Orthanc with its DICOMweb plugin is installed (Debian: orthanc-dicomweb)."""
    return shutil.which("Orthanc") is not None and DICOMWEB_PLUGIN.exists()


@contextmanager
def orthanc(folder: Path) -> Iterator[Running]:
    """Start an Orthanc with its storage in a folder: compression off, TcpNoDelay on, no log-in."""
    port = free_port()
    configuration = {
        "Name": "bench",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "index"),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "HttpCompressionEnabled": False,
        "TcpNoDelay": True,
        "Plugins": [str(DICOMWEB_PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    path = folder / "orthanc.json"
    path.write_text(json.dumps(configuration))
    started = time.monotonic()
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen(["Orthanc", str(path)], stdout=log, stderr=subprocess.STDOUT)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(f"{url}/system", process)
        ready_s = time.monotonic() - started
        yield Running(url, f"{url}/dicom-web", "", "", process.pid, ready_s, folder)
    finally:
        _end(process)


def orthanc_version() -> str:
    """Return the version that the program says of itself."""
    said = subprocess.run(["Orthanc", "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"\d+\.\d+\.\d+", said.stdout)
    return found.group() if found else "unknown"


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_LIMIT_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"it ended with {process.returncode} before it was ready")
        try:
            if httpx.get(url, timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise RuntimeError(f"not ready after {START_LIMIT_S:.0f} s")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
