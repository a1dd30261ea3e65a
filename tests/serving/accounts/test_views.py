"""Who looked at which case."""

import secrets

import pytest
from sqlalchemy import Engine, event

from serving.accounts.caller import Caller, Role
from serving.accounts.sites import add_site
from serving.accounts.tokens import issue_token
from serving.accounts.users import add_user
from serving.accounts.views import SAME_LOOK_S, list_views, note_view, record_view
from serving.database.engine import reading, writing
from tests.serving.house import PASSWORD, stored
from tests.serving.worklist.cases import ACase, add_cases

NOW = 1_800_000_000.0
CASE = secrets.token_hex(16)


@pytest.fixture
def reader(engine: Engine) -> Caller:
    with writing(engine) as connection:
        site_id = add_site(connection, code="county", name="County", now=NOW)
        add_cases(connection, [ACase(case_id=CASE, site_id=site_id)])
        user_id = add_user(
            connection, name="li", password_hash=stored(PASSWORD), role=Role.READER,
            site_id=None, now=NOW,
        )  # fmt: skip
    return Caller("user", user_id, "li", Role.READER, None)


def looks(engine: Engine) -> list[tuple[str, str, float]]:
    with reading(engine) as connection:
        return [(view.who, view.what, view.at - NOW) for view in list_views(connection, CASE)]


def test_a_look_is_on_record(engine: Engine, reader: Caller) -> None:
    with writing(engine) as connection:
        record_view(connection, reader, CASE, "case", NOW)
    assert looks(engine) == [("li", "case", 0)]


def test_the_slices_of_a_series_are_one_look_and_so_is_a_page_that_renews_itself(
    engine: Engine, reader: Caller
) -> None:
    for second in (0, 1, 59, SAME_LOOK_S, SAME_LOOK_S + 1):
        note_view(engine, reader, CASE, "dicom", NOW + second)
    assert looks(engine) == [("li", "dicom", 0), ("li", "dicom", SAME_LOOK_S)]


def test_something_else_of_the_case_is_another_look(engine: Engine, reader: Caller) -> None:
    for what in ("case", "seg.dcm", "case"):
        note_view(engine, reader, CASE, what, NOW)
    assert looks(engine) == [("li", "case", 0), ("li", "seg.dcm", 0)]


def test_a_program_of_a_site_leaves_its_label(engine: Engine, reader: Caller) -> None:
    with writing(engine) as connection:
        token_id, _ = issue_token(connection, site_id=1, label="gateway", now=NOW)
    # The same number as the user's: they are not taken for each other.
    assert token_id == reader.id
    note_view(engine, reader, CASE, "dicom", NOW)
    note_view(engine, Caller("token", token_id, "gateway", Role.SENDER, 1), CASE, "dicom", NOW)
    assert looks(engine) == [("li", "dicom", 0), ("gateway", "dicom", 0)]


def test_a_look_that_is_on_record_takes_no_writer(engine: Engine, reader: Caller) -> None:
    note_view(engine, reader, CASE, "dicom", NOW)
    begun: list[str] = []
    event.listen(
        engine, "before_cursor_execute", lambda _c, _cu, statement, *_: begun.append(statement)
    )
    note_view(engine, reader, CASE, "dicom", NOW + 1)
    assert not [statement for statement in begun if "IMMEDIATE" in statement]
