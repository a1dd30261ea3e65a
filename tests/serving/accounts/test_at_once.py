"""What only one at a time may do, done by many at the same moment."""

import pytest
from sqlalchemy import Connection, Engine, func, select

from serving.accounts.caller import Caller, Role
from serving.accounts.demonstration import ensure_demonstration
from serving.accounts.log_in import LogInRefused, log_in
from serving.accounts.sessions import Lifetime
from serving.accounts.throttle import FREE_FOR_NAME, begin_attempt
from serving.accounts.users import FIRST_ADMIN, add_user, ensure_first_admin, set_password
from serving.accounts.views import note_view
from serving.database.engine import reading, writing
from serving.database.locks import Lock, hold
from serving.database.tables import sessions, users, views
from serving.errors import TooManyRequests
from tests.serving.house import PASSWORD, stored
from tests.serving.together import at_once, while_open
from tests.serving.worklist.cases import ACase, add_cases, add_sites

pytestmark = pytest.mark.slow

NOW = 1_800_000_000.0
MANY = 12


def a_reader(engine: Engine) -> int:
    with writing(engine) as connection:
        return add_user(
            connection, name="li", password_hash=stored(PASSWORD), role=Role.READER,
            site_id=None, now=NOW,
        )  # fmt: skip


def test_the_first_administrator_is_made_once(engine: Engine) -> None:
    def another_start(connection: Connection) -> None:
        hold(connection, Lock.START)
        add_user(
            connection, name=FIRST_ADMIN, password_hash=stored(PASSWORD), role=Role.ADMIN,
            site_id=None, now=NOW,
        )  # fmt: skip

    assert (
        while_open(engine, another_start, lambda: ensure_first_admin(engine, NOW)).result() is None
    )


def test_the_demonstration_is_made_once(engine: Engine) -> None:
    at_once(lambda _: ensure_demonstration(engine, NOW), range(4))
    with reading(engine) as connection:
        assert connection.execute(select(func.count()).select_from(users)).scalar_one() == 1


def test_of_many_attempts_at_the_same_moment_no_more_slip_through(engine: Engine) -> None:
    def attempt(_: int) -> bool:
        try:
            with writing(engine) as connection:
                begin_attempt(connection, "li", "10.0.0.1", NOW)
        except TooManyRequests:
            return False
        return True

    assert sum(at_once(attempt, range(MANY))) == FREE_FOR_NAME


def test_slices_that_are_asked_for_side_by_side_are_one_look(engine: Engine) -> None:
    with writing(engine) as connection:
        add_sites(connection, 1)
        add_cases(connection, [ACase(case_id="one")])
    who = Caller("user", a_reader(engine), "li", Role.READER, None)
    at_once(lambda _: note_view(engine, who, "one", "dicom", NOW), range(MANY))
    with reading(engine) as connection:
        assert connection.execute(select(func.count()).select_from(views)).scalar_one() == 1


def test_a_log_in_with_the_old_password_makes_no_session_that_outlives_its_change(
    engine: Engine,
) -> None:
    user_id, fresh = a_reader(engine), stored("another password of the tests")

    def enter() -> str:
        return log_in(
            engine, name="li", password=PASSWORD, address="10.0.0.1", may_demonstrate=False,
            lifetime=Lifetime(60.0, 60.0), now=NOW,
        )  # fmt: skip

    entered = while_open(engine, lambda c: set_password(c, user_id, fresh), enter)
    with pytest.raises(LogInRefused):
        entered.result()
    with reading(engine) as connection:
        assert not connection.execute(select(sessions)).all()
