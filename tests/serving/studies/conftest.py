"""An archive of its own for every test of a study's life."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.studies.a_study import Archive


@pytest.fixture
def archive(database: str, tmp_path: Path) -> Iterator[Archive]:
    made = Archive(tmp_path)
    yield made
    made.close()
