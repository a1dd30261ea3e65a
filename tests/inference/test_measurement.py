"""Numbers of a mask, on spheres whose truth is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.mask import SourceMask, cropped
from inference.measurement import (
    Measurement,
    axes_of,
    mean_diameter,
    measure,
    outline_of,
    round_half_up,
)
from inference.volume import Grid, Volume


def a_grid(slice_mm: float, pixel_mm: tuple[float, float] = (0.7, 0.7)) -> Grid:
    shape = (round(30 / slice_mm), round(30 / pixel_mm[0]), round(30 / pixel_mm[1]))
    return Grid.regular((-15.0, -15.0, -15.0), (slice_mm, *pixel_mm), shape)


def a_sphere(
    grid: Grid, diameter_mm: float, centre_lps_mm: tuple[float, float, float]
) -> SourceMask:
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape_zyx), indexing="ij"), axis=-1)
    inside = np.linalg.norm(grid.to_lps(index) - centre_lps_mm, axis=-1) <= diameter_mm / 2
    return cropped(inside, (0, 0, 0))


def measured(grid: Grid, mask: SourceMask) -> Measurement:
    return measure(mask, Volume(np.zeros(grid.shape_zyx, np.int16), grid))


SHIFTS = st.tuples(*[st.floats(-0.6, 0.6)] * 3)


@settings(max_examples=20)
@given(
    diameter_mm=st.sampled_from([6.0, 10.0, 20.0]),
    slice_mm=st.sampled_from([1.0, 1.25, 2.5]),
    centre=SHIFTS,
)
def test_spheres_are_measured_within_the_promised_limits(
    diameter_mm: float, slice_mm: float, centre: tuple[float, float, float]
) -> None:
    grid = a_grid(slice_mm)
    found = measured(grid, a_sphere(grid, diameter_mm, centre))
    allowed = 0.10 if diameter_mm >= 10 else 0.25
    assert found.volume_mm3 == pytest.approx(np.pi * diameter_mm**3 / 6, rel=allowed)
    assert found.mean_diameter_mm == pytest.approx(diameter_mm, abs=0.75)
    assert np.linalg.norm(np.subtract(found.centre_lps_mm, centre)) <= 1.0
    assert found.short_axis_mm <= found.long_axis_mm


def test_lengths_are_millimetres_where_pixels_are_not_square() -> None:
    grid = a_grid(1.25, (0.5, 1.0))
    found = measured(grid, a_sphere(grid, 20, (0.1, 0.2, 0.0)))
    assert found.long_axis_mm == pytest.approx(20, abs=0.7)
    assert found.short_axis_mm == pytest.approx(20, abs=0.7)


def test_volume_and_centre_count_a_slice_beside_a_gap_as_what_it_stands_for() -> None:
    grid = a_grid(1.0)
    origins = np.delete(grid.origins_lps_mm, 16, axis=0)
    gapped = Grid(
        origins, grid.row_direction, grid.column_direction, grid.spacing_yx_mm, grid.shape_yx
    )
    found = measured(gapped, a_sphere(gapped, 20, (0.0, 0.0, 0.0)))
    assert found.volume_mm3 == pytest.approx(np.pi * 20**3 / 6, rel=0.03)
    assert np.linalg.norm(found.centre_lps_mm) < 0.3


def test_a_single_voxel_has_numbers() -> None:
    grid = a_grid(1.0)
    found = measured(grid, SourceMask((3, 4, 5), np.ones((1, 1, 1), bool)))
    assert (found.slices, found.key_slice, found.centre_index) == ((3, 3), 3, (3.0, 4.0, 5.0))
    assert found.volume_mm3 == 0.5
    assert 0.5 < found.mean_diameter_mm < 1.0


def test_mean_hu_is_of_exactly_the_mask() -> None:
    grid = a_grid(1.0)
    hu = np.full(grid.shape_zyx, -900, np.int16)
    hu[3, 4:6, 5:7] = [[10, 20], [30, 41]]
    assert (
        measure(SourceMask((3, 4, 5), np.ones((1, 2, 2), bool)), Volume(hu, grid)).mean_hu == 25.2
    )


@settings(max_examples=40)
@given(st.integers(0, 2**20))
def test_the_outline_encloses_the_area_of_the_pixels(seed: int) -> None:
    plane = a_blob(seed)
    x, y = outline_of(plane).T
    area = abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
    assert area == pytest.approx(plane.sum(), rel=0.01)


def a_blob(seed: int) -> np.ndarray:
    """A random 4-connected piece without holes."""
    from scipy import ndimage

    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(30, 30)), 3)
    noise[15, 15] = 9
    labels, _ = ndimage.label(noise > noise.mean())
    return ndimage.binary_fill_holes(labels == labels[15, 15])


def test_the_outline_counts_from_the_corner_of_the_first_pixel() -> None:
    plane = np.zeros((9, 9), bool)
    plane[2:7, 3:8] = True
    assert outline_of(plane).mean(axis=0) == pytest.approx([5.5, 4.5], abs=0.01)


def test_an_ellipse_has_its_two_axes() -> None:
    angles = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    ellipse = np.stack([8 * np.cos(angles), 3 * np.sin(angles)], axis=-1)
    turned = ellipse @ np.array([[0.8, 0.6], [-0.6, 0.8]])
    lengths = [np.linalg.norm(axis[1] - axis[0]) for axis in axes_of(turned)]
    assert lengths == pytest.approx([16, 6], abs=0.02)


def test_a_mean_is_rounded_half_up_from_the_rounded_axes() -> None:
    assert mean_diameter(12.6, 12.3) == 12.5
    assert mean_diameter(0.3, 0.2) == 0.3


@pytest.mark.parametrize(("value", "rounded"), [(0.25, 0.3), (12.45, 12.5), (2.349, 2.3)])
def test_halves_go_up(value: float, rounded: float) -> None:
    assert round_half_up(value) == rounded
