"""Passwords: what is stored, and the same work for everybody."""

import re

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.low_level import Type

from firstread.errors import UsageError
from serving.accounts import passwords
from serving.accounts.passwords import (
    HASHER,
    NOBODY,
    hash_password,
    is_outdated,
    is_right,
    make_password,
)
from tests.serving.house import PASSWORD, stored


def test_what_is_stored_is_argon2id_of_at_least_the_cost_that_owasp_names() -> None:
    cost = extract_parameters(stored(PASSWORD))
    assert cost.type is Type.ID
    assert cost.memory_cost >= 19 * 1024
    assert cost.time_cost >= 2
    assert PASSWORD not in stored(PASSWORD)


def test_the_right_password_is_right_and_another_is_not() -> None:
    assert is_right(PASSWORD, stored(PASSWORD))
    assert not is_right(PASSWORD + " ", stored(PASSWORD))


def test_nobody_is_compared_to_a_hash_of_the_same_cost() -> None:
    assert extract_parameters(NOBODY) == extract_parameters(stored(PASSWORD))
    assert not is_outdated(NOBODY)


def test_a_hash_of_another_cost_is_outdated() -> None:
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    assert is_outdated(hash_password(PASSWORD, cheap))
    assert not is_outdated(stored(PASSWORD))


@pytest.mark.parametrize(
    "password", ["", "short", "eleven char", "aaaaaaaaaaaaaaaaaaaa", "abcd" * 5, "x1y2z" * 52]
)
def test_a_weak_password_is_refused(password: str) -> None:
    with pytest.raises(UsageError):
        hash_password(password)


def test_full_width_letters_of_a_chinese_keyboard_are_the_letters() -> None:
    wide = "".join(chr(ord(c) + 0xFEE0) if c.isalpha() else "\u3000" for c in PASSWORD)
    assert is_right(wide, stored(PASSWORD))


def test_a_password_that_is_too_long_is_wrong_without_long_work() -> None:
    longest = "abcde" * 60
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    known = cheap.hash(longest[: passwords.MOST_CHARACTERS + 1])
    assert not is_right(longest, known, cheap)


def test_a_made_password_has_a_hundred_bits_and_no_letter_that_is_mistaken() -> None:
    made = {make_password() for _ in range(100)}
    assert len(made) == 100
    assert len(passwords.ALPHABET) == 32
    assert all(re.fullmatch(r"([a-km-np-z2-9]{5}-){3}[a-km-np-z2-9]{5}", one) for one in made)
    assert HASHER.verify(hash_password(sorted(made)[0]), sorted(made)[0])
