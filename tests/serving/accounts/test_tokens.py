"""Tokens of a site's programs."""

import pytest
from sqlalchemy import Engine, select

from firstread.errors import UsageError
from serving.accounts.caller import Right
from serving.accounts.sites import add_site
from serving.accounts.tokens import (
    USED_STEP_S,
    caller_of_token,
    issue_token,
    list_tokens,
    note_use,
    revoke_token,
)
from serving.database.engine import reading, writing
from serving.database.tables import tokens

NOW = 1_800_000_000.0


def issue(engine: Engine, label: str = "gateway") -> tuple[int, str]:
    with writing(engine) as connection:
        site_id = add_site(connection, code="county", name="县医院", now=NOW)
        return issue_token(connection, site_id=site_id, label=label, now=NOW)


def test_a_token_sends_and_reads_for_its_site_alone(engine: Engine) -> None:
    _, secret = issue(engine)
    with reading(engine) as connection:
        found = caller_of_token(connection, secret, NOW)
    assert found is not None
    who = found[0]
    assert {right for right in Right if who.may(right)} == {Right.SEND, Right.READ}
    assert who.sees(1)
    assert not who.sees(2)


def test_a_token_is_recognised_by_people_and_stored_as_a_hash(engine: Engine) -> None:
    _, secret = issue(engine)
    assert secret.startswith("frst_")
    assert len(secret) >= 48
    with reading(engine) as connection:
        assert secret not in map(str, connection.execute(select(tokens)).one())


@pytest.mark.parametrize("secret", ["", "frst_", "\udcff"])
def test_another_text_is_nobody(engine: Engine, secret: str) -> None:
    issue(engine)
    with reading(engine) as connection:
        assert caller_of_token(connection, secret, NOW) is None


def test_a_revoked_token_is_nobody(engine: Engine) -> None:
    token_id, secret = issue(engine)
    with writing(engine) as connection:
        revoke_token(connection, token_id, NOW)
        assert caller_of_token(connection, secret, NOW) is None


def test_revoking_again_keeps_the_first_time(engine: Engine) -> None:
    token_id, _ = issue(engine)
    with writing(engine) as connection:
        revoke_token(connection, token_id, NOW)
        revoke_token(connection, token_id, NOW + 5)
        assert list_tokens(connection)[0].revoked_at == NOW


def test_revoking_what_is_not_there_is_told(engine: Engine) -> None:
    with writing(engine) as connection, pytest.raises(UsageError):
        revoke_token(connection, 7, NOW)


def test_its_use_is_noted_once_a_minute(engine: Engine) -> None:
    token_id, secret = issue(engine)
    due = []
    for now in (NOW, NOW + 1, NOW + USED_STEP_S):
        with writing(engine) as connection:
            found = caller_of_token(connection, secret, now)
            assert found is not None
            due.append(found[1])
            if found[1]:
                note_use(connection, token_id, now)
    assert due == [True, False, True]


@pytest.mark.parametrize("label", ["", " ", "x" * 101, "a\nb"])
def test_a_label_is_one_short_line(engine: Engine, label: str) -> None:
    with pytest.raises(UsageError):
        issue(engine, label)
