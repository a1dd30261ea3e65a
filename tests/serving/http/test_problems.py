"""Every error has a sentence, and a line in the reference."""

import re
from pathlib import Path

import pytest

from firstread.errors import FirstreadError
from firstread.messages import Language, catalogue
from serving import errors
from serving.accounts.log_in import LogInRefused
from serving.http.authentication import NotFromOurPages, TokenRefused
from serving.http.problems import ADVISED, CODES, TITLED

PAGE = Path(__file__).resolve().parents[3] / "docs/errors.md"
OURS: list[type[FirstreadError]] = [
    *(e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, FirstreadError)),
    LogInRefused,
    NotFromOurPages,
    TokenRefused,
]


def rows() -> set[tuple[int, str]]:
    found = re.findall(r"^\| (\d{3}) \| `([a-z-]+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)
    return {(int(status), code) for status, code in found}


def test_every_error_of_the_service_stands_in_the_reference() -> None:
    told = {(error.http_status, error.code) for error in OURS}
    assert told | set(CODES.items()) <= rows()


@pytest.mark.parametrize("language", Language)
def test_every_status_has_a_title_in_both_languages(language: Language) -> None:
    assert {f"problem.{status}" for status in TITLED} <= catalogue(language).keys()
    assert {f"problem.advice.{status}" for status in ADVISED} <= catalogue(language).keys()
    assert {status for status, _ in rows()} <= TITLED
