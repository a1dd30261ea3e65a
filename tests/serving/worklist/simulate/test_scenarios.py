"""The reference days are drawn to the last case, and read to the digits of their check values."""

from dataclasses import replace

import numpy as np
import pytest

from serving.worklist.simulate.cases import Floats
from serving.worklist.simulate.engine import fifo_waits_min, waits_min
from serving.worklist.simulate.policies import Policy, line_up
from serving.worklist.simulate.reading import Modality, Reading, Scatter, draw_reading
from serving.worklist.simulate.scenarios import DUMP_AT_MIN, SCENARIOS, Name, draw
from serving.worklist.simulate.traffic import draw_traffic
from tests.serving.worklist.simulate.builders import some_traffic


def read(name: Name, seed: int) -> Floats:
    cases = draw(SCENARIOS[name], seed)
    return waits_min(cases, line_up(Policy.FIRSTREAD, cases, SCENARIOS[name].pool), 8)


@pytest.mark.parametrize(
    ("seed", "count", "ratio"), [(0, 2201, 1.1240), (1, 2187, 1.1472), (2, 2246, 1.1327)]
)
def test_overload(seed: int, count: int, ratio: float) -> None:
    cases, waits = draw(SCENARIOS[Name.OVERLOAD], seed), read(Name.OVERLOAD, seed)
    assert len(cases) == count
    assert (waits[cases.is_flagged] <= 30).all()
    longest = waits[~cases.is_flagged].max() / fifo_waits_min(cases, 8).max()
    assert longest == pytest.approx(ratio, abs=5e-5)


@pytest.mark.parametrize(("seed", "late"), [(0, 1.218), (1, 1.191)])
def test_storm(seed: int, late: float) -> None:
    waits = read(Name.STORM, seed)[~draw(SCENARIOS[Name.STORM], seed).is_flagged]
    assert np.quantile(waits, 0.99) / 120 == pytest.approx(late, abs=5e-4)


@pytest.mark.parametrize(("seed", "p95", "ratio"), [(0, 19.31, 0.0493), (1, 26.39, 0.0748)])
def test_dump(seed: int, p95: float, ratio: float) -> None:
    cases = draw(SCENARIOS[Name.DUMP], seed)
    day_after = (cases.arrived_min >= DUMP_AT_MIN) & (cases.arrived_min < DUMP_AT_MIN + 1440)
    others = day_after & (cases.hospital != SCENARIOS[Name.DUMP].dumper)
    found = np.quantile(read(Name.DUMP, seed)[others], 0.95)
    fifo = np.quantile(fifo_waits_min(cases, 8)[others], 0.95)
    assert found == pytest.approx(p95, abs=5e-3)
    assert found / fifo == pytest.approx(ratio, abs=5e-5)


def test_orders_are_drawn_in_their_shares_and_move_nothing_else() -> None:
    plain = draw(SCENARIOS[Name.OVERLOAD], 0)
    ordered = draw(replace(SCENARIOS[Name.OVERLOAD], stat_share=0.02, urgent_share=0.1), 0)
    assert (ordered.ordered_rank == 0).mean() == pytest.approx(0.02, abs=0.01)
    assert (ordered.ordered_rank == 2).mean() == pytest.approx(0.1, abs=0.02)
    assert (ordered.reading_min == plain.reading_min).all()


@pytest.mark.parametrize(("scatter", "cv"), [("exponential", 1), ("lognormal", 0.5), ("fixed", 0)])
def test_reading_times_have_the_mean_and_scatter_that_were_asked(scatter: str, cv: float) -> None:
    reading = Reading((Modality("CT", 10.0, 1.0),), Scatter(scatter), cv=0.5)
    drawn = draw_reading(reading, 200_000, np.random.default_rng(0))
    assert drawn.mean() == pytest.approx(10.0, rel=0.01)
    assert drawn.std() == pytest.approx(10.0 * cv, rel=0.02)


def test_a_mix_of_modalities_has_the_mean_of_the_mix() -> None:
    mix = (Modality("CT", 12.0, 2.0), Modality("CR", 3.0, 1.0))
    reading = Reading(mix, Scatter.FIXED)
    drawn = draw_reading(reading, 100_000, np.random.default_rng(0))
    assert reading.mean_min == 9.0
    assert (drawn == 12.0).mean() == pytest.approx(2 / 3, abs=0.01)


def test_a_day_curve_moves_arrivals_into_the_busy_hours_and_keeps_their_number() -> None:
    flat = some_traffic(readers=8)
    shaped = replace(flat, day_shape=SCENARIOS[Name.OVERLOAD].day_loads)
    arrived = draw_traffic(shaped, 50_000, 0).arrived_min
    assert arrived[-1] == pytest.approx(draw_traffic(flat, 50_000, 0).arrived_min[-1], abs=1440)
    counts = np.bincount((arrived % 1440 // 60).astype(int), minlength=24)
    expected = np.array(shaped.day_shape) / sum(shaped.day_shape) * 50_000
    assert np.abs(counts - expected).max() < 250
