"""Hosts, origins, local paths, loopback."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers
from starlette.requests import Request

from serving.http.origin import is_known_host, is_loopback, is_same_origin, local_path
from serving.settings import Settings

SETTINGS = Settings(hosts="firstread.example, Second.example ")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8042",
        "10.1.2.3",
        "[::1]:8042",
        "localhost:8042",
        "LOCALHOST",
        "firstread.example",
        "second.example:443",
        socket.gethostname(),
        None,
    ],
)
def test_a_name_of_ours_is_known(host: str | None) -> None:
    assert is_known_host(host, SETTINGS)


@pytest.mark.parametrize(
    "host", ["evil.example", "", "firstread.example.evil.example", "[::1", "["]
)
def test_another_name_is_not(host: str) -> None:
    assert not is_known_host(host, SETTINGS)


SAME = {"host": "10.0.0.5:8042"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://10.0.0.5:8042"},
        {"origin": "https://10.0.0.5:8042"},
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "same-origin", "origin": "null"},
    ],
)
def test_our_own_pages_are_of_our_origin(headers: dict[str, str]) -> None:
    assert is_same_origin(Headers(SAME | headers))


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://10.0.0.5:8043"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site", "origin": "http://10.0.0.5:8042"},
        {"sec-fetch-site": "same-origin", "origin": "http://evil.example"},
    ],
)
def test_everything_else_is_of_another(headers: dict[str, str]) -> None:
    assert not is_same_origin(Headers(SAME | headers))


@pytest.mark.parametrize("path", ["/", "/cases/0123", "/account?x=1#y"])
def test_a_path_of_ours_is_where_to_go(path: str) -> None:
    assert local_path(path) == path


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "javascript:alert(1)",
        " /x",
        "cases",
        "/" + "x" * 3000,
    ],
)
def test_no_other_place_is(text: str | None) -> None:
    assert local_path(text) == "/"


@given(st.text(alphabet="/\\ab.:@\t\n ?#%"))
def test_whatever_is_asked_a_browser_stays_here(text: str) -> None:
    path = local_path(text)
    assert path.startswith("/")
    # As browsers read it (WHATWG URL): tabs and newlines vanish, backslashes are slashes.
    read = path.replace("\t", "").replace("\n", "").replace("\\", "/")
    assert not read.startswith("//")


def ask(client: str | None, host: str, **headers: str) -> Request:
    pairs = [(b"host", host.encode())]
    pairs += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request(
        {"type": "http", "headers": pairs, "client": None if client is None else (client, 1)}
    )


@pytest.mark.parametrize("host", ["127.0.0.1:8042", "localhost", "[::1]:8042"])
def test_who_sits_here_is_here(host: str) -> None:
    assert is_loopback(ask("127.0.0.1", host), Settings())
    assert is_loopback(ask("::1", host), Settings())


@pytest.mark.parametrize(
    "request_",
    [
        ask("10.0.0.9", "127.0.0.1:8042"),
        ask("127.0.0.1", "firstread.example"),
        ask("127.0.0.1", "localhost", x_forwarded_for="10.0.0.9"),
        ask("127.0.0.1", "localhost", forwarded="for=10.0.0.9"),
        ask(None, "localhost"),
        ask("testclient", "localhost"),
    ],
)
def test_nobody_else_is(request_: Request) -> None:
    assert not is_loopback(request_, Settings())
