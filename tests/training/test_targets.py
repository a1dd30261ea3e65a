"""What the network should answer for a patch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.detection.heatmap import depth_to_space
from training.targets import Mark, make_targets, space_to_depth

SHAPE = (32, 48, 64)
EMPTY = np.zeros(SHAPE, bool)
places = st.tuples(*(st.floats(0.6, side - 1.6) for side in SHAPE))


def ball(centre: tuple[float, float, float], radius: float) -> np.ndarray:
    grid = np.indices(SHAPE).transpose(1, 2, 3, 0)
    return np.asarray(np.linalg.norm(grid - centre, axis=-1) <= radius)


@given(centre=places, diameter_mm=st.floats(3, 40))
def test_the_peak_and_its_offset_give_the_centre_back(
    centre: tuple[float, float, float], diameter_mm: float
) -> None:
    targets = make_targets(EMPTY, [Mark(centre, diameter_mm)], 1.25)
    (cell,) = np.argwhere(targets.heat[0] == 1)
    found = 2 * cell + 0.5 + targets.offset[(slice(None), *cell)]
    np.testing.assert_allclose(found, centre, atol=1e-4)
    assert 8 * np.exp(targets.log_diameter[(0, *cell)]) == pytest.approx(diameter_mm, rel=1e-5)


def test_a_nodule_beyond_the_patch_has_no_peak_but_warms_its_edge() -> None:
    targets = make_targets(EMPTY, [Mark((-4.0, 20.0, 20.0), 20.0)], 1.25)
    assert targets.heat.max() < 1
    assert targets.heat[0, 0, 10, 10] > 0.2


def test_an_ignored_region_counts_nowhere() -> None:
    targets = make_targets(EMPTY, [Mark((16.0, 20.0, 20.0), 10.0, is_ignored=True)], 1.25)
    assert targets.heat.max() == 0
    assert targets.heat_counts[0, 8, 10, 10] == 0
    assert targets.heat_counts[0, 0, 0, 0] == 1
    assert (targets.mask_boxes[:, 8, 10, 10] == -1).all()


def test_an_ignored_region_wins_over_a_nodule_at_the_same_place() -> None:
    place = (16.0, 20.0, 20.0)
    targets = make_targets(EMPTY, [Mark(place, 10.0, is_ignored=True), Mark(place, 8.0)], 1.25)
    assert targets.near.sum() == 0
    assert targets.heat_counts[0, 8, 10, 10] == 0


def test_size_and_place_are_learnt_near_the_centre_only() -> None:
    targets = make_targets(EMPTY, [Mark((16.5, 20.5, 20.5), 20.0)], 1.25)
    cells = np.argwhere(targets.near[0] == 1)
    distances_mm = 1.25 * np.linalg.norm(2 * cells + 0.5 - (16.5, 20.5, 20.5), axis=1)
    assert len(cells) > 20
    assert distances_mm.max() <= 5.0


def test_of_two_nodules_each_cell_learns_the_nearer_one() -> None:
    near, far = Mark((16.5, 20.5, 20.5), 8.0), Mark((16.5, 20.5, 24.5), 30.0)
    for marks in ([near, far], [far, near]):
        targets = make_targets(EMPTY, marks, 1.25)
        assert targets.log_diameter[0, 8, 10, 10] == pytest.approx(0.0)


def test_the_mask_counts_in_the_box_around_a_nodule() -> None:
    centre = (16.0, 24.0, 30.0)
    mask = ball(centre, 4.0)
    targets = make_targets(mask, [Mark(centre, 10.0)], 1.25)
    boxes = depth_to_space(targets.mask_boxes, 2)
    assert boxes[mask].min() == 1
    assert boxes[16, 24, 30 + 9] == 1  # 5 mm radius and 7 mm more are 9.6 voxels
    assert boxes[16, 24, 30 + 12] == 0


def test_masks_travel_in_the_channels_that_serving_unpacks() -> None:
    voxels = np.random.default_rng(1).random(SHAPE, np.float32)
    np.testing.assert_array_equal(depth_to_space(space_to_depth(voxels), 2), voxels)
