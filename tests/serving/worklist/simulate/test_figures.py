"""Means with honest errors, percentiles over all seeds, minutes moved on the same arrivals."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.worklist.simulate.experiment import Outcome, Plan, experiment
from serving.worklist.simulate.figures import Run, group_figures, longer_than_in_turn
from serving.worklist.simulate.policies import Policy
from serving.worklist.simulate.report import document
from tests.serving.worklist.simulate.builders import some_traffic

minutes = st.lists(st.floats(0, 99, width=32), min_size=1, max_size=9)


def a_run(waits: list[float], in_turn: list[float] | None = None) -> Run:
    return Run(
        np.array(waits, np.float32),
        np.array(in_turn or waits, np.float32),
        {"all": np.ones(len(waits), np.bool_), "diseased": np.zeros(len(waits), np.bool_)},
    )


@cache
def an_outcome(policy: Policy) -> Outcome:
    return experiment(Plan(policy, some_traffic(4, 0.9), cases=4000, seeds=4))


@given(minutes, minutes)
def test_a_mean_weighs_cases_and_not_seeds(first: list[float], second: list[float]) -> None:
    found = group_figures([a_run(first), a_run(second)], "all")
    assert found.n == len(first) + len(second)
    assert found.mean == pytest.approx(float(np.mean([*first, *second])), rel=1e-5, abs=1e-5)
    assert found.max == pytest.approx(max(*first, *second))


def test_the_error_of_equal_seeds_is_that_of_their_means() -> None:
    means = [4.0, 7.0, 5.0, 12.0]
    found = group_figures([a_run([one - 1, one + 1]) for one in means], "all")
    assert found.standard_error == pytest.approx(np.std(means, ddof=1) / 2)


def test_one_seed_has_no_error_and_no_interval() -> None:
    runs = [a_run([1.0, 2.0], [2.0, 4.0])]
    assert group_figures(runs, "all").standard_error is None
    moved = longer_than_in_turn(runs, "all")
    assert moved is not None
    assert (moved.mean, moved.low, moved.high) == (-1.5, None, None)


def test_an_empty_group_has_no_figures_instead_of_zeros() -> None:
    found = group_figures([a_run([1.0])], "diseased")
    assert (found.n, found.mean, found.p95, found.waited_share) == (0, None, None, None)
    assert longer_than_in_turn([a_run([1.0])], "diseased") is None


def test_the_interval_is_that_of_students_t() -> None:
    moved = longer_than_in_turn([a_run([m, m], [1.0, 1.0]) for m in (2.0, 4.0, 6.0)], "all")
    assert moved is not None
    assert moved.mean == pytest.approx(3.0)
    # 4.3027: the 97.5 % point of t with 2 degrees of freedom.
    assert moved.high == pytest.approx(3 + 4.3027 * 2 / np.sqrt(3), rel=1e-4)


def test_who_waited_is_counted_exactly_and_not_by_rounding() -> None:
    assert group_figures([a_run([0.0, 0.0, 1e-6, 3.0])], "all").waited_share == 0.5


def test_an_order_moves_minutes_and_makes_none() -> None:
    found = an_outcome(Policy.STRICT)
    assert found.groups["all"].mean == pytest.approx(found.in_turn["all"].mean, rel=0.05)
    saved, lost = found.saved_diseased, found.lost_non_diseased
    assert saved is not None
    assert lost is not None
    assert saved.mean > 10 > lost.mean > 0


def test_fifo_against_itself_moves_nothing() -> None:
    found = an_outcome(Policy.FIFO)
    assert found.groups == found.in_turn
    assert found.saved_diseased is not None
    assert str(found.saved_diseased) == "Interval(mean=0.0, low=0.0, high=0.0)"


def test_a_larger_share_for_overdue_cases_is_paid_by_the_flagged() -> None:
    plan = Plan(Policy.FIRSTREAD, some_traffic(4, 1.05), cases=4000, seeds=2, phi=0.0)
    without, with_half = (experiment(replace(plan, phi=phi)).groups for phi in (0.0, 0.5))
    assert (with_half["ai_positive"].mean or 0) > 1.2 * (without["ai_positive"].mean or 0)


def test_the_same_seed_gives_the_same_figures() -> None:
    plan = Plan(Policy.FIRSTREAD, some_traffic(), cases=500, seeds=2)
    assert experiment(plan) == experiment(plan)


def test_the_document_has_the_shape_that_is_promised() -> None:
    found = document(an_outcome(Policy.STRICT))
    groups = {"ai_positive", "ai_negative", "diseased", "non_diseased", "all"}
    figures = {"mean_wait_minutes", "p95", "p99", "max", "n", "waited_share"}
    assert found["policy"] == "strict"
    assert set(found["classes"]) == set(found["standard_error"]) == groups
    assert {frozenset(one) for one in found["classes"].values()} == {frozenset(figures)}
    assert found["classes"]["all"]["n"] == 4 * 4000
    assert found["inputs"] == {
        "readers": 4,
        "traffic": 0.9,
        "mean_minutes": 10.0,
        "modalities": [{"name": "all", "mean_minutes": 10.0, "share": 1.0}],
        "reading": "exponential",
        "cv": None,
        "prevalence": 0.1,
        "sensitivity": 0.9,
        "specificity": 0.9,
        "phi": 0.25,
        "preemptive": False,
        "hospitals": 40,
        "day_loads": [0.9] * 24,
        "cases": 4000,
        "warm_up_cases": 1749,
        "seeds": 4,
    }
    assert found["theory"]["all"] == pytest.approx(19.69, rel=1e-3)
