"""Reading coarse fields: at points, at random places inside, and on the pixels of one slice."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inference.phantom.anatomy import Array, Frame

Floats = NDArray[np.float64]


def at_points(frame: Frame, field: Array, points_mm: Floats) -> Floats:
    """Return a field at (n, 3) points (z, y, x) in mm, linearly interpolated."""
    first = np.array([frame.z[0, 0, 0], frame.y[0, 0, 0], frame.x[0, 0, 0]], float)
    index = (points_mm - first) / np.array(frame.spacing_mm)
    return np.asarray(ndimage.map_coordinates(field, index.T, order=1, mode="nearest"), np.float64)


def points_inside(
    frame: Frame, distance: Array, depth_mm: float, count: int, random: np.random.Generator
) -> Floats:
    """Return (count, 3) random points (z, y, x) in mm that lie at least ``depth_mm`` inside.

    Fewer, or none, where no node lies that deep.
    """
    nodes = np.argwhere(distance < -depth_mm)
    if len(nodes) == 0:
        return np.zeros((0, 3))
    first = np.array([frame.z[0, 0, 0], frame.y[0, 0, 0], frame.x[0, 0, 0]], float)
    chosen = nodes[random.integers(len(nodes), size=count)] + random.uniform(-0.5, 0.5, (count, 3))
    return np.asarray(first + chosen * np.array(frame.spacing_mm))


class SliceSampler:
    """A coarse field on the pixels of any slice, within the rows and columns where it matters.

    Parameters
    ----------
    field
        (nz, ny, nx) on the frame's nodes.
    matters
        bool, same shape: the nodes whose neighbourhood must be drawn; None for the whole slice.
    """

    def __init__(
        self, frame: Frame, field: Array, matrix: int, matters: NDArray[np.bool_] | None
    ) -> None:
        self._field = field
        self._step_mm = frame.spacing_mm[0]
        weights = _linear_weights(matrix, field.shape[1])
        self.rows = self.columns = slice(0, matrix)
        if matters is not None:
            self.rows = _reach(np.asarray(matters.any(axis=(0, 2))), matrix)
            self.columns = _reach(np.asarray(matters.any(axis=(0, 1))), matrix)
        self._down, self._across = weights[self.rows], np.ascontiguousarray(weights[self.columns].T)

    def at(self, z_mm: float) -> Array:
        """Return float32 (rows, columns) of the slice at that height."""
        index = min(max(z_mm / self._step_mm, 0.0), len(self._field) - 1.0)
        low = min(int(index), len(self._field) - 2)
        share = np.float32(index - low)
        plane = self._field[low] * (1 - share) + self._field[low + 1] * share
        return np.asarray(self._down @ plane @ self._across)


def _linear_weights(matrix: int, nodes: int) -> Array:
    """(matrix, nodes): row i holds the weights of the nodes at pixel i; both ends coincide."""
    index = np.linspace(0, nodes - 1, matrix)
    weights = np.maximum(0, 1 - np.abs(index[:, None] - np.arange(nodes)))
    return np.asarray(weights, np.float32)


def _reach(used: NDArray[np.bool_], matrix: int) -> slice:
    """Pixels from one node before the first to one node after the last used node."""
    nodes = np.flatnonzero(used)
    if len(nodes) == 0:
        return slice(0, 0)
    scale = (matrix - 1) / (len(used) - 1)
    low = int(max(nodes[0] - 1, 0) * scale)
    high = int(np.ceil(min(nodes[-1] + 1, len(used) - 1) * scale)) + 1
    return slice(low, high)
