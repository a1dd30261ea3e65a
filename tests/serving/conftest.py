"""One house for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.house import House, a_house


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with a_house(tmp_path) as house:
        yield house
