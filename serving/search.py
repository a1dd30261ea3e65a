"""How names and numbers are made comparable: what was indexed and what is asked go the same way.

Width, case and the signs between the parts of a name do not count, so ``WANG^WEI`` is found by
``wang wei``, ``Wei Wang`` and ``wangwei``, and a Chinese name by its two characters or by one.
"""

import re
import unicodedata
from collections.abc import Iterable

SEARCH_CHARACTERS = 600
"""Of the columns ``search`` in studies and cases: of four bytes each, and with the rest of its row,
they must fit the 2,704 bytes that an index of PostgreSQL takes."""

# Between components (^) and groups (=) of a name, between values, and blanks of every kind. Marks
# of writing direction are of no width and no meaning here.
_BREAKS = re.compile(r"[\^=\\,;\s\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]+")

# But for tab and ends of line, which come with what is pasted.
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def normalise(text: str) -> str:
    """Return a text in its comparable form: words with one blank between them."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    # Folding may take a text out of its normal form: once more.
    return _BREAKS.sub(" ", unicodedata.normalize("NFKC", folded)).strip()


def has_controls(text: str) -> bool:
    """Whether a text holds what no name or number does and a database may cut it at (NUL)."""
    return _CONTROLS.search(text) is not None


def search_terms(query: str) -> tuple[str, ...]:
    """Return the words of a query: each of them must be contained in the search text."""
    return tuple(dict.fromkeys(normalise(query).split()))


def search_text(name: str, others: Iterable[str]) -> str:
    """Return what a study is searched by.

    Parameters
    ----------
    name
        Patient's Name as in DICOM: up to three groups (``=``) of components (``^``), each group
        searchable with and without blanks.
    others
        Patient ID, accession number.
    """
    parts = [normalise(other) for other in others]
    for group in name.split("="):
        words = normalise(group)
        parts += [words, words.replace(" ", "")]
    return "\n".join(dict.fromkeys(part for part in parts if part))[:SEARCH_CHARACTERS]
