"""Every reason that the gate can give reads as a sentence in both languages."""

import ast
import re
from pathlib import Path

import pytest

import inference.gate
from firstread.messages import Language, catalogue
from inference.dicom.decoding import read_pixels
from inference.dicom.instance import Computed
from inference.gate.reasons import Code, Number, Reason, Status

ROOM = Path(inference.gate.__path__[0])
BOTH = tuple(Language)

# Each code with the numbers that the room gives it, collected by running every case of the other
# tests would miss what they miss; so the keys are read from the source, where each is a plain dict.
WORD_KEYS = ("problem", "witness", "pixels", "end")

# Codes that never stand beside a score.
NEVER_LIMITS = (Code.ACQUISITIONS_MIXED, Code.UIDS_REPEATED)


def placeholders(text: str) -> set[str]:
    return set(re.findall(r"{(\w+)}", text))


@pytest.mark.parametrize("code", list(Code))
def test_every_code_has_a_sentence_in_both_languages(code: Code) -> None:
    assert all(f"gate.{code}" in catalogue(language) for language in BOTH)


@pytest.mark.parametrize("key", sorted(k for k in catalogue(Language.EN) if k[:5] == "gate."))
def test_a_sentence_names_the_same_numbers_in_both_languages(key: str) -> None:
    english, chinese = (catalogue(language)[key] for language in BOTH)
    assert placeholders(english) == placeholders(chinese)
    assert re.search(r"[一-鿿]", chinese)


@pytest.mark.parametrize("language", BOTH)
def test_a_variant_belongs_to_a_code_and_names_no_other_numbers(language: Language) -> None:
    words = catalogue(language)
    variants = [key for key in words if key.startswith("gate.") and key.count(".") == 2]
    for key in variants:
        _, code, variant = key.split(".")
        if code != "word" and variant in list(Status):
            assert placeholders(words[key]) <= placeholders(words[f"gate.{Code(code)}"])


@pytest.mark.parametrize("language", BOTH)
@pytest.mark.parametrize("encoding", ["gbk", "gb18030"])
def test_every_sentence_can_be_written_in_the_code_pages_of_hospitals(
    language: Language, encoding: str
) -> None:
    for text in catalogue(language).values():
        assert text.encode(encoding).decode(encoding) == text


@pytest.mark.parametrize("language", BOTH)
def test_what_is_scored_is_not_asked_for_again(language: Language) -> None:
    for code in Code:
        words = catalogue(language)
        text = words.get(f"gate.{code}.limits", words[f"gate.{code}"])
        asks = re.search(r"[Pp]lease|请", text)
        assert not asks or code in NEVER_LIMITS


def test_the_letters_of_a_sender_never_break_a_code_page() -> None:
    numbers: dict[str, Number] = {"lung_volume_ml": 1, "min_lung_volume_ml": 2, "body_part": "Ø胸"}
    for language in BOTH:
        text = Reason(Code.NOT_CHEST, Status.REFUSE, numbers).sentence(language)
        assert text.encode("gbk")
        assert "??" in text


def test_every_reason_of_undecodable_pixels_is_a_word() -> None:
    listed = re.findall(r"``([a-z-]+)``", (read_pixels.__doc__ or "").partition("Raises")[2])
    assert "decoder-hung" in listed
    numbers: dict[str, Number] = {"transfer_syntax": "1.2", "detail": "decoder-hung"}
    for language in BOTH:
        assert not [word for word in listed if f"gate.word.{word}" not in catalogue(language)]
        reason = Reason(Code.PIXELS_UNDECODABLE, Status.REFUSE, numbers)
        assert catalogue(language)["gate.word.decoder-hung"] in reason.sentence(language)


def test_every_way_of_computing_images_is_a_word() -> None:
    for language in BOTH:
        assert all(f"gate.word.{kind}" in catalogue(language) for kind in Computed)


def words_in_the_source() -> set[str]:
    """Return every text that stands where a word of the catalogues is meant."""
    words = set()
    for path in ROOM.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            pairs = zip(node.keys, node.values, strict=True) if isinstance(node, ast.Dict) else ()
            named = [value for key, value in pairs if getattr(key, "value", None) in WORD_KEYS]
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "problem":
                named.append(node.value)
            if isinstance(node, ast.FunctionDef) and node.name in ("_side", "witness"):
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
