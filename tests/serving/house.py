"""The whole application on a database of its own, asked in this process, at a time we choose."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from sqlalchemy import Engine

from serving.accounts.caller import Role
from serving.accounts.passwords import hash_password
from serving.accounts.sessions import find_session, start_session
from serving.accounts.sites import add_site
from serving.accounts.tokens import issue_token
from serving.accounts.users import add_user, find_user
from serving.database.engine import writing
from serving.http.authentication import lifetime, session_cookie
from serving.http.dependencies import Service
from serving.service.app import create_app
from serving.settings import Settings
from tests.serving.databases import make_database, setting_of

NOW = 1_800_000_000.0
PASSWORD = "a password of the tests"
HERE = "http://127.0.0.1:8042"


@dataclass
class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


class InProcess(httpx.BaseTransport):
    """Asks an ASGI application from the address of a client, without a socket."""

    def __init__(self, app: FastAPI, address: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._inner = httpx.ASGITransport(app, client=(address, 50000))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._loop.run_until_complete(self._ask(request))

    async def _ask(self, request: httpx.Request) -> httpx.Response:
        answer = await self._inner.handle_async_request(request)
        return httpx.Response(
            answer.status_code, headers=answer.headers, content=await answer.aread()
        )

    def close(self) -> None:
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


@dataclass
class House:
    app: FastAPI
    clock: Clock
    clients: list[httpx.Client] = field(default_factory=list)

    @property
    def service(self) -> Service:
        service: Service = self.app.state.service
        return service

    @property
    def engine(self) -> Engine:
        return self.service.engine

    def client(
        self, token: str | None = None, *, address: str = "127.0.0.1", url: str = HERE
    ) -> httpx.Client:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        client = httpx.Client(transport=InProcess(self.app, address), base_url=url, headers=headers)
        self.clients.append(client)
        return client

    def site(self, code: str) -> int:
        with writing(self.engine) as connection:
            return add_site(connection, code=code, name=f"Hospital {code}", now=self.clock.now)

    def token(self, site_id: int) -> str:
        with writing(self.engine) as connection:
            return issue_token(connection, site_id=site_id, label="gateway", now=self.clock.now)[1]

    def user(self, name: str, role: Role, site_id: int | None = None, **values: Any) -> int:
        with writing(self.engine) as connection:
            return add_user(
                connection, name=name, password_hash=stored(PASSWORD), role=role,
                site_id=site_id, now=self.clock.now, **values,
            )  # fmt: skip

    def logged_in(self, name: str, **where: str) -> httpx.Client:
        """Return a browser with a user's session, whose requests bring the CSRF token."""
        settings = self.service.settings
        with writing(self.engine) as connection:
            user = find_user(connection, name)
            secret = start_session(connection, user.id, lifetime(settings), self.clock.now)
            session = find_session(connection, secret, self.clock.now)
        assert session is not None
        client = self.client(**where)
        client.cookies.set(session_cookie(settings), secret, domain="127.0.0.1")
        client.headers["X-CSRF-Token"] = str(session.caller.csrf_token)
        return client


def form_token(page: httpx.Response) -> str:
    """Return what the forms of a page send along."""
    found = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert found is not None, page.text
    return found[1]


def log_in(
    client: httpx.Client, name: str, password: str = PASSWORD, **fields: str
) -> httpx.Response:
    """Open the log-in page and send its form."""
    sent = {"csrf_token": form_token(client.get("/login")), "name": name, "password": password}
    return client.post("/login", data=sent | fields)


@cache
def stored(password: str) -> str:
    return hash_password(password)


@contextmanager
def listening(app: FastAPI) -> Iterator[str]:
    """Give the address at which an application really listens."""
    config = uvicorn.Config(app, port=0, log_config=None, lifespan="off", access_log=False)
    server = uvicorn.Server(config)
    thread = Thread(target=server.run)
    thread.start()
    while not server.started:
        sleep(0.01)
    host, port = server.servers[0].sockets[0].getsockname()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def a_house(folder: Path, **settings: Any) -> Iterator[House]:
    clock = Clock()
    file = folder / "firstread.sqlite"
    make_database(file)
    app = create_app(Settings(data=folder, **setting_of(file), **settings), clock=clock)
    house = House(app, clock)
    try:
        yield house
    finally:
        for client in house.clients:
            client.close()
        app.state.service.store.close()
        app.state.service.engine.dispose()
