"""What users settle for themselves."""

import pytest

from serving.accounts.caller import Role
from serving.accounts.throttle import FREE_FOR_NAME
from tests.serving.house import PASSWORD, House, log_in

NEW = "quite another password"


def change(house: House, current: str = PASSWORD, new: str = NEW, again: str = NEW) -> int:
    house.user("li", Role.READER)
    client = house.logged_in("li")
    form = {"current": current, "password": new, "again": again}
    return client.post("/account/password", data=form).status_code


def test_a_language_stays_with_the_account(house: House) -> None:
    house.user("li", Role.READER)
    client = house.logged_in("li")
    answer = client.post("/preferences", data={"language": "zh-CN", "next": "/account"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/account")
    elsewhere = house.logged_in("li")
    assert '<html lang="zh-CN"' in elsewhere.get("/account").text


def test_a_theme_does_too_and_goes_back_to_the_browsers(house: House) -> None:
    house.user("li", Role.READER)
    client = house.logged_in("li")
    client.post("/preferences", data={"theme": "dark"})
    assert 'data-theme="dark"' in client.get("/account").text
    client.post("/preferences", data={"theme": "system", "language": "system"})
    assert "data-theme" not in client.get("/account").text


@pytest.mark.parametrize("fields", [{"language": "xx"}, {"theme": "pink"}, {"theme": "<script>"}])
def test_there_is_no_other_language_and_no_other_theme(
    house: House, fields: dict[str, str]
) -> None:
    house.user("li", Role.READER)
    answer = house.logged_in("li").post("/preferences", data=fields)
    assert answer.status_code == 400
    assert "script" not in answer.text


def test_going_back_leads_to_no_other_site(house: House) -> None:
    house.user("li", Role.READER)
    answer = house.logged_in("li").post("/preferences", data={"next": "//evil.example"})
    assert answer.headers["Location"] == "/"


def test_a_program_has_no_preferences_and_no_password(house: House) -> None:
    client = house.client(house.token(house.site("county")))
    assert client.post("/preferences", data={"theme": "dark"}).status_code == 400
    assert client.post("/account/password", data={}).status_code == 400


def test_a_changed_password_is_the_one_that_counts(house: House) -> None:
    assert change(house) == 200
    assert log_in(house.client(), "li").status_code == 401
    assert log_in(house.client(), "li", NEW).status_code == 303


@pytest.mark.parametrize(
    ("current", "new", "again"),
    [("wrong password", NEW, NEW), (PASSWORD, NEW, NEW + "x"), (PASSWORD, "short", "short")],
)
def test_a_password_that_cannot_be_changed_stays(
    house: House, current: str, new: str, again: str
) -> None:
    assert change(house, current, new, again) == 422
    assert log_in(house.client(), "li").status_code == 303


def test_a_current_password_is_not_guessed_here(house: House) -> None:
    house.user("li", Role.READER)
    client = house.logged_in("li")
    form = {"current": "wrong password", "password": NEW, "again": NEW}
    answers = [client.post("/account/password", data=form) for _ in range(FREE_FOR_NAME + 1)]
    assert [answer.status_code for answer in answers] == [422] * FREE_FOR_NAME + [429]
    assert "Retry-After" in answers[-1].headers
