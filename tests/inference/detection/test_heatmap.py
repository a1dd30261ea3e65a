"""The decoder on heat maps whose peaks are known."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from firstread.errors import PackageError
from inference.detection.candidate import Candidate
from inference.detection.heatmap import decode, depth_to_space
from inference.lungs import LEFT, Lungs
from inference.volume import Grid
from models.package import Calibration

CELLS = (24, 20, 28)
INPUT = (48, 40, 56)
GRID = Grid.regular((-30.0, -20.0, -100.0), (1.25, 1.25, 1.25), INPUT)
COLD = -8.0
Outputs = dict[str, NDArray[np.float32]]


def lungs_in(z0: int, z1: int, y0: int, y1: int, x0: int, x1: int) -> Lungs:
    """Lung on a box of the input grid, at every voxel of it."""
    labels = np.zeros(INPUT, np.uint8)
    labels[z0:z1, y0:y1, x0:x1] = LEFT
    return Lungs(labels, GRID, (1, 1, 1), ((z0, z1), (y0, y1), (x0, x1)), 1.0)


EVERYWHERE = lungs_in(0, 48, 0, 40, 0, 56)
RAW = Calibration(scale=1.0, shift=0.0, measured_on="nothing: a test")


def nothing() -> Outputs:
    return {
        "heat": np.full((1, 1, *CELLS), COLD, np.float32),
        "offset": np.zeros((1, 3, *CELLS), np.float32),
        "log_diameter": np.zeros((1, 1, *CELLS), np.float32),
        "mask": np.full((1, 8, *CELLS), -6.0, np.float32),
    }


def peak(
    outputs: Outputs, cell: tuple[int, int, int], logit: float, diameter_mm: float = 8.0
) -> None:
    """Put one peak with a shoulder of one cell, and its size."""
    z, y, x = cell
    around = outputs["heat"][0, 0, z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2]
    np.maximum(around, logit - 1.0, out=around)
    outputs["heat"][0, 0, z, y, x] = logit
    outputs["log_diameter"][0, 0, z, y, x] = np.log(diameter_mm / 8)


def run(outputs: Outputs, **changes: Any) -> tuple[Candidate, ...]:
    given = {
        "grid": GRID, "stride": 2, "lungs": EVERYWHERE, "calibration": RAW,
        "floor": 0.05, "lowest_threshold": 0.3, **changes,
    }  # fmt: skip
    return decode(outputs, **given)


def test_a_peak_lies_at_its_cells_centre_plus_its_offset() -> None:
    outputs = nothing()
    peak(outputs, (10, 8, 12), 2.0)
    outputs["offset"][0, :, 10, 8, 12] = (0.25, -0.5, 1.0)
    (candidate,) = run(outputs)
    assert GRID.to_index(candidate.centre_lps_mm) == pytest.approx((20.75, 16.0, 25.5))


def test_the_diameter_is_eight_times_the_exponential() -> None:
    outputs = nothing()
    peak(outputs, (10, 8, 12), 2.0, diameter_mm=13.0)
    assert run(outputs)[0].diameter_mm == pytest.approx(13.0, rel=1e-6)


def test_the_score_is_calibrated_and_rounded_to_a_thousandth() -> None:
    outputs = nothing()
    peak(outputs, (10, 8, 12), 1.0)
    calibration = Calibration(scale=0.5, shift=0.25, measured_on="nothing: a test")
    assert run(outputs, calibration=calibration)[0].score == 0.679  # sigmoid(0.75) = 0.67918


@pytest.mark.parametrize("value", [0.0, 5.0, -1.0])
def test_a_network_without_weights_gives_nothing(value: float) -> None:
    outputs = nothing()
    outputs["heat"][:] = value
    assert run(outputs, floor=0.0) == ()


def test_a_plateau_between_two_levels_has_no_peak_on_its_face() -> None:
    outputs = nothing()
    outputs["heat"][0, 0, :, :, :14] = 2.0
    assert run(outputs) == ()


def test_two_equal_neighbours_are_one_candidate_not_none() -> None:
    outputs = nothing()
    peak(outputs, (10, 8, 12), 2.0)
    outputs["heat"][0, 0, 10, 8, 13] = 2.0
    assert len(run(outputs)) == 1


def test_peaks_within_four_millimetres_are_one_the_stronger() -> None:
    outputs = nothing()
    peak(outputs, (10, 8, 12), 2.0, diameter_mm=4.0)
    peak(outputs, (10, 8, 15), 1.0, diameter_mm=4.0)
    assert len(run(outputs)) == 2  # three cells of 2.5 mm apart
    outputs["offset"][0, 2, 10, 8, 15] = -3.0  # 7.5 - 3.75 mm
    assert [candidate.score for candidate in run(outputs)] == [0.881]


def test_peaks_within_half_the_stronger_ones_diameter_are_one() -> None:
    outputs = nothing()
    peak(outputs, (10, 8, 10), 2.0, diameter_mm=21.0)
    peak(outputs, (10, 8, 14), 1.0, diameter_mm=4.0)
    assert len(run(outputs)) == 1
    outputs["log_diameter"][0, 0, 10, 8, 10] = np.log(19.0 / 8)
    assert len(run(outputs)) == 2


def test_a_peak_that_is_taken_in_takes_in_nothing_itself() -> None:
    outputs = nothing()
    for x, logit in ((6, 3.0), (9, 2.0), (12, 1.0)):
        peak(outputs, (10, 8, x), logit, diameter_mm=16.0)
    assert [candidate.score for candidate in run(outputs)] == [0.953, 0.731]


@pytest.mark.parametrize(("diameter_mm", "is_kept"), [(6.0, False), (20.0, True)])
def test_a_centre_outside_the_lung_counts_if_its_size_reaches_it(
    diameter_mm: float, is_kept: bool
) -> None:
    outputs = nothing()
    peak(outputs, (10, 8, 12), 2.0, diameter_mm)
    # The lung's nearest voxel, x = 36, is 11.5 voxels = 14.4 mm away; 6 mm + 0.55 d reaches 9.3 or
    # 17.
    lungs = lungs_in(0, 48, 0, 40, 36, 56)
    assert bool(run(outputs, lungs=lungs)) is is_kept


def test_nothing_below_the_floor_is_kept() -> None:
    outputs = nothing()
    peak(outputs, (10, 8, 12), -2.0)  # 0.119
    assert len(run(outputs, floor=0.119)) == 1
    assert run(outputs, floor=0.12) == ()


def crowd(above: int, below: int) -> Outputs:
    outputs = nothing()
    places = [(z, y, x) for z in range(2, 23, 4) for y in range(2, 19, 4) for x in range(2, 27, 4)]
    for k, place in enumerate(places[: above + below]):
        peak(
            outputs,
            place,
            1.0 + 0.01 * k if k < above else -2.0 + 0.01 * (k - above),
            diameter_mm=4.0,
        )
    return outputs


def test_all_above_the_lowest_operating_point_and_thirty_below_it_are_kept() -> None:
    scores = [candidate.score for candidate in run(crowd(above=40, below=50))]
    assert sum(score >= 0.3 for score in scores) == 40
    assert len(scores) == 70
    # The strongest thirty of the fifty: logits from -1.8 up.
    assert min(scores) == pytest.approx(1 / (1 + np.exp(1.8)), abs=0.0005)


def test_candidates_come_by_falling_score() -> None:
    scores = [candidate.score for candidate in run(crowd(above=20, below=20))]
    assert scores == sorted(scores, reverse=True)


@settings(max_examples=25)
@given(
    index=st.tuples(st.floats(16, 31), st.floats(16, 23), st.floats(16, 39)),
    diameter_mm=st.floats(5, 12),
)
def test_the_mask_of_a_ball_comes_back_where_it_was(
    index: tuple[float, float, float], diameter_mm: float
) -> None:
    outputs = nothing()
    cell = (round((index[0] - 0.5) / 2), round((index[1] - 0.5) / 2), round((index[2] - 0.5) / 2))
    peak(outputs, cell, 2.0, diameter_mm)
    at = np.stack(np.meshgrid(*map(np.arange, INPUT), indexing="ij"), axis=-1)
    ball = np.linalg.norm((at - index) * 1.25, axis=-1) <= diameter_mm / 2
    logits = np.where(ball, 5.0, -5.0).astype(np.float32)
    for channel, (dz, dy, dx) in enumerate(np.ndindex(2, 2, 2)):
        outputs["mask"][0, channel] = logits[dz::2, dy::2, dx::2]
    (candidate,) = run(outputs)
    found = np.argwhere(candidate.mask > 0.5)
    places = candidate.mask_grid.to_lps(found)
    assert places.shape == (ball.sum(), 3)
    assert np.allclose(places.mean(axis=0), GRID.to_lps(np.argwhere(ball)).mean(axis=0))


def test_the_crop_grows_until_the_mask_ends_inside_it() -> None:
    outputs = nothing()
    peak(outputs, (12, 10, 14), 2.0, diameter_mm=4.0)
    outputs["mask"][0, :, 6:18, 4:16, 6:22] = 5.0  # 30 x 30 x 40 mm
    (candidate,) = run(outputs)
    assert (candidate.mask > 0.5).sum() == 24 * 24 * 32
    assert not (candidate.mask[[0, -1]] > 0.5).any()


def test_a_mask_at_the_edge_of_the_grid_is_cropped_there() -> None:
    outputs = nothing()
    peak(outputs, (1, 1, 1), 2.0)
    (candidate,) = run(outputs)
    assert np.allclose(candidate.mask_grid.origins_lps_mm[0], GRID.origins_lps_mm[0])


def test_depth_to_space_puts_channel_dz_dy_dx_at_its_voxel() -> None:
    logits = np.arange(8 * 2 * 3 * 4, dtype=np.float32).reshape(8, 2, 3, 4)
    voxels = depth_to_space(logits, 2)
    for channel, (dz, dy, dx) in enumerate(np.ndindex(2, 2, 2)):
        assert np.array_equal(voxels[dz::2, dy::2, dx::2], logits[channel])


@pytest.mark.parametrize("name", ["heat", "offset", "log_diameter", "mask"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_an_error_not_a_healthy_patient(
    name: str, value: float
) -> None:
    outputs = nothing()
    outputs[name][0, 0, 3, 3, 3] = value
    with pytest.raises(PackageError, match=name):
        run(outputs)


@pytest.mark.parametrize("name", ["heat", "offset", "log_diameter", "mask"])
def test_an_output_that_is_absent_or_of_another_size_is_an_error(name: str) -> None:
    outputs = nothing()
    cropped = {**outputs, name: outputs[name][:, :, 1:]}
    absent = {key: value for key, value in outputs.items() if key != name}
    for wrong in (cropped, absent):
        with pytest.raises(PackageError, match=name):
            run(wrong)


def test_no_lung_near_means_no_candidate() -> None:
    outputs = nothing()
    peak(outputs, (3, 3, 3), 5.0)
    assert run(outputs, lungs=lungs_in(40, 48, 30, 40, 45, 56)) == ()


def test_a_tilted_lung_grid_measures_in_the_patient() -> None:
    outputs = nothing()
    peak(outputs, (10, 8, 12), 2.0, diameter_mm=6.0)
    far = replace(GRID, origins_lps_mm=GRID.origins_lps_mm + np.array([0.0, 200.0, 0.0]))
    assert run(outputs, lungs=replace(EVERYWHERE, grid=far)) == ()
