"""Which characters a text's bytes stand for, decided once per study and declared set.

What an instance declares is often wrong: GBK bytes tagged ISO_IR 100 decode without a warning to
accented nonsense, and "decodes as GB18030" turns Müller into Chinese. So all person names of a
study that declare the same set vote together, and the first of these steps holds:

==== ============================================================================== ==============
step when                                                                           text is
==== ============================================================================== ==============
0    the value holds an escape byte (looked at value by value)                      ISO 2022
1    names are clean as UTF-8; or ISO_IR 192 is declared and they are valid UTF-8   UTF-8
2    another set than ISO_IR 100, ISO_IR 6, none is declared and decodes strictly   as declared
3    names are clean as GB18030                                                     GB18030
4    otherwise                                                                      by value
==== ============================================================================== ==============

*Clean* names decode strictly, and every word that is not ASCII is made of Chinese characters only.
If no name has a byte above 7F the other texts decide, by a laxer sense of *clean*
(``docs/dicom.md``). Sources: PS3.3 C.12.1.1.2, PS3.5 6.1.2; the rule and its steps are this
project's, with measured error rates.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

BY_VALUE = "by-value"
"""In place of a codec: each value is valid UTF-8, else the declared set, else Latin-1."""

_ESCAPE = b"\x1b"

# PS3.3 tables C.12-2 to C.12-5, the number of the ISO registration -> codec of Python. GB18030
# holds GBK and GB 2312.
_REGISTERED = {
    "6": "ascii",
    "13": "shift_jis",
    "58": "gb18030",
    "87": "iso2022_jp",
    "100": "latin-1",
    "101": "iso8859_2",
    "109": "iso8859_3",
    "110": "iso8859_4",
    "126": "iso8859_7",
    "127": "iso8859_6",
    "138": "iso8859_8",
    "144": "iso8859_5",
    "148": "iso8859_9",
    "149": "euc_kr",
    "159": "iso2022_jp_2",
    "166": "iso8859_11",
    "192": "utf-8",
    "203": "iso8859_15",
}
_NAMED = {"GB18030": "gb18030", "GBK": "gb18030", "GB2312": "gb18030", "UTF8": "utf-8"}

# Escape sequence (PS3.3 tables C.12-3 and C.12-4) -> codec of what follows.
_DESIGNATED = {
    b"\x1b(B": "ascii",
    b"\x1b-A": "latin-1",
    b"\x1b)I": "shift_jis",
    b"\x1b(J": "shift_jis",
    b"\x1b-B": "iso8859_2",
    b"\x1b-C": "iso8859_3",
    b"\x1b-D": "iso8859_4",
    b"\x1b-F": "iso8859_7",
    b"\x1b-G": "iso8859_6",
    b"\x1b-H": "iso8859_8",
    b"\x1b-L": "iso8859_5",
    b"\x1b-M": "iso8859_9",
    b"\x1b-T": "iso8859_11",
    b"\x1b-b": "iso8859_15",
    b"\x1b$B": "iso2022_jp",
    b"\x1b$(D": "iso2022_jp_2",
    b"\x1b$)C": "euc_kr",
    b"\x1b$)A": "gb18030",
}
# Python's codecs of these sets want the escape itself in front of the 7 bit pairs.
_KEEPS_ESCAPE = frozenset({b"\x1b$B", b"\x1b$(D"})
_ESCAPES = re.compile(rb"(\x1b(?:\$[()]?.|[()\-].))", re.DOTALL)
_RESETS = re.compile(rb"([\\^=\r\n\t\f])")
_IR_58_ESCAPES = re.compile(rb"\x1b(?:\$\)A|\(B|-A)")

_CHINESE = "\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af\u3007\u00b7"
# Full-width forms and CJK punctuation, without the ideographic zero, which is a character of names.
_WIDE = "\u3000-\u3006\u3008-\u303f\uff00-\uffef"
_WORD_BREAKS = re.compile(rf"[\^=\\.,()/\-\s0-9{_WIDE}]+")
_CHINESE_WORD = re.compile(rf"[{_CHINESE}]+")
_CHINESE_TEXT = re.compile(rf"[\x00-\x7f{_CHINESE}{_WIDE}\u2014\u2018\u2019\u201c\u201d\u2026]*")
_HIGH_RUN = re.compile(rb"[\x80-\xff]+")


@dataclass(frozen=True, slots=True)
class Decision:
    """How the texts of one study and declared set are decoded, and by which step of the rule."""

    codec: str
    step: int


def declared_sets(raw: bytes) -> tuple[str, ...]:
    """Return the values of Specific Character Set (0008,0005); empty where nothing is declared."""
    text = raw.strip(b"\0 ").decode("ascii", "replace")
    return tuple(part.strip() for part in text.split("\\")) if text else ()


def decide(names: Iterable[bytes], texts: Iterable[bytes], declared: tuple[str, ...]) -> Decision:
    """Decide for all values of a study's instances that declare the same sets.

    Parameters
    ----------
    names
        Every person name (VR PN) as it stands in the files.
    texts
        The other texts; asked only when no name has a byte above 7F.
    declared
        See :func:`declared_sets`.

    Returns
    -------
    The codec for :func:`decode`. Values without a byte above 7F, or with an escape byte, do not
    vote.
    """
    codec = _declared_codec(declared)
    believed = codec not in ("", "ascii", "latin-1")
    votes, are_clean = _voting(names), _are_clean_names
    if not votes:
        votes, are_clean = _voting(texts), _are_clean_texts
        if not votes:
            return Decision(codec, 2) if believed else Decision(BY_VALUE, 4)
    is_utf_8 = _decode_all(votes, "utf-8")
    if is_utf_8 and (codec == "utf-8" or are_clean(votes, "utf-8")):
        return Decision("utf-8", 1)
    if believed and _decode_all(votes, codec):
        return Decision(codec, 2)
    if is_utf_8 and are_clean is _are_clean_texts:
        return Decision("utf-8", 3)
    if _decode_all(votes, "gb18030") and are_clean(votes, "gb18030"):
        return Decision("gb18030", 3)
    return Decision(BY_VALUE, 4)


def decode(raw: bytes, declared: tuple[str, ...], codec: str) -> str:
    """Return the text of one element's value; it never fails.

    Parameters
    ----------
    raw
        The whole value: split it at the backslash only afterwards (the second byte of a character
        may be 5C).
    declared
        What the value's own instance declares.
    codec
        ``Study.codecs[declared]``, of :func:`decide`.

    Returns
    -------
    The text without the padding at its end.
    """
    value = raw.rstrip(b"\0 ")
    if _ESCAPE in value:
        text = _iso_2022(value, declared)
    elif codec in ("", BY_VALUE):
        text = _strict(value, "utf-8")
        if text is None:
            text = _strict(value, _declared_codec(declared) or "ascii")
    else:
        text = _strict(value, codec)
        if text is None:
            text = _strict(value, "utf-8")
        if text is None:
            chinese = _strict(value, "gb18030")
            text = chinese if chinese is not None and _are_clean_texts([value], "gb18030") else None
    return text if text is not None else value.decode("latin-1")


def _declared_codec(declared: tuple[str, ...]) -> str:
    """Return the codec of a value without escapes: the first declared one but ASCII."""
    found = ""
    for name in declared:
        plain = re.sub(r"[\s_-]", "", name.upper())
        codec = _NAMED.get(plain) or _REGISTERED.get(re.sub(r"^ISO(2022)?IR", "", plain), "")
        if codec not in ("", "ascii"):
            return codec
        found = found or codec
    return found


def _voting(values: Iterable[bytes]) -> list[bytes]:
    return [value for value in values if not value.isascii() and _ESCAPE not in value]


def _decode_all(values: list[bytes], codec: str) -> bool:
    return all(_strict(value, codec) is not None for value in values)


def _strict(value: bytes, codec: str) -> str | None:
    try:
        return value.decode(codec)
    except UnicodeDecodeError:
        return None


def _are_clean_names(votes: list[bytes], codec: str) -> bool:
    """Whether every word that is not ASCII is made of Chinese characters only."""
    return all(
        word.isascii() or _CHINESE_WORD.fullmatch(word)
        for value in votes
        for word in _WORD_BREAKS.split(value.decode(codec))
    )


def _are_clean_texts(votes: list[bytes], codec: str) -> bool:
    """Whether all that is not ASCII is Chinese.

    Words of descriptions mix (CT, kernel names), so in GB18030 runs of high bytes must be even and
    one of them two characters long: accents in Latin-1 are told by their odd, short runs.
    """
    if not all(_CHINESE_TEXT.fullmatch(value.decode(codec)) for value in votes):
        return False
    runs = [len(run) for value in votes for run in _HIGH_RUN.findall(value)]
    return codec != "gb18030" or (max(runs) >= 4 and not any(length % 2 for length in runs))


def _iso_2022(value: bytes, declared: tuple[str, ...]) -> str | None:
    """Return a value with escape sequences, or None where it does not decode (PS3.5 6.1.2.5)."""
    initial = _declared_codec(declared[:1]) or "ascii"
    if any(re.sub(r"[\s_-]", "", name.upper()) == "ISO2022IR58" for name in declared):
        return _strict(_IR_58_ESCAPES.sub(b"", value), "gb18030")
    text, escape, codec = "", b"", initial
    for part in _ESCAPES.split(value):
        if part.startswith(_ESCAPE):
            if part not in _DESIGNATED:
                return None
            escape, codec = part, _DESIGNATED[part]
            continue
        if escape in _KEEPS_ESCAPE:
            decoded = _strict(escape + part, codec)
            if decoded is None:
                return None
            text += decoded
            continue
        # Delimiters bring the initial set back; within one of two bytes they are halves of
        # characters.
        for run in _RESETS.split(part):
            decoded = _strict(run, codec)
            if decoded is None:
                return None
            text += decoded
            if _RESETS.fullmatch(run):
                escape, codec = b"", initial
    return text
