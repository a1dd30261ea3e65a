"""Media types: what a body is (Content-Type), and what an answer may be (Accept).

``multipart/related; type="application/dicom"; transfer-syntax=*;q=0.5, application/dicom+json``

Source: RFC 9110 sections 5.6.6, 8.3 and 12.5.1; PS3.18 sections 8.7.3 to 8.7.5.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from serving.errors import NotAcceptable

DICOM = "application/dicom"
DICOM_JSON = "application/dicom+json"
DICOM_XML = "application/dicom+xml"
JSON = "application/json"
OCTET_STREAM = "application/octet-stream"
RELATED = "multipart/related"

# More alternatives than this are no wish.
_MOST_RANGES = 64
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_NAME = re.compile(rf"\s*({_WORD}|\*)/({_WORD}|\*)\s*")
# A value is a token, a quoted text, or what clients write without the quotes it needs.
_PARAMETER = re.compile(rf';\s*(?:({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^";,\s]*))\s*)?')
_COMMA = re.compile(r"\s*,\s*")
_QUALITY = re.compile(r"\d{1,3}(?:\.\d{0,9})?|\.\d{1,9}")
_QUOTED_PAIR = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class MediaType:
    """A media type or range, in lower case; parameter values as they were written.

    Attributes
    ----------
    quality
        How much it is wanted, 0 (not at all) to 1.
    """

    name: str
    parameters: Mapping[str, str]
    quality: float = 1.0

    @property
    def kind(self) -> str:
        """What is inside: the ``type`` of multipart/related, else the name itself."""
        return self.parameters.get("type", "").lower() if self.name == RELATED else self.name

    @property
    def transfer_syntax(self) -> str:
        """The transfer syntax asked for, ``*`` for any; empty: none was named."""
        return self.parameters.get("transfer-syntax", "")


def read_media_type(text: str) -> MediaType | None:
    """Return the media type of a Content-Type; None where it is none."""
    found = next(_media_types(text), None)
    return found if found is not None and "*" not in found.name else None


def read_accept(headers: Sequence[str], query: Sequence[str] = ()) -> tuple[MediaType, ...]:
    """Return the media ranges that a client accepts, most wanted first; of equals the first named.

    Parameters
    ----------
    headers
        Values of Accept; without any everything is accepted.
    query
        Values of the ``accept`` parameter of a URL, which stand above the header
        (PS3.18 8.3.3.1).
    """
    texts = [text for text in query if text.strip()] or [text for text in headers if text.strip()]
    if not texts:
        return (MediaType("*/*", {}),)
    found = [one for text in texts for one in _media_types(text)][:_MOST_RANGES]
    return tuple(sorted(found, key=lambda one: -one.quality))


def choose(accepted: Sequence[MediaType], offered: Sequence[str]) -> str:
    """Return the offered type that is wanted most; of equally wanted ones the first offered.

    Who accepts it as the type of multipart/related accepts it.

    Raises
    ------
    NotAcceptable
        ``not-acceptable``
    """
    qualities = {name: _quality(accepted, name) for name in offered}
    best = max(offered, key=lambda name: qualities[name])
    if qualities[best] <= 0:
        raise NotAcceptable(f"it can be given as {' or '.join(offered)}")
    return best


def _quality(accepted: Sequence[MediaType], name: str) -> float:
    """Return how much a type is wanted: what the most exact range says (RFC 9110 12.5.1)."""
    major = name.partition("/")[0]
    for exact in (name, f"{major}/*", "*/*"):
        stated = [one.quality for one in accepted if one.kind == exact]
        if stated:
            return max(stated)
    return 0.0


def _media_types(text: str) -> Iterator[MediaType]:
    """Yield the media types of a list; one that cannot be read ends it."""
    position = 0
    while name := _NAME.match(text, position):
        position = name.end()
        parameters: dict[str, str] = {}
        while parameter := _PARAMETER.match(text, position):
            position = parameter.end()
            if parameter[1] is not None:
                quoted, plain = parameter[2], parameter[3]
                value = plain if quoted is None else _QUOTED_PAIR.sub(r"\1", quoted)
                parameters.setdefault(parameter[1].lower(), value)
        quality = _number(parameters.pop("q", "1"))
        yield MediaType(f"{name[1]}/{name[2]}".lower(), parameters, quality)
        rest = _COMMA.match(text, position)
        if rest is None:
            return
        position = rest.end()


def _number(text: str) -> float:
    """Return a quality value; what is none counts as not wanted."""
    return min(1.0, float(text)) if _QUALITY.fullmatch(text) else 0.0
