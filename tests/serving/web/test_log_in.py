"""The log-in page: who gets in, what it gives away, and where it leads."""

from typing import Any

import pytest

from serving.accounts import demonstration as public
from serving.accounts.caller import Role
from serving.accounts.throttle import FREE_FOR_NAME
from serving.web.log_in import FORM_COOKIE
from tests.serving.house import PASSWORD, House, a_house, form_token, log_in

COOKIE = "firstread"


@pytest.fixture(autouse=True)
def reader(house: House) -> None:
    house.user("li", Role.READER)


def test_name_and_password_lead_to_where_somebody_wanted_to_go(house: House) -> None:
    client = house.client()
    answer = log_in(client, "li", next="/account")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/account")
    assert client.get("/account").status_code == 200


@pytest.mark.parametrize("there", ["https://evil.example", "//evil.example", "/\\evil.example"])
def test_the_log_in_leads_nowhere_else(house: House, there: str) -> None:
    client = house.client()
    assert "evil" not in client.get("/login", params={"next": there}).text
    assert log_in(client, "li", next=there).headers["Location"] == "/"
    assert client.get("/login", params={"next": there}).headers["Location"] == "/"


def test_scripts_and_other_sites_do_not_get_the_cookie(house: House) -> None:
    answer = log_in(house.client(), "li")
    (cookie,) = [c for c in answer.headers.get_list("set-cookie") if c.startswith(f"{COOKIE}=")]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Domain" not in cookie


def test_behind_tls_the_cookie_goes_over_tls_alone(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with a_house(tmp_path_factory.mktemp("tls"), secure_cookies=True) as behind_tls:
        behind_tls.user("li", Role.READER)
        client = behind_tls.client(url="https://127.0.0.1")
        answer = log_in(client, "li")
        (cookie,) = [c for c in answer.headers.get_list("set-cookie") if c.startswith("__Host-")]
        assert "Secure" in cookie
        assert "Path=/;" in cookie
        assert "Strict-Transport-Security" in answer.headers
        assert client.get("/account").status_code == 200


def test_a_session_that_a_browser_brings_along_is_never_taken_over(house: House) -> None:
    client = house.client()
    client.cookies.set(COOKIE, "A" * 43, domain="127.0.0.1")
    answer = log_in(client, "li")
    assert f"{COOKIE}={'A' * 43}" not in answer.headers["set-cookie"]
    stranger = house.client()
    stranger.cookies.set(COOKIE, "A" * 43, domain="127.0.0.1")
    assert stranger.get("/account").status_code == 401


def test_a_second_log_in_is_a_second_session(house: House) -> None:
    first, second = house.logged_in("li"), house.logged_in("li")
    assert first.cookies[COOKIE] != second.cookies[COOKIE]


@pytest.mark.parametrize("name", ["li", "nobody"])
def test_a_wrong_name_and_a_wrong_password_look_the_same(house: House, name: str) -> None:
    client = house.client()
    answer = log_in(client, name, "a wrong password")
    text = answer.text.replace(form_token(answer), "")
    reference = log_in(client, "somebody", "else entirely")
    assert text == reference.text.replace(form_token(reference), "")
    assert answer.status_code == 401
    assert COOKIE not in client.cookies


def test_what_was_typed_is_not_shown_again(house: House) -> None:
    answer = log_in(house.client(), "<script>li", "a wrong password")
    assert "script" not in answer.text
    assert "a wrong password" not in answer.text


def test_after_some_failures_the_page_says_how_long_to_wait(house: House) -> None:
    client = house.client()
    for _ in range(FREE_FOR_NAME):
        assert log_in(client, "li", "a wrong password").status_code == 401
    answer = log_in(client, "li")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "2")
    house.clock.now += 2
    assert log_in(client, "li").status_code == 303


def test_a_form_that_our_page_did_not_make_logs_nobody_in(house: House) -> None:
    client = house.client()
    fields = {"name": "li", "password": PASSWORD}
    assert client.post("/login", data=fields).status_code == 403
    # A page elsewhere can choose the field, not the cookie.
    client.get("/login")
    assert client.post("/login", data=fields | {"csrf_token": "x"}).status_code == 403
    client.cookies.delete(FORM_COOKIE)
    assert client.post("/login", data=fields | {"csrf_token": ""}).status_code == 403


def test_a_form_sent_from_elsewhere_logs_nobody_in(house: House) -> None:
    client = house.client()
    client.headers["Origin"] = "http://evil.example"
    assert log_in(client, "li").status_code == 403


def test_a_log_out_ends_the_session_not_only_the_cookie(house: House) -> None:
    client = house.logged_in("li")
    secret = client.cookies[COOKIE]
    assert client.post("/logout").status_code == 303
    assert COOKIE not in client.cookies
    client.cookies.set(COOKIE, secret, domain="127.0.0.1")
    assert client.get("/account").status_code == 401


def test_a_link_does_not_log_out(house: House) -> None:
    client = house.logged_in("li")
    assert client.get("/logout").status_code == 405
    assert client.get("/account").status_code == 200


def test_the_page_speaks_the_browsers_language_or_the_chosen_one(house: House) -> None:
    client = house.client()
    chinese = client.get("/login", headers={"Accept-Language": "zh-CN"})
    assert 'lang="zh-CN"' in chinese.text
    assert chinese.headers["Content-Language"] == "zh-CN"
    chosen = client.get("/login", params={"language": "en"}, headers={"Accept-Language": "zh"})
    assert '<html lang="en"' in chosen.text
    assert client.get("/login", params={"language": "xx"}).status_code == 200


@pytest.mark.parametrize(
    ("demonstration", "where", "gets_in"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"address": "10.0.0.9"}, False),
        (True, {"url": "http://10.0.0.5:8042"}, False),
    ],
)
def test_the_demonstration_log_in_is_for_this_machine_and_demonstration_data(
    tmp_path_factory: pytest.TempPathFactory,
    demonstration: bool,
    where: dict[str, str],
    gets_in: bool,
) -> None:
    folder = tmp_path_factory.mktemp("demonstration")
    with a_house(folder, demonstration=demonstration) as house:
        public.ensure_demonstration(house.engine, house.clock.now)
        client = house.client(**where)
        answer = log_in(client, public.NAME, public.PASSWORD)
        assert (answer.status_code == 303) == gets_in
        if not gets_in:
            assert public.PASSWORD not in client.get("/login").text


@pytest.mark.parametrize("meant", [{"hosts": "reader.example"}, {"secure_cookies": True}])
def test_a_service_for_others_has_no_demonstration_log_in(
    tmp_path_factory: pytest.TempPathFactory, meant: dict[str, Any]
) -> None:
    folder = tmp_path_factory.mktemp("demonstration")
    with a_house(folder, demonstration=True, **meant) as house:
        public.ensure_demonstration(house.engine, house.clock.now)
        client = house.client()
        assert public.PASSWORD not in client.get("/login").text
        assert log_in(client, public.NAME, public.PASSWORD).status_code != 303


def test_a_demonstration_session_is_worth_nothing_from_elsewhere(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with a_house(tmp_path_factory.mktemp("demonstration"), demonstration=True) as house:
        public.ensure_demonstration(house.engine, house.clock.now)
        here, elsewhere = house.client(), house.client(address="10.0.0.9")
        log_in(here, public.NAME, public.PASSWORD)
        elsewhere.cookies.set(COOKIE, here.cookies[COOKIE], domain="127.0.0.1")
        assert here.get("/account").status_code == 200
        assert elsewhere.get("/account").status_code == 401
