"""Both languages hold the same sentences with the same placeholders."""

from string import Formatter

import pytest

from firstread.messages import Language, catalogue, sentence


def _placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def test_every_key_stands_in_both_languages() -> None:
    assert set(catalogue(Language.EN)) == set(catalogue(Language.ZH_CN))


def test_no_sentence_is_empty() -> None:
    for language in Language:
        empty = [key for key, text in catalogue(language).items() if not text.strip()]
        assert not empty, f"{language}: {empty}"


def test_both_languages_name_the_same_numbers() -> None:
    chinese = catalogue(Language.ZH_CN)
    for key, english in catalogue(Language.EN).items():
        assert _placeholders(english) == _placeholders(chinese[key]), key


def test_a_missing_number_is_a_bug_and_not_a_blank() -> None:
    with pytest.raises(KeyError):
        sentence("no-such-key", Language.EN)
