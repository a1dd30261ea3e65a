"""Users and sites, and the first administrator."""

import pytest
from sqlalchemy import Engine

from firstread.errors import UsageError
from serving.accounts import demonstration
from serving.accounts.caller import Role
from serving.accounts.passwords import is_right
from serving.accounts.sites import add_site, find_site, list_sites, set_site
from serving.accounts.users import (
    add_user,
    deactivate,
    ensure_first_admin,
    find_user,
    list_users,
    set_role,
)
from serving.database.engine import reading, writing
from serving.database.tables import users
from tests.serving.house import PASSWORD, stored

NOW = 1_800_000_000.0


def add(engine: Engine, name: str, role: Role = Role.READER, site_id: int | None = None) -> None:
    with writing(engine) as connection:
        add_user(
            connection, name=name, password_hash=stored(PASSWORD), role=role, site_id=site_id,
            now=NOW,
        )  # fmt: skip


def test_the_first_start_makes_an_administrator_and_tells_its_password_once(
    engine: Engine,
) -> None:
    password = ensure_first_admin(engine, NOW)
    assert password is not None
    with reading(engine) as connection:
        (admin,) = list_users(connection)
        stored_hash = connection.execute(users.select()).one().password_hash
    assert (admin.role, admin.site_id) == (Role.ADMIN, None)
    assert is_right(password, stored_hash)
    assert ensure_first_admin(engine, NOW) is None


def test_users_that_were_added_before_the_first_start_take_no_administrator_away(
    engine: Engine,
) -> None:
    add(engine, "li")
    assert ensure_first_admin(engine, NOW) is not None


@pytest.mark.parametrize("change", ["deactivated", "of another role"])
def test_no_second_administrator_appears_by_itself(engine: Engine, change: str) -> None:
    ensure_first_admin(engine, NOW)
    with writing(engine) as connection:
        admin = find_user(connection, "admin")
        if change == "deactivated":
            deactivate(connection, admin.id)
        else:
            set_role(connection, admin.id, Role.READER, None)
    assert ensure_first_admin(engine, NOW) is None


def test_the_demonstration_account_is_nobody_in_that_sense(engine: Engine) -> None:
    demonstration.ensure_demonstration(engine, NOW)
    demonstration.ensure_demonstration(engine, NOW)
    assert ensure_first_admin(engine, NOW) is not None
    with reading(engine) as connection:
        assert find_user(connection, demonstration.NAME).is_demonstration


def test_the_demonstration_account_sees_its_own_site_alone(engine: Engine) -> None:
    demonstration.ensure_demonstration(engine, NOW)
    with reading(engine) as connection:
        assert find_user(connection, demonstration.NAME).site_code == demonstration.SITE


@pytest.mark.parametrize("again", ["li", " LI ", "\uff2c\uff29"])
def test_a_name_is_taken_however_it_is_written(engine: Engine, again: str) -> None:
    add(engine, "Li")
    with pytest.raises(UsageError, match="already"):
        add(engine, again)


@pytest.mark.parametrize("name", ["", "a b", "a\u202eb", "x" * 65, "a\nb", "<b>"])
def test_a_name_that_cannot_be_read_is_refused(engine: Engine, name: str) -> None:
    with pytest.raises(UsageError):
        add(engine, name)


def test_a_chinese_name_is_one(engine: Engine) -> None:
    add(engine, "李明")
    with reading(engine) as connection:
        assert find_user(connection, "李明").name == "李明"


def test_a_sender_belongs_to_a_site(engine: Engine) -> None:
    with pytest.raises(UsageError, match="site"):
        add(engine, "li", Role.SENDER)
    add(engine, "li")
    with writing(engine) as connection, pytest.raises(UsageError, match="site"):
        set_role(connection, find_user(connection, "li").id, Role.SENDER, None)


@pytest.mark.parametrize("code", ["", "A", "a b", "-a", "a-", "x" * 33, "县"])
def test_a_code_of_a_site_is_plain(engine: Engine, code: str) -> None:
    with writing(engine) as connection, pytest.raises(UsageError):
        add_site(connection, code=code, name="x", now=NOW)


def test_of_a_site_only_what_is_given_changes(engine: Engine) -> None:
    with writing(engine) as connection:
        site_id = add_site(connection, code="a", name="甲", now=NOW)
        set_site(connection, site_id, ordered_class="urgent")
        set_site(connection, site_id)
        (site,) = list_sites(connection)
        assert (site.name, site.ordered_class, site.application) == ("甲", "urgent", "on_arrival")
        assert find_site(connection, "a") == site
        with pytest.raises(UsageError):
            find_site(connection, "b")
