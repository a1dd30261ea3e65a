"""The pages in a real browser, against the real service: what a reader sees and does."""

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from sqlalchemy import select

from serving.database.engine import reading, writing
from serving.database.tables import cases, views
from serving.events.log import Kind
from serving.studies.case_rows import change_case, tell
from serving.worklist.states import AiState
from tests.serving.web.browser import CHROMIUM, accessibility_faults, launch
from tests.serving.web.documents import a_document, a_finding, a_gap, change_state, finish
from tests.serving.web.running import PASSWORD, PING_S, Running, running
from tests.serving.worklist.cases import ACase, add_cases, many_cases

pytestmark = [pytest.mark.services, pytest.mark.xdist_group("browser")]
if not CHROMIUM.exists():
    pytestmark.append(pytest.mark.skip(reason="needs Debian's chromium"))

HOSTILE = "<script>alert(1)</script><b>x</b>^\u202eevil\u200f" + "长" * 240


@dataclass
class Watched:
    """What went wrong in a browser, whatever page it was on."""

    origin: str
    faults: list[str] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    # A page that is left cuts its requests, and so does a newer question of the same form; what
    # really fails is told by the browser, too.
    cut: tuple[str, ...] = ("htmx:afterRequest", "htmx:sendError", "htmx:sendAbort")
    # A lost connection is told by the browser's console, and is what some tests are about.
    allowed: tuple[str, ...] = ()

    def watch(self, context: BrowserContext) -> None:
        context.on("console", lambda message: self._say(message.type, message.text))
        context.on("weberror", lambda error: self._say("error", str(error.error)))
        context.on("request", lambda request: self._went(request.url))

    def _say(self, kind: str, said: str) -> None:
        if kind in ("error", "warning") and not any(
            part in said for part in self.allowed + self.cut
        ):
            self.faults.append(said)

    def streams(self) -> int:
        """Return how many streams were ever opened."""
        return sum("/events" in url for url in self.urls)

    def _went(self, url: str) -> None:
        self.urls.append(url)
        if not url.startswith((self.origin, "data:", "blob:")):
            self.faults.append(f"left the origin: {url}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        made = launch(playwright)
        yield made
        made.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("house")) as it:
        fill(it)
        yield it


def fill(it: Running) -> None:
    """Put in one case of every kind, and many more."""
    named = {
        "large": ACase(name="WANG^WEI=王^伟", patient_id="P100", arrived_at=it.now - 600),
        "limits": ACase(name="LI^NA=李^娜", patient_id="P200", site_id=2, arrived_at=it.now - 900),
        "missing": ACase(name="ZHAO^MIN=赵^敏", patient_id="P300", arrived_at=it.now - 800),
        "clean": ACase(name="SUN^LI=孙^丽", patient_id="P400", arrived_at=it.now - 700),
        "hostile": ACase(name=HOSTILE, patient_id="P500", arrived_at=it.now - 500),
        "moving": ACase(name="ZHOU^JIE=周^杰", patient_id="P600", arrived_at=it.now - 400),
    }
    with writing(it.service.engine) as connection:
        it.ids = dict(zip(named, add_cases(connection, list(named.values())), strict=True))
        add_cases(connection, many_cases(120, seed=3, now=it.now, site_count=2))
    finish(
        it, it.ids["large"],
        a_document(a_finding(1, 18.3, 0.94), a_finding(2, 3.4, 0.41, "left", None)), it.now,
    )  # fmt: skip
    finish(
        it, it.ids["limits"],
        a_document(a_finding(1, 7.1, 0.8), status="limits", reasons=[a_gap(-102.0, 2)]), it.now,
    )  # fmt: skip
    finish(
        it, it.ids["missing"],
        a_document(status="resend", reasons=[a_gap(-112.5, 13), a_gap(-50.0, 4)]), it.now,
    )  # fmt: skip
    finish(it, it.ids["clean"], a_document(), it.now)


Open = Callable[..., Page]


@pytest.fixture
def watched(house: Running) -> Iterator[Watched]:
    found = Watched(house.url)
    yield found
    assert found.faults == []


@pytest.fixture
def visit(browser: Browser, house: Running, watched: Watched) -> Iterator[Open]:
    """Give a function that logs in and opens a page, in a browser of its own."""
    contexts = []

    def _visit(path: str = "/", name: str = "reader", **options: Any) -> Page:
        context = browser.new_context(
            **{"viewport": {"width": 1366, "height": 768}, "locale": "en-GB", **options}
        )
        context.set_default_timeout(10_000)
        contexts.append(context)
        watched.watch(context)
        page = context.new_page()
        page.goto(house.url + path)
        page.get_by_label("Name", exact=True).or_(page.locator("#name")).first.fill(name)
        page.locator("#password").fill(PASSWORD)
        page.locator("button.strong").click()
        page.wait_for_url(house.url + path)
        return page

    yield _visit
    for context in contexts:
        context.close()


def tell_of(it: Running, case_id: str) -> None:
    """Let a case change in nothing that is seen."""
    with writing(it.service.engine) as connection:
        study_id = connection.execute(
            select(cases.c.study_id).where(cases.c.id == case_id)
        ).scalar_one()
        changed = change_case(connection, study_id, {})
        tell(connection, changed, Kind.SETTLED, {"instances": 240}, it.now)


def rows(page: Page) -> list[str]:
    return [row.get_attribute("data-case") or "" for row in page.locator("tr[data-case]").all()]


def test_nobody_sees_the_list_without_a_log_in(
    browser: Browser, house: Running, watched: Watched
) -> None:
    context = browser.new_context()
    watched.watch(context)
    page = context.new_page()
    page.goto(house.url + "/cases/" + house.ids["large"])
    expect(page).to_have_url(re.compile(r"/login\?"))
    page.locator("#name").fill("reader")
    page.locator("#password").fill("not it")
    watched.allowed = ("401", "403", "422")
    page.locator("button.strong").click()
    expect(page.locator(".banner.bad")).to_be_visible()
    context.close()


def test_the_critical_case_stands_above_those_that_are_due_earlier(
    visit: Open, house: Running
) -> None:
    page = visit()
    page.get_by_label("Search").fill("P")
    large = page.locator(f"#case-{house.ids['large']}")
    expect(large).to_contain_text("AI critical")
    expect(large).to_contain_text("Finding of 18.3 mm, score 0.94")
    expect(large).to_contain_text("2 findings")


def test_not_analysed_looks_like_nothing_else(visit: Open, house: Running) -> None:
    page = visit()
    page.get_by_label("Search").fill("P300")
    expect(page.locator("tr[data-case]")).to_have_count(1)
    cell = page.locator("td.ai .unanalysed")
    expect(cell).to_contain_text("NOT ANALYSED")
    expect(cell).to_contain_text("resend asked")
    expect(cell).to_contain_text("13 slice(s) missing")
    page.get_by_label("Search").fill("P400")
    expect(page.locator("td.ai")).to_contain_text("0 findings")
    expect(page.locator("td.ai .unanalysed")).to_have_count(0)


def test_a_change_comes_to_the_list_by_itself_and_the_focus_stays(
    visit: Open, house: Running
) -> None:
    page = visit()
    page.get_by_label("Search").fill("周杰")
    expect(page.locator("tr[data-case]")).to_have_count(1)
    row = page.locator(f"#case-{house.ids['moving']}")
    row.locator("a").focus()
    change_state(house, house.ids["moving"], AiState.ANALYSING, Kind.ANALYSING, house.now)
    expect(row.locator("td.ai")).to_contain_text("Analysing")
    expect(row.locator("a")).to_be_focused()
    expect(row).to_have_class(re.compile("changed"))


def test_a_page_waits_at_most_six_tenths_of_a_second_with_what_it_heard(
    visit: Open, house: Running
) -> None:
    # By the page's own clock, which stands still: a busy machine makes no difference.
    page = visit()
    page.context.add_init_script("Math.random = () => 0.999")
    page.clock.install()
    page.reload()
    page.evaluate(
        """() => {
            window.heard = 0;
            new BroadcastChannel("firstread-events").onmessage =
                ({ data }) => { if (data.kind === "case") window.heard += 1; };
        }"""
    )
    page.clock.pause_at(time.time() + 60)
    # The second and the third come just after the page was made fresh: the longest wait.
    for count in (1, 2, 3):
        tell_of(house, house.ids["clean"])
        until = time.monotonic() + 10
        while page.evaluate("window.heard") < count:
            assert time.monotonic() < until, "the page did not hear of the change"
            time.sleep(0.02)
        with page.expect_response("**/worklist"):
            page.clock.run_for(600)


@pytest.mark.parametrize("pressed", ["#state-waiting", "#page-after"])
def test_a_change_leaves_the_focus_on_a_button_of_the_list(
    visit: Open, house: Running, pressed: str
) -> None:
    page = visit()
    page.locator(pressed).focus()
    was = page.locator(pressed).element_handle()
    tell_of(house, house.ids["moving"])
    page.wait_for_function("button => !button.isConnected", arg=was)
    expect(page.locator(pressed)).to_be_focused()


@pytest.mark.parametrize("link", ["#to-finding-1", "#image-1", "[id='download-seg.dcm']"])
def test_a_change_leaves_the_focus_where_it_is_on_a_case(
    visit: Open, house: Running, link: str
) -> None:
    page = visit(f"/cases/{house.ids['large']}")
    page.locator(link).focus()
    was = page.locator(link).element_handle()
    tell_of(house, house.ids["large"])
    page.wait_for_function("link => !link.isConnected", arg=was)
    expect(page.locator(link)).to_be_focused()


def test_whatever_can_have_the_focus_has_an_id_of_its_own(visit: Open, house: Running) -> None:
    nameless = """part => [...document.querySelectorAll(`${part} :is(a, button, [tabindex])`)]
        .filter(it => !it.id || document.querySelectorAll(`[id="${it.id}"]`).length > 1)
        .map(it => it.outerHTML)"""
    page = visit()
    assert page.evaluate(nameless, "#worklist") == []
    page.get_by_label("Search").fill("nobody")
    expect(page.locator("#show-all")).to_be_visible()
    assert page.evaluate(nameless, "#worklist") == []
    for name in ("large", "limits", "missing"):
        page.goto(f"{house.url}/cases/{house.ids[name]}")
        assert page.evaluate(nameless, "#case") == []


def test_a_row_that_leaves_the_list_stays_under_the_cursor(visit: Open, house: Running) -> None:
    # Before the page is open: a list that is renewed by the event may take the button away.
    change_state(house, house.ids["moving"], AiState.WAITING, Kind.SETTLED, house.now)
    page = visit()
    page.get_by_role("button", name="Waiting for analysis").click()
    row = page.locator(f"#case-{house.ids['moving']}")
    row.locator("a").focus()
    change_state(house, house.ids["moving"], AiState.ANALYSING, Kind.ANALYSING, house.now)
    expect(row).to_have_class(re.compile("gone"))
    expect(row.locator("a")).to_be_focused()


@pytest.mark.parametrize("typed", ["王伟", "wang wei", "P100"])
def test_a_search_finds_and_stands_in_no_address(visit: Open, house: Running, typed: str) -> None:
    page = visit()
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    page.get_by_label("Search").fill(typed)
    expect(page.locator("tr[data-case]").first).to_contain_text("王伟")
    page.wait_for_function("() => !document.querySelector('.htmx-request')")
    assert house.ids["large"] in rows(page)
    assert not [url for url in urls if "wang" in url.lower() or "%E7" in url or "P100" in url]
    assert page.url == house.url + "/"


@pytest.mark.parametrize("has_scripts", [True, False])
def test_enter_in_the_search_keeps_the_state_that_was_chosen(
    visit: Open, house: Running, has_scripts: bool
) -> None:
    page = visit(java_script_enabled=has_scripts)
    page.get_by_role("button", name="Not analysed").click()
    chosen = page.locator(".states button[aria-pressed=true]")
    expect(chosen).to_contain_text("Not analysed")
    page.get_by_label("Search").fill("P300")
    page.get_by_label("Search").press("Enter")
    expect(page.locator("tr[data-case]")).to_have_count(1)
    expect(chosen).to_contain_text("Not analysed")


@pytest.mark.parametrize("way", ["browser", "key", "link"])
def test_the_search_is_still_there_after_coming_back_from_a_case(
    visit: Open, house: Running, way: str
) -> None:
    page = visit()
    page.get_by_label("Search").fill("P300")
    expect(page.locator("tr[data-case]")).to_have_count(1)
    page.wait_for_function("() => history.state && history.state.search === 'P300'")
    page.locator("tr[data-case] a").click()
    page.wait_for_url(re.compile("/cases/"))
    match way:
        case "browser":
            page.go_back()
        case "key":
            expect(page.locator("body")).to_have_attribute("data-live", "true")
            page.keyboard.press("u")
        case _:
            page.locator("#back").click()
    expect(page.get_by_label("Search")).to_have_value("P300")
    expect(page.locator("tr[data-case]")).to_have_count(1)


def test_pages_lead_forwards_and_back_without_loss(visit: Open, house: Running) -> None:
    page = visit()
    seen = rows(page)
    assert len(seen) == 50
    for _ in range(2):
        first = rows(page)[0]
        page.get_by_role("button", name="Next").click()
        expect(page.locator(f"#case-{first}")).to_have_count(0)
        seen += rows(page)
    assert len(seen) == len(set(seen)) == 126
    page.go_back()
    expect(page.locator("tr[data-case]").first).to_have_attribute("data-case", seen[50])
    page.get_by_role("button", name="First page").click()
    expect(page.locator("tr[data-case]").first).to_have_attribute("data-case", seen[0])


def test_the_list_is_walked_by_keys_alone(visit: Open, house: Running) -> None:
    page = visit()
    shown = rows(page)
    for key in "jjk":
        page.keyboard.press(key)
    expect(page.locator(f"#open-{shown[0]}")).to_be_focused()
    page.keyboard.press("/")
    expect(page.get_by_label("Search")).to_be_focused()
    page.keyboard.type("jk?")
    expect(page.get_by_label("Search")).to_have_value("jk?")
    page.get_by_label("Search").fill("")
    expect(page.locator("tr[data-case]")).to_have_count(50)
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{house.url}/cases/{shown[0]}")


def test_single_keys_can_be_switched_off(visit: Open, house: Running) -> None:
    page = visit()
    page.get_by_role("button", name="Keys").click()
    page.get_by_label("Use single keys").uncheck()
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("/")
    expect(page.get_by_label("Search")).not_to_be_focused()


def test_a_case_shows_its_findings_with_pictures_and_where_they_come_from(
    visit: Open, house: Running
) -> None:
    page = visit(f"/cases/{house.ids['large']}")
    expect(page.get_by_role("heading", level=1)).to_have_text("WANG WEI (王伟)")
    first = page.locator("table.findings tbody tr").first
    for said in ("right lung, upper third", "18.3", "19.5 × 17.1", "3187", "0.94", "37–45 (41)"):
        expect(first).to_contain_text(said)
    second = page.locator("table.findings tbody tr").nth(1)
    expect(second).to_contain_text("below 4 mm, the model was made for 4 to 40 mm")
    pictures = page.locator("figure img")
    expect(pictures).to_have_count(2)
    pictures.nth(1).scroll_into_view_if_needed()
    page.wait_for_function("() => [...document.images].every(i => i.complete && i.naturalWidth)")
    expect(page.get_by_text("Decision support, not a diagnosis.").first).to_be_visible()
    how = page.get_by_role("region", name="How it was analysed")
    expect(how).to_contain_text("3 肺 1.25 mm (240 images)")
    expect(how).to_contain_text("balanced (≥ 0.324)")
    with page.expect_download() as download:
        page.get_by_role("link", name="seg.dcm").click()
    assert Path(download.value.path()).read_bytes() == b"a SEG"
    with reading(house.service.engine) as connection:
        looked = {row.what for row in connection.execute(views.select())}
    assert {"case", "seg.dcm", "key_images/1.png"} <= looked


def test_a_case_that_was_not_analysed_says_why_and_what_to_send(
    visit: Open, house: Running
) -> None:
    page = visit(f"/cases/{house.ids['missing']}")
    box = page.locator("section.unanalysed")
    expect(box).to_contain_text("NOT ANALYSED")
    expect(box).to_contain_text("13 slice(s) missing between -120.5 mm and -104.5 mm")
    expect(box).to_contain_text("does not mean that there is none")
    resend = page.get_by_role("region", name="Please send again").first
    expect(resend.locator("tbody tr")).to_have_count(2)
    expect(resend).to_contain_text("-112.5 mm (-120.5 … -104.5 mm)")
    expect(page.locator("table.findings")).to_have_count(0)


def test_a_case_page_hears_that_its_result_was_superseded(visit: Open, house: Running) -> None:
    page = visit(f"/cases/{house.ids['limits']}")
    change_state(house, house.ids["limits"], AiState.RECEIVING, Kind.RECEIVED, house.now)
    expect(page.get_by_text("A newer analysis is under way.")).to_be_visible()
    change_state(house, house.ids["limits"], AiState.WAITING, Kind.SETTLED, house.now)
    finish(house, house.ids["limits"], a_document(a_finding(1, 7.2, 0.85)), house.now)
    expect(page.get_by_text("The whole series was analysed.")).to_be_visible()
    expect(page.get_by_role("region", name="Earlier results")).to_be_visible()
    expect(page.get_by_role("region", name="History")).to_contain_text("gave way to a newer one")


def test_a_result_of_fewer_images_than_arrived_says_so(visit: Open, house: Running) -> None:
    case = house.ids["limits"]
    page = visit(f"/cases/{case}")
    expect(page.get_by_text("of fewer images than have arrived")).to_have_count(0)
    change_state(house, case, AiState.RECEIVING, Kind.RECEIVED, house.now)
    change_state(house, case, AiState.WAITING, Kind.SETTLED, house.now)
    change_state(house, case, AiState.NOT_ANALYSED, Kind.ANALYSING, house.now)
    expect(page.get_by_text("of fewer images than have arrived")).to_be_visible()
    change_state(house, case, AiState.WAITING, Kind.SETTLED, house.now)
    finish(house, case, a_document(a_finding(1, 7.2, 0.85)), house.now)
    expect(page.get_by_text("of fewer images than have arrived")).to_have_count(0)


def test_a_lost_stream_is_told_and_what_was_missed_is_there_after(
    visit: Open, house: Running, watched: Watched
) -> None:
    watched.allowed = ("ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED", "ERR_EMPTY_RESPONSE",
                       "ERR_CONNECTION_RESET", "Failed to load resource", "ERR_FAILED")  # fmt: skip
    page = visit()
    page.get_by_label("Search").fill("P600")
    row = page.locator(f"#case-{house.ids['moving']}")
    expect(row).to_be_visible()
    expect(page.locator("#live")).to_have_text("live")
    began = time.monotonic()
    house.stop()
    # An open stream does not hold the service up.
    assert time.monotonic() - began < 4
    expect(page.locator("#stale")).to_be_visible(timeout=20 * 1000 * PING_S)
    expect(page.locator("#live")).to_have_text("not live")
    change_state(house, house.ids["moving"], AiState.WAITING, Kind.SETTLED, house.now)
    house.service.engine.dispose()
    house.prepare()
    house.start()
    expect(row.locator("td.ai")).to_contain_text("Waiting for analysis")
    expect(page.locator("#stale")).to_be_hidden()


def test_two_tabs_share_one_stream(visit: Open, house: Running, watched: Watched) -> None:
    first = visit()
    expect(first.locator("#live")).to_have_text("live")
    second = first.context.new_page()
    second.goto(f"{house.url}/cases/{house.ids['clean']}")
    expect(second.locator("#live")).to_have_text("live")
    change_state(house, house.ids["clean"], AiState.RECEIVING, Kind.RECEIVED, house.now)
    second.bring_to_front()
    expect(second.get_by_text("A newer analysis is under way.")).to_be_visible()
    change_state(house, house.ids["clean"], AiState.WAITING, Kind.SETTLED, house.now)
    finish(house, house.ids["clean"], a_document(), house.now)
    expect(second.get_by_text("A newer analysis is under way.")).to_be_hidden()
    assert watched.streams() == 1
    first.close()
    change_state(house, house.ids["clean"], AiState.RECEIVING, Kind.RECEIVED, house.now)
    expect(second.get_by_text("A newer analysis is under way.")).to_be_visible()
    assert watched.streams() == 2
    change_state(house, house.ids["clean"], AiState.WAITING, Kind.SETTLED, house.now)
    finish(house, house.ids["clean"], a_document(), house.now)


def test_another_hospitals_case_is_not_there(visit: Open, house: Running, watched: Watched) -> None:
    page = visit(name="county")
    expect(page.locator("#site")).to_have_count(0)
    assert house.ids["limits"] in rows(page) or page.get_by_role("button", name="Next").count()
    page.get_by_label("Search").fill("P100")
    expect(page.get_by_text("No case matches")).to_be_visible()
    watched.allowed = ("404",)
    answer = page.goto(f"{house.url}/cases/{house.ids['large']}")
    assert answer is not None
    assert answer.status == 404
    assert "王" not in page.content()


def test_the_language_is_chosen_and_kept(visit: Open, house: Running) -> None:
    page = visit(f"/cases/{house.ids['missing']}", name="admin")
    page.get_by_role("button", name="中文").click()
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    expect(page.locator("section.unanalysed")).to_contain_text("缺少 13 层")
    expect(page.get_by_role("heading", level=1)).to_have_text("赵敏")
    page.goto(house.url)
    expect(page.get_by_role("heading", level=1)).to_have_text("工作列表")
    session = page.context.new_cdp_session(page)
    session.send("DOM.enable")
    session.send("CSS.enable")
    document = session.send("DOM.getDocument")
    node = session.send(
        "DOM.querySelector", {"nodeId": document["root"]["nodeId"], "selector": "h1"}
    )
    fonts = session.send("CSS.getPlatformFontsForNode", {"nodeId": node["nodeId"]})["fonts"]
    assert any("CJK SC" in font["familyName"] for font in fonts), fonts
    page.get_by_role("button", name="English").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")


def test_hostile_names_are_text_and_stay_in_their_cell(visit: Open, house: Running) -> None:
    page = visit()
    page.get_by_label("Search").fill("P500")
    cell = page.locator(f"#case-{house.ids['hostile']} .patient")
    expect(cell).to_contain_text("<script>alert(1)</script>")
    assert page.locator("tr[data-case] b", has_text="x").count() == 0
    hospital = page.locator(f"#case-{house.ids['hostile']} .hospital")
    name_box, hospital_box = cell.bounding_box(), hospital.bounding_box()
    assert name_box is not None
    assert hospital_box is not None
    assert name_box["x"] + name_box["width"] <= hospital_box["x"] + 1
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_phone_shows_list_and_case_without_scrolling_sideways(
    visit: Open, house: Running
) -> None:
    page = visit(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("searchbox").fill("P100")
    row = page.locator(f"#case-{house.ids['large']}")
    expect(row).to_contain_text("2 findings")
    row.locator("td.ai").tap()
    page.wait_for_url(re.compile("/cases/"))
    expect(page.locator("table.findings")).to_contain_text("18.3")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    box = page.locator("table.findings tbody tr").first.bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= 360


def test_on_a_phone_a_long_name_ends_before_the_class_and_no_column_is_cut(
    visit: Open, house: Running
) -> None:
    page = visit(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page.get_by_role("searchbox").fill("P500")
    row = page.locator(f"#case-{house.ids['hostile']}")
    expect(page.locator("tr[data-case]")).to_have_count(1)
    name, badge = row.locator("a").bounding_box(), row.locator(".class").bounding_box()
    assert name is not None
    assert badge is not None
    assert name["x"] + name["width"] < badge["x"]
    page.goto(f"{house.url}/cases/{house.ids['missing']}")
    table = page.locator("#resend")
    assert table.evaluate("list => list.scrollWidth <= list.clientWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_fault_of_accessibility(visit: Open, house: Running, scheme: str) -> None:
    page = visit(color_scheme=scheme)
    found = {"list": accessibility_faults(page)}
    for name in ("large", "missing"):
        page.goto(f"{house.url}/cases/{house.ids[name]}")
        expect(page.locator("#live")).to_have_text("live")
        found[name] = accessibility_faults(page)
    page.context.clear_cookies()
    page.goto(house.url)
    found["log-in"] = accessibility_faults(page)
    assert found == {name: [] for name in found}, json.dumps(found, indent=1)


def test_the_theme_is_chosen_and_kept(visit: Open, house: Running) -> None:
    page = visit(name="admin", color_scheme="light")
    ground = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(ground)
    page.get_by_role("button", name="Dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate(ground) != before
    page.get_by_role("button", name="Light").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    page.get_by_role("button", name="As the system").click()
    expect(page.locator("html")).not_to_have_attribute("data-theme", re.compile(".+"))


def test_an_empty_list_says_what_to_do_next(browser: Browser, tmp_path: Path) -> None:
    with running(tmp_path) as it:
        context = browser.new_context(locale="en-GB")
        page = context.new_page()
        page.goto(it.url)
        page.locator("#name").fill("reader")
        page.locator("#password").fill(PASSWORD)
        page.locator("button.strong").click()
        expect(page.get_by_role("heading", name="No study has arrived yet")).to_be_visible()
        expect(page.locator("code").first).to_contain_text(f"--to {it.url}")
        with writing(it.service.engine) as connection:
            (case_id,) = add_cases(connection, [ACase(ai_state=AiState.RECEIVING)])
        change_state(it, case_id, AiState.WAITING, Kind.SETTLED, it.now)
        expect(page.locator(f"#case-{case_id}")).to_be_visible()
        context.close()
