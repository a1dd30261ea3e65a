"""The list: complete, in order, searchable, and without another site's cases."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, Select, text, update

from serving.database.engine import reading, writing
from serving.database.tables import cases
from serving.errors import BadRequest
from serving.worklist.states import AiState, OrderedClass, UrgencyClass
from serving.worklist.store import (
    Place,
    Question,
    Row,
    align_ranks,
    count_cases,
    count_query,
    page_query,
    read_page,
    read_place,
    read_question,
)
from serving.worklist.urgency import read_policy
from tests.serving.databases import a_database, is_postgresql, plan_of
from tests.serving.worklist.cases import (
    POLICY,
    ACase,
    a_finding,
    add_cases,
    add_sites,
    many_cases,
)

NOW = 1_780_000_000.0


@pytest.fixture
def engine(database: str, tmp_path: Path) -> Iterator[Engine]:
    made = a_database(tmp_path / "list.sqlite")
    with writing(made) as connection:
        add_sites(connection, 3)
    yield made
    made.dispose()


@pytest.fixture(scope="module")
def full(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    made = a_database(tmp_path_factory.mktemp("full") / "list.sqlite")
    with writing(made) as connection:
        add_sites(connection, 3)
        add_cases(connection, many_cases(300, seed=7, now=NOW, site_count=3))
    yield made
    made.dispose()


def names(engine: Engine, question: Question) -> list[str]:
    with reading(engine) as connection:
        return [row.patient_name for row in read_page(connection, question, POLICY).rows]


def walk(engine: Engine, question: Question) -> list[Row]:
    """Return all rows of a list, page after page."""
    found: list[Row] = []
    with reading(engine) as connection:
        for _ in range(1000):
            page = read_page(connection, question, POLICY)
            found += page.rows
            if not page.has_after:
                return found
            question = replace(question, after=read_place(page.rows[-1].place.text()))
    raise AssertionError("the list has no end")


def test_the_critical_case_stands_first_then_those_that_are_due_first(engine: Engine) -> None:
    with writing(engine) as connection:
        add_cases(
            connection,
            [
                ACase(name="late", arrived_at=NOW),
                ACase(name="early", arrived_at=NOW - 600),
                ACase(name="urgent", ordered_class=OrderedClass.URGENT, arrived_at=NOW),
                ACase(name="critical", findings=(a_finding(20.0),), arrived_at=NOW),
                ACase(name="old", ordered_class=OrderedClass.BACKLOG, arrived_at=NOW - 9e6),
            ],
        )
    assert names(engine, Question()) == ["critical", "urgent", "early", "late", "old"]


@given(rows=st.integers(1, 60))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pages_of_any_length_give_every_case_once_and_in_order(full: Engine, rows: int) -> None:
    found = walk(full, Question(rows=rows))
    assert len({row.case_id for row in found}) == len(found) == 300
    keys = [(row.class_rank, row.fair_due_at, row.arrived_at, row.case_id) for row in found]
    assert keys == sorted(keys)


def test_the_page_before_is_the_one_that_was_left(full: Engine) -> None:
    with reading(full) as connection:
        first = read_page(connection, Question(rows=20), POLICY)
        second = read_page(connection, Question(rows=20, after=first.rows[-1].place), POLICY)
        back = read_page(connection, Question(rows=20, before=second.rows[0].place), POLICY)
    assert back.rows == first.rows
    assert (back.has_before, back.has_after) == (False, True)


def test_a_case_that_moves_up_between_two_pages_loses_no_other(full: Engine) -> None:
    with reading(full) as connection:
        first = read_page(connection, Question(rows=20), POLICY)
        rest = read_page(connection, Question(rows=200, after=first.rows[-1].place), POLICY)
        gone = read_page(connection, Question(rows=200, after=first.rows[0].place), POLICY)
    assert gone.rows[19:] == rest.rows[:181]


@pytest.mark.parametrize("typed", ["王伟", "王 伟", "wang wei", "WEI", "ＷＡＮＧ", "P7", "伟"])
def test_a_case_is_found_by_a_part_of_name_or_number(engine: Engine, typed: str) -> None:
    with writing(engine) as connection:
        add_cases(connection, [ACase(patient_id="P7"), ACase(name="LI^NA=李^娜", patient_id="P8")])
    assert names(engine, read_question(None, search=typed)) == ["WANG^WEI=王^伟"]


@pytest.mark.parametrize("typed", ["%", "_", "/", "王%", "' OR 1=1 --"])
def test_signs_of_the_query_language_are_searched_as_themselves(engine: Engine, typed: str) -> None:
    with writing(engine) as connection:
        add_cases(connection, [ACase()])
    assert names(engine, read_question(None, search=typed)) == []


def test_a_percent_sign_finds_a_percent_sign(engine: Engine) -> None:
    with writing(engine) as connection:
        add_cases(connection, [ACase(patient_id="50%A"), ACase(patient_id="50A")])
    assert len(names(engine, read_question(None, search="50%"))) == 1


def test_filters_keep_what_they_say(full: Engine) -> None:
    assert {row.ai_state for row in walk(full, Question(ai_state=AiState.NOT_ANALYSED))} == {
        AiState.NOT_ANALYSED
    }
    assert {
        row.urgency_class for row in walk(full, Question(urgency_class=UrgencyClass.URGENT))
    } == {UrgencyClass.URGENT}
    assert {row.site_id for row in walk(full, Question(site_id=2))} == {2}


def test_who_belongs_to_a_site_sees_no_other_whatever_is_asked(full: Engine) -> None:
    assert {row.site_id for row in walk(full, Question(viewer_site_id=3))} == {3}
    assert walk(full, Question(viewer_site_id=3, site_id=2)) == []
    with reading(full) as connection:
        counts = count_cases(connection, Question(viewer_site_id=3), POLICY)
    assert counts.all == len(walk(full, Question(viewer_site_id=3)))


@pytest.mark.parametrize(
    "asked",
    [
        Question(),
        Question(site_id=2),
        Question(urgency_class=UrgencyClass.ROUTINE),
        Question(search="王"),
        Question(viewer_site_id=3, search="王"),
    ],
)
@pytest.mark.parametrize("state", [None, AiState.SCORED])
def test_counts_of_all_states_are_those_of_the_list(
    full: Engine, asked: Question, state: AiState | None
) -> None:
    with reading(full) as connection:
        counts = count_cases(connection, replace(asked, ai_state=state), POLICY)
    rows = walk(full, asked)
    assert rows
    assert counts.states == {state: sum(row.ai_state is state for row in rows) for state in AiState}
    assert counts.classes == {
        name: sum(row.urgency_class is name for row in rows) for name in UrgencyClass
    }


@pytest.mark.parametrize(
    "asked",
    [{"state": "lost"}, {"urgency_class": "x"}, {"site": "-1"}, {"site": "9" * 30},
     {"after": "x"}, {"after": "W10"}, {"after": "WzFlOTksMSwxLCJ4Il0"}, {"before": "x"},
     {"search": "wang\0"},
     {"after": Place(1, float("nan"), 1.0, "x").text()},
     {"after": Place(1, 1.0, 1.0, "\ud800").text()}],
)  # fmt: skip
def test_what_is_no_question_is_refused(asked: dict[str, str]) -> None:
    with pytest.raises(BadRequest):
        read_question(None, **asked)  # type: ignore[arg-type]


def steps_of(engine: Engine, query: Select[Any]) -> list[str]:
    """Return the steps by which the database answers a query."""
    compiled = query.compile(engine, compile_kwargs={"literal_binds": True})
    return plan_of(engine, str(compiled).replace("%%", "%")).splitlines()


@pytest.mark.parametrize(
    "question",
    [Question(), Question(viewer_site_id=2), Question(ai_state=AiState.WAITING),
     Question(viewer_site_id=2, ai_state=AiState.WAITING), Question(search="王伟"),
     Question(urgency_class=UrgencyClass.ROUTINE)],
)  # fmt: skip
def test_every_list_is_a_walk_along_an_index_and_sorts_nothing_but_its_page(
    full: Engine, question: Question
) -> None:
    steps = steps_of(full, page_query(question, POLICY, 51))
    if is_postgresql():
        # What stands under the limit: nothing but an index.
        limited = steps[next(at for at, step in enumerate(steps) if "Limit" in step) + 1]
        assert re.search(r"Index (Only )?Scan using ix_cases_", limited), steps
        return
    assert any("COVERING INDEX ix_cases_" in step for step in steps), steps
    # The 51 rows of the page itself; sorted before they are cut, it would be all.
    assert sum("TEMP B-TREE" in step for step in steps) <= 1, steps
    assert not any(step.startswith("SCAN cases") and "INDEX" not in step for step in steps), steps


@pytest.mark.parametrize("question", [Question(), Question(search="王伟"), Question(site_id=2)])
def test_counts_read_nothing_but_an_index(full: Engine, question: Question) -> None:
    steps = steps_of(full, count_query(question, POLICY))
    assert re.search(r"(COVERING INDEX|Index Only Scan using) ix_cases_", str(steps)), steps


def test_cases_follow_their_class_when_the_order_of_classes_changed(
    engine: Engine, tmp_path: Path
) -> None:
    with writing(engine) as connection:
        add_cases(connection, [ACase(findings=(a_finding(20.0),)), ACase()])
        connection.execute(update(cases).values(class_rank=0))
    with writing(engine) as connection:
        assert align_ranks(connection, read_policy()) == 2
    with reading(engine) as connection:
        ranks = connection.execute(text("SELECT class_rank FROM cases ORDER BY 1")).scalars().all()
    assert list(ranks) == [1, 3]
