"""The service's web process, really running, with cases as they would stand in its tables."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
from argon2 import PasswordHasher
from fastapi import FastAPI

from firstread.messages import Language
from serving.accounts.caller import Role
from serving.accounts.passwords import hash_password
from serving.accounts.users import add_user
from serving.database.engine import writing
from serving.database.migrate import migrate
from serving.http.dependencies import Service
from serving.service.app import create_app
from serving.service.web_process import Server
from serving.settings import Settings
from tests.serving.worklist.cases import add_sites

# argon2 at full strength takes a core for 50 ms; what is tested here is not its strength.
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
PASSWORD = "correct horse battery"
PING_S = 0.4


@dataclass
class Running:
    """A service that answers on a port."""

    settings: Settings
    now: float
    app: FastAPI = field(init=False)
    server: Server | None = None
    thread: threading.Thread | None = None
    ids: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.port}"

    @property
    def service(self) -> Service:
        service: Service = self.app.state.service
        return service

    def prepare(self) -> None:
        """Make the application anew, as a process that starts does."""
        self.app = create_app(self.settings)

    def start(self) -> None:
        """Listen, on the same port as before."""
        config = uvicorn.Config(
            self.app, host="127.0.0.1", port=self.settings.port, log_level="error",
            lifespan="off", timeout_graceful_shutdown=5,
        )  # fmt: skip
        self.server = Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        until = time.monotonic() + 10
        while not self.server.started:
            assert time.monotonic() < until, "the service did not start"
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop listening."""
        assert self.server is not None
        assert self.thread is not None
        self.server.should_exit = True
        self.thread.join(10)
        assert not self.thread.is_alive()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(folder: Path) -> Iterator[Running]:
    """Run a service with two sites; ``admin`` and ``reader`` see both, ``county`` the second."""
    now = time.time()
    it = Running(Settings(data=folder, port=free_port(), ping_s=PING_S), now)
    it.prepare()
    migrate(it.service.engine)
    with writing(it.service.engine) as connection:
        add_sites(connection)
        for name, role, site_id in (
            ("admin", Role.ADMIN, None), ("reader", Role.READER, None), ("county", Role.SENDER, 2)
        ):  # fmt: skip
            add_user(
                connection, name=name, password_hash=hash_password(PASSWORD, CHEAP), role=role,
                site_id=site_id, now=now, language=Language.EN,
            )  # fmt: skip
    it.start()
    try:
        yield it
    finally:
        it.stop()
        it.service.store.close()
        it.service.engine.dispose()
