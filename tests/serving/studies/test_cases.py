"""What a case's page may cost."""

import pytest

from serving.database import tables
from serving.studies import cases
from serving.studies.cases import case_detail
from tests.serving.studies.a_study import Archive, an_instance, rows_of


def test_of_many_conflicts_some_are_listed_and_all_are_counted(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cases, "MOST_CONFLICTS", 2)
    archive.receive(*(an_instance(1, content=str(number)) for number in range(6)))
    (case,) = rows_of(archive, tables.cases)
    detail = case_detail(archive.engine, case["id"], 1)
    assert (len(detail.conflicts), detail.conflict_count) == (2, 5)
