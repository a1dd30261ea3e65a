"""What is asked is answered alike by both databases, whatever the locale of a server."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, insert, select

from serving.accounts.caller import Role
from serving.accounts.sites import add_site
from serving.archive.index import Filters, find_instances, find_series, find_studies
from serving.database.engine import reading, writing
from serving.database.tables import instances, studies
from serving.search import SEARCH_CHARACTERS
from serving.worklist.store import known_sites
from tests.serving.house import NOW, House, log_in
from tests.serving.studies.a_study import Archive, an_instance
from tests.serving.studies.conftest import archive

__all__ = ["archive"]


@pytest.fixture
def connection(archive: Archive) -> Iterator[Connection]:
    with reading(archive.engine) as connection:
        yield connection


def test_names_stand_in_the_order_of_their_code_points(archive: Archive) -> None:
    # In the order of words: a B Z ä 王 一; of Chinese words, 王 (wang) comes before 一 (yi).
    names = ["B", "a", "Z", "ä", "王", "一"]
    with writing(archive.engine) as connection:
        for number, name in enumerate(names):
            add_site(connection, code=f"s{number}", name=name, now=NOW)
    with reading(archive.engine) as connection:
        found = [name for _, name in known_sites(connection, None)]
    assert found == sorted([*names, "one", "two"])


def test_an_identifier_is_matched_with_its_case_and_a_name_without(archive: Archive) -> None:
    archive.receive(an_instance(PatientID="ab12", PatientName="wang^wei"))
    with reading(archive.engine) as connection:
        for filters, count in (
            (Filters(patient_id="ab*"), 1),
            (Filters(patient_id="AB*"), 0),
            (Filters(patient_id="AB12"), 0),
            (Filters(patient_name="WANG^W*"), 1),
        ):
            assert len(find_studies(connection, None, filters)) == count


def test_what_has_no_number_stands_first(archive: Archive) -> None:
    archive.receive(
        an_instance(1, modality="CT", InstanceNumber="2"),
        an_instance(2, modality="CT", InstanceNumber=None),
        an_instance(3, modality="MR", SeriesNumber=None),
    )
    with reading(archive.engine) as connection:
        assert [row.number for row in find_series(connection, None)] == [None, 2]
        assert [row.number for row in find_instances(connection, None)] == [3, None, 2]


def test_the_longest_search_text_fits_every_index(archive: Archive) -> None:
    # Of four bytes each, and none like another: nothing to compress.
    signs = [chr(0x20000 + 37 * number) for number in range(240)]
    # With and without its blank, the name is searched for.
    name = "".join(signs[:120]) + "^" + "".join(signs[120:])
    archive.receive(
        an_instance(
            SpecificCharacterSet="ISO_IR 192",
            PatientName=name.encode(),
            PatientID="".join(chr(0x2A700 + 3 * number) for number in range(150)).encode(),
        )
    )
    with reading(archive.engine) as connection:
        (search,) = connection.execute(select(studies.c.search)).scalars()
    assert len(search) == SEARCH_CHARACTERS


def test_numbers_of_rows_and_bytes_have_64_bits(archive: Archive) -> None:
    archive.receive(an_instance(1))
    with reading(archive.engine) as connection:
        row = dict(connection.execute(select(instances)).mappings().one())
    large = {"id": 2**40, "size_bytes": 2**31, "sop_instance_uid": "1.2"}
    with writing(archive.engine) as connection:
        connection.execute(insert(instances).values({**row, **large}))
    with reading(archive.engine) as connection:
        assert {one.size_bytes for one in find_instances(connection, None)} >= {2**31}


@pytest.mark.parametrize(
    "path",
    [
        "/cases/%00",
        "/api/v1/cases/a%00",
        "/api/v1/worklist?search=%00",
        "/api/v1/cases/a/results/1/files/%00",
        "/dicom-web/studies/1%00/series",
        "/dicom-web/studies?PatientID=%00",
        "/dicom-web/studies/1/series/1/instances/1%00/rendered",
    ],
)
def test_a_sign_that_no_text_of_a_database_holds_is_no_bug(house: House, path: str) -> None:
    house.user("li", Role.READER)
    assert house.logged_in("li").get(path).status_code in (400, 404)


def test_nobody_has_a_name_that_no_database_holds(house: House) -> None:
    assert log_in(house.client(), "li\0").status_code in (400, 401)
