"""Grid: index and place are each other's inverse, whatever the scan looks like."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from inference.volume import Grid, Volume

steps = st.lists(st.floats(0.3, 9.0), min_size=1, max_size=12)
angles = st.tuples(*[st.floats(-180, 180)] * 3)
spacings = st.tuples(st.floats(0.3, 2.0), st.floats(0.3, 2.0))


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """Oblique, feet-first, tilted, with non-square pixels and steps of any size."""
    axes = Rotation.from_euler("xyz", draw(angles), degrees=True).as_matrix()
    row, column, normal = axes[:, 0], axes[:, 1], axes[:, 2]
    along = np.concatenate([[0.0], np.cumsum(draw(steps))])
    lean = draw(st.floats(-0.4, 0.4))
    origins = np.array([10.0, -20.0, 30.0]) + along[:, None] * (normal + lean * column)
    return Grid(origins, row, column, draw(spacings), (20, 30))


indices = st.tuples(st.floats(-2, 14), st.floats(-5, 25), st.floats(-5, 35))


@given(grids(), indices)
def test_to_index_undoes_to_lps(grid: Grid, index: tuple[float, float, float]) -> None:
    assert_allclose(grid.to_index(grid.to_lps(index)), index, atol=1e-6)


@given(grids())
def test_positions_ascend_and_depths_add_up_to_the_span(grid: Grid) -> None:
    positions, depths = grid.positions_mm, grid.depths_mm
    assert np.all(np.diff(positions) > 0)
    ends = (positions[1] - positions[0]) / 2 + (positions[-1] - positions[-2]) / 2
    assert depths.sum() == pytest.approx(positions[-1] - positions[0] + ends)


@given(st.tuples(st.floats(0.3, 5), st.floats(0.3, 2), st.floats(0.3, 2)), indices)
def test_a_regular_grid_has_an_affine_that_says_the_same(
    spacing: tuple[float, float, float], index: tuple[float, float, float]
) -> None:
    grid = Grid.regular((1.0, 2.0, 3.0), spacing, (10, 20, 30), (0, 1, 0), (-1, 0, 0))
    assert_allclose((grid.affine_lps @ [*index, 1.0])[:3], grid.to_lps(index), atol=1e-9)


def test_a_tilted_grid_refuses_an_affine() -> None:
    origins = np.array([[0.0, 0.26 * z, 0.97 * z] for z in range(5)])
    grid = Grid(origins, np.array([1.0, 0, 0]), np.array([0.0, 1, 0]), (1.0, 1.0), (4, 4))
    assert not grid.is_regular
    with pytest.raises(ValueError, match="equally spaced"):
        _ = grid.affine_lps


def test_voxels_must_fit_their_grid() -> None:
    grid = Grid.regular((0, 0, 0), (1, 1, 1), (2, 3, 4))
    with pytest.raises(ValueError, match="do not fit"):
        Volume(np.zeros((2, 4, 3), np.int16), grid)
