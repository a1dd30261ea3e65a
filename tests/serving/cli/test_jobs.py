"""``firstread jobs`` on the database of a data folder."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from serving.database.engine import writing
from serving.database.tables import cases
from tests.serving.cli.conftest import Run
from tests.serving.studies.a_study import Archive, rows_of
from tests.serving.studies.test_retry import quarantined

HEAD = "0001"


@pytest.fixture
def archive(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    monkeypatch.setenv("FIRSTREAD_DATA", str(tmp_path))
    made = Archive(tmp_path)
    monkeypatch.setenv("FIRSTREAD_DATABASE", made.engine.url.render_as_string(hide_password=False))
    # Its tables are made without a migration, and the command migrates first.
    with writing(made.engine) as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})
    yield made
    made.close()


def test_a_study_in_quarantine_is_listed_and_brought_back(run: Run, archive: Archive) -> None:
    quarantined(archive, "study")
    (case,) = rows_of(archive, cases)
    code, out, err = run("jobs", "list", "--json")
    assert code == 0, err
    (row,) = json.loads(out)
    assert (row["case"], row["state"], row["error"]) == (
        case["id"],
        "quarantined",
        "analysis-failed",
    )
    code, out, err = run("jobs", "list")
    assert out.split()[:3] == ["quarantined", case["id"], "1"]
    assert "WANG" not in out + err
    assert run("jobs", "retry", case["id"]) == (0, case["id"] + "\n", "")
    code, _, err = run("jobs", "retry", case["id"])
    assert (code, err.partition(":")[0]) == (2, "error[usage]")
    assert run("jobs", "retry", "--all", "--json")[1] == "[]\n"
    assert json.loads(run("jobs", "list", "--json")[1])[0]["state"] == "queued"


@pytest.mark.parametrize("words", [(), ("5f0c", "--all")])
def test_what_is_to_be_tried_again_must_be_said_once(
    run: Run, archive: Archive, words: tuple[str, ...]
) -> None:
    code, _, err = run("jobs", "retry", *words)
    assert (code, err.partition(":")[0]) == (2, "error[usage]")
