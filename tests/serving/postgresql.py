"""A PostgreSQL server of the tests' own."""

import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Searched for in logs: nobody may find it there.
PASSWORD = "a-marked-password"

_LIBRARY = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def programs() -> Path | None:
    """Return where PostgreSQL's programs are; Debian keeps them out of the path."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


def _short_folder() -> Path:
    # The path of a socket has 107 characters at most, and a server looks at its folder itself.
    return Path(tempfile.mkdtemp(prefix="fr-pg-", dir="/tmp"))


@dataclass
class Server:
    """A server for tests, reached by a socket in its folder alone.

    Its order of texts is one of words in Chinese: a query that relies on the order of code points
    and does not say so is seen.
    """

    programs: Path
    folder: Path = field(default_factory=_short_folder)
    settings: tuple[str, ...] = ("fsync=off", "full_page_writes=off", "max_connections=200")
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        # It refuses root.
        self._user = "postgres" if os.geteuid() == 0 else None
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        if self._user:
            shutil.chown(self.folder, self._user)
            shutil.chown(secret, self._user)
        self._run(
            "initdb", "--pgdata", str(self._data), "--no-sync", "--username", "postgres",
            "--auth", "scram-sha-256", "--pwfile", str(secret), "--encoding", "UTF8",
            "--locale", "C.UTF-8", "--locale-provider", "icu", "--icu-locale", "zh",
        )  # fmt: skip
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres:{PASSWORD}@/postgres?host={self.folder}"

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        said = ["listen_addresses=", f"unix_socket_directories={self.folder}", *self.settings]
        words = [word for one in said for word in ("-c", one)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.programs / "postgres", "-D", self._data, *words],
                user=self._user, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                # In a session of its own, so that Ctrl-C is for the tests alone; ends with them.
                start_new_session=True, cwd=self.folder, preexec_fn=_die_with_parent,  # noqa: PLW1509
            )  # fmt: skip
        end = time.monotonic() + 60
        ready = [str(self.programs / "pg_isready"), "-q", "-h", str(self.folder)]
        while subprocess.run(ready, check=False).returncode:
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < end
            time.sleep(0.05)

    def stop(self, mode: str = "fast") -> None:
        """Stop it: ``fast`` in order, ``immediate`` as if the power failed for it."""
        if self.process is not None:
            self._run("pg_ctl", "stop", "-D", str(self._data), "-m", mode, "-s")
            self.process.wait()
            self.process = None

    def remove(self) -> None:
        self.stop("immediate")
        shutil.rmtree(self.folder)

    def _run(self, program: str, *words: str) -> None:
        done = subprocess.run(
            [self.programs / program, *words],
            user=self._user, cwd=self.folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def _die_with_parent() -> None:
    _LIBRARY.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


@contextmanager
def a_server(**settings: Any) -> Iterator[Server]:
    """Give a server of one's own."""
    found = programs()
    assert found is not None
    server = Server(found, **settings)
    try:
        yield server
    finally:
        server.remove()
