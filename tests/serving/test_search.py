"""A patient is found by what somebody types."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.search import SEARCH_CHARACTERS, normalise, search_terms, search_text

NAME = "Wang^Wei=王^伟=わん^うぇい"


@pytest.mark.parametrize(
    "typed",
    [
        "王伟",
        "王 伟",
        "王^伟",
        "王",
        "WANG^WEI",
        "wang wei",
        "wei wang",
        "wangwei",
        "ＷＡＮＧ",
        "王\u3000伟",
        "p-0042",
        "A 77",
        "",
    ],
)
def test_a_patient_is_found(typed: str) -> None:
    text = search_text(NAME, ("P-0042", "A77"))
    assert all(term in text for term in search_terms(typed))


@pytest.mark.parametrize("typed", ["王芳", "伟王", "li wei", "%", "_"])
def test_another_is_not(typed: str) -> None:
    text = search_text(NAME, ("P-0042", "A77"))
    assert not all(term in text for term in search_terms(typed))


@given(st.text())
def test_the_normal_form_is_its_own_normal_form(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once


@given(st.text(max_size=400), st.text(max_size=60))
def test_the_search_text_fits_its_column(name: str, identifier: str) -> None:
    assert len(search_text(name, (identifier,))) <= SEARCH_CHARACTERS
