"""One house for each test, and both databases for those that have one."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.serving.databases import ON_POSTGRESQL, ON_SQLITE, dropping, on
from tests.serving.house import House, a_house
from tests.serving.postgresql import a_server, programs


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """Give the URL of a PostgreSQL server that is there for the tests alone."""
    if programs() is None:
        pytest.skip("PostgreSQL is absent: apt-get install postgresql")
    if find_spec("psycopg") is None:
        pytest.skip("psycopg is absent: .venv/bin/pip install -e '.[postgresql]'")
    with a_server() as server:
        yield server.url


@pytest.fixture(scope="module", params=[ON_SQLITE, ON_POSTGRESQL])
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """Have every test that uses a database run on both."""
    kind = str(request.param)
    server = request.getfixturevalue("postgresql") if kind == "postgresql" else None
    with on(server):
        yield kind


@pytest.fixture(autouse=True)
def _no_database_stays() -> Iterator[None]:
    with dropping():
        yield


@pytest.fixture
def house(database: str, tmp_path: Path) -> Iterator[House]:
    with a_house(tmp_path) as house:
        yield house
