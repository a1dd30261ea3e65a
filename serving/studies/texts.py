"""Which characters the indexed texts are: decided with the first instance, and again at rest.

The rule itself stands in :mod:`inference.dicom.charsets`. Here are its votes, kept with the study
as they were sent, because a decision over one instance may be another over all of them; when the
study settles, what was decided too early is written anew.
"""

import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from inference.dicom.charsets import Decision, decide, declared_sets, decode
from serving.archive.index import CHARSETS_BREAK
from serving.database.tables import series, studies
from serving.search import search_text
from serving.studies.arrival import InstanceFacts

# Declared sets, joined -> "names" and "texts", one character for each byte.
Votes = dict[str, dict[str, list[str]]]

_DECLARED = "declared"
# Different names and texts of one study and declared set that are asked, declared sets of a study,
# and bytes of all its votes. An honest study has some ten votes and one or two sets; the limits
# keep a hostile one from filling its row, which is read with every request for the study.
_MOST_VOTES = 200
_MOST_SETS = 16
_MOST_BYTES = 64 * 1024

_STUDY_COLUMNS = (
    "patient_name",
    "patient_id",
    "accession_number",
    "description",
    "referring_physician",
    "study_number",
)
_SERIES_COLUMNS = ("description", "body_part")


def with_votes(votes: Votes, facts: Iterable[InstanceFacts]) -> Votes:
    """Return the votes with those of more instances added."""
    grown = {key: {kind: list(values) for kind, values in of.items()} for key, of in votes.items()}
    seen = {(key, kind, value) for key, of in votes.items() for kind in of for value in of[kind]}
    left = _MOST_BYTES - sum(len(value) for _, _, value in seen)
    for one in facts:
        key = CHARSETS_BREAK.join(one.declared)
        if key not in grown and len(grown) == _MOST_SETS:
            # Read by what it declares, as if nothing had been decided.
            continue
        own = grown.setdefault(key, {"names": [], "texts": []})
        for kind, values in (("names", one.names), ("texts", one.texts)):
            for value in sorted(values):
                text = value.decode("latin-1")
                is_new = (key, kind, text) not in seen
                if is_new and len(own[kind]) < _MOST_VOTES and len(text) <= left:
                    left -= len(text)
                    seen.add((key, kind, text))
                    own[kind].append(text)
    return grown


def decide_codecs(votes: Votes) -> dict[str, Decision]:
    """Return the decision for each declared set of a study."""
    return {
        key: decide(_bytes(of["names"]), _bytes(of["texts"]), declared_sets(key.encode("latin-1")))
        for key, of in votes.items()
    }


def study_texts_as_sent(facts: InstanceFacts) -> dict[str, str]:
    """Return what ``studies.texts_as_sent`` keeps of an instance."""
    return _as_sent(facts, facts.study_texts)


def series_texts_as_sent(facts: InstanceFacts) -> dict[str, str]:
    """Return what ``series.texts_as_sent`` keeps of an instance."""
    return _as_sent(facts, facts.series_texts)


def study_columns(as_sent: Mapping[str, str], codecs: Mapping[str, str]) -> dict[str, Any]:
    """Return the texts of a study's row, and what it is searched by."""
    columns = {
        name: _readable(as_sent, name, codecs, _characters(studies.c[name].type))
        for name in _STUDY_COLUMNS
    }
    others = (columns["patient_id"], columns["accession_number"])
    return {**columns, "search": search_text(columns["patient_name"], others)}


def series_columns(as_sent: Mapping[str, str], codecs: Mapping[str, str]) -> dict[str, Any]:
    """Return the texts of a series' row."""
    return {
        name: _readable(as_sent, name, codecs, _characters(series.c[name].type))
        for name in _SERIES_COLUMNS
    }


def _as_sent(facts: InstanceFacts, texts: Mapping[str, bytes]) -> dict[str, str]:
    as_sent = {name: value.decode("latin-1") for name, value in texts.items()}
    return {_DECLARED: CHARSETS_BREAK.join(facts.declared), **as_sent}


def _readable(
    as_sent: Mapping[str, str], name: str, codecs: Mapping[str, str], characters: int
) -> str:
    """Return a text that every database and page bears: no control characters, no more than fit."""
    key = as_sent.get(_DECLARED, "")
    raw = as_sent.get(name, "").encode("latin-1")
    text = decode(raw, declared_sets(key.encode("latin-1")), codecs.get(key, ""))
    plain = "".join(" " if unicodedata.category(sign) in ("Cc", "Cs") else sign for sign in text)
    return plain.strip()[:characters].strip()


def _characters(column_type: Any) -> int:
    length: int = column_type.length
    return length


def _bytes(values: Iterable[str]) -> list[bytes]:
    return [value.encode("latin-1") for value in values]
