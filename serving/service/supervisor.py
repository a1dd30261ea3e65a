"""The supervisor: starts the web process and the workers, starts them again, ends them.

::

    firstread up ── holds the listening socket, so that no caller is refused while web restarts
       ├── web         FastAPI on that socket
       ├── worker-1    an engine, warm
       └── worker-2 ...

A process that ends is started again: at once the first times, then with pauses that double. What a
dead worker held goes back to the queue at once, because its name is known here; a worker that has
said nothing for two leases is ended. Children die with the supervisor, whatever ends it.
"""

import http.client
import logging
import os
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine as Database

from serving.database.engine import reading, writing
from serving.errors import Unavailable
from serving.jobs import queue, workers
from serving.jobs.queue import Job, Setback
from serving.service.logs import trouble
from serving.service.processes import child_environment, host_name
from serving.settings import Settings
from serving.studies import life
from serving.worklist.summary import Failure

log = logging.getLogger(__name__)

POLL_S = 0.1
ASK_READY_S = 0.3
# A life shorter than this counts as failed: after some of them in a row there is a pause.
SHORT_LIFE_S = 30.0
FREE_RESTARTS = 3
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0
# Asked to end, children have so long; then they are killed.
END_S = 20.0
# A silent worker is ended after so many leases.
SILENT_LEASES = 2.0


def pause_s(short_lives: int) -> float:
    """Return how long to wait before a start, after so many short lives in a row."""
    if short_lives <= FREE_RESTARTS:
        return 0.0
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** (short_lives - FREE_RESTARTS - 1))


@dataclass(slots=True)
class Child:
    """One child process, in all its lives.

    Attributes
    ----------
    owner
        The name of this life: of its temporary folder, and of a worker in leases.
    heard_at, last_word
        When the supervisor last saw that a worker had spoken, and what it saw.
    """

    name: str
    is_worker: bool
    process: subprocess.Popen[bytes] | None = None
    owner: str | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    short_lives: int = 0
    heard_at: float = 0.0
    last_word: float | None = None


@dataclass(slots=True)
class Supervisor:
    """Runs the children of one ``firstread up``; times here are of ``time.monotonic()``.

    Attributes
    ----------
    listener
        Bound and listening.
    clock
        Seconds since 1970 in UTC, for the database.
    """

    settings: Settings
    database: Database
    listener: socket.socket
    clock: Callable[[], float] = time.time
    stop: threading.Event = field(default_factory=threading.Event)
    children: list[Child] = field(init=False)
    _looked_at: float = 0.0
    _asked_at: float = 0.0

    def __post_init__(self) -> None:
        # Ray's replicas are its own processes; one worker feeds them.
        count = self.settings.workers if self.settings.engine == "inline" else 1
        names = [f"worker-{number}" for number in range(1, count + 1)]
        self.children = [Child("web", False), *(Child(name, True) for name in names)]

    @property
    def scratch(self) -> Path:
        """Temporary folders of the children: what one leaves behind is removed with it."""
        return self.settings.data / "scratch"

    def run(self, on_ready: Callable[[], None]) -> None:
        """Keep everything running until ``stop`` is set, then end it.

        Parameters
        ----------
        on_ready
            Called once, when the service answers that it is ready.
        """
        self._bury_former()
        is_ready = False
        try:
            while not self.stop.wait(POLL_S):
                self._step(time.monotonic())
                if not is_ready and self._is_ready(time.monotonic()):
                    is_ready = True
                    on_ready()
        finally:
            self._end()

    def _is_ready(self, now_s: float) -> bool:
        if now_s - self._asked_at < ASK_READY_S:
            return False
        self._asked_at = now_s
        return answers_ready(self.listener)

    def _step(self, now_s: float) -> None:
        for child in self.children:
            if child.process is None:
                if now_s >= child.start_at:
                    self._start(child, now_s)
            elif child.process.poll() is not None:
                self._note_end(child, now_s)
        if now_s - self._looked_at >= self.settings.heartbeat_s:
            self._looked_at = now_s
            self._end_silent(now_s)

    def _start(self, child: Child, now_s: float) -> None:
        environment = child_environment(self.settings, os.environ)
        parent = str(os.getpid())
        child.owner = f"{host_name()}.{parent}.{child.name}.{secrets.token_hex(4)}"
        if not child.is_worker or self.settings.engine == "inline":
            # Not Ray's: paths of its sockets must be short.
            folder = self.scratch / child.owner
            folder.mkdir(parents=True)
            environment["TMPDIR"] = str(folder.absolute())
        if child.is_worker:
            words = ["worker_process", "--name", child.name, "--owner", child.owner]
        else:
            words = ["web_process", "--socket", str(self.listener.fileno())]
        module, *rest = words
        child.process = subprocess.Popen(  # noqa: S603  (our own interpreter and code)
            [sys.executable, "-m", f"serving.service.{module}", *rest, "--parent", parent],
            stdin=subprocess.DEVNULL,
            env=environment,
            pass_fds=() if child.is_worker else (self.listener.fileno(),),
            # Ctrl-C is for us; the children are asked to end in order.
            process_group=0,
        )
        child.started_at = child.heard_at = now_s
        child.last_word = None
        log.info("started", extra={"child": child.name, "pid": child.process.pid})

    def _note_end(self, child: Child, now_s: float) -> None:
        assert child.process is not None
        code = child.process.returncode
        lived_s = now_s - child.started_at
        child.process = None
        # A worker that has done its share ends with 0.
        is_failure = code != 0 and lived_s < SHORT_LIFE_S
        child.short_lives = child.short_lives + 1 if is_failure else 0
        wait_s = pause_s(child.short_lives)
        child.start_at = now_s + wait_s
        log.log(
            logging.ERROR if code else logging.INFO,
            "ended",
            extra={
                "child": child.name,
                "code": code,
                "lived_s": round(lived_s, 1),
                "pause_s": wait_s,
            },
        )
        if child.owner is not None:
            self._bury(child.owner)

    def _bury(self, owner: str) -> None:
        """Remove what a dead child left behind, and take back what it held."""
        shutil.rmtree(self.scratch / owner, ignore_errors=True)
        try:
            with reading(self.database) as connection:
                held = queue.held_by(connection, owner)
            for job in held:
                self._take_back(job)
            with writing(self.database) as connection:
                workers.leave(connection, owner)
        except Unavailable as error:
            # Its leases end by themselves, and the other workers take them back.
            log.warning("waiting for the database", extra={"reason": error.message})

    def _take_back(self, job: Job) -> None:
        try:
            if job.attempts < self.settings.attempts:
                # The first time at once: a restart or a power cut is nobody's fault.
                pause_s = queue.pause_s(job.pauses - 1, self.settings.pause_s)
                life.requeue(self.database, job, self.clock(), Setback.WORKER_DIED, pause_s=pause_s)
            else:
                life.give_up(self.database, job, Failure.CRASHED, self.clock())
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - one study's bug must not end the service
            # Its lease ends by itself, and the workers try again.
            log.error("job cannot be taken back", extra={"job": job.id, **trouble(error)})
        else:
            log.warning("taken back", extra={"job": job.id, "attempt": job.attempts})

    def _bury_former(self) -> None:
        """Bury the children of supervisors that were killed here, by power loss for instance."""
        with reading(self.database) as connection:
            known = {*workers.last_heard(connection), *queue.owners(connection)}
        left = {path.name for path in self.scratch.iterdir()} if self.scratch.exists() else set()
        for owner in sorted(known | left):
            if is_of_dead_supervisor(owner):
                self._bury(owner)

    def _end_silent(self, now_s: float) -> None:
        """End workers that live and say nothing: stopped, or hung in native code that holds all."""
        try:
            with reading(self.database) as connection:
                heard = workers.last_heard(connection)
        except Unavailable:
            # Nobody can speak now.
            for child in self.children:
                child.heard_at = now_s
            return
        for child in self.children:
            if child.process is None or child.owner is None or not child.is_worker:
                continue
            word = heard.get(child.owner)
            if word != child.last_word:
                child.heard_at, child.last_word = now_s, word
            # One that starts has not spoken yet, and a Ray takes its time.
            is_silent = now_s - child.heard_at > SILENT_LEASES * self.settings.lease_s
            if word is not None and is_silent:
                log.error("silent worker killed", extra={"child": child.name})
                child.process.kill()

    def _end(self) -> None:
        """End all children, in order if they can."""
        running = [child.process for child in self.children if child.process is not None]
        for process in running:
            process.terminate()
        end_s = time.monotonic() + END_S
        for process in running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, end_s - time.monotonic()))
            process.kill()
            process.wait()
        for child in self.children:
            if child.owner is not None:
                self._bury(child.owner)
        log.info("all ended", extra={"children": len(running)})


def is_of_dead_supervisor(owner: str, own_pid: int | None = None) -> bool:
    """Whether a worker's name is of this machine and of a supervisor that is no more.

    A name with our own process id is of an earlier one too, that had the same: in a container the
    first process always has.
    """
    host, _, rest = owner.partition(".")
    number, _, _ = rest.partition(".")
    if host != host_name() or not number.isdecimal():
        return False
    own_pid = os.getpid() if own_pid is None else own_pid
    if int(number) == own_pid:
        return True
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        return False
    return False


def answers_ready(listener: socket.socket, timeout_s: float = 0.5) -> bool:
    """Ask the service itself whether it is ready."""
    host, port = listener.getsockname()[:2]
    loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
    connection = http.client.HTTPConnection(loopback.get(host, host), port, timeout=timeout_s)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
