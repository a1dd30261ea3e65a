"""A study that cannot settle does not keep the others from it."""

import pytest
from sqlalchemy import update

from serving.database import tables
from serving.database.engine import writing
from serving.studies.life import settle
from tests.serving.studies.a_study import NOW, QUIET_S, Archive, an_instance, rows_of


def test_one_study_that_cannot_settle_undoes_no_other(archive: Archive) -> None:
    archive.receive(*(an_instance(1, study=f"s{number}") for number in range(3)))
    hurt = rows_of(archive, tables.studies)[1]["id"]
    with writing(archive.engine) as connection:
        of_hurt = tables.studies.c.id == hurt
        broken = update(tables.studies).where(of_hurt).values(charset_votes={"": {}})
        connection.execute(broken)
    with pytest.raises(KeyError):
        settle(archive.engine, NOW + QUIET_S, QUIET_S)
    states = {row["study_id"]: row["ai_state"] for row in rows_of(archive, tables.cases)}
    assert states.pop(hurt) == "receiving"
    assert list(states.values()) == ["waiting", "waiting"]
