"""A real browser's forms are taken for our own, over plain http too."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from serving.accounts.caller import Role
from tests.serving.house import PASSWORD, House, a_house, listening
from tests.serving.web.browser import CHROMIUM

pytestmark = [pytest.mark.services, pytest.mark.slow]

# To a browser not this machine, so that without TLS it says less of where a form comes from.
ELSEWHERE = "firstread.test"


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, str]]:
    with a_house(tmp_path_factory.mktemp("browser"), hosts=ELSEWHERE) as house:
        house.user("li", Role.READER)
        with listening(house.app) as url:
            yield house, url.rpartition(":")[2]


@pytest.mark.parametrize("host", ["127.0.0.1", ELSEWHERE])
def test_a_form_logs_in_changes_something_and_logs_out(there: tuple[House, str], host: str) -> None:
    with sync_playwright() as playwright:
        rules = f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1"
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", rules]
        )
        page = browser.new_page(locale="en-US")
        page.goto(f"http://{host}:{there[1]}/account")
        page.fill("#name", "li")
        page.fill("#password", PASSWORD)
        page.click("main button")
        assert page.url.endswith("/account")
        page.select_option("#language", "zh-CN")
        page.click("main form >> nth=0 >> button")
        assert page.get_attribute("html", "lang") == "zh-CN"
        page.select_option("#language", "en")
        page.click("main form >> nth=0 >> button")
        page.click("form.who button")
        assert page.url.endswith("/login")
        browser.close()


def test_a_form_of_another_page_changes_nothing(there: tuple[House, str], tmp_path: Path) -> None:
    house, port = there
    foreign = tmp_path / "foreign.html"
    foreign.write_text(
        f'<form method="post" action="http://127.0.0.1:{port}/preferences">'
        '<input name="theme" value="dark"><button>x</button></form>'
    )
    own = house.logged_in("li")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page()
        secret, at = own.cookies["firstread"], f"http://127.0.0.1:{port}"
        page.context.add_cookies([{"name": "firstread", "value": secret, "url": at}])
        page.goto(foreign.as_uri())
        page.click("button")
        page.wait_for_load_state()
        browser.close()
    assert "data-theme" not in own.get("/account").text
