"""QIDO-RS against a real server: what is matched, what is told, and what is refused."""

from collections.abc import Iterator
from typing import Any

import pytest

from firstread.uids import uid_from
from serving.api.qido import read_search
from serving.archive.index import find_studies
from serving.errors import BadRequest
from serving.studies import finding
from tests.serving.api.a_server import Server, a_server
from tests.serving.api.images import SEG, a_ramp, an_image
from tests.serving.studies.a_study import SR, an_instance

FIRST, SECOND, THIRD = (uid_from(study) for study in ("first", "second", "third"))


@pytest.fixture(scope="module")
def server(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Three studies; the second has a result, the third is of another time and name."""
    with a_server(tmp_path_factory.mktemp("server")) as server:
        second: dict[str, Any] = {
            "study": "second", "PatientName": "李^小红", "PatientID": "P2%",
            "StudyDate": "20260215", "StudyTime": "080000", "AccessionNumber": "A_2",
            "ReferringPhysicianName": "House^Gregory", "StudyID": "S2",
        }  # fmt: skip
        third: dict[str, Any] = {
            "study": "third", "PatientName": "Müller^Jörg", "PatientID": "P20",
            "StudyDate": None, "StudyTime": None,
        }  # fmt: skip
        answer = server.stow(
            an_image(study="first", number=1),
            an_image(a_ramp(frames=3), study="first", number=2),
            an_image(**second),
            an_instance(7, sop_class=SR, modality="SR", study="second"),
            an_instance(8, sop_class=SEG, modality="SEG", study="second"),
            an_image(**third),
        )
        assert answer.status_code == 200, answer.text
        yield server


def studies(server: Server, **query: str) -> list[str]:
    answer = server.client.get("/studies", params=query)
    assert answer.status_code in (200, 204), answer.text
    found = answer.json() if answer.status_code == 200 else []
    return [row["0020000D"]["Value"][0] for row in found]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, {FIRST, SECOND, THIRD}),
        ({"PatientName": ""}, {FIRST, SECOND, THIRD}),
        ({"PatientName": "*"}, {FIRST, SECOND, THIRD}),
        ({"PatientName": "wang^xiaodong"}, {FIRST}),
        ({"PatientName": "WANG*"}, {FIRST}),
        ({"PatientName": "王*"}, {FIRST}),
        ({"PatientName": "王^小东"}, {FIRST}),
        ({"PatientName": "李^小?"}, {SECOND}),
        ({"PatientName": "李^小"}, set()),
        ({"PatientName": "Müller*"}, {THIRD}),
        ({"00100010": "M*r^*"}, {THIRD}),
        ({"PatientID": "P2%"}, {SECOND}),
        ({"PatientID": "P2*"}, {SECOND, THIRD}),
        ({"PatientID": "P2?"}, {SECOND, THIRD}),
        ({"PatientID": "p1"}, set()),
        ({"AccessionNumber": "A_2"}, {SECOND}),
        ({"AccessionNumber": "AX2"}, set()),
        ({"StudyDate": "20260301"}, {FIRST}),
        ({"StudyDate": "20260215-20260228"}, {SECOND}),
        ({"StudyDate": "-20260228"}, {SECOND}),
        ({"StudyDate": "20260216-"}, {FIRST}),
        ({"StudyTime": "0800"}, {SECOND}),
        ({"StudyTime": "08-09"}, {SECOND}),
        ({"StudyTime": "0801-"}, {FIRST}),
        ({"ReferringPhysicianName": "house*"}, {SECOND}),
        ({"StudyID": "S2"}, {SECOND}),
        ({"ModalitiesInStudy": "SR"}, {SECOND}),
        ({"ModalitiesInStudy": "CT"}, {FIRST, SECOND, THIRD}),
        ({"ModalitiesInStudy": "MR"}, set()),
        ({"ModalitiesInStudy": "*"}, {FIRST, SECOND, THIRD}),
        ({"StudyInstanceUID": FIRST}, {FIRST}),
        ({"StudyInstanceUID": f"{FIRST},{THIRD}"}, {FIRST, THIRD}),
        ({"StudyInstanceUID": f"{FIRST}\\{THIRD}"}, {FIRST, THIRD}),
        ({"PatientName": "*", "StudyDate": "20260301", "PatientID": "P1"}, {FIRST}),
    ],
)
def test_studies_are_matched(server: Server, query: dict[str, str], found: set[str]) -> None:
    assert set(studies(server, **query)) == found


def test_a_study_tells_what_the_standard_requires(server: Server) -> None:
    answer = server.client.get("/studies", params={"StudyInstanceUID": SECOND})
    (row,) = answer.json()
    assert answer.headers["content-type"] == "application/dicom+json"
    assert list(row) == sorted(row)
    values = {tag: element.get("Value") for tag, element in row.items()}
    assert values["00080005"] == ["ISO_IR 192"]
    assert values["00080020"] == ["20260215"]
    assert values["00080056"] == ["ONLINE"]
    assert values["00080061"] == ["CT", "SEG", "SR"]
    assert values["00080090"] == [{"Alphabetic": "House^Gregory"}]
    assert values["00081190"] == [f"{server.url}/studies/{SECOND}"]
    assert values["00100010"] == [{"Alphabetic": "李^小红"}]
    assert (values["00201206"], values["00201208"]) == ([3], [3])
    for tag in ("00080030", "00080050", "00100020", "00100030", "00100040", "00200010"):
        assert tag in row


def test_series_and_instances_tell_what_the_standard_requires(server: Server) -> None:
    (series,) = server.client.get(f"/studies/{FIRST}/series").json()
    assert series["00080060"] == {"vr": "CS", "Value": ["CT"]}
    assert series["00200011"] == {"vr": "IS", "Value": [2]}
    assert series["00201209"] == {"vr": "IS", "Value": [2]}
    assert "00100010" not in series
    path = f"/studies/{FIRST}/series/{series['0020000E']['Value'][0]}/instances"
    first, second = server.client.get(path).json()
    assert "00080060" not in first
    assert [row["00200013"]["Value"] for row in (first, second)] == [[1], [2]]
    assert second["00280008"] == {"vr": "IS", "Value": [3]}
    assert second["00280010"] == {"vr": "US", "Value": [40]}
    assert second["00083002"]["Value"] == ["1.2.840.10008.1.2.1"]
    assert server.client.get(second["00081190"]["Value"][0]).status_code == 200


def test_searches_over_all_tell_the_levels_above(server: Server) -> None:
    series = server.client.get("/series", params={"Modality": "SEG"}).json()
    assert [row["0020000D"]["Value"][0] for row in series] == [SECOND]
    assert series[0]["00100010"]["Value"] == [{"Alphabetic": "李^小红"}]
    found = server.client.get("/instances", params={"SOPClassUID": SR}).json()
    assert [row["00080060"]["Value"][0] for row in found] == ["SR"]
    assert found[0]["00100020"]["Value"] == ["P2%"]
    of_study = server.client.get(f"/studies/{SECOND}/instances").json()
    assert {row["00080060"]["Value"][0] for row in of_study} == {"CT", "SEG", "SR"}
    assert len(server.client.get("/instances").json()) == 6


def test_instances_are_matched_by_number(server: Server) -> None:
    found = server.client.get("/instances", params={"InstanceNumber": "8"}).json()
    assert [row["00080016"]["Value"][0] for row in found] == [SEG]


def test_pages_are_disjoint_and_whole_and_say_that_there_is_more(server: Server) -> None:
    pages: list[Any] = []
    for offset in range(4):
        answer = server.client.get("/studies", params={"limit": "1", "offset": str(offset)})
        has_more = "additional results" in answer.headers.get("warning", "")
        assert has_more == (offset < 2)
        pages += answer.json() if answer.status_code == 200 else []
    assert [page["0020000D"]["Value"][0] for page in pages] == studies(server)


def test_nothing_found_is_204(server: Server) -> None:
    answer = server.client.get("/studies", params={"PatientID": "nobody"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert server.client.get(f"/studies/{FIRST}/series?Modality=MR").status_code == 204


@pytest.mark.parametrize(
    "path", ["/studies/1.2.3/series", "/studies/1.2.3/instances", "/studies/1.2/series/3/instances"]
)
def test_a_search_below_what_is_not_there_is_404(server: Server, path: str) -> None:
    assert server.client.get(path).status_code == 404


def test_another_site_finds_nothing(server: Server) -> None:
    with server.other() as other:
        for path in ("/studies", "/series", "/instances"):
            assert other.get(path).status_code == 204
        for path in (f"/studies/{FIRST}/series", f"/studies/{FIRST}/instances"):
            assert other.get(path).status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        "PatientNam=x",
        "SeriesDescription=x",
        "SeriesInstanceUID=1.2",
        "StudyDate=2026",
        "StudyDate=20260101-20260102-20260103",
        "StudyDate=2026010120260102",
        "StudyDate=-",
        "StudyTime=ab",
        "StudyInstanceUID=abc",
        "StudyInstanceUID=,",
        "PatientName=%00",
        "PatientID=P1%00",
        "ModalitiesInStudy=C%1bT",
        "ModalitiesInStudy=C*",
        "limit=-1",
        "limit=x",
        "offset=1.5",
        "includefield=NoSuchThing",
        "PatientID=a&PatientID=b",
        "00100099=x",
        "PatientName=" + "x" * 1001,
    ],
)
def test_what_cannot_be_matched_is_refused_and_never_passed_over(
    server: Server, query: str
) -> None:
    answer = server.client.get(f"/studies?{query}")
    assert answer.status_code == 400
    assert "xxx" not in answer.text


def test_a_query_says_nothing_of_a_patient_when_it_is_refused(server: Server) -> None:
    assert "secret" not in server.client.get("/studies?secret=1&PatientBirthday=secret").text


def test_fuzzy_matching_is_told_to_be_literal(server: Server) -> None:
    answer = server.client.get("/studies?fuzzymatching=true&PatientName=wang*")
    assert (answer.status_code, len(answer.json())) == (200, 1)
    assert "fuzzymatching" in answer.headers["warning"]


@pytest.mark.parametrize(
    "fields", ["all", "00081030", "StudyDescription", "PatientAge,PatientName", "00081030,all"]
)
def test_fields_may_be_asked_for(server: Server, fields: str) -> None:
    assert server.client.get(f"/studies?includefield={fields}").status_code == 200


def test_what_is_not_acceptable_is_told(server: Server) -> None:
    for accept, status in (("application/json", 200), ("text/csv", 406)):
        answer = server.client.get("/studies", headers={"Accept": accept})
        assert answer.status_code == status


def test_a_quote_in_a_value_is_a_quote(server: Server) -> None:
    assert studies(server, PatientID="' OR 1=1 --") == []


@pytest.mark.parametrize("path", ["/series", "/instances"])
def test_a_search_that_finds_nothing_asks_for_nothing_more(
    server: Server, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    for name in ("find_studies", "find_series"):
        real = getattr(finding, name)

        def find(*arguments: Any, real: Any = real) -> Any:
            rows = real(*arguments)
            asked.extend(rows)
            return rows

        monkeypatch.setattr(finding, name, find)
    assert server.client.get(path, params={"PatientID": "nobody"}).status_code == 204
    assert asked == []


@pytest.mark.parametrize("path", ["/series", "/instances"])
def test_what_the_next_statement_no_longer_sees_is_not_told(
    server: Server, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = find_studies

    def find(*arguments: Any) -> Any:
        return tuple(row for row in real(*arguments) if row.study_uid != SECOND)

    monkeypatch.setattr(finding, "find_studies", find)
    found = server.client.get(path).json()
    assert {row["0020000D"]["Value"][0] for row in found} == {FIRST, THIRD}


def test_the_address_stands_above_the_query() -> None:
    search = read_search([("StudyInstanceUID", "1.2")], "series", "1.3")
    assert search.filters.study_uids == ("1.3",)


def test_a_reason_names_what_can_be_matched() -> None:
    with pytest.raises(BadRequest) as refused:
        read_search([("Foo", "1")], "studies")
    assert "PatientName" in refused.value.advice


@pytest.mark.parametrize("resource", ["series", "instances"])
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"ModalitiesInStudy": "SR"}, {"CT", "SEG", "SR"}),
        ({"ModalitiesInStudy": "SR", "Modality": "CT"}, {"CT"}),
        ({"ModalitiesInStudy": "MR"}, set()),
    ],
)
def test_a_modality_in_the_study_is_not_that_of_the_series(
    server: Server, resource: str, query: dict[str, str], found: set[str]
) -> None:
    answer = server.client.get(f"/{resource}", params=query)
    rows = answer.json() if answer.status_code == 200 else []
    assert {row["0020000D"]["Value"][0] for row in rows} == ({SECOND} if found else set())
    assert {row["00080060"]["Value"][0] for row in rows} == found
