"""Resampling: what is linear in the patient stays so, whichever way the voxels run."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.preprocess import AIR_HU, network_grid, normalise, resample
from inference.volume import Floats, Grid, Volume
from models.package import Preprocessing

PREPROCESSING = Preprocessing(
    spacing_mm=1.25,
    hu_window=(-1000, 400),
    region="lungs",
    margin_mm=12,
    orientation="LPS",
    size_multiple=8,
)
SLOPES = np.array([0.9, -0.7, 1.3])


def ramp(grid: Grid) -> Volume:
    """HU that grow linearly through the patient: interpolation gives them back."""
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape_zyx), indexing="ij"), axis=-1)
    return Volume(np.rint(100 * (grid.to_lps(index) @ SLOPES) / 10).astype(np.int16), grid)


def expected(grid: Grid) -> Floats:
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape_zyx), indexing="ij"), axis=-1)
    return np.asarray(100 * (grid.to_lps(index) @ SLOPES) / 10)


def whole(grid: Grid) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    z, y, x = grid.shape_zyx
    return (0, z), (0, y), (0, x)


def tilted(grid: Grid, shift_mm: float) -> Grid:
    steps = np.arange(len(grid.origins_lps_mm))[:, None] * shift_mm * grid.column_direction
    return replace(grid, origins_lps_mm=grid.origins_lps_mm + steps)


PLAIN = Grid.regular((-20.0, -15.0, -200.0), (2.5, 0.7, 0.9), (14, 44, 40))
TURN = np.deg2rad(20)
GRIDS = {
    "plain": PLAIN,
    "rows-and-columns-reversed": Grid.regular(
        (15, 20, -200), (2.5, 0.7, 0.9), (14, 44, 40), (-1, 0, 0), (0, -1, 0)
    ),
    "rows-along-y": Grid.regular(
        (-20, -15, -170), (2.5, 0.7, 0.9), (14, 44, 40), (0, 1, 0), (1, 0, 0)
    ),
    "head-down": Grid.regular(
        (-20, 15, -170), (2.5, 0.7, 0.9), (14, 44, 40), (1, 0, 0), (0, -1, 0)
    ),
    "oblique": Grid.regular(
        (-20, -15, -200), (2.5, 0.7, 0.9), (14, 44, 40), (np.cos(TURN), 0, np.sin(TURN)), (0, 1, 0)
    ),
    "uneven": replace(
        PLAIN, origins_lps_mm=PLAIN.origins_lps_mm[[0, 1, 2, 4, 5, 6, 9, 10, 11, 12, 13]]
    ),
    "tilted": tilted(PLAIN, 0.6),
}


@pytest.mark.parametrize("name", GRIDS)
def test_a_linear_patient_comes_back_exactly_on_the_network_grid(name: str) -> None:
    volume = ramp(GRIDS[name])
    target = network_grid(volume.grid, whole(volume.grid), PREPROCESSING)
    sampled = resample(volume, target)
    # Well inside the scan, whatever its tilt: index space of the source, one voxel from its edges.
    index = np.stack(np.meshgrid(*map(np.arange, target.shape_zyx), indexing="ij"), axis=-1)
    source_index = volume.grid.to_index(target.to_lps(index))
    inner = np.all((source_index >= 1) & (source_index <= np.array(volume.hu.shape) - 2), axis=-1)
    assert inner.sum() > 500
    # Source HU are rounded to whole numbers.
    assert np.abs(sampled - expected(target))[inner].max() <= 0.51


@pytest.mark.parametrize("name", GRIDS)
def test_the_network_grid_runs_left_back_and_head(name: str) -> None:
    grid = network_grid(GRIDS[name], whole(GRIDS[name]), PREPROCESSING)
    axes = np.stack([grid.row_direction, grid.column_direction, grid.normal])
    assert np.all(np.diag(axes) > 0.9)
    assert np.all(np.array(grid.shape_zyx) % PREPROCESSING.size_multiple == 0)


@pytest.mark.parametrize("name", GRIDS)
def test_the_network_grid_holds_the_box_and_its_margin(name: str) -> None:
    source = GRIDS[name]
    box = ((3, 9), (10, 30), (5, 33))
    grid = network_grid(source, box, PREPROCESSING)
    index = np.stack(np.meshgrid(*(np.arange(*side) for side in box), indexing="ij"), axis=-1)
    margin = PREPROCESSING.margin_mm / PREPROCESSING.spacing_mm
    inside = grid.to_index(source.to_lps(index))
    assert inside.min() >= margin - 1e-6
    assert np.all(inside <= np.array(grid.shape_zyx) - margin + 1e-6)


@settings(max_examples=40)
@given(
    first=st.tuples(st.integers(0, 5), st.integers(0, 18), st.integers(0, 18)),
    last=st.tuples(st.integers(7, 14), st.integers(20, 44), st.integers(20, 40)),
)
def test_two_boxes_of_one_scan_fall_on_the_same_sampling_phase(
    first: tuple[int, int, int], last: tuple[int, int, int]
) -> None:
    box = tuple(zip(first, last, strict=True))
    one = network_grid(PLAIN, whole(PLAIN), PREPROCESSING)
    other = network_grid(PLAIN, (box[0], box[1], box[2]), PREPROCESSING)
    shift = one.to_index(other.origins_lps_mm[0]) / PREPROCESSING.size_multiple
    assert np.allclose(shift, np.rint(shift), atol=1e-9)


def test_what_lies_outside_the_scan_is_air() -> None:
    volume = Volume(np.full(PLAIN.shape_zyx, 40, np.int16), PLAIN)
    target = Grid.regular((-40.0, -40.0, -230.0), (5.0, 5.0, 5.0), (20, 20, 20))
    sampled = resample(volume, target)
    index = np.stack(np.meshgrid(*map(np.arange, target.shape_zyx), indexing="ij"), axis=-1)
    source = PLAIN.to_index(target.to_lps(index))
    is_outside = np.any((source < -0.5) | (source > np.array(PLAIN.shape_zyx) - 0.5), axis=-1)
    assert np.all(sampled[is_outside] == AIR_HU)
    assert np.all(sampled[~is_outside] == 40)


def test_half_a_voxel_beyond_the_last_centre_still_has_its_value() -> None:
    volume = Volume(np.full(PLAIN.shape_zyx, 40, np.int16), PLAIN)
    for share, expected_hu in ((-0.4, 40), (-0.6, AIR_HU)):
        for index in ((share, 20, 20), (6, share, 20), (6, 20, share)):
            place = Grid.regular(PLAIN.to_lps(index), (2.5, 0.7, 0.9), (1, 1, 1))
            assert resample(volume, place).item() == expected_hu


def test_a_target_that_is_rotated_against_the_scan_is_refused() -> None:
    with pytest.raises(ValueError, match="axes"):
        resample(ramp(PLAIN), GRIDS["oblique"])


def test_a_voxel_on_a_source_voxel_keeps_its_value() -> None:
    volume = ramp(PLAIN)
    assert np.array_equal(resample(volume, PLAIN), volume.hu.astype(np.float32))


def test_the_window_maps_to_minus_one_and_one_and_is_clipped() -> None:
    hu = np.array([-3000, -1000, -300, 400, 2000], np.float32)
    assert normalise(hu, PREPROCESSING).tolist() == pytest.approx([-1, -1, 0, 1, 1], abs=1e-6)
