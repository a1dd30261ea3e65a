"""Thresholds and calibration from hits and false alarms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from training.operating_points import (
    Group,
    Platt,
    calibrate,
    expect,
    lowest_threshold,
    published,
    sentence,
)

logits = st_numpy.arrays(float, st.integers(0, 40), elements=st.floats(-8, 8))
PLAIN = Platt(1.0, 0.0)


def a_group(hits: list[float], false_alarms: list[float], volumes: int = 10) -> Group:
    return Group("made", volumes, np.array(hits), np.array(false_alarms))


@given(hits=logits, false=logits, allowed=st.sampled_from([0.0, 0.25, 1.0, 4.0]))
def test_no_more_false_positives_than_allowed(
    hits: np.ndarray, false: np.ndarray, allowed: float
) -> None:
    group = Group("made", 8, hits, false)
    threshold = lowest_threshold([group], PLAIN, allowed)
    assert expect(group, PLAIN, threshold).false_positives <= allowed or threshold == 1.0


@given(false=logits)
def test_a_lower_threshold_would_have_too_many(false: np.ndarray) -> None:
    group = Group("made", 8, np.zeros(0), false)
    threshold = lowest_threshold([group], PLAIN, 1.0)
    if 0.001 < threshold < 1.0:
        lower = round(threshold - 0.001, 3)
        assert expect(group, PLAIN, lower).false_positives > 1.0


def test_the_worse_of_two_groups_decides() -> None:
    easy, hard = a_group([], [-5.0] * 30), a_group([], [2.0] * 30)
    alone = lowest_threshold([hard], PLAIN, 1.0)
    assert lowest_threshold([easy, hard], PLAIN, 1.0) == alone
    assert lowest_threshold([hard, easy], PLAIN, 1.0) == alone


def test_a_nodule_without_a_candidate_is_missed_at_every_threshold() -> None:
    group = a_group([3.0, -np.inf], [])
    assert expect(group, PLAIN, 0.001).sensitivity == 0.5


def test_calibration_puts_even_odds_between_hits_and_false_alarms() -> None:
    rng = np.random.default_rng(1)
    group = Group("made", 10, rng.normal(3, 1, 400), rng.normal(-1, 1, 900))
    platt = calibrate([group])
    assert platt.scores(np.array([1.0]))[0] == pytest.approx(0.5, abs=0.05)
    assert platt.scale > 0


def test_hits_that_are_never_confused_with_false_alarms_still_give_a_finite_curve() -> None:
    platt = calibrate([a_group([6.0] * 20, [-6.0] * 20)])
    assert 0 < platt.scale <= 3
    scores = platt.scores(np.array([-6.0, 6.0]))
    assert scores[0] < 0.1 < 0.9 < scores[1]


def test_only_candidates_that_a_package_keeps_are_calibrated_with() -> None:
    noise = np.full(5000, -5.0)
    group = Group("made", 10, np.array([2.0, 1.0, -6.0]), np.concatenate([noise, np.zeros(40)]))
    (kept,) = published([group], 4.0)
    assert kept.hits.tolist() == [2.0, 1.0]
    assert kept.false_alarms.tolist() == [0.0] * 40


def test_noise_below_the_floor_moves_no_score() -> None:
    rng = np.random.default_rng(2)
    hits, false = rng.normal(2, 1, 80), rng.normal(0, 1, 100)
    few = Group("made", 10, hits, false)
    many = Group("made", 10, hits, np.concatenate([false, np.full(20_000, -8.0)]))
    assert calibrate(published([few], 5.0)) == calibrate(published([many], 5.0))


def test_the_sentence_says_how_much_was_found_on_what() -> None:
    said = sentence([expect(a_group([3.0, -3.0], [0.0, 3.0], 4), PLAIN, 0.9)])
    assert said == "made: 50.0% of 2 nodules, 0.25 false positives in each of 4 volumes"
