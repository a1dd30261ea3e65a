"""The memory of the web process while gigabytes come in, as `firstread up` runs it."""

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from serving.accounts.sites import add_site
from serving.accounts.tokens import issue_token
from serving.archive.index import find_instances
from serving.database.engine import open_engine, reading, writing
from serving.settings import Settings
from tests.serving.api.a_server import BOUNDARY, JSON, RELATED, bearer
from tests.serving.databases import a_database
from tests.serving.house import NOW
from tests.serving.studies.a_study import an_instance

MIB = 1 << 20
WEB_PROCESS_MIB = 300
CHUNK = bytes(MIB)


@contextmanager
def a_web_process(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Run a web process of its own; give its address and the process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        os.set_inheritable(listener.fileno(), True)
        command = ["-m", "serving.service.web_process", "--socket", str(listener.fileno())]
        process = subprocess.Popen(
            [sys.executable, *command, "--parent", str(os.getpid())],
            pass_fds=[listener.fileno()],
            env=os.environ | {"FIRSTREAD_DATA": str(folder), "FIRSTREAD_FREE_BYTES": "1"},
        )
        try:
            until = time.monotonic() + 60
            while httpx.get(f"http://127.0.0.1:{port}/healthz").status_code != 200:
                assert time.monotonic() < until
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}/dicom-web", psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(30)


def an_upload(large_mib: int, small: int, small_bytes: int) -> Iterator[bytes]:
    """Yield a body: one instance of so many MiB, and many small ones."""
    head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    instance = an_instance(0, PixelData=None)
    length = large_mib * MIB
    yield head + instance + b"\xe0\x7f\x10\x00OW\0\0" + length.to_bytes(4, "little")
    for _ in range(large_mib):
        yield CHUNK
    for number in range(1, small + 1):
        yield b"\r\n" + head + an_instance(number, PixelData=bytes(small_bytes))
    yield f"\r\n--{BOUNDARY}--".encode()


@pytest.mark.slow
def test_memory_stays_flat_while_three_gigabytes_come_in(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    engine = a_database(tmp_path / "firstread.sqlite")
    with writing(engine) as connection:
        site_id = add_site(connection, code="a", name="A", now=NOW)
        _, token = issue_token(connection, site_id=site_id, label="x", now=NOW)
    engine.dispose()
    with a_web_process(tmp_path) as (url, process):
        before_mib, peak_mib = process.memory_info().rss / MIB, 0.0
        is_over = threading.Event()

        def watch() -> None:
            nonlocal peak_mib
            while not is_over.wait(0.02):
                peak_mib = max(peak_mib, process.memory_info().rss / MIB)

        watcher = threading.Thread(target=watch)
        watcher.start()
        headers = {"Content-Type": RELATED, "Accept": JSON, **bearer(token)}
        body = an_upload(1536, 3000, 512 * 1024)
        answer = httpx.post(f"{url}/studies", content=body, headers=headers, timeout=600)
        is_over.set()
        watcher.join()
    assert answer.status_code == 200, answer.text[:1000]
    engine = open_engine(settings.database_url)
    with reading(engine) as connection:
        assert len(find_instances(connection, None)) == 3001
    engine.dispose()
    # Temporary folders of tests are kept for a while.
    shutil.rmtree(settings.store_folder)
    print(f"web process: {before_mib:.0f} MiB before, {peak_mib:.0f} MiB at most")  # noqa: T201
    assert peak_mib < WEB_PROCESS_MIB
    assert peak_mib - before_mib < 100
