"""How long a page of the worklist takes among many cases: ``python -m tests.bench.worklist``.

Prints, for each kind of page, the median and the 95th percentile of the call that reads the rows
and the counts (a fresh connection each), and the plan that SQLite chose.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, Select, text
from sqlalchemy.dialects import sqlite

from serving.database.engine import open_engine, reading, writing
from serving.database.tables import metadata
from serving.worklist.states import AiState, UrgencyClass
from serving.worklist.store import Place, Question, count_cases, count_query, page_query, read_page
from tests.serving.worklist.cases import POLICY, add_cases, add_sites, many_cases

LIMIT_MS = 100.0
SITES = 40
NOW = 1_780_000_000.0


def main() -> int:
    """Fill a database, measure, print; 1 where a page is above the limit."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.worklist", description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=100)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        engine = open_engine(f"sqlite:///{Path(folder) / 'bench.sqlite'}")
        fill(engine, given.cases)
        say(f"{given.cases} cases, {given.rounds} rounds, limit {LIMIT_MS:g} ms for the p95")
        slowest = max(
            measure(name, ask, engine, given.rounds) for name, ask in questions(engine).items()
        )
        engine.dispose()
    return int(slowest > LIMIT_MS)


def fill(engine: Engine, count: int) -> None:
    """Make the tables and put cases into them."""
    metadata.create_all(engine)
    with writing(engine) as connection:
        add_sites(connection, SITES)
        for begin in range(0, count, 5000):
            size = min(5000, count - begin)
            add_cases(connection, many_cases(size, seed=begin, now=NOW, site_count=SITES))
    with writing(engine) as connection:
        connection.execute(text("ANALYZE"))


def questions(engine: Engine) -> dict[str, Callable[[random.Random], Question]]:
    """Return the kinds of page."""
    with reading(engine) as connection:
        query = text(
            "SELECT class_rank, fair_due_at, arrived_at, id FROM cases ORDER BY random() LIMIT 200"
        )
        places = [Place(*row) for row in connection.execute(query)]
    return {
        "first page": lambda _: Question(),
        "a page in the middle": lambda chance: Question(after=chance.choice(places)),
        "the page before": lambda chance: Question(before=chance.choice(places)),
        "not analysed": lambda _: Question(ai_state=AiState.NOT_ANALYSED),
        "one class": lambda _: Question(urgency_class=UrgencyClass.BACKLOG),
        "one hospital": lambda chance: Question(site_id=chance.randrange(1, SITES + 1)),
        "a hospital's own": lambda chance: Question(viewer_site_id=chance.randrange(1, SITES + 1)),
        "hospital and state": lambda chance: Question(
            viewer_site_id=chance.randrange(1, SITES + 1), ai_state=AiState.WAITING
        ),
        "name of two characters": lambda _: Question(search="王伟"),
        "patient ID": lambda chance: Question(search=f"P{chance.randrange(5000):07d}"),
        "a name that nobody has": lambda _: Question(search="欧阳娜"),
        "state and name": lambda _: Question(ai_state=AiState.NOT_ANALYSED, search="欧阳"),
    }


def measure(
    name: str, ask: Callable[[random.Random], Question], engine: Engine, rounds: int
) -> float:
    """Print a line, and return the p95 in ms."""
    chance = random.Random(name)
    asked = ask(chance)
    taken_ms, count = [], 0
    for _ in range(rounds):
        question = ask(chance)
        begin = time.perf_counter()
        with reading(engine) as connection:
            count = len(read_page(connection, question, POLICY).rows)
            count_cases(connection, question, POLICY)
        taken_ms.append(1000 * (time.perf_counter() - begin))
    taken_ms.sort()
    p95_ms = taken_ms[int(0.95 * (rounds - 1))]
    say(f"{name:24} {count:3} rows  median {taken_ms[rounds // 2]:6.1f} ms  p95 {p95_ms:6.1f} ms")
    say(f"{'':24} rows: {plan(engine, page_query(asked, POLICY, 51))}")
    say(f"{'':24} counts: {plan(engine, count_query(asked, POLICY))}")
    return p95_ms


def plan(engine: Engine, query: Select[Any]) -> str:
    """Return SQLite's plan in one line."""
    compiled = query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    with reading(engine) as connection:
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}".replace("%%", "%")).all()
    return "; ".join(str(row[3]) for row in rows)


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
