"""Columns that hold a word of an enum take no other word."""

import re
from enum import StrEnum

import pytest
from sqlalchemy import CheckConstraint, Table, update
from sqlalchemy.exc import IntegrityError

from serving.accounts.caller import Role
from serving.database.engine import writing
from serving.database.tables import cases, jobs, users
from serving.jobs.queue import JobState
from serving.studies.life import settle
from serving.worklist.states import AiState, OrderedClass, ReadingState, UrgencyClass
from tests.serving.studies.a_study import NOW, QUIET_S, Archive, an_instance
from tests.serving.studies.conftest import archive

__all__ = ["archive"]


@pytest.mark.parametrize(
    ("table", "column", "enum"),
    [
        (users, "role", Role),
        (cases, "ai_state", AiState),
        (cases, "reading_state", ReadingState),
        (cases, "ordered_class", OrderedClass),
        (cases, "urgency_class", UrgencyClass),
        (jobs, "state", JobState),
    ],
)
def test_a_column_takes_the_words_of_its_enum(
    table: Table, column: str, enum: type[StrEnum]
) -> None:
    (check,) = [
        str(one.sqltext)
        for one in table.constraints
        if isinstance(one, CheckConstraint) and str(one.sqltext).startswith(f"{column} IN")
    ]
    assert set(re.findall(r"'([^']+)'", check)) == {one.value for one in enum}


@pytest.mark.parametrize(("table", "column"), [(cases, "ai_state"), (jobs, "state")])
def test_a_word_of_no_enum_is_refused(archive: Archive, table: Table, column: str) -> None:
    archive.receive(an_instance())
    settle(archive.engine, NOW + QUIET_S, QUIET_S)
    with pytest.raises(IntegrityError), writing(archive.engine) as connection:
        connection.execute(update(table).values({column: "somewhere"}))
