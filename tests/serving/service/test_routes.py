"""Every route of the application: closed to strangers, and to another site what is not its own."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from fastapi.routing import APIRoute
from sqlalchemy import select
from starlette.routing import Mount, Route

from firstread.uids import uid_from
from serving.accounts.caller import Role
from serving.database.engine import writing
from serving.database.tables import cases
from serving.http.authentication import OPEN_FOLDER, OPEN_PATHS
from serving.service.app import ROUTERS
from serving.studies.result_rows import add_result
from tests.serving.api.a_server import RELATED, body_of
from tests.serving.house import House, a_house
from tests.serving.studies.a_study import an_instance
from tests.serving.web.documents import a_document

# What answers to everybody, written here once more: a new open route is a decision.
OPEN = {"/healthz", "/readyz", "/login", "/metrics"}
FINDINGS = "findings.json"
PAGE = {"Accept": "text/html"}
# What names the patient or tells of the study; an answer to a stranger has none of it.
PRIVATE = {
    "PatientName": "WANG^WEI", "PatientID": "PID8841", "PatientBirthDate": "19630412",
    "AccessionNumber": "ACC5527", "StudyDescription": "LUNGSCREEN", "StudyDate": "20260217",
    "ReferringPhysicianName": "LIDOCTOR", "SeriesDescription": "THINLUNG",
}  # fmt: skip

Asked = tuple[str, str]


def all_routes() -> list[Asked]:
    """Return method and path of every route, with the names of parameters in braces."""
    ours = sorted(
        (method, route.path)
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    )
    return [*ours, ("GET", "/api/v1/openapi.json")]


CLOSED = [(method, path) for method, path in all_routes() if path not in OPEN]
OF_SOMEBODY = [
    (method, path) for method, path in CLOSED if "{study}" in path or "{case_id}" in path
]


@dataclass
class Scene:
    """Two sites; the first has a study with one image and a result."""

    house: House
    own: httpx.Client
    other: httpx.Client
    admin: httpx.Client
    values: dict[str, str]

    def path(self, template: str) -> str:
        return template.replace(":path", "").format_map(self.values)


@pytest.fixture(scope="module")
def scene(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with a_house(tmp_path_factory.mktemp("routes")) as house:
        tokens = [house.token(house.site(code)) for code in ("county", "other")]
        own, other = (house.client(token) for token in tokens)
        house.user("root", Role.ADMIN)
        sent = own.post(
            "/dicom-web/studies", content=body_of([an_instance(1, **PRIVATE)]),
            headers={"Content-Type": RELATED, "Accept": "application/dicom+json"},
        )  # fmt: skip
        assert sent.status_code == 200, sent.text
        stored = house.app.state.service.store.put_bytes(json.dumps(a_document()).encode())
        with writing(house.engine) as connection:
            case_id = connection.execute(select(cases.c.id)).scalar_one()
            result_id = add_result(
                connection,
                {
                    "case_id": case_id, "package_name": "p", "package_version": "1",
                    "package_sha256": "0" * 64, "software_version": "1",
                    "input_sha256": "0" * 64, "generation": 1, "status": "accept",
                    "timings_s": {}, "created_at": house.clock.now,
                },
                {FINDINGS: (stored.sha256, stored.size_bytes)},
            )  # fmt: skip
        values = {
            "study": uid_from("study"), "series": uid_from("study", "CT"),
            "instance": uid_from("study", "CT", "1"), "frames": "1", "path": "7FE00010",
            "case_id": case_id, "result_id": str(result_id), "name": FINDINGS, "pool": "default",
        }  # fmt: skip
        yield Scene(house, own, other, house.logged_in("root"), values)


def told_of(answer: httpx.Response) -> set[str]:
    """Return what an answer gives away."""
    # A page writes a name with spaces, JSON a date with hyphens.
    plain = answer.text.replace("-", "").replace(" ", "^")
    return {name for name, text in PRIVATE.items() if text in plain}


def test_the_walk_sees_every_route_that_the_application_has(scene: Scene) -> None:
    included = [r for r in scene.house.app.routes if not isinstance(r, Route | Mount)]
    assert len(included) == len(ROUTERS)
    others = {r.path for r in scene.house.app.routes if isinstance(r, Route | Mount)}
    assert others == {"/api/v1/openapi.json", OPEN_FOLDER.rstrip("/")}
    assert all(isinstance(route, APIRoute) for router in ROUTERS for route in router.routes)
    assert OPEN_PATHS | {"/login"} == OPEN


@pytest.mark.parametrize("asked", CLOSED, ids=" ".join)
def test_a_program_without_credentials_gets_401(scene: Scene, asked: Asked) -> None:
    answer = scene.house.client().request(asked[0], scene.path(asked[1]))
    assert answer.status_code == 401
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "WWW-Authenticate" in answer.headers


@pytest.mark.parametrize("asked", CLOSED, ids=" ".join)
def test_a_browser_without_a_session_gets_nothing_either(scene: Scene, asked: Asked) -> None:
    method, path = asked[0], scene.path(asked[1])
    answer = scene.house.client().request(method, path, headers=PAGE)
    is_page = not path.startswith(("/api/", "/dicom-web/", "/events"))
    if method == "GET" and is_page:
        assert (answer.status_code, answer.headers["Location"]) == (303, f"/login?next={path}")
    else:
        assert answer.status_code == 401


@pytest.mark.parametrize("asked", OF_SOMEBODY, ids=" ".join)
def test_another_sites_token_gets_nothing_of_a_known_study(scene: Scene, asked: Asked) -> None:
    is_upload = asked[0] == "POST"
    answer = scene.other.request(
        asked[0],
        scene.path(asked[1]),
        content=body_of([an_instance()]) if is_upload else None,
        headers={"Content-Type": RELATED} if is_upload else None,
    )
    assert answer.status_code in ({403, 409} if is_upload else {403, 404})
    assert told_of(answer) == set()


@pytest.mark.parametrize("asked", OF_SOMEBODY, ids=" ".join)
def test_its_own_site_gets_it_so_that_the_refusal_means_something(
    scene: Scene, asked: Asked
) -> None:
    if asked[0] == "POST" or asked[1].endswith("/views"):
        return
    answer = scene.own.request(asked[0], scene.path(asked[1]))
    # 406: the image is too small a fake to be rendered, but it is there.
    assert answer.status_code in {200, 406}, answer.text


@pytest.mark.parametrize(
    "path", ["/dicom-web/studies", "/dicom-web/series", "/dicom-web/instances", "/api/v1/worklist"]
)
def test_another_site_finds_nothing_in_lists(scene: Scene, path: str) -> None:
    own, other = scene.own.get(path), scene.other.get(path)
    assert told_of(own) >= {"PatientName", "PatientID"}
    assert told_of(other) == set()
    assert scene.values["study"].encode() not in other.content


@pytest.mark.parametrize("role", [Role.RESEARCHER, Role.MLOPS])
@pytest.mark.parametrize("path", ["/", "/api/v1/worklist", "/dicom-web/studies", "/events"])
def test_who_needs_no_patients_gets_none(scene: Scene, role: Role, path: str) -> None:
    name = f"{role}-{path.replace('/', '-')}"
    scene.house.user(name, role)
    answer = scene.house.logged_in(name).get(path)
    assert answer.status_code == (303 if path == "/" else 403)
    assert told_of(answer) == set()


def test_a_reader_of_a_site_sends_nothing(scene: Scene) -> None:
    scene.house.user("reader", Role.READER, 1)
    client = scene.house.logged_in("reader")
    answer = client.post(
        "/dicom-web/studies", content=body_of([an_instance(2)]), headers={"Content-Type": RELATED}
    )
    assert answer.status_code == 403


def test_who_looked_is_told_to_administrators(scene: Scene) -> None:
    path = scene.path("/api/v1/cases/{case_id}")
    assert scene.own.get(path).status_code == 200
    seen = scene.admin.get(f"{path}/views").json()
    assert ("token", "gateway", "case") in {(v["kind"], v["who"], v["what"]) for v in seen}
    assert scene.own.get(f"{path}/views").status_code == 403


def test_an_image_that_was_fetched_is_a_look_at_its_case(scene: Scene) -> None:
    scene.own.get(scene.path("/dicom-web/studies/{study}/metadata"))
    seen = scene.admin.get(scene.path("/api/v1/cases/{case_id}/views")).json()
    assert "dicom" in {view["what"] for view in seen}


def test_the_description_of_the_interface_is_served_to_who_is_known(scene: Scene) -> None:
    document = scene.own.get("/api/v1/openapi.json").json()
    assert "/dicom-web/studies" in document["paths"]
