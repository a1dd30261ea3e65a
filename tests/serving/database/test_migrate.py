"""A database comes to the tables of this version, or is refused."""

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from sqlalchemy import text

from serving.database.engine import open_engine, reading, writing
from serving.database.migrate import (
    NetworkFilesystem,
    SchemaNewer,
    migrate,
    refuse_network_filesystem,
)
from tests.serving.databases import (
    is_postgresql,
    make_database,
    make_empty_database,
    url_of,
)

MOUNTS = """\
21 1 254:0 / / rw - ext4 /dev/vda rw
30 21 0:40 / /mnt/share rw - nfs4 server:/share rw
31 30 254:1 / /mnt/share/local rw - xfs /dev/vdb rw
"""


def schema(file: Path) -> dict[str, list[str]]:
    """Name -> what makes it, in words; the order of constraints within a table means nothing."""
    engine = open_engine(url_of(file))
    with reading(engine) as connection:
        rows = connection.exec_driver_sql(OF_POSTGRESQL if is_postgresql() else OF_SQLITE).all()
    engine.dispose()
    found: dict[str, list[str]] = defaultdict(list)
    for name, words in rows:
        found[name] += sorted(
            line.strip(" ,\t")
            for line in words.replace("\n", " ").replace("(", ",").replace(")", ",").split(",")
        )
    return dict(found)


OF_SQLITE = (
    "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name <> 'alembic_version'"
)
OF_POSTGRESQL = """
    SELECT table_name, concat_ws(' ', column_name, data_type, character_maximum_length,
        collation_name, is_nullable, column_default)
    FROM information_schema.columns
    WHERE table_schema = 'public' AND table_name <> 'alembic_version'
    UNION ALL
    SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND conname NOT LIKE 'alembic%%'
    UNION ALL
    SELECT indexname, indexdef FROM pg_indexes
    WHERE schemaname = 'public' AND tablename <> 'alembic_version'
    ORDER BY 1, 2
"""


@pytest.fixture
def file(database: str, tmp_path: Path) -> Path:
    """Return the name of a database that has no tables."""
    name = tmp_path / "new" / "firstread.sqlite"
    make_empty_database(name)
    return name


def test_the_migrations_make_exactly_the_tables(file: Path, tmp_path: Path) -> None:
    engine = open_engine(url_of(file))
    migrate(engine)
    engine.dispose()
    made = tmp_path / "made.sqlite"
    make_database(made)
    assert schema(file) == schema(made)
    assert "cases" in schema(file)


def test_a_second_migration_changes_nothing(file: Path) -> None:
    engine = open_engine(url_of(file))
    migrate(engine)
    before = schema(file)
    migrate(engine)
    engine.dispose()
    assert schema(file) == before


@pytest.mark.slow
def test_processes_that_start_together_migrate_once(file: Path) -> None:
    code = (
        "import sys; from serving.database.engine import open_engine;"
        "from serving.database.migrate import migrate; migrate(open_engine(sys.argv[1]))"
    )
    words = [sys.executable, "-c", code, url_of(file)]
    started = [subprocess.Popen(words) for _ in range(3)]
    assert [process.wait(60) for process in started] == [0, 0, 0]
    assert "cases" in schema(file)


def test_a_newer_schema_is_refused_and_left_as_it_is(file: Path) -> None:
    engine = open_engine(url_of(file))
    migrate(engine)
    with writing(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaNewer, match="newer version") as refused:
        migrate(engine)
    assert "restore" in refused.value.advice
    with reading(engine) as connection:
        left = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
    assert left == "9999"
    engine.dispose()


def test_a_migration_that_fails_leaves_nothing_behind(file: Path) -> None:
    engine = open_engine(url_of(file))
    file.parent.mkdir(exist_ok=True)
    with writing(engine) as connection:
        # In the way of a later table of the same migration.
        connection.exec_driver_sql("CREATE TABLE views (x INTEGER)")
    with pytest.raises(Exception, match="already exists"):
        migrate(engine)
    engine.dispose()
    assert set(schema(file)) == {"views"}


@pytest.mark.parametrize("place", ["/mnt/share/x/firstread.sqlite", "/mnt/share/firstread.sqlite"])
def test_sqlite_on_a_network_filesystem_is_refused(place: str) -> None:
    with pytest.raises(NetworkFilesystem, match="nfs4"):
        refuse_network_filesystem(Path(place), MOUNTS)


@pytest.mark.parametrize("place", ["/var/lib/firstread.sqlite", "/mnt/share/local/x.sqlite"])
def test_sqlite_on_a_local_filesystem_is_not(place: str) -> None:
    refuse_network_filesystem(Path(place), MOUNTS)
