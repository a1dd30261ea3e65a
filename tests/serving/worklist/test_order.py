"""The next case: total, deterministic, STAT first, and a share of starts for those who wait below.

A case here is (class rank, key); the laws hold for any of them, whatever stands in the queue.
"""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.worklist.order import (
    CLASSES,
    STAT,
    Choice,
    Key,
    Rule,
    choose,
    decide,
    heads_of,
    next_up,
)

AI, URGENT, ROUTINE, BACKLOG = 1, 2, 3, 4
Case = tuple[int, Key]

times = st.integers(0, 60).map(float)
phis = st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.3, 0.5, 1.0])
cases = st.lists(
    st.tuples(st.integers(0, CLASSES - 1), st.tuples(times, times, st.integers(0, 999))),
    max_size=30,
    unique_by=lambda case: case[1][2],
)


def a_case(rank: int, due: float, arrived: float = 0.0, name: str = "a") -> Case:
    return rank, (due, arrived, name)


def after(waiting: Sequence[Case], credit: float, now: float, phi: float = 0.25) -> Choice:
    choice = choose(heads_of(waiting), credit, phi, now)
    assert choice is not None
    return choice


def drain(waiting: Sequence[Case], credit: float, phi: float, now: float) -> list[Case]:
    """Hand out everything, one start after the other."""
    left, out = list(waiting), []
    while (decision := decide(heads_of(left), credit, phi, now)) is not None:
        out.append((decision.rank, decision.key))
        left.remove(out[-1])
        credit = decision.credit_after
    return out


def test_nobody_waits_and_nobody_is_next() -> None:
    assert choose([None] * CLASSES, 1.0, 0.25, 0.0) is None
    assert decide([], 1.0, 0.25, 0.0) is None


def test_the_token_goes_to_the_most_overdue_of_a_lower_class_and_costs_one_start() -> None:
    waiting = [a_case(AI, 90.0), a_case(ROUTINE, 50.0, name="b"), a_case(BACKLOG, 40.0, name="c")]
    assert after(waiting, 0.75, 60.0) == Choice(BACKLOG, Rule.TOKEN, 0.0)


def test_without_credit_the_class_decides_and_credit_grows() -> None:
    assert after([a_case(AI, 90.0), a_case(ROUTINE, 50.0)], 0.5, 60.0) == Choice(
        AI, Rule.CLASS, 0.75
    )


def test_an_overdue_case_of_the_class_that_is_next_anyway_costs_nothing() -> None:
    assert after([a_case(AI, 10.0)], 1.0, 60.0) == Choice(AI, Rule.CLASS, 1.25)


def test_a_case_is_overdue_only_after_its_fair_due_time() -> None:
    waiting = [a_case(AI, 90.0), a_case(ROUTINE, 60.0)]
    assert after(waiting, 1.0, 60.0).rule is Rule.CLASS
    assert after(waiting, 1.0, 60.001).rule is Rule.TOKEN


def test_of_two_equally_late_the_higher_class_gets_the_token() -> None:
    assert after([a_case(AI, 90.0), a_case(BACKLOG, 5.0), a_case(URGENT, 5.0)], 1.0, 9.0).rank == (
        URGENT
    )


def test_credit_stays_for_the_next_where_the_reader_may_not_read_the_overdue_case() -> None:
    seen_by_one, seen_by_the_next = [a_case(AI, 90.0)], [a_case(AI, 91.0), a_case(ROUTINE, 5.0)]
    first = after(seen_by_one, 1.0, 60.0)
    assert first == Choice(AI, Rule.CLASS, 1.25)
    assert after(seen_by_the_next, first.credit, 60.0) == Choice(ROUTINE, Rule.TOKEN, 0.25)


def test_ties_are_broken_by_arrival_then_by_id() -> None:
    waiting = [a_case(AI, 9, 2, "a"), a_case(AI, 9, 1, "c"), a_case(AI, 9, 1, "b")]
    assert [key[2] for _, key in drain(waiting, 0.0, 0.25, 0.0)] == ["b", "c", "a"]


def test_a_decision_says_what_it_went_before_and_how_late_the_case_was() -> None:
    waiting = [a_case(AI, 90.0), a_case(ROUTINE, 26.0, name="late")]
    decision = decide(heads_of(waiting), 0.8, 0.25, 60.0)
    assert decision is not None
    assert (decision.rule, decision.rank, decision.overdue_by) == (Rule.TOKEN, ROUTINE, 34.0)
    assert decision.passed == (AI, (90.0, 0.0, "a"))
    assert decision.credit_before == 0.8
    assert decision.credit_after == pytest.approx(0.05)


def test_a_share_that_sums_to_a_whole_only_by_rounding_is_a_whole_start() -> None:
    waiting = [a_case(AI, 99.0, name=f"{n}") for n in range(20)] + [a_case(ROUTINE, 1.0)]
    assert drain(waiting, 0.0, 0.1, 50.0).index(a_case(ROUTINE, 1.0)) == 9


@given(cases, st.floats(0, 2), phis, times, st.randoms(use_true_random=False))
def test_the_order_does_not_depend_on_insertion(
    waiting: list[Case], credit: float, phi: float, now: float, shuffle: random.Random
) -> None:
    other = list(waiting)
    shuffle.shuffle(other)
    assert drain(waiting, credit, phi, now) == drain(other, credit, phi, now)


@given(cases, st.floats(0, 2), phis, times)
def test_every_case_is_handed_out_once_and_no_reader_waits_beside_work(
    waiting: list[Case], credit: float, phi: float, now: float
) -> None:
    assert sorted(drain(waiting, credit, phi, now)) == sorted(waiting)


@given(cases, st.floats(0, 2), phis, times)
def test_a_stat_case_is_always_next_and_pays_nothing(
    waiting: list[Case], credit: float, phi: float, now: float
) -> None:
    stats = sorted(case for case in waiting if case[0] == STAT)
    assert drain(waiting, credit, phi, now)[: len(stats)] == stats
    if stats:
        assert after(waiting, credit, now, phi) == Choice(STAT, Rule.STAT, credit)


@given(cases, phis, times, st.data())
def test_credit_stays_between_nothing_and_one_start_and_a_share(
    waiting: list[Case], phi: float, now: float, data: st.DataObject
) -> None:
    credit = data.draw(st.floats(0, 1 + phi))
    choice = choose(heads_of(waiting), credit, phi, now)
    if choice is not None:
        assert 0 <= choice.credit <= 1 + phi


@given(cases, st.floats(0, 1), phis, times)
def test_tokens_take_at_most_their_share_of_the_starts(
    waiting: list[Case], credit: float, phi: float, now: float
) -> None:
    queues = [sorted(key for rank, key in waiting if rank == r) for r in range(CLASSES)]
    decisions = next_up(queues, credit, phi, now, count=len(waiting))
    paid = [one for one in decisions if one.rule is not Rule.STAT]
    for starts in range(1, len(paid) + 1):
        tokens = sum(one.rule is Rule.TOKEN for one in paid[:starts])
        assert tokens <= credit + phi * starts + 1e-6


@given(cases, st.floats(0, 2), phis, times)
def test_only_an_overdue_case_overtakes_and_only_one_of_a_lower_class(
    waiting: list[Case], credit: float, phi: float, now: float
) -> None:
    decision = decide(heads_of(waiting), credit, phi, now)
    if decision is None:
        return
    highest = min(rank for rank, _ in waiting)
    if decision.rule is Rule.TOKEN:
        assert decision.rank > highest
        assert decision.key[0] < now
        assert decision.passed == min(waiting)
        assert decision.key[0] == min(key[0] for rank, key in waiting if rank > highest)
    else:
        assert (decision.rank, decision.key) == min(waiting)


@given(cases, st.floats(0, 2), phis, times)
def test_the_next_ten_are_what_ten_askers_get(
    waiting: list[Case], credit: float, phi: float, now: float
) -> None:
    queues = [sorted(key for rank, key in waiting if rank == r)[:10] for r in range(CLASSES)]
    shown = [(one.rank, one.key) for one in next_up(queues, credit, phi, now)]
    assert shown == drain(waiting, credit, phi, now)[:10]
