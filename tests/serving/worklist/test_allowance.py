"""A hospital's allowance: who keeps to it is never late for it, who dumps pays for it himself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.worklist.allowance import FLAT, Allowance, DayCurve, allowance_for, charge

MORNING = DayCurve([0.5] * 8 + [2.0] * 6 + [0.5] * 10)
A_BUCKET = Allowance(interval_min=10.0, tolerance_min=25.0)

curves = st.lists(st.floats(0, 9), min_size=24, max_size=24).filter(lambda one: sum(one) > 1)


def excesses(arrivals_min: list[float], allowance: Allowance = A_BUCKET) -> list[float]:
    found, tat_min = [], 0.0
    for at_min in arrivals_min:
        excess_min, tat_min = charge(at_min, tat_min, allowance)
        found.append(excess_min)
    return found


def test_a_burst_within_the_tolerance_is_free_and_each_case_beyond_it_costs_an_interval() -> None:
    assert excesses([100.0] * 6) == [0, 0, 0, 5, 15, 25]


def test_an_idle_hospital_saves_up_no_more_than_its_burst() -> None:
    assert excesses([100.0] * 4) == excesses([100_000.0] * 4)


def test_a_clock_that_runs_backwards_makes_no_excess_negative_and_no_bucket_emptier() -> None:
    excess_min, tat_min = charge(50.0, 100.0, A_BUCKET)
    assert (excess_min, tat_min) == (25.0, 110.0)


def test_the_allowance_is_the_larger_of_contract_and_custom_and_a_part_of_the_pool() -> None:
    # (1.15 x 0.1 + 0.05 x 0.8) = 0.155 cases a minute, and 15 minutes of the pool at once.
    for contract, trailing in ((0.1, 0.02), (0.02, 0.1)):
        found = allowance_for(contract, trailing, 0.8)
        assert found.interval_min == pytest.approx(1 / 0.155)
        assert found.tolerance_min == pytest.approx(12 / 0.155)


def test_a_hospital_without_volume_may_still_send_a_part_of_what_the_pool_reads() -> None:
    assert allowance_for(0.0, 0.0, 0.8).interval_min == pytest.approx(25.0)


def test_no_volume_and_no_readers_is_a_mistake_of_whoever_asks() -> None:
    with pytest.raises(ValueError, match="volume"):
        allowance_for(0.0, 0.0, 0.0)


@pytest.mark.parametrize("loads", [[1.0] * 23, [0.0] * 24, [1.0] * 23 + [-1.0]])
def test_a_day_curve_has_24_loads_of_which_none_is_negative(loads: list[float]) -> None:
    with pytest.raises(ValueError, match="24 loads"):
        DayCurve(loads)


def test_operational_time_runs_with_the_load_and_meets_the_clock_at_midnight() -> None:
    assert MORNING.operational_min(8 * 60) == pytest.approx(8 * 60 * 0.5 * 24 / 21)
    assert MORNING.operational_min(9 * 60) - MORNING.operational_min(8 * 60) == pytest.approx(
        60 * 2 * 24 / 21
    )
    assert MORNING.operational_min(3 * 1440) == 3 * 1440


@given(st.floats(-5000, 50_000))
def test_a_flat_day_is_the_clock(clock_min: float) -> None:
    assert FLAT.operational_min(clock_min) == pytest.approx(clock_min)


@given(curves, st.floats(0, 9000), st.floats(0, 3000))
def test_operational_time_never_runs_backwards(
    loads: list[float], clock_min: float, later_min: float
) -> None:
    curve = DayCurve(loads)
    assert curve.operational_min(clock_min + later_min) >= curve.operational_min(clock_min) - 1e-6


@given(st.lists(st.floats(10, 40), min_size=1, max_size=40))
def test_who_keeps_to_the_rate_never_has_an_excess(pauses_min: list[float]) -> None:
    at_min = [sum(pauses_min[:n]) for n in range(len(pauses_min))]
    assert max(excesses(at_min)) == 0


@given(st.lists(st.floats(0, 300), min_size=1, max_size=40).map(sorted))
def test_a_case_more_never_shortens_the_wait_of_those_after_it(at_min: list[float]) -> None:
    with_one_more = excesses([at_min[0], *at_min])[1:]
    assert all(
        more >= less - 1e-9 for more, less in zip(with_one_more, excesses(at_min), strict=True)
    )
