"""Where tests keep their databases: in files of SQLite, or on a PostgreSQL server of their own.

A test names a file; on PostgreSQL the same name stands for a database of that server, in other
processes of the test, too. Which of the two it is says the environment: the fixture ``database``
sets it, and every test that uses it, through whatever other fixture, runs on both.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, text

from serving.database.engine import open_engine, reading, writing
from serving.database.tables import metadata

VARIABLE = "TESTS_POSTGRESQL"

ON_SQLITE = pytest.param("sqlite")
ON_POSTGRESQL = pytest.param("postgresql", marks=[pytest.mark.slow, pytest.mark.services])
only_sqlite = pytest.mark.parametrize("database", [ON_SQLITE], indirect=True, scope="module")
only_postgresql = pytest.mark.parametrize(
    "database", [ON_POSTGRESQL], indirect=True, scope="module"
)

Fill = Callable[[Connection], None]
_made: list[str] = []


def is_postgresql() -> bool:
    """Whether the test that runs is for PostgreSQL."""
    return VARIABLE in os.environ


def url_of(file: Path) -> str:
    """Return the URL of the database that a test calls so."""
    server = os.environ.get(VARIABLE)
    return (
        f"sqlite:///{file}" if server is None else server.replace("/postgres?", f"/{_name(file)}?")
    )


def setting_of(file: Path) -> dict[str, Any]:
    """Return what a service in the folder of this file must be told to use the database."""
    return {"database": url_of(file)} if is_postgresql() else {}


def nothing(_connection: Connection) -> None:
    """Fill a database with nothing but its tables."""


def make_database(file: Path, fill: Fill = nothing) -> None:
    """Make a database with all tables, filled; a file or database of this name is replaced."""
    if is_postgresql():
        _command(
            f"CREATE DATABASE {_forget(file)} TEMPLATE {_template(os.environ[VARIABLE], fill)}"
        )
    else:
        file.write_bytes(_content(fill))


def make_empty_database(file: Path) -> None:
    """Make a database without tables; SQLite makes its file by itself."""
    if is_postgresql():
        _command(f"CREATE DATABASE {_forget(file)} TEMPLATE template0")


def a_database(file: Path) -> Engine:
    """Return the engine of a fresh database with all tables."""
    make_database(file)
    return open_engine(url_of(file))


def plan_of(engine: Engine, statement: str) -> str:
    """Return the steps by which the database answers, a line each; of PostgreSQL as if tables
    were large.
    """
    with reading(engine) as connection:
        if not is_postgresql():
            steps = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}")
            return "\n".join(str(row[3]) for row in steps)
        # Of a small table it would read and sort everything.
        for way in ("seqscan", "bitmapscan", "sort"):
            connection.exec_driver_sql(f"SET LOCAL enable_{way} = off")
        steps = connection.exec_driver_sql(f"EXPLAIN {statement}".replace("%", "%%"))
        return "\n".join(str(row[0]) for row in steps)


@contextmanager
def locked(engine: Engine) -> Iterator[None]:
    """Hold every table, as a copy or a repair would."""
    other = create_engine(engine.url)
    with other.connect() as connection:
        if is_postgresql():
            names = ", ".join(metadata.tables)
            connection.execute(text(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE"))
        else:
            connection.exec_driver_sql("BEGIN EXCLUSIVE")
        yield
        connection.rollback()
    other.dispose()


@contextmanager
def gone(engine: Engine) -> Iterator[None]:
    """Let a database be out of reach."""
    engine.dispose()
    if is_postgresql():
        name = engine.url.database
        _command(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        _command(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        yield
        _command(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        return
    file = Path(str(engine.url.database))
    aside = file.with_suffix(".aside")
    file.rename(aside)
    # Where a folder lies, SQLite opens nothing.
    file.mkdir()
    yield
    file.rmdir()
    aside.rename(file)


@contextmanager
def dropping() -> Iterator[None]:
    """Drop the databases that are made in this block; each takes 8 MB."""
    before = len(_made)
    try:
        yield
    finally:
        for name in _made[before:]:
            _command(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        del _made[before:]


def _name(file: Path) -> str:
    return "t" + hashlib.sha256(str(file).encode()).hexdigest()[:24]


def _forget(file: Path) -> str:
    name = _name(file)
    _command(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    _made.append(name)
    return name


def _command(statement: str) -> None:
    engine = _server(os.environ[VARIABLE])
    with engine.connect() as connection:
        connection.execute(text(statement))


@cache
def _server(url: str) -> Engine:
    return create_engine(url, isolation_level="AUTOCOMMIT", pool_size=1)


@cache
def _content(fill: Fill) -> bytes:
    """Return the file of a filled database: made once, for tables take longer than most tests."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "filled.sqlite"
        _fill(f"sqlite:///{file}", fill)
        return file.read_bytes()


@cache
def _template(server: str, fill: Fill) -> str:
    name = f"template_{fill.__name__}"
    _command(f"CREATE DATABASE {name} TEMPLATE template0")
    _fill(server.replace("/postgres?", f"/{name}?"), fill)
    return name


def _fill(url: str, fill: Fill) -> None:
    engine = open_engine(url)
    metadata.create_all(engine)
    with writing(engine) as connection:
        fill(connection)
    engine.dispose()


@contextmanager
def on(server: str | None) -> Iterator[None]:
    """Let tests keep their databases on a server; None: in files."""
    before = os.environ.pop(VARIABLE, None)
    if server is not None:
        os.environ[VARIABLE] = server
    try:
        with dropping():
            yield
    finally:
        os.environ.pop(VARIABLE, None)
        if before is not None:
            os.environ[VARIABLE] = before
