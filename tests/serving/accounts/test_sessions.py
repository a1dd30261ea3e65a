"""When a session is one, and when it has ended."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, select

from serving.accounts import users
from serving.accounts.caller import Role
from serving.accounts.sessions import (
    Lifetime,
    Session,
    end_session,
    find_session,
    note_session,
    start_session,
)
from serving.accounts.users import add_user
from serving.database.engine import reading, writing
from serving.database.tables import sessions
from serving.database.tables import users as users_table
from tests.serving.house import PASSWORD, stored

NOW = 1_800_000_000.0
LIFETIME = Lifetime(idle_s=3600, longest_s=10_000)
TIMES = st.floats(0, 1e9)


def a_user(engine: Engine, name: str = "li") -> int:
    with writing(engine) as connection:
        return add_user(
            connection, name=name, password_hash=stored(PASSWORD), role=Role.READER,
            site_id=None, now=NOW,
        )  # fmt: skip


def begin(engine: Engine, user_id: int) -> str:
    with writing(engine) as connection:
        return start_session(connection, user_id, LIFETIME, NOW)


def found(engine: Engine, secret: str, now: float = NOW) -> Session | None:
    with reading(engine) as connection:
        return find_session(connection, secret, now)


@given(TIMES, TIMES, st.floats(1, 1e6), st.floats(1, 1e6))
def test_a_session_never_outlives_either_limit(
    created_at: float, since: float, idle_s: float, longest_s: float
) -> None:
    seen_at = created_at + since
    end = Lifetime(idle_s, longest_s).ends_at(created_at, seen_at)
    assert end <= seen_at + idle_s
    assert end <= created_at + longest_s


def test_the_database_does_not_hold_what_the_cookie_holds(engine: Engine) -> None:
    secret = begin(engine, a_user(engine))
    with reading(engine) as connection:
        row = connection.execute(select(sessions)).one()
    assert secret not in map(str, row)
    assert len(secret) == 43


def test_a_session_is_its_users(engine: Engine) -> None:
    user_id = a_user(engine)
    session = found(engine, begin(engine, user_id))
    assert session is not None
    assert (session.caller.kind, session.caller.id, session.caller.name) == ("user", user_id, "li")


@pytest.mark.parametrize("secret", ["", "x", "\udcff", "0" * 5000])
def test_any_other_text_is_nobody(engine: Engine, secret: str) -> None:
    begin(engine, a_user(engine))
    assert found(engine, secret) is None


def test_a_session_ends_without_use(engine: Engine) -> None:
    secret = begin(engine, a_user(engine))
    assert found(engine, secret, NOW + LIFETIME.idle_s - 1)
    assert found(engine, secret, NOW + LIFETIME.idle_s) is None


def test_a_session_in_use_goes_on_until_its_longest_time(engine: Engine) -> None:
    secret = begin(engine, a_user(engine))
    now = NOW
    while session := found(engine, secret, now):
        with writing(engine) as connection:
            note_session(connection, session, LIFETIME, now)
        now += LIFETIME.idle_s / 2
    assert NOW + LIFETIME.longest_s <= now < NOW + LIFETIME.longest_s + LIFETIME.idle_s


def test_sessions_that_ran_out_are_removed_by_the_next_log_in(engine: Engine) -> None:
    user_id = a_user(engine)
    begin(engine, user_id)
    with writing(engine) as connection:
        start_session(connection, user_id, LIFETIME, NOW + LIFETIME.idle_s)
        assert len(connection.execute(select(sessions)).all()) == 1


def test_a_log_out_ends_that_session_alone(engine: Engine) -> None:
    user_id = a_user(engine)
    first, second = begin(engine, user_id), begin(engine, user_id)
    session = found(engine, first)
    assert session is not None
    with writing(engine) as connection:
        end_session(connection, session.sha256)
    assert found(engine, first) is None
    assert found(engine, second) is not None


ENDINGS: dict[str, Callable[[Connection, int], None]] = {
    "password": lambda c, i: users.set_password(c, i, stored("another password")),
    "role": lambda c, i: users.set_role(c, i, Role.MLOPS, None),
    "deactivated": users.deactivate,
}


@pytest.mark.parametrize("change", ENDINGS)
def test_a_change_of_the_account_ends_all_its_sessions_and_no_other(
    engine: Engine, change: str
) -> None:
    user_id, other_id = a_user(engine), a_user(engine, "wang")
    own, others = [begin(engine, user_id), begin(engine, user_id)], begin(engine, other_id)
    with writing(engine) as connection:
        ENDINGS[change](connection, user_id)
    assert [found(engine, secret) for secret in own] == [None, None]
    assert found(engine, others) is not None


def test_who_comes_back_after_deactivation_must_log_in_again(engine: Engine) -> None:
    user_id = a_user(engine)
    secret = begin(engine, user_id)
    with writing(engine) as connection:
        users.deactivate(connection, user_id)
        users.activate(connection, user_id)
    assert found(engine, secret) is None


def test_a_session_of_who_is_not_active_is_nobodys_even_if_it_was_left(engine: Engine) -> None:
    user_id = a_user(engine)
    secret = begin(engine, user_id)
    with writing(engine) as connection:
        connection.execute(users_table.update().values(is_active=False))
    assert found(engine, secret) is None
