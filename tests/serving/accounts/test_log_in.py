"""The log-in tells nothing about names, and does the same work for each."""

from typing import Literal

import pytest
from argon2 import PasswordHasher
from sqlalchemy import Engine, select

from serving.accounts.caller import Role
from serving.accounts.log_in import LogInRefused, change_password, log_in
from serving.accounts.passwords import hash_password, is_outdated
from serving.accounts.sessions import Lifetime, Session, find_session
from serving.accounts.throttle import FREE_FOR_NAME
from serving.accounts.users import add_user, deactivate
from serving.database.engine import reading, writing
from serving.database.tables import users
from serving.errors import TooManyRequests
from tests.serving.house import PASSWORD, stored

NOW = 1_800_000_000.0
LIFETIME = Lifetime(3600, 10_000)


class Counting(PasswordHasher):
    """argon2 that counts what it is asked to work out."""

    verified = 0

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
        self.verified += 1
        return super().verify(hash, password)


def enter(
    engine: Engine,
    name: str,
    password: str = PASSWORD,
    *,
    now: float = NOW,
    hasher: PasswordHasher | None = None,
    may_demonstrate: bool = False,
) -> str:
    return log_in(
        engine, name=name, password=password, address="10.0.0.1", now=now, lifetime=LIFETIME,
        may_demonstrate=may_demonstrate, hasher=hasher or Counting(3, 19 * 1024, 1),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def people(engine: Engine) -> None:
    with writing(engine) as connection:
        for name, is_demonstration in (("li", False), ("gone", False), ("demo", True)):
            user_id = add_user(
                connection, name=name, password_hash=stored(PASSWORD), role=Role.READER,
                site_id=None, now=NOW, is_demonstration=is_demonstration,
            )  # fmt: skip
            if name == "gone":
                deactivate(connection, user_id)


def session_of(engine: Engine, secret: str) -> Session:
    with reading(engine) as connection:
        session = find_session(connection, secret, NOW)
    assert session is not None
    return session


def test_name_and_password_make_a_session(engine: Engine) -> None:
    assert session_of(engine, enter(engine, " LI ")).caller.name == "li"


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("li", "wrong password"),
        ("nobody", PASSWORD),
        ("gone", PASSWORD),
        ("demo", PASSWORD),
        ("", ""),
        ("x" * 10_000, "y" * 10_000),
        ("li", "\udcff"),
        ("\udcff", PASSWORD),
    ],
)
def test_every_refusal_says_the_same_after_the_same_work(
    engine: Engine, name: str, password: str
) -> None:
    hasher = Counting(3, 19 * 1024, 1)
    with pytest.raises(LogInRefused) as refused:
        enter(engine, name, password, hasher=hasher)
    assert str(refused.value) == "name or password are wrong"
    assert hasher.verified == 1


def test_failures_are_throttled_before_any_work_for_known_and_unknown_names(
    engine: Engine,
) -> None:
    cheap = PasswordHasher(1, 8, 1)
    for name in ("li", "nobody"):
        for _ in range(FREE_FOR_NAME):
            with pytest.raises(LogInRefused):
                enter(engine, name, "wrong password", hasher=cheap)
        hasher = Counting(3, 19 * 1024, 1)
        with pytest.raises(TooManyRequests):
            enter(engine, name, hasher=hasher)
        assert hasher.verified == 0


def test_the_right_password_gets_in_after_the_wait(engine: Engine) -> None:
    cheap = PasswordHasher(1, 8, 1)
    for _ in range(FREE_FOR_NAME):
        with pytest.raises(LogInRefused):
            enter(engine, "li", "wrong password", hasher=cheap)
    assert enter(engine, "li", now=NOW + 1)


def test_a_hash_of_an_older_cost_is_renewed_at_the_log_in(engine: Engine) -> None:
    cheap = hash_password(PASSWORD, PasswordHasher(1, 8, 1))
    with writing(engine) as connection:
        connection.execute(users.update().where(users.c.name == "li").values(password_hash=cheap))
    enter(engine, "li")
    with reading(engine) as connection:
        query = select(users.c.password_hash).where(users.c.name == "li")
        assert not is_outdated(connection.execute(query).scalar_one())
    enter(engine, "li")


def test_the_demonstration_account_gets_in_where_it_may(engine: Engine) -> None:
    assert session_of(engine, enter(engine, "demo", may_demonstrate=True)).is_demonstration


def change(engine: Engine, session: Session, current: str, password: str) -> None:
    change_password(
        engine, user=session.caller, session_sha256=session.sha256, current=current,
        password=password, address="10.0.0.1", now=NOW,
    )  # fmt: skip


def test_a_changed_password_ends_the_other_sessions(engine: Engine) -> None:
    here, elsewhere = enter(engine, "li"), enter(engine, "li")
    change(engine, session_of(engine, here), PASSWORD, "quite another password")
    assert session_of(engine, here).caller.name == "li"
    with reading(engine) as connection:
        assert find_session(connection, elsewhere, NOW) is None
    with pytest.raises(LogInRefused):
        enter(engine, "li")
    assert enter(engine, "li", "quite another password")


def test_a_stolen_session_guesses_the_password_no_faster_than_the_log_in(engine: Engine) -> None:
    session = session_of(engine, enter(engine, "li"))
    for _ in range(FREE_FOR_NAME):
        with pytest.raises(LogInRefused):
            change(engine, session, "wrong password", "quite another password")
    with pytest.raises(TooManyRequests):
        change(engine, session, PASSWORD, "quite another password")
