"""A case changes to a state that may follow the one it has, or not at all."""

import pytest
from sqlalchemy import update
from sqlalchemy.exc import NoResultFound

from serving.database.engine import writing
from serving.database.tables import cases
from serving.studies.case_rows import change_case
from serving.worklist.states import NEXT, AiState
from tests.serving.studies.a_study import Archive, an_instance, rows_of


def test_only_a_state_that_may_follow_is_written(archive: Archive) -> None:
    archive.receive(an_instance())
    study_id = rows_of(archive, cases)[0]["study_id"]
    for old in AiState:
        for new in AiState:
            with writing(archive.engine) as connection:
                connection.execute(update(cases).values(ai_state=old.value))
            values = {"ai_state": new.value}
            if new in NEXT[old]:
                with writing(archive.engine) as connection:
                    assert change_case(connection, study_id, values).ai_state is new
            else:
                with pytest.raises(NoResultFound), writing(archive.engine) as connection:
                    change_case(connection, study_id, values)
                assert rows_of(archive, cases)[0]["ai_state"] == old.value
