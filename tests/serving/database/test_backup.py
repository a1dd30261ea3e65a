"""A copy of a database, as docs/archive.md says, is the database."""

import os
import shutil
import sqlite3
import subprocess
from pathlib import Path

from sqlalchemy import make_url

from serving.database.tables import cases, events, instances
from tests.serving.databases import is_postgresql, make_empty_database, url_of
from tests.serving.postgresql import programs
from tests.serving.studies.a_study import Archive, an_instance, rows_of
from tests.serving.studies.conftest import archive

__all__ = ["archive"]


def copy(archive: Archive, file: Path, there: Path) -> None:
    if not is_postgresql():
        with sqlite3.connect(file) as plain:
            plain.execute(f"VACUUM INTO '{there}'")
        plain.close()
        return
    make_empty_database(there)
    dump = there.with_suffix(".dump")
    url, other = (make_url(url_of(one)) for one in (file, there))
    found = programs()
    assert found is not None
    for words, target in (
        (["pg_dump", "--format=custom", f"--file={dump}"], url),
        (["pg_restore", "--no-owner", "--exit-on-error", str(dump)], other),
    ):
        where = {"PGHOST": str(target.query["host"]), "PGUSER": str(target.username)}
        subprocess.run(
            [str(found / words[0]), f"--dbname={target.database}", *words[1:]],
            check=True,
            env={**os.environ, **where, "PGPASSWORD": str(target.password)},
        )


def test_a_copy_goes_on_where_the_database_stood(archive: Archive, tmp_path: Path) -> None:
    archive.receive(an_instance(1), an_instance(2))
    there = tmp_path / "there"
    there.mkdir()
    copy(archive, archive.folder / "firstread.sqlite", there / "firstread.sqlite")
    shutil.copytree(archive.store.folder, there / "store")
    other = Archive(there, is_made=True)
    assert [rows_of(other, table) for table in (cases, events, instances)] == [
        rows_of(archive, table) for table in (cases, events, instances)
    ]
    for row in rows_of(other, instances):
        other.store.read(row["sha256"])
    # Numbers go on, too: pages ask for what came after the last event.
    other.receive(an_instance(3))
    assert [row["id"] for row in rows_of(other, events)] == [1, 2]
    other.close()
