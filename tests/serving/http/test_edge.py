"""What every answer has, what the log has, and what happens to a bug."""

import logging
import re
from collections.abc import Iterator

import httpx
import pytest
from fastapi import APIRouter
from starlette.responses import Response, StreamingResponse

from serving.accounts.caller import Role
from serving.errors import NotAllowed, ObjectDamaged, Unavailable
from tests.serving.house import House, listening, log_in

SECRET = "WANG^WEI-1.2.840.99"
PAGE = {"Accept": "text/html"}

router = APIRouter()


@router.get("/api/v1/test/{what}")
def fails(what: str, number: int = 0) -> Response:
    match what:
        case "bug":
            raise ValueError(SECRET)
        case "full":
            raise Unavailable("no room", advice="make room")
        case "damaged":
            raise ObjectDamaged("an object is damaged")
        case "forbidden":
            raise NotAllowed("not yours")
        case "late":
            return StreamingResponse(half(), headers={"Content-Length": "10"})
        case _:
            return Response(headers={"Cache-Control": "private, max-age=60"})


@router.get("/test/bug")
def fails_for_people() -> None:
    raise ValueError(SECRET)


def half() -> Iterator[bytes]:
    yield b"12345"
    raise ValueError(SECRET)


@pytest.fixture
def house(house: House) -> House:
    house.app.include_router(router)
    return house


@pytest.fixture
def token(house: House) -> str:
    return house.token(house.site("county"))


@pytest.mark.parametrize(
    "path", ["/healthz", "/login", "/static/firstread.css", "/static/nothing", "/account", "/"]
)
def test_every_answer_is_guarded(house: House, path: str) -> None:
    headers = house.client().get(path).headers
    policy = dict(
        part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";")
    )
    assert policy == {
        "default-src": "'none'", "script-src": "'self'", "style-src": "'self'",
        "img-src": "'self'", "connect-src": "'self'", "font-src": "'self'",
        "form-action": "'self'", "base-uri": "'none'", "frame-ancestors": "'none'",
    }  # fmt: skip
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_pages_are_never_stored_unless_a_route_says_so(house: House, token: str) -> None:
    client = house.client(token)
    assert client.get("/account").headers["Cache-Control"] == "no-store"
    stored = client.get("/api/v1/test/fine").headers["Cache-Control"]
    assert stored == "private, max-age=60"


def test_a_browser_keeps_scripts_and_styles_and_asks_whether_they_changed(house: House) -> None:
    client = house.client()
    first = client.get("/static/firstread.css")
    assert first.headers["Cache-Control"] == "public, no-cache"
    again = client.get("/static/firstread.css", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["Cache-Control"] == "public, no-cache"
    assert client.get("/static/nothing").headers["Cache-Control"] == "no-store"


def test_another_host_is_refused_by_name(house: House) -> None:
    answer = house.client(url="http://evil.example").get("/healthz")
    assert (answer.status_code, answer.json()["code"]) == (421, "misdirected")
    assert "Content-Security-Policy" in answer.headers


@pytest.mark.parametrize(
    ("what", "status", "code"),
    [
        ("bug", 500, "internal"),
        ("full", 503, "unavailable"),
        ("damaged", 500, "object-damaged"),
        ("forbidden", 403, "not-allowed"),
    ],
)
def test_what_fails_is_told_as_a_problem(
    house: House, token: str, what: str, status: int, code: str
) -> None:
    answer = house.client(token).get(f"/api/v1/test/{what}")
    assert answer.headers["Content-Type"] == "application/problem+json"
    document = answer.json()
    assert set(document) == {"type", "title", "status", "code", "detail", "advice"}
    assert (answer.status_code, document["status"], document["code"]) == (status, status, code)
    assert SECRET not in answer.text


def test_who_is_to_come_back_is_told_when(house: House, token: str) -> None:
    client = house.client(token)
    assert int(client.get("/api/v1/test/full").headers["Retry-After"]) > 0


def test_a_bug_is_found_in_the_log_by_its_id_and_the_log_does_not_quote_it(
    house: House, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    answer = house.client(token).get("/api/v1/test/bug")
    (bug_id,) = re.findall(r"[0-9a-f]{16}", answer.json()["detail"])
    (record,) = [record for record in caplog.records if record.getMessage() == "bug"]
    assert vars(record)["bug_id"] == bug_id
    assert any("test_edge.py" in place for place in vars(record)["places"])
    assert SECRET not in "".join(str(vars(record)) for record in caplog.records)


def test_a_person_sees_the_id_of_a_bug_too(house: House) -> None:
    house.user("li", Role.READER)
    answer = house.logged_in("li").get("/test/bug", headers=PAGE)
    assert answer.status_code == 500
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert re.search(r"[0-9a-f]{16}", answer.text)


def test_a_person_sees_a_problem_as_a_page(house: House) -> None:
    house.user("li", Role.READER)
    answer = house.logged_in("li").get("/nothing", headers=PAGE | {"Accept-Language": "zh"})
    assert answer.status_code == 404
    assert "未找到" in answer.text
    assert "或属于其他医院" in answer.text
    assert "Not Found" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/nothing", 404, "not-found"),
        ("PUT", "/api/v1/test/fine", 405, "method-not-allowed"),
        ("GET", "/api/v1/test/fine?number=WANG", 400, "bad-request"),
    ],
)
def test_what_the_framework_complains_of_is_a_problem_too(
    house: House, token: str, method: str, path: str, status: int, code: str
) -> None:
    answer = house.client(token).request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert "WANG" not in answer.text


def test_a_failure_after_the_answer_began_ends_it_short_of_its_length(
    house: House, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with listening(house.app) as url, pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"{url}/api/v1/test/late", headers={"Authorization": f"Bearer {token}"})
    assert [record for record in caplog.records if record.getMessage() == "bug"]
    assert SECRET not in caplog.text
    assert SECRET not in "".join(str(record.exc_info) for record in caplog.records)


def test_each_request_is_one_line_with_its_template_and_no_more(
    house: House, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="serving.http.edge")
    client = house.client(token)
    client.get(f"/api/v1/test/{SECRET}?name={SECRET}")
    client.get(f"/nothing/{SECRET}")
    client.get("/static/firstread.css")
    client.request("WANG", "/healthz")
    lines = [vars(record) for record in caplog.records if record.getMessage() == "request"]
    told = [(line["method"], line["route"], line["status"]) for line in lines]
    assert told == [
        ("GET", "/api/v1/test/{what}", 200),
        ("GET", "none", 404),
        ("GET", "/static/*", 200),
        ("other", "/healthz", 405),
    ]
    assert all(line["ms"] >= 0 for line in lines)
    assert SECRET not in str(lines)


def test_a_log_in_leaves_no_name_in_the_log(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="serving")
    log_in(house.client(), "my-password-by-mistake", "x")
    assert "mistake" not in "".join(str(vars(record)) for record in caplog.records)
