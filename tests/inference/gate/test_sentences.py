"""Every reason that the gate can give reads as a sentence in both languages."""

import ast
import re
from pathlib import Path

import pytest

import inference.gate
from firstread.messages import Language, catalogue
from inference.gate.reasons import Code, Number, Reason, Status

ROOM = Path(inference.gate.__path__[0])
BOTH = tuple(Language)

# Each code with the numbers that the room gives it, collected by running every case of the other
# tests would miss what they miss; so the keys are read from the source, where each is a plain dict.
WORD_KEYS = ("problem", "witness", "pixels", "end")


def placeholders(text: str) -> set[str]:
    return set(re.findall(r"{(\w+)}", text))


@pytest.mark.parametrize("code", list(Code))
def test_every_code_has_a_sentence_in_both_languages_with_the_same_numbers(code: Code) -> None:
    english, chinese = (catalogue(language)[f"gate.{code}"] for language in BOTH)
    assert placeholders(english) == placeholders(chinese)
    assert re.search(r"[一-鿿]", chinese)


def words_in_the_source() -> set[str]:
    """Return every text that stands where a word of the catalogues is meant."""
    words = set()
    for path in ROOM.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            pairs = zip(node.keys, node.values, strict=True) if isinstance(node, ast.Dict) else ()
            named = [value for key, value in pairs if getattr(key, "value", None) in WORD_KEYS]
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "problem":
                named.append(node.value)
            if isinstance(node, ast.FunctionDef) and node.name in ("_side", "_witness"):
                named += [n.value for n in ast.walk(node) if isinstance(n, ast.Return) and n.value]
            for value in named:
                words |= {
                    n.value
                    for n in ast.walk(value)
                    if isinstance(n, ast.Constant) and isinstance(n.value, str) and n.value
                }
    return words


def test_every_word_of_the_room_is_in_both_languages() -> None:
    words = words_in_the_source()
    assert {"no-air", "blank-slices", "instance-numbers", "left", "not-axial"} <= words
    for language in BOTH:
        missing = {word for word in words if f"gate.word.{word}" not in catalogue(language)}
        assert missing == set()


def test_words_are_shown_in_the_language_of_the_sentence() -> None:
    numbers: dict[str, Number] = {"end": "head", "position_mm": -92.5, "area_cm2": 213.2}
    reason = Reason(Code.LUNGS_TRUNCATED, Status.LIMITS, numbers)
    assert "at the top" in reason.sentence(Language.EN)
    assert "尖部" in reason.sentence(Language.ZH_CN)
    assert "head" not in reason.sentence(Language.ZH_CN)
