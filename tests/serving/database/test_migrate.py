"""A database comes to the tables of this version, or is refused."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from serving.database.engine import open_engine, writing
from serving.database.migrate import (
    NetworkFilesystem,
    SchemaNewer,
    migrate,
    refuse_network_filesystem,
)
from serving.database.tables import metadata

MOUNTS = """\
21 1 254:0 / / rw - ext4 /dev/vda rw
30 21 0:40 / /mnt/share rw - nfs4 server:/share rw
31 30 254:1 / /mnt/share/local rw - xfs /dev/vdb rw
"""


def schema(path: Path) -> dict[str, list[str]]:
    """Name -> its SQL in words; the order of constraints within a table means nothing."""
    query = (
        "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name != 'alembic_version'"
    )
    with sqlite3.connect(path) as connection:
        rows = connection.execute(query).fetchall()
    connection.close()
    return {
        name: sorted(line.strip(" ,\t") for line in sql.replace("\n", " ").split(","))
        for name, sql in rows
        for sql in [sql.replace("(", ",").replace(")", ",")]
    }


def url(path: Path) -> str:
    return f"sqlite:///{path}"


def test_the_migrations_make_exactly_the_tables(tmp_path: Path) -> None:
    migrated, made = tmp_path / "migrated.sqlite", tmp_path / "made.sqlite"
    for path, make in ((migrated, migrate), (made, metadata.create_all)):
        engine = open_engine(url(path))
        make(engine)
        engine.dispose()
    assert schema(migrated) == schema(made)


def test_a_second_migration_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new" / "firstread.sqlite"
    engine = open_engine(url(path))
    migrate(engine)
    before = schema(path)
    migrate(engine)
    engine.dispose()
    assert schema(path) == before


@pytest.mark.slow
def test_processes_that_start_together_migrate_once(tmp_path: Path) -> None:
    code = (
        "import sys; from serving.database.engine import open_engine;"
        "from serving.database.migrate import migrate; migrate(open_engine(sys.argv[1]))"
    )
    path = tmp_path / "firstread.sqlite"
    started = [subprocess.Popen([sys.executable, "-c", code, url(path)]) for _ in range(3)]
    assert [process.wait(60) for process in started] == [0, 0, 0]
    assert "cases" in schema(path)


def test_a_newer_schema_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "firstread.sqlite"
    engine = open_engine(url(path))
    migrate(engine)
    with writing(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaNewer, match="newer version") as refused:
        migrate(engine)
    assert "restore" in refused.value.advice
    with sqlite3.connect(path) as plain:
        assert plain.execute("SELECT version_num FROM alembic_version").fetchone() == ("9999",)
    plain.close()
    engine.dispose()


def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "firstread.sqlite"
    with sqlite3.connect(path) as plain:
        # In the way of a later table of the same migration.
        plain.execute("CREATE TABLE views (x)")
    plain.close()
    engine = open_engine(url(path))
    with pytest.raises(Exception, match="views already exists"):
        migrate(engine)
    engine.dispose()
    assert set(schema(path)) == {"views"}


@pytest.mark.parametrize("place", ["/mnt/share/x/firstread.sqlite", "/mnt/share/firstread.sqlite"])
def test_sqlite_on_a_network_filesystem_is_refused(place: str) -> None:
    with pytest.raises(NetworkFilesystem, match="nfs4"):
        refuse_network_filesystem(Path(place), MOUNTS)


@pytest.mark.parametrize("place", ["/var/lib/firstread.sqlite", "/mnt/share/local/x.sqlite"])
def test_sqlite_on_a_local_filesystem_is_not(place: str) -> None:
    refuse_network_filesystem(Path(place), MOUNTS)
