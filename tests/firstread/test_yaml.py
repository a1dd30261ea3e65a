"""A wrong configuration names file, line and reason."""

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from firstread.errors import ConfigurationError
from firstread.yaml import load, load_file


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    share: float


class Outer(BaseModel):
    name: str
    inner: list[Inner]


def test_a_good_document_becomes_its_model() -> None:
    assert load("name: a\ninner:\n - share: 0.5\n", Outer, name="x.yaml").inner[0].share == 0.5


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("name: a\ninner:\n  - share: 0.1\n  - share: often\n", 4, "inner.1.share"),
        ("name: a\ninner:\n  - share: 0.1\n    shar: 1\n", 4, "inner.0.shar"),
        ("inner: []\n", 1, "name"),
        ("name: [a\n", 2, ""),
        ("", 1, "document"),
    ],
)
def test_a_fault_is_named_with_its_line(text: str, line: int, word: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(text, Outer, name="x.yaml")
    assert f"x.yaml, line {line}: {word}" in caught.value.message


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match=r"bad\.yaml: cannot be read"):
        load_file(tmp_path / "bad.yaml", Outer)
