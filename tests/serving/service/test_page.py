"""The page of the service says every setting, with the default that the code has."""

import re
from pathlib import Path

from serving.settings import PREFIX, Settings

PAGE = Path(__file__).parents[3] / "docs/service.md"


def test_every_setting_stands_in_the_table_and_nothing_else_does() -> None:
    table = PAGE.read_text("utf-8").partition("## Settings")[2].partition("## The log")[0]
    rows = re.findall(r"^\| (`FIRSTREAD_[^|]+)\|", table, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(FIRSTREAD_\w+)`", row)}
    assert named == {PREFIX + name.upper() for name in Settings.model_fields}


def test_numbers_in_the_table_are_those_of_the_code() -> None:
    text = PAGE.read_text("utf-8")
    for name, field in Settings.model_fields.items():
        if isinstance(field.default, bool) or not isinstance(field.default, int | float):
            continue
        found = re.search(rf"`{PREFIX}{name.upper()}` \| ([\d,]+)( GiB)? \|", text)
        if found is None:
            assert name == "port"
            continue
        said = int(found[1].replace(",", "")) * (1 << 30 if found[2] else 1)
        assert said == field.default, name
