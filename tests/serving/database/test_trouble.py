"""What is told of a database that does not answer, and that nobody's words are in it."""

import os
import re
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text, update
from sqlalchemy.exc import DBAPIError

from serving.accounts.sites import add_site
from serving.database import engine as module
from serving.database.engine import open_engine, reading, writing
from serving.database.tables import sites
from serving.errors import DatabaseBusy, Unavailable
from tests.serving.databases import a_database, gone, locked, only_postgresql, url_of
from tests.serving.postgresql import PASSWORD


@pytest.fixture
def engine(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setattr(module, "BUSY_TIMEOUT_MS", 100)
    made = a_database(tmp_path / "x.sqlite")
    with writing(made) as connection:
        for code in ("one", "two"):
            add_site(connection, code=code, name=code, now=0.0)
    yield made
    made.dispose()


def rename(connection: Connection, code: str) -> None:
    connection.execute(update(sites).where(sites.c.code == code).values(name="other"))


def test_what_somebody_holds_is_busy(engine: Engine) -> None:
    with locked(engine), pytest.raises(DatabaseBusy) as told, writing(engine) as connection:
        rename(connection, "one")
    assert (told.value.code, told.value.http_status) == ("database-busy", 503)


def test_what_is_gone_is_unavailable_and_comes_back(engine: Engine) -> None:
    with (
        gone(engine),
        pytest.raises(Unavailable) as told,
        reading(engine) as connection,
    ):
        connection.execute(text("SELECT 1"))
    assert told.value.code == "unavailable"
    with reading(engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM sites")).scalar_one() == 2


def test_too_many_at_once_are_told_to_come_back(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SQLITE_POOL", "POSTGRESQL_POOL"):
        monkeypatch.setattr(module, name, (1, 0))
    small = open_engine(engine.url.render_as_string(hide_password=False))
    with reading(small), pytest.raises(DatabaseBusy, match="too many"), reading(small):
        pass
    small.dispose()


def test_a_mistake_in_a_statement_stays_one(engine: Engine) -> None:
    with pytest.raises(DBAPIError), reading(engine) as connection:
        connection.execute(text("SELECT nothing FROM nowhere"))


def refused_by(engine: Engine, statement: str) -> str:
    """Return the code and the sentence with which a statement is not answered now."""
    with pytest.raises(Unavailable) as told, writing(engine) as connection:
        connection.execute(text(statement))
    assert PASSWORD not in "".join(traceback.format_exception(told.value))
    return f"{told.value.code} {told.value.message}"


@only_postgresql
@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("SET LOCAL statement_timeout = 10; SELECT pg_sleep(5)", "database-busy .*57014"),
        ("SELECT pg_terminate_backend(pg_backend_pid())", "unavailable .*(57P01|no connection)"),
        ("SET TRANSACTION READ ONLY; DELETE FROM views", "unavailable .*25006"),
    ],
)
def test_what_a_server_says_is_told_by_its_code(engine: Engine, statement: str, said: str) -> None:
    assert re.search(said, refused_by(engine, statement))


@only_postgresql
def test_of_two_who_wait_for_each_other_one_is_told_to_come_back(engine: Engine) -> None:
    both_hold_one = threading.Barrier(2, timeout=10)
    told: list[str] = []

    def work(first: str, second: str) -> None:
        try:
            with writing(engine) as connection:
                connection.execute(text("SET LOCAL lock_timeout = 0"))
                rename(connection, first)
                both_hold_one.wait()
                rename(connection, second)
        except DatabaseBusy as error:
            told.append(error.message)

    pairs = (("one", "two"), ("two", "one"))
    threads = [threading.Thread(target=work, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [message[-5:] for message in told] == ["40P01"]


@only_postgresql
def test_a_writer_that_stands_still_lets_go_of_what_it_holds(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE_TIMEOUT_MS", 200)
    stopped = open_engine(engine.url.render_as_string(hide_password=False))

    def stand_still() -> None:
        with writing(stopped) as connection:
            rename(connection, "one")
            with writing(engine) as other:
                other.execute(text("SET LOCAL lock_timeout = 5000"))
                rename(other, "one")
            rename(connection, "two")

    with pytest.raises(Unavailable):
        stand_still()
    stopped.dispose()


@only_postgresql
def test_a_reader_sees_one_state_and_changes_nothing(engine: Engine) -> None:
    with reading(engine) as connection:
        before = connection.execute(text("SELECT name FROM sites ORDER BY id")).all()
        with writing(engine) as other:
            rename(other, "one")
        assert connection.execute(text("SELECT name FROM sites ORDER BY id")).all() == before
    with pytest.raises(Unavailable, match="25006"), reading(engine) as connection:
        rename(connection, "one")


@only_postgresql
def test_every_commit_is_synced_whatever_the_server_says(engine: Engine) -> None:
    name = engine.url.database
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"ALTER DATABASE {name} SET synchronous_commit = off"))
    engine.dispose()
    with reading(engine) as connection:
        assert connection.execute(text("SHOW synchronous_commit")).scalar_one() == "on"


@only_postgresql
@pytest.mark.parametrize(
    ("part", "said", "advice"),
    [
        ({"password": "another-marked-password"}, "log-in refused", "FIRSTREAD_DATABASE"),
        ({"username": "nobody-of-that-name"}, "log-in refused", "FIRSTREAD_DATABASE"),
        ({"database": "no_such_database"}, "no such database", "docs/archive.md"),
        ({"query": {"host": "127.0.0.1", "port": "1"}}, "no connection", "send again later"),
    ],
)
def test_why_there_is_no_connection_is_told_and_no_password(
    engine: Engine, part: dict[str, Any], said: str, advice: str
) -> None:
    wrong = open_engine(engine.url.set(**part).render_as_string(hide_password=False))
    with pytest.raises(Unavailable) as told, reading(wrong):
        pass
    wrong.dispose()
    assert told.value.message == f"the database does not answer: {said}"
    assert advice in told.value.advice
    for secret in (PASSWORD, "another-marked-password"):
        assert secret not in "".join(traceback.format_exception(told.value))


@only_postgresql
def test_without_its_driver_the_way_to_get_it_is_told(database: str, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from serving.database.engine import open_engine\n"
        "from firstread.errors import ConfigurationError\n"
        "try:\n    open_engine(sys.argv[1])\n"
        "except ConfigurationError as error:\n    print(error.advice)"
    )
    words = [sys.executable, "-c", code, url_of(tmp_path / "x")]
    done = subprocess.run(
        words, capture_output=True, text=True, check=True, env=os.environ, timeout=60
    )
    assert ".venv/bin/pip install -e '.[postgresql]'" in done.stdout
