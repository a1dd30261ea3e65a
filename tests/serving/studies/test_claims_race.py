"""Fifty readers claim at once, from several processes: no case twice, decisions in one order."""

import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from serving.accounts.users import list_users
from serving.database.engine import reading
from serving.errors import DatabaseBusy
from serving.studies.claims import Claim, Reader
from serving.worklist.order import decide, heads_of
from serving.worklist.pools import find_pool
from serving.worklist.states import OrderedClass
from tests.serving.studies.a_pool import NOW, APool
from tests.serving.worklist.cases import ACase

PROCESSES, THREADS, EACH = 5, 10, 6
CASES = PROCESSES * THREADS * EACH
# The last arrivals are from now; routine ones of three hours ago are overdue.
AT = NOW + 10_000
CLASSES = (OrderedClass.STAT, OrderedClass.URGENT, OrderedClass.ROUTINE, OrderedClass.BACKLOG)


def read(folder: Path, number: int) -> list[str]:
    """Be ten readers of one process, each of whom takes six cases."""
    pool = APool(folder, is_made=True)
    with reading(pool.engine) as connection:
        known = {user.name: Reader(user.id) for user in list_users(connection)}

    def take_six(reader: Reader) -> list[str]:
        return [_next(pool, reader).case_id for _ in range(EACH)]

    mine = [known[f"r{number * THREADS + thread}"] for thread in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as threads:
        taken = list(threads.map(take_six, mine))
    pool.close()
    return [case_id for cases in taken for case_id in cases]


def _next(pool: APool, reader: Reader) -> Claim:
    while True:
        try:
            claim = pool.next(reader, AT)
        except DatabaseBusy:
            # Fifty who wait for one lock may wait too long; each is told to come again.
            continue
        assert claim is not None
        return claim


@pytest.mark.slow
def test_fifty_readers_at_once_never_get_a_case_twice(database: str, tmp_path: Path) -> None:
    pool = APool(tmp_path)
    wanted = [
        ACase(
            case_id=f"c{n:04d}",
            ordered_class=CLASSES[(n * 7) % 4],
            arrived_at=NOW + (n * 37) % 500,
            key_id=1 + n % 2,
        )
        for n in range(CASES)
    ]
    pool.add(*wanted)
    for number in range(PROCESSES * THREADS):
        pool.reader(f"r{number}")
    command = [sys.executable, "-m", "tests.serving.studies.test_claims_race", str(tmp_path)]
    children = [
        subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE, text=True)
        for number in range(PROCESSES)
    ]
    taken = [case_id for child in children for case_id in child.communicate()[0].split()]
    assert [child.returncode for child in children] == [0] * PROCESSES
    assert [one for one, count in Counter(taken).items() if count > 1] == []
    assert len(taken) == CASES
    rows = pool.decisions()
    # One after the other, each from what the one before had left.
    assert [row["pool_version"] for row in rows] == list(range(1, CASES + 1))
    assert all(one["credit_after"] == two["credit_before"] for one, two in pairwise(rows))
    _assert_each_was_next(pool, [row["case_id"] for row in rows], [row["rule"] for row in rows])
    with reading(pool.engine) as connection:
        assert find_pool(connection, "default").version == CASES
    pool.close()


def _assert_each_was_next(pool: APool, taken: list[str], rules: list[str]) -> None:
    """Decide again, alone and in memory."""
    places = {}
    for case_id in taken:
        row = pool.case(case_id)
        places[case_id] = (row["class_rank"], (row["fair_due_at"], row["arrived_at"], case_id))
    credit = 0.0
    for case_id, rule in zip(taken, rules, strict=True):
        decision = decide(heads_of(places.values()), credit, pool.policy.token.share, AT)
        assert decision is not None
        assert (decision.key[2], decision.rule.value) == (case_id, rule)
        credit = decision.credit_after
        del places[case_id]


if __name__ == "__main__":
    sys.stdout.write("\n".join(read(Path(sys.argv[1]), int(sys.argv[2]))) + "\n")
