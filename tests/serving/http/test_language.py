"""Which language an answer speaks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstread.messages import Language
from serving.accounts.caller import Caller, Role
from serving.http.language import language_of, preferred


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", Language.EN),
        ("zh-CN,zh;q=0.9,en;q=0.8", Language.ZH_CN),
        ("zh", Language.ZH_CN),
        ("zh-Hant-TW", Language.ZH_CN),
        ("en-GB,en;q=0.9,zh;q=0.8", Language.EN),
        ("de,zh;q=0.5,en;q=0.7", Language.EN),
        ("de, fr", Language.EN),
        ("en;q=0, zh", Language.ZH_CN),
        ("en;q=0.1, zh;q=0.2", Language.ZH_CN),
        ("*", Language.EN),
        ("zh;q=x, en;q=0.1", Language.EN),
    ],
)
def test_the_browsers_first_wish_that_we_speak(header: str, language: Language) -> None:
    assert preferred(header) is language


@given(st.text())
def test_no_header_is_an_error(header: str) -> None:
    assert preferred(header) in Language


def test_the_account_decides_where_it_says_something() -> None:
    silent = Caller("user", 1, "li", Role.READER, None)
    chinese = Caller("user", 1, "li", Role.READER, None, language="zh-CN")
    assert language_of(chinese, "en") is Language.ZH_CN
    assert language_of(silent, "zh") is Language.ZH_CN
    assert language_of(None, None) is Language.EN
