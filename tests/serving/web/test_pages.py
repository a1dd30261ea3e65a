"""The pages without a browser: who may see what, what a page says to a program, what is cached."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from serving.accounts.caller import Role
from serving.archive.filing import add_conflict
from serving.database.engine import writing
from serving.database.tables import cases
from serving.worklist.states import AiState
from tests.serving.house import HERE, House, a_house
from tests.serving.web.documents import a_document, a_gap, finish
from tests.serving.worklist.cases import ACase, a_finding, a_summary, add_cases


@pytest.fixture
def house(database: str, tmp_path: Path) -> Iterator[House]:
    with a_house(tmp_path) as made:
        yield made


def a_case(house: House, site_id: int, **values: Any) -> str:
    case = ACase(site_id=site_id, arrived_at=house.clock.now, **values)
    with writing(house.engine) as connection:
        return add_cases(connection, [case])[0]


def test_a_reader_sees_all_hospitals_and_a_sender_its_own(house: House) -> None:
    first, second = house.site("first"), house.site("second")
    ours, theirs = a_case(house, first), a_case(house, second)
    house.user("reader", Role.READER)
    house.user("sender", Role.SENDER, first)
    everything = house.logged_in("reader").get("/").text
    assert f"case-{ours}" in everything
    assert f"case-{theirs}" in everything
    sender = house.logged_in("sender")
    assert f"case-{theirs}" not in sender.get("/").text
    assert sender.get(f"/cases/{theirs}").status_code == 404
    assert sender.get(f"/api/v1/cases/{theirs}").status_code == 404
    assert sender.get(f"/cases/{ours}").status_code == 200


@pytest.mark.parametrize("role", [Role.RESEARCHER, Role.MLOPS])
@pytest.mark.parametrize("path", ["/cases/x", "/events", "/api/v1/worklist"])
def test_who_sees_no_patient_sees_no_list(house: House, role: Role, path: str) -> None:
    house.user("other", role)
    assert house.logged_in("other").get(path).status_code == 403


@pytest.mark.parametrize("role", [Role.RESEARCHER, Role.MLOPS])
def test_who_has_no_list_is_led_to_the_own_account(house: House, role: Role) -> None:
    house.user("other", role)
    answer = house.logged_in("other").get("/")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/account")


def test_images_that_contradict_others_are_marked_whatever_the_analysis_says(house: House) -> None:
    site = house.site("first")
    case_id = a_case(house, site, ai_state=AiState.SCORED, findings=(), summary=a_summary())
    house.user("reader", Role.READER)
    client = house.logged_in("reader")
    assert "conflicting images" not in client.get("/").text
    with writing(house.engine) as connection:
        study_id = connection.execute(
            select(cases.c.study_id).where(cases.c.id == case_id)
        ).scalar_one()
        add_conflict(
            connection,
            {
                "study_id": study_id, "site_id": site, "sop_instance_uid": "2.25.1",
                "sha256": "0" * 64, "size_bytes": 1, "received_at": 1.0,
            },
        )  # fmt: skip
    assert "conflicting images" in client.get("/").text
    (row,) = client.get("/api/v1/worklist").json()["cases"]
    assert row["has_conflicts"]


def test_faults_in_the_images_ask_for_a_new_series_and_gaps_for_what_is_missing(
    house: House,
) -> None:
    site = house.site("first")
    faulty, both = a_case(house, site), a_case(house, site)
    house.user("reader", Role.READER)
    client = house.logged_in("reader")
    doubled, gap = a_gap(-60.0, 2, "slices-doubled"), a_gap(-112.5, 13)
    finish(house, faulty, a_document(status="resend", reasons=[doubled]), house.clock.now)
    finish(house, both, a_document(status="resend", reasons=[doubled, gap]), house.clock.now)
    page = client.get(f"/cases/{faulty}").text
    assert "Please send a new series" in page
    assert "Send them into the same study" not in page
    page = client.get(f"/cases/{both}").text
    assert "Please send a new series" in page
    assert "Send them into the same study" in page
    assert page.count('<td class="position">') == 1
    asked = client.get(f"/api/v1/cases/{both}").json()["resend"]
    assert [item["cure"] for item in asked] == ["missing-images", "new-series"]


@pytest.mark.parametrize(
    "path", ["/", "/cases/x", "/events", "/api/v1/worklist", "/api/v1/cases/x",
             "/api/v1/schemas/findings.json"],
)  # fmt: skip
def test_without_a_log_in_nothing_answers(house: House, path: str) -> None:
    assert house.client().get(path).status_code == 401


def test_a_script_gets_the_part_and_a_browser_the_page(house: House) -> None:
    house.user("reader", Role.READER)
    client = house.logged_in("reader")
    page = client.post("/worklist", data={"state": "scored"})
    assert page.text.startswith("<!doctype html>")
    part = client.post("/worklist", data={"state": "scored"}, headers={"HX-Request": "true"})
    assert part.text.lstrip().startswith('<section id="worklist"')
    assert part.headers["hx-replace-url"] == "/?state=scored"


def test_after_a_search_without_scripts_the_language_can_be_changed(house: House) -> None:
    house.user("reader", Role.READER)
    client = house.logged_in("reader")
    page = client.post("/worklist", data={"state": "scored", "search": "王伟"})
    (there,) = re.findall(r'name="next" value="([^"]+)"', page.text)
    sent = {"language": "zh-CN", "next": there}
    answer = client.post("/preferences", data=sent, follow_redirects=True)
    assert (answer.status_code, str(answer.url)) == (200, f"{HERE}/?state=scored")
    assert '<html lang="zh-CN"' in answer.text


def test_the_state_of_a_case_ends_in_the_full_stop_of_its_language(house: House) -> None:
    case_id = a_case(house, house.site("first"), ai_state=AiState.ANALYSING)
    house.user("reader", Role.READER)
    client = house.logged_in("reader")
    for language, said in (("en", "Analysing."), ("zh-CN", "分析中。")):
        client.post("/preferences", data={"language": language, "next": "/"})
        assert f"<b>{said}</b>" in client.get(f"/cases/{case_id}").text


def test_the_last_state_of_a_form_counts(house: House) -> None:
    house.user("reader", Role.READER)
    client = house.logged_in("reader")
    sent = "state=scored&state=waiting"
    headers = {"HX-Request": "true", "Content-Type": "application/x-www-form-urlencoded"}
    part = client.post("/worklist", content=sent, headers=headers)
    assert part.headers["hx-replace-url"] == "/?state=waiting"


def test_what_is_no_page_of_the_list_is_refused(house: House) -> None:
    house.user("reader", Role.READER)
    assert house.logged_in("reader").get("/?after=nowhere").status_code == 400


def test_the_api_pages_searches_and_counts(house: House) -> None:
    site = house.site("first")
    for number in range(3):
        a_case(house, site, patient_id=f"P{number}")
    scored = a_case(
        house, site, ai_state=AiState.SCORED, findings=(a_finding(20.0),),
        summary=a_summary(a_finding(20.0)),
    )  # fmt: skip
    client = house.client(house.token(site))
    first = client.get("/api/v1/worklist", params={"limit": 2}).json()
    assert first["cases"][0]["case_id"] == scored
    assert first["counts"]["states"] == {
        "receiving": 0, "waiting": 3, "analysing": 0, "scored": 1, "not-analysed": 0,
    }  # fmt: skip
    second = client.get("/api/v1/worklist", params={"after": first["after"]}).json()
    assert len(second["cases"]) == 2
    assert second["after"] is None
    found = client.post("/api/v1/worklist", json={"search": "王伟 P2"}).json()
    assert [row["patient_id"] for row in found["cases"]] == ["P2"]
    only = client.get("/api/v1/worklist", params={"state": "scored", "class": "ai-critical"}).json()
    assert [row["case_id"] for row in only["cases"]] == [scored]


def test_the_api_refuses_a_misspelt_question(house: House) -> None:
    client = house.client(house.token(house.site("first")))
    assert client.get("/api/v1/worklist", params={"sate": "scored"}).status_code == 400
    assert client.get("/api/v1/worklist", params={"state": "score"}).status_code == 400
    assert client.get("/api/v1/worklist", params={"limit": 0}).status_code == 400


def test_the_schema_of_the_findings_is_published(house: House) -> None:
    client = house.client(house.token(house.site("first")))
    schema = client.get("/api/v1/schemas/findings.json").json()
    assert schema["$id"] == "urn:firstread:findings:1"
