"""All sentences that people read, in zh-CN and en: one gettext catalogue for each language.

Keys are stable (``gate.slices-missing``); both catalogues hold every key, and a test says so.
The ``.po`` files are read as they are, so there is no compiled copy that could be out of date.
"""

from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from importlib.resources import files


class Language(StrEnum):
    """The languages that Firstread speaks (BCP 47)."""

    EN = "en"
    ZH_CN = "zh-CN"


@cache
def catalogue(language: Language) -> Mapping[str, str]:
    """Return key -> sentence, with ``{placeholders}`` for numbers."""
    from babel.messages.pofile import read_po

    path = files("firstread.messages") / f"{language.value.replace('-', '_')}.po"
    with path.open("rb") as stream:
        entries = read_po(stream, locale=language.value.replace("-", "_"))
    return {str(entry.id): str(entry.string) for entry in entries if entry.id}


def sentence(key: str, language: Language, **values: object) -> str:
    """Return the sentence of ``key`` with its placeholders filled.

    Raises
    ------
    KeyError
        The catalogue has no such key, or the sentence names a value that was not given: a bug.
    """
    return catalogue(language)[key].format(**values)
