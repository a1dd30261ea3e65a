"""A database with all tables, for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.serving.databases import a_database


@pytest.fixture
def engine(database: str, tmp_path: Path) -> Iterator[Engine]:
    engine = a_database(tmp_path / "accounts.sqlite")
    yield engine
    engine.dispose()
