"""Log-ins are slowed down, and nobody is kept out of his account."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, func, select

from serving.accounts.throttle import (
    FREE_FOR_ADDRESS,
    FREE_FOR_NAME,
    LONGEST_WAIT_S,
    WINDOW_S,
    begin_attempt,
    forgive,
    wait_s,
)
from serving.database.engine import reading, writing
from serving.database.tables import log_in_failures
from serving.errors import TooManyRequests

NOW = 1_800_000_000.0
COUNTS = st.integers(0, 10**6)


def attempt(engine: Engine, name: str, address: str, now: float) -> None:
    with writing(engine) as connection:
        begin_attempt(connection, name, address, now)


def tries_in(engine: Engine, seconds: int, name: str, address: str) -> int:
    """Return how many attempts are let through to somebody who tries every three seconds."""
    through = 0
    for second in range(0, seconds, 3):
        try:
            attempt(engine, name, address, NOW + second)
        except TooManyRequests:
            continue
        through += 1
    return through


@given(COUNTS, COUNTS)
def test_more_failures_never_wait_less(fewer: int, more: int) -> None:
    fewer, more = sorted((fewer, more))
    assert wait_s(fewer, FREE_FOR_NAME) <= wait_s(more, FREE_FOR_NAME)


@given(COUNTS, st.integers(0, 100))
def test_a_wait_has_an_end(failures: int, free: int) -> None:
    assert 0 <= wait_s(failures, free) <= LONGEST_WAIT_S


@given(st.integers(0, FREE_FOR_NAME - 1))
def test_the_first_failures_cost_nothing(failures: int) -> None:
    assert wait_s(failures, FREE_FOR_NAME) == 0


def test_waits_double() -> None:
    assert [wait_s(FREE_FOR_NAME + n, FREE_FOR_NAME) for n in range(4)] == [1, 2, 4, 8]


def test_who_guesses_at_a_name_has_few_guesses_in_ten_minutes(engine: Engine) -> None:
    assert tries_in(engine, 600, "li", "10.0.0.1") <= FREE_FOR_NAME + 10


def test_who_guesses_at_all_names_is_slowed_down_by_his_address(engine: Engine) -> None:
    through = 0
    for number in range(100):
        try:
            attempt(engine, f"user{number}", "10.0.0.1", NOW)
        except TooManyRequests:
            continue
        through += 1
    assert through == FREE_FOR_ADDRESS


def test_whole_networks_of_ipv6_are_one_address(engine: Engine) -> None:
    for number in range(FREE_FOR_ADDRESS):
        attempt(engine, f"user{number}", f"2001:db8:1:2::{number:x}", NOW)
    with pytest.raises(TooManyRequests):
        attempt(engine, "another", "2001:db8:1:2:ffff::", NOW)
    attempt(engine, "another", "2001:db8:1:3::", NOW)


def test_an_address_of_ipv4_is_the_same_in_a_socket_of_ipv6(engine: Engine) -> None:
    for number in range(FREE_FOR_ADDRESS):
        attempt(engine, f"user{number}", "10.0.0.1", NOW)
    with pytest.raises(TooManyRequests):
        attempt(engine, "another", "::ffff:10.0.0.1", NOW)


def test_who_is_guessed_at_gets_in_from_his_own_address(engine: Engine) -> None:
    tries_in(engine, 300, "li", "10.0.0.1")
    attempt(engine, "li", "10.0.0.2", NOW + 300)


def test_a_second_guess_from_a_further_address_waits_like_the_first(engine: Engine) -> None:
    tries_in(engine, 300, "li", "10.0.0.1")
    attempt(engine, "li", "10.0.0.2", NOW + 300)
    with pytest.raises(TooManyRequests):
        attempt(engine, "li", "10.0.0.2", NOW + 301)


def test_the_answer_says_when_to_come_back_and_then_it_is_open(engine: Engine) -> None:
    for _ in range(FREE_FOR_NAME):
        attempt(engine, "li", "10.0.0.1", NOW)
    now = NOW
    for expected_s in (1, 2, 4, 8):
        with pytest.raises(TooManyRequests) as refused:
            attempt(engine, "li", "10.0.0.1", now)
        assert refused.value.retry_after_s == expected_s
        now += refused.value.retry_after_s
        attempt(engine, "li", "10.0.0.1", now)


def test_an_attempt_that_came_too_early_does_not_lengthen_the_wait(engine: Engine) -> None:
    for _ in range(FREE_FOR_NAME):
        attempt(engine, "li", "10.0.0.1", NOW)
    for _ in range(50):
        with pytest.raises(TooManyRequests):
            attempt(engine, "li", "10.0.0.1", NOW)
    attempt(engine, "li", "10.0.0.1", NOW + 1)


def test_everything_is_forgotten_after_an_hour(engine: Engine) -> None:
    tries_in(engine, 300, "li", "10.0.0.1")
    attempt(engine, "li", "10.0.0.1", NOW + 300 + WINDOW_S)
    with reading(engine) as connection:
        rows = connection.execute(select(func.count()).select_from(log_in_failures)).scalar_one()
    assert rows == 3


def test_a_right_password_takes_the_failures_of_its_name_back(engine: Engine) -> None:
    for _ in range(FREE_FOR_NAME - 1):
        attempt(engine, "li", "10.0.0.1", NOW)
    with writing(engine) as connection:
        forgive(connection, begin_attempt(connection, "li", "10.0.0.1", NOW))
    for _ in range(FREE_FOR_NAME):
        attempt(engine, "li", "10.0.0.1", NOW)


def test_an_account_of_his_own_does_not_free_a_guesser(engine: Engine) -> None:
    for number in range(FREE_FOR_ADDRESS - 1):
        attempt(engine, f"user{number}", "10.0.0.1", NOW)
    with writing(engine) as connection:
        forgive(connection, begin_attempt(connection, "own", "10.0.0.1", NOW))
    attempt(engine, "user98", "10.0.0.1", NOW)
    with pytest.raises(TooManyRequests):
        attempt(engine, "user99", "10.0.0.1", NOW)


def test_no_name_and_no_address_is_stored(engine: Engine) -> None:
    attempt(engine, "my-password-by-mistake", "10.0.0.1", NOW)
    with reading(engine) as connection:
        subjects = connection.execute(select(log_in_failures.c.subject)).scalars().all()
    assert not [one for one in subjects if "mistake" in one or "10.0" in one]
