"""A service's data folder, small studies for it, and its real processes."""

import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Engine, Table, select

from serving.accounts.sites import add_site
from serving.accounts.tokens import issue_token
from serving.archive.store import Store
from serving.database.engine import open_engine, reading, writing
from serving.database.migrate import migrate
from serving.database.tables import cases, instances, jobs, result_files, results
from serving.faults import VARIABLE
from serving.jobs import workers
from serving.sending.deliver import Patience, deliver, open_client
from serving.sending.outgoing import find_outgoing
from serving.service.processes import child_environment
from serving.settings import Settings
from serving.studies.arrival import Arrival, read_facts
from serving.studies.receive import receive
from serving.worklist.urgency import UrgencyPolicy, read_policy
from tests.builders import a_phantom, phantom_folder
from tests.serving.databases import make_empty_database, setting_of

Found = TypeVar("Found")

# As short as the machines of tests allow: a lease must outlast a busy moment.
QUICK = {"settle_s": 0.3, "lease_s": 1.5, "heartbeat_s": 0.3, "threads": 1}
# Where one study may be killed again and again: this pause has doubled to half a second after ten.
SHORT_PAUSE_S = 0.001
PATIENCE_S = 120.0
FILE = "firstread.sqlite"


@functools.cache
def small_study(*, nodules_mm: tuple[float, ...] = (14.0,), seed: int = 1) -> tuple[bytes, ...]:
    """Return the files of the smallest chest that the shipped package scores: 5 MB."""
    phantom = a_phantom(nodules_mm, 3.2, slices=44, matrix=256, pixel_mm=1.0, seed=seed)
    return tuple(path.read_bytes() for path in sorted(phantom_folder(phantom).glob("*.dcm")))


def a_copy(files: Sequence[bytes], number: int) -> tuple[bytes, ...]:
    """Return the same images as another study: the ends of all UIDs of ours are changed."""

    def renamed(found: re.Match[bytes]) -> bytes:
        return found[0][:-4] + b"%04d" % number

    return tuple(re.sub(rb"2\.25\.\d{30,}", renamed, data) for data in files)


@dataclass
class Room:
    """Store and database of a service, and the processes that were started on them."""

    settings: Settings
    policy: UrgencyPolicy = field(default_factory=read_policy)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    acknowledged: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        make_empty_database(self.settings.data / FILE)
        self.database: Engine = open_engine(self.settings.database_url)
        migrate(self.database)
        self.store = Store(self.settings.store_folder)
        with writing(self.database) as connection:
            self.site_id = add_site(connection, code="county", name="County", now=time.time())

    @property
    def log(self) -> Path:
        return self.settings.data / "log"

    def receive(self, files: Sequence[bytes]) -> None:
        """Receive a study as the web process does."""
        arrivals = []
        for data in files:
            stored = self.store.put_bytes(data)
            arrivals.append(Arrival(read_facts(self.store.path(stored.sha256)), stored))
        receive(self.database, self.store, self.policy, self.site_id, arrivals, now=time.time())
        for arrival, data in zip(arrivals, files, strict=True):
            self.acknowledged[arrival.facts.sop_instance_uid] = data

    def start_worker(self, *, fault: str = "", **settings: Any) -> subprocess.Popen[bytes]:
        """Start a real worker process; its log goes to a file."""
        changed = Settings(**{**self.settings.model_dump(), **settings})
        environment = child_environment(changed, os.environ)
        if fault:
            environment[VARIABLE] = fault
        number = len(self.processes)
        name = f"worker-{number}"
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "serving.service.worker_process", "--name", name),
                    *("--owner", f"test.{name}", "--parent", str(os.getpid())),
                ],
                env=environment,
                stderr=log,
                stdout=log,
            )
        self.processes.append(process)
        return process

    def rows(self, table: Table) -> list[dict[str, Any]]:
        with reading(self.database) as connection:
            first = next(iter(table.primary_key.columns))
            return [
                dict(row) for row in connection.execute(select(table).order_by(first)).mappings()
            ]

    def states(self) -> list[str]:
        return [row["ai_state"] for row in self.rows(cases)]

    def is_settled(self) -> bool:
        """Whether there is nothing more to do."""
        return {"scored", "not-analysed"} >= set(self.states())

    def wait(self, until: Callable[[], Found], seconds: float = PATIENCE_S) -> Found:
        """Wait for something to hold, and say what the processes said if it never does."""
        end = time.monotonic() + seconds
        while not (found := until()):
            if time.monotonic() > end:
                raise AssertionError(f"{self.states()}\n{self.log.read_text('utf-8')[-6000:]}")
            time.sleep(0.05)
        return found

    def wait_for_worker(self) -> None:
        """Wait until a worker is ready."""

        def is_ready() -> bool:
            with reading(self.database) as connection:
                return bool(workers.last_heard(connection))

        self.wait(is_ready)

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Return the log's lines of one kind."""
        lines = [json.loads(line) for line in self.log.read_text("utf-8").splitlines()]
        return [line for line in lines if line["event"] == event]

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                # One that was stopped takes note of nothing else.
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
        self.store.close()
        self.database.dispose()


def ray_folder(room: Room) -> Path:
    """Return the folder of the local Ray that was started last."""
    return Path(room.logged("ray started")[-1]["folder"])


@contextmanager
def a_room(folder: Path, **settings: Any) -> Iterator[Room]:
    room = Room(Settings(data=folder, **setting_of(folder / FILE), **{**QUICK, **settings}))
    try:
        yield room
    finally:
        room.close()


def nothing_is_lost_or_doubled(room: Room, *, findings: bool = True) -> None:
    """State what must be true after any fault, once everything has come to an end."""
    rows = {row["sop_instance_uid"]: row for row in room.rows(instances)}
    for uid, data in room.acknowledged.items():
        assert room.store.read(rows[uid]["sha256"]) == data
    visible = [row for row in room.rows(results) if row["is_visible"]]
    assert sorted(row["case_id"] for row in visible) == [row["id"] for row in room.rows(cases)]
    files = room.rows(result_files)
    for result in visible:
        mine = {row["name"]: row["sha256"] for row in files if row["result_id"] == result["id"]}
        wanted = {"sr.dcm", "seg.dcm"} if findings else {"sr.dcm"}
        assert wanted <= set(mine)
        shown = [row for row in rows.values() if row["result_id"] == result["id"]]
        assert sorted(row["sha256"] for row in shown) == sorted(mine[name] for name in wanted)
        for sha256 in mine.values():
            room.store.read(sha256)
    ours = [row for row in rows.values() if row["result_id"] is not None]
    assert len(ours) == (2 if findings else 1) * len(visible)
    assert {row["state"] for row in room.rows(jobs)} <= {"done", "overtaken"}


@dataclass
class Up:
    """A running ``firstread up``."""

    process: subprocess.Popen[bytes]
    said: Path

    @property
    def url(self) -> str:
        """Return where it listens; empty until it has said that it is ready."""
        found = re.search(
            r"^Firstread is ready: (\S+)$", self.said.read_text("utf-8"), re.MULTILINE
        )
        return found[1] if found else ""

    def children(self, room: Room) -> dict[str, int]:
        """Return the process ids of its children as it last started them."""
        return {line["child"]: line["pid"] for line in room.logged("started")}


@contextmanager
def service(
    room: Room, *, fault: str = "", longest_pause_s: float | None = None, **settings: Any
) -> Iterator[Up]:
    """Run ``firstread up`` on a room until the block ends; gives it when it is ready.

    Parameters
    ----------
    longest_pause_s
        Before a process that dies soon is started again; None: as in service.
    """
    changed = Settings(**{**room.settings.model_dump(), "port": 0, **settings})
    environment = child_environment(changed, os.environ)
    if fault:
        environment[VARIABLE] = fault
    said = room.settings.data / "said"
    code = "from serving.cli import main; main()"
    if longest_pause_s is not None:
        pause = f"supervisor.LONGEST_PAUSE_S = {longest_pause_s}"
        code = f"from serving.service import supervisor; {pause}; {code}"
    with room.log.open("ab") as log, said.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", code, "up"], env=environment, stdout=out, stderr=log
        )
    room.processes.append(process)
    up = Up(process, said)
    try:
        room.wait(lambda: up.url or process.poll() is not None)
        assert up.url, room.log.read_text("utf-8")
        yield up
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(60)


def a_token(room: Room) -> str:
    """Return what lets the room's site send and ask."""
    with writing(room.database) as connection:
        return issue_token(connection, site_id=room.site_id, label="gateway", now=time.time())[1]


def send(room: Room, up: Up, *studies: Sequence[bytes]) -> None:
    """Send studies as a hospital does, and note what was acknowledged."""
    folder = room.settings.data.parent / f"outgoing-{len(room.acknowledged)}"
    for number, files in enumerate(studies):
        (folder / str(number)).mkdir(parents=True)
        for place, data in enumerate(files):
            (folder / str(number) / f"{place}.dcm").write_bytes(data)
    with open_client(up.url, a_token(room)) as client, find_outgoing([folder]) as outgoing:
        for told in deliver(client, outgoing.studies, patience=Patience(60)):
            assert told.stored == told.files
        for study in outgoing.studies:
            for file in study.files:
                room.acknowledged[file.sop_instance_uid] = file.path.read_bytes()
