"""Which language an answer speaks: the account's, else what the browser prefers, else English."""

from firstread.messages import Language
from serving.accounts.caller import Caller

# A header of more parts is nobody's wish.
MOST_PARTS = 20


def language_of(caller: Caller | None, accept_language: str | None) -> Language:
    """Return the language for somebody.

    Parameters
    ----------
    caller
        None before a log-in.
    accept_language
        The header as sent (RFC 9110 section 12.5.4).
    """
    if caller is not None and caller.language is not None:
        return Language(caller.language)
    return preferred(accept_language or "")


def preferred(accept_language: str) -> Language:
    """Return the first of our languages that a browser prefers; any Chinese counts as ours."""
    wishes = []
    for place, part in enumerate(accept_language.split(",")[:MOST_PARTS]):
        tag, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = _quality(parameters)
        if quality > 0:
            wishes.append((-quality, place, tag))
    for _, _, tag in sorted(wishes):
        for language in Language:
            if tag.split("-")[0] == language.value.split("-")[0]:
                return language
    return Language.EN


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
