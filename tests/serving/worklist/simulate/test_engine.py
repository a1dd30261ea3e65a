"""The simulator reads with the service's own order, and as a pool of readers does."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.worklist import order
from serving.worklist.order import Choice, Heads, heads_of
from serving.worklist.simulate.cases import ROUTINE, Cases, Floats
from serving.worklist.simulate.engine import fifo_waits_min, waits_min
from serving.worklist.simulate.policies import Line, Policy, line_up
from serving.worklist.simulate.preemption import preemptive_waits_min
from serving.worklist.simulate.scenarios import SCENARIOS, Name, draw
from tests.serving.worklist.simulate.builders import a_pool, some_cases

policies = st.sampled_from(Policy)
readers = st.integers(1, 4)


def by_hand(cases: Cases, line: Line, count: int) -> list[float]:
    """Read without queues: look at everybody who waits, each time."""
    free_at, credit = [0.0] * count, 0.0
    started: dict[int, float] = {}
    arrived = cases.arrived_min.tolist()
    now = 0.0
    while len(started) < len(cases):
        left = [n for n in range(len(cases)) if n not in started]
        now = max(now, min(free_at), min(arrived[n] for n in left))
        keys = [
            (int(line.rank[n]), (float(line.key_min[n]), arrived[n], n))
            for n in left
            if arrived[n] <= now
        ]
        heads = heads_of(keys)
        choice = line.choose(heads, credit, line.phi, now)
        assert choice is not None
        credit, key = choice.credit, heads[choice.rank]
        assert key is not None
        started[int(key[2])] = now
        free_at[free_at.index(min(free_at))] = now + cases.reading_min[int(key[2])]
    return [started[n] - arrived[n] for n in range(len(cases))]


@given(some_cases, policies, readers)
def test_heaps_and_heads_read_as_somebody_who_looks_at_every_case(
    cases: Cases, policy: Policy, count: int
) -> None:
    line = line_up(policy, cases, a_pool(count))
    assert waits_min(cases, line, count).tolist() == by_hand(cases, line, count)


@given(some_cases, readers)
def test_the_quick_way_of_fifo_is_the_policy_fifo(cases: Cases, count: int) -> None:
    line = line_up(Policy.FIFO, cases, a_pool(count))
    assert waits_min(cases, line, count).tolist() == fifo_waits_min(cases, count).tolist()


@pytest.mark.parametrize("policy", Policy)
def test_the_order_of_the_service_decides_under_every_policy(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases, pool = draw(SCENARIOS[Name.OVERLOAD], 0), SCENARIOS[Name.OVERLOAD].pool
    before = waits_min(cases, line_up(policy, cases, pool), pool.readers)

    def choose_the_lowest(heads: Heads, credit: float, _phi: float, _now: float) -> Choice | None:
        waiting = [rank for rank, head in enumerate(heads) if head is not None]
        return Choice(max(waiting), order.Rule.CLASS, credit) if waiting else None

    monkeypatch.setattr(order, "choose", choose_the_lowest)
    monkeypatch.setattr(order, "most_overdue", lambda heads, below, now: None)
    after = waits_min(cases, line_up(policy, cases, pool), pool.readers)
    if policy in {Policy.FIFO, Policy.EDF}:  # one class: the lowest is the only one
        assert (after == before).all()
    else:
        assert after[cases.is_flagged].mean() > 2 * before[cases.is_flagged].mean()


def test_a_rule_of_the_order_that_changes_moves_the_figures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scenario = SCENARIOS[Name.STORM]
    cases = draw(scenario, 0)
    line = line_up(Policy.FIRSTREAD, cases, scenario.pool)
    before = waits_min(cases, line, 8)
    monkeypatch.setattr(order, "most_overdue", lambda heads, below, now: None)
    assert waits_min(cases, line, 8).max() > 1.5 * before.max()


Read = Callable[[Cases, Line, int], Floats]


@given(some_cases, policies, st.sampled_from([waits_min, preemptive_waits_min]))
def test_one_reader_is_never_idle_while_a_case_waits(
    cases: Cases, policy: Policy, read: Read
) -> None:
    # Whatever the order, the last reading ends when the first in, first out would end it.
    line = line_up(policy, cases, a_pool(1))
    ends = cases.arrived_min + read(cases, line, 1) + cases.reading_min
    in_turn = cases.arrived_min + fifo_waits_min(cases, 1) + cases.reading_min
    assert ends.max() == pytest.approx(in_turn.max())


@given(some_cases, readers)
def test_nobody_is_interrupted_where_there_is_one_class(cases: Cases, count: int) -> None:
    line = line_up(Policy.FIFO, cases, a_pool(count))
    found = preemptive_waits_min(cases, line, count)
    assert found.tolist() == pytest.approx(waits_min(cases, line, count).tolist())


@given(some_cases, st.integers(1, 8))
def test_the_highest_class_does_not_notice_the_others_where_it_interrupts(
    cases: Cases, count: int
) -> None:
    found = preemptive_waits_min(cases, line_up(Policy.STRICT, cases, a_pool(count)), count)
    first = cases.rank == cases.rank.min()
    alone = Cases(
        cases.arrived_min[first], cases.hospital[first], cases.ordered_rank[first],
        cases.is_flagged[first], cases.is_diseased[first], cases.reading_min[first],
    )  # fmt: skip
    assert found[first].tolist() == pytest.approx(fifo_waits_min(alone, count).tolist())


def test_a_cap_lets_who_waited_longer_than_the_routine_sla_go_first_and_no_other() -> None:
    def two(first_read_min: float) -> list[float]:
        flagged = np.array([False, False, True])
        cases = Cases(
            np.array([0.0, 0.0, 5.0]), np.zeros(3, int), np.full(3, ROUTINE), flagged, flagged,
            np.array([first_read_min, 1.0, 1.0]),
        )  # fmt: skip
        return list(waits_min(cases, line_up(Policy.CAP, cases, a_pool(1)), 1))

    assert two(120.0) == [0.0, 121.0, 115.0]
    assert two(121.0) == [0.0, 121.0, 117.0]


def test_a_case_that_is_interrupted_goes_on_where_it_stopped() -> None:
    cases = Cases(
        np.array([0.0, 4.0]), np.array([0, 0]), np.array([3, 0]), np.array([False, False]),
        np.array([False, False]), np.array([10.0, 3.0]),
    )  # fmt: skip
    line = line_up(Policy.STRICT, cases, a_pool())
    assert preemptive_waits_min(cases, line, 1).tolist() == [3.0, 0.0]
