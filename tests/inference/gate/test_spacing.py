"""Steps between slices, from positions alone."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from inference.gate.spacing import measure_spacing


@given(
    count=st.integers(20, 120),
    step_mm=st.floats(0.4, 10.0),
    start_mm=st.floats(-1500, 1500),
    data=st.data(),
)
def test_for_any_slices_removed_every_gap_is_found_and_none_invented(
    count: int, step_mm: float, start_mm: float, data: st.DataObject
) -> None:
    removed = data.draw(st.sets(st.integers(1, count - 2)))
    kept = [k for k in range(count) if k not in removed]
    steps = [after - before for before, after in pairwise(kept)]
    assume(steps.count(1) >= 0.1 * len(steps))
    # Positions as scanners write them, to 0.01 mm.
    positions = [round(start_mm + step_mm * k, 2) for k in kept]
    spacing = measure_spacing(positions)
    assert spacing.usual_mm == pytest.approx(step_mm, abs=0.02)
    assert spacing.odd_steps == ()
    found = [(gap.after_mm, gap.before_mm, gap.missing_slices) for gap in spacing.gaps]
    assert found == [
        (positions[at], positions[at + 1], step - 1) for at, step in enumerate(steps) if step > 1
    ]
    assert spacing.missing_slices == len(removed)


@given(st.integers(3, 200), st.floats(0.4, 10.0))
def test_a_regular_list_has_neither_gaps_nor_odd_steps(count: int, step_mm: float) -> None:
    spacing = measure_spacing([step_mm * k for k in range(count)])
    assert spacing.gaps == ()
    assert spacing.odd_steps == ()


@pytest.mark.parametrize(
    ("step_mm", "is_gap"), [(5.9, False), (8.5, False), (9.4, False), (9.6, True), (10.4, True)]
)
def test_a_gap_is_a_whole_number_of_steps_within_a_tenth(step_mm: float, is_gap: bool) -> None:
    positions = [5.0 * k for k in range(30)]
    positions += [positions[-1] + step_mm + 5.0 * k for k in range(30)]
    spacing = measure_spacing(positions)
    assert (len(spacing.gaps), len(spacing.odd_steps)) == ((1, 0) if is_gap else (0, 1))


def test_steps_that_swing_by_less_than_a_tenth_are_usual() -> None:
    positions = np.cumsum([2.4, 2.6] * 30)
    spacing = measure_spacing(positions)
    assert set(spacing.steps) == {1}


def test_two_slices_have_one_usual_step() -> None:
    assert measure_spacing([0.0, 3.0]).usual_mm == 3.0


def test_the_usual_step_is_found_where_most_steps_are_gaps() -> None:
    positions = np.cumsum([2.5, 5.0, 5.0, 5.0] * 12)
    spacing = measure_spacing(positions)
    assert spacing.usual_mm == pytest.approx(2.5)
    assert len(spacing.gaps) == 36
