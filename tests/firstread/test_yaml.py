"""A wrong configuration names file, line and reason."""

from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, model_validator

from firstread.errors import ConfigurationError
from firstread.yaml import Fault, load, load_file


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    share: float


class Outer(BaseModel):
    name: str
    inner: list[Inner]

    @model_validator(mode="after")
    def _shares_do_not_fall(self) -> "Outer":
        for number, (above, below) in enumerate(pairwise(self.inner), start=1):
            if below.share < above.share:
                raise Fault("less than the one above", "inner", number, "share")
        return self


def test_a_good_document_becomes_its_model() -> None:
    assert load("name: a\ninner:\n - share: 0.5\n", Outer, name="x.yaml").inner[0].share == 0.5


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("name: a\ninner:\n  - shar: 1\n", 3, "inner.0.shar: no such key, and share is missing"),
        ("name: a\ninner:\n  - share: 2\n  - share: 1\n", 4, "inner.1.share: less than"),
        ("name: a\ninner:\n  - share: 0.1\n  - share: often\n", 4, "inner.1.share"),
        ("name: a\ninner:\n  - share: 0.1\n    shar: 1\n", 4, "inner.0.shar"),
        ("inner: []\n", 1, "name"),
        ("name: [a\n", 2, ""),
        ("name: a\ninner: \x00\n", 2, "special characters"),
        ("name: a\ninner: []\nname: b\n", 3, "name stands here a second time"),
        ("name: a\ninner:\n  - share: 1\n    share: 2\n", 4, "share stands here a second time"),
        ("name: a\ninner: []\nday: 2024-13-45\n", 3, "no such value: 2024-13-45"),
        ("name: a\nwhen:\n  - !!timestamp soon\n", 3, "no such value: soon"),
        ("name: a\nyes: !!bool perhaps\n", 2, "no such value: perhaps"),
        ("name: a\ncount: !!int many\n", 2, "no such value: many"),
        ("name: a\ninner: " + "[" * 5000 + "]" * 5000 + "\n", 2, "nested too deeply"),
        ("name: a\ninner: " + "{a: " * 5000 + "1" + "}" * 5000 + "\n", 2, "nested too deeply"),
        ("", 1, "document"),
    ],
)
def test_a_fault_is_named_with_its_line(text: str, line: int, word: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(text, Outer, name="x.yaml")
    assert f"x.yaml, line {line}: {word}" in caught.value.message


def test_a_merged_key_may_be_said_again() -> None:
    text = "base: &base {share: 0.1, name: a}\nname: b\ninner: [{<<: *base, share: 0.5}]\n"

    class Loose(BaseModel):
        inner: list[dict[str, object]]

    assert load(text, Loose, name="x.yaml").inner == [{"share": 0.5, "name": "a"}]


@given(st.text(st.sampled_from("ab: -[]{}&*!?|>'\"#%@,\n\t01.2~<\\\x00\u4e00"), max_size=60))
def test_whatever_the_text_it_is_a_document_or_a_fault_with_a_line(text: str) -> None:
    with suppress(ConfigurationError):
        load(text, Outer, name="x.yaml")


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match=r"bad\.yaml: cannot be read"):
        load_file(tmp_path / "bad.yaml", Outer)
