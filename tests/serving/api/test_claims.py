"""Claims over HTTP: who may, what is answered, and what a conflict tells."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.accounts.caller import Role
from serving.database.engine import writing
from tests.serving.house import House, a_house
from tests.serving.worklist.cases import ACase, add_cases, add_sites

POOL = "/api/v1/pools/default"


@pytest.fixture
def house(database: str, tmp_path: Path) -> Iterator[House]:
    with a_house(tmp_path) as house:
        with writing(house.engine) as connection:
            add_sites(connection)
        for name in ("one", "two"):
            house.user(name, Role.READER)
        yield house


def add(house: House, *cases: ACase) -> list[str]:
    with writing(house.engine) as connection:
        return add_cases(connection, list(cases))


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    told: dict[str, Any] = answer.json()
    return told


def test_the_next_case_is_claimed_kept_and_given_back(house: House) -> None:
    (case_id,) = add(house, ACase(arrived_at=house.clock.now - 60))
    one = house.logged_in("one")
    assert [pool["code"] for pool in one.get("/api/v1/pools").json()] == ["default"]
    (coming,) = one.get(f"{POOL}/next-up").json()
    claim = one.post(f"{POOL}/next").json()["claim"]
    assert (claim["case_id"], claim["rule"]) == (coming["case_id"], coming["rule"]) == (
        case_id, "class",
    )  # fmt: skip
    assert one.get("/api/v1/claims").json() == [claim]
    assert one.post(f"{POOL}/next").json() == {"claim": None}
    house.clock.now += 600
    fence = {"fence": claim["fence"]}
    later = one.post(f"/api/v1/cases/{case_id}/claim/heartbeat", json=fence).json()
    assert later["lease_until"] == claim["lease_until"] + 600
    for _ in range(2):
        answer = one.post(f"/api/v1/cases/{case_id}/claim/release", json=fence)
        assert (answer.status_code, answer.content) == (204, b"")
    assert one.get("/api/v1/claims").json() == []
    listed = one.get("/api/v1/worklist").json()["cases"]
    assert [row["reading_state"] for row in listed] == ["routed"]


def test_a_conflict_tells_who_holds_the_case(house: House) -> None:
    (case_id,) = add(house, ACase())
    one, two = house.logged_in("one"), house.logged_in("two")
    path = f"/api/v1/cases/{case_id}/claim"
    claim = one.post(path, json={"version": 1}).json()
    assert claim["rule"] == "chosen"
    told = problem(two.post(path, json={"version": 1}), 409)
    assert (told["code"], told["current"]["holder"]) == ("case-held", "one")
    assert told["current"]["lease_until"] == claim["lease_until"]
    told = problem(two.post(f"{path}/heartbeat", json={"fence": claim["fence"]}), 409)
    assert told["code"] == "fence-stale"
    one.post(f"{path}/release", json={"fence": claim["fence"]})
    told = problem(two.post(path, json={"version": 1}), 409)
    assert (told["code"], told["current"]["version"]) == ("case-changed", 3)


def test_the_same_request_with_the_same_key_gets_the_same_case(house: House) -> None:
    add(house, ACase(), ACase())
    one = house.logged_in("one")
    key = {"Idempotency-Key": "5f2c"}
    first, again = (one.post(f"{POOL}/next", headers=key).json() for _ in range(2))
    other = one.post(f"{POOL}/next", headers={"Idempotency-Key": "5f2d"}).json()
    assert first == again
    assert first["claim"]["case_id"] != other["claim"]["case_id"]
    told = problem(one.post(f"{POOL}/next", headers={"Idempotency-Key": "a b"}), 400)
    assert told["code"] == "bad-request"


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/api/v1/pools/nowhere/next", None, 404, "pool-unknown"),
        ("/api/v1/cases/none/claim", {"version": 1}, 404, "not-found"),
        ("/api/v1/cases/none/claim/heartbeat", {"fence": 1}, 404, "not-found"),
        ("/api/v1/cases/none/claim/release", {"fence": 1}, 404, "not-found"),
        ("/api/v1/cases/none/claim", {}, 400, "bad-request"),
        ("/api/v1/cases/none/claim", {"version": 2**40}, 400, "bad-request"),
        ("/api/v1/cases/none/claim/release", {"fence": "x"}, 400, "bad-request"),
    ],
)
def test_what_makes_no_sense_has_a_code(
    house: House, path: str, body: object, status: int, code: str
) -> None:
    answer = house.logged_in("one").post(path, json=body)
    assert problem(answer, status)["code"] == code


def test_a_sender_and_its_token_claim_nothing(house: House) -> None:
    (case_id,) = add(house, ACase())
    house.user("gate", Role.SENDER, 1)
    for client in (house.logged_in("gate"), house.client(house.token(1))):
        for path in (f"{POOL}/next", f"/api/v1/cases/{case_id}/claim"):
            assert problem(client.post(path, json={"version": 1}), 403)["code"] == "not-allowed"


def test_a_reader_of_one_hospital_claims_its_cases_alone(house: House) -> None:
    own, foreign = add(house, ACase(site_id=1), ACase(site_id=2, arrived_at=0.0))
    house.user("local", Role.READER, 1)
    local = house.logged_in("local")
    assert [one["case_id"] for one in local.get(f"{POOL}/next-up").json()] == [own]
    assert local.post(f"{POOL}/next").json()["claim"]["case_id"] == own
    told = problem(local.post(f"/api/v1/cases/{foreign}/claim", json={"version": 1}), 404)
    assert told["code"] == "not-found"


def test_every_address_of_claims_and_its_problems_are_described(house: House) -> None:
    document = house.logged_in("one").get("/api/v1/openapi.json").json()
    ours = {
        (path, method): told
        for path, methods in document["paths"].items()
        for method, told in methods.items()
        if "claims" in told.get("tags", ())
    }
    assert len(ours) == 7
    for (_, method), told in ours.items():
        assert told["summary"]
        problems = {"401", "403"} | ({"409", "503"} if method == "post" else set())
        assert problems <= set(told["responses"])
        assert "application/problem+json" in told["responses"]["403"]["content"]
    assert document["components"]["schemas"]["Problem"]["required"]
