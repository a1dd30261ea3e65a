"""Nobody gets in who is not known, and nobody's session is used by another's page."""

import json

import pytest

from serving.accounts.caller import Role
from serving.accounts.tokens import revoke_token
from serving.accounts.users import deactivate
from serving.database.engine import writing
from serving.http.authentication import MOST_FORM_BYTES
from serving.web import stream
from tests.serving.house import House, form_token

PAGE = {"Accept": "text/html,application/xhtml+xml"}


def test_a_program_without_credentials_is_told_how_to_bring_them(house: House) -> None:
    answer = house.client().get("/api/v1/worklist")
    assert answer.status_code == 401
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    assert answer.json()["code"] == "not-authenticated"


def test_a_person_is_led_to_the_log_in_and_back(house: House) -> None:
    answer = house.client().get("/cases/abc", headers=PAGE)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/login?next=/cases/abc")


def test_what_was_searched_for_does_not_stand_in_the_address_of_the_log_in(house: House) -> None:
    answer = house.client().get("/?search=王伟", headers=PAGE)
    assert answer.headers["Location"] == "/login?next=/"


def test_a_part_of_a_page_sends_the_whole_page_to_the_log_in(house: House) -> None:
    answer = house.client().get("/cases/abc", headers=PAGE | {"HX-Request": "true"})
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (401, "/login")


def test_what_a_person_sends_without_a_session_is_refused_not_redirected(house: House) -> None:
    assert house.client().post("/preferences", headers=PAGE).status_code == 401


@pytest.mark.parametrize(
    "path", ["/nothing", "/static", "//login", "/login/", "/healthz/x", "/%2e"]
)
def test_what_is_not_there_is_not_told_to_strangers(house: House, path: str) -> None:
    assert house.client().get(f"http://127.0.0.1:8042{path}").status_code == 401


def test_a_token_is_known(house: House) -> None:
    answer = house.client(house.token(house.site("county"))).get("/account")
    assert answer.status_code == 200
    assert "gateway" in answer.text


def test_a_revoked_token_is_not(house: House) -> None:
    client = house.client(house.token(house.site("county")))
    assert client.get("/account").status_code == 200
    with writing(house.engine) as connection:
        revoke_token(connection, 1, house.clock.now)
    answer = client.get("/account")
    assert (answer.status_code, answer.json()["code"]) == (401, "token-refused")


def test_a_wrong_token_is_not_made_good_by_a_cookie(house: House) -> None:
    house.user("li", Role.READER)
    client = house.logged_in("li")
    client.headers["Authorization"] = "Bearer frst_wrong"
    assert client.get("/account").status_code == 401


def test_another_kind_of_authorization_is_a_proxys_affair(house: House) -> None:
    house.user("li", Role.READER)
    client = house.logged_in("li")
    client.headers["Authorization"] = "Basic eDp5"
    assert client.get("/account").status_code == 200


def test_a_token_needs_no_csrf_token(house: House) -> None:
    client = house.client(house.token(house.site("county")))
    assert client.post("/logout").status_code == 303


def test_a_deactivated_user_is_out_at_once(house: House) -> None:
    user_id = house.user("li", Role.READER)
    client = house.logged_in("li")
    with writing(house.engine) as connection:
        deactivate(connection, user_id)
    assert client.get("/account", headers=PAGE).status_code == 303


def test_a_session_in_use_goes_on_and_one_without_ends(house: House) -> None:
    house.user("li", Role.READER)
    client = house.logged_in("li")
    for _ in range(3):
        house.clock.now += 7 * 3600
        assert client.get("/account").status_code == 200
    house.clock.now += 12 * 3600
    assert client.get("/account").status_code == 401


def test_an_open_page_alone_keeps_no_session(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "STREAM_LASTS_S", 0.0)
    house.user("li", Role.READER)
    client = house.logged_in("li")
    for _ in range(6):
        assert client.get("/events").status_code == 200
        house.clock.now += 2 * 3600
    assert client.get("/events").status_code == 401


def test_every_session_ends_after_a_day(house: House) -> None:
    house.user("li", Role.READER)
    client = house.logged_in("li")
    for _ in range(23):
        house.clock.now += 3600
        assert client.get("/account").status_code == 200
    house.clock.now += 3600
    assert client.get("/account").status_code == 401


def change_language(house: House, headers: dict[str, str], fields: dict[str, str]) -> int:
    house.user("li", Role.READER)
    client = house.logged_in("li")
    own = client.headers.pop("X-CSRF-Token")
    headers = {name: value.replace("OWN", own) for name, value in headers.items()}
    fields = {name: value.replace("OWN", own) for name, value in fields.items()}
    answer = client.post("/preferences", headers=headers, data={"language": "en"} | fields)
    return answer.status_code


@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        ({"X-CSRF-Token": "OWN"}, {}),
        ({}, {"csrf_token": "OWN"}),
        ({"X-CSRF-Token": "OWN", "Sec-Fetch-Site": "same-origin"}, {}),
        ({"Origin": "http://127.0.0.1:8042"}, {"csrf_token": "OWN"}),
    ],
)
def test_our_own_pages_change_something(
    house: House, headers: dict[str, str], fields: dict[str, str]
) -> None:
    assert change_language(house, headers, fields) == 303


@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        ({}, {}),
        ({}, {"csrf_token": ""}),
        ({}, {"csrf_token": "OWNx"}),
        ({"X-CSRF-Token": ""}, {}),
        ({"X-CSRF-Token": "x"}, {"csrf_token": "OWN"}),
        ({"X-CSRF-Token": "OWN", "Origin": "http://evil.example"}, {}),
        ({"Sec-Fetch-Site": "cross-site"}, {"csrf_token": "OWN"}),
        ({"Origin": "null"}, {"csrf_token": "OWN"}),
    ],
)
def test_others_change_nothing(
    house: House, headers: dict[str, str], fields: dict[str, str]
) -> None:
    assert change_language(house, headers, fields) == 403


def test_another_sessions_token_is_worth_nothing(house: House) -> None:
    for name in ("li", "wang"):
        house.user(name, Role.READER)
    mine, other = house.logged_in("li"), house.logged_in("wang")
    mine.headers["X-CSRF-Token"] = other.headers["X-CSRF-Token"]
    answer = mine.post("/preferences", data={"language": "en"})
    assert (answer.status_code, answer.json()["code"]) == (403, "csrf-refused")


def test_a_json_body_needs_the_header(house: House) -> None:
    house.user("li", Role.READER)
    client = house.logged_in("li")
    token = client.headers.pop("X-CSRF-Token")
    body = json.dumps({"csrf_token": token})
    kind = {"Content-Type": "application/json"}
    assert client.post("/preferences", content=body, headers=kind).status_code == 403


def test_a_form_is_not_read_without_end(house: House) -> None:
    house.user("li", Role.READER)
    client = house.logged_in("li")
    token = client.headers.pop("X-CSRF-Token")
    form = {"csrf_token": token, "language": "x" * MOST_FORM_BYTES}
    assert client.post("/preferences", data=form).status_code == 413


def test_a_form_reaches_its_route_whole_after_its_token_was_read(house: House) -> None:
    house.user("li", Role.READER)
    client = house.logged_in("li")
    token = client.headers.pop("X-CSRF-Token")
    client.post("/preferences", data={"theme": "dark", "csrf_token": token, "language": "zh-CN"})
    page = client.get("/account", headers={"Accept-Language": "en"})
    assert 'lang="zh-CN" data-theme="dark"' in page.text


def test_every_log_in_has_a_token_of_its_own(house: House) -> None:
    house.user("li", Role.READER)
    pages = [house.logged_in("li").get("/account") for _ in range(2)]
    assert form_token(pages[0]) != form_token(pages[1])
