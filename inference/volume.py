"""A CT volume: HU voxels and where they lie in the patient.

Axes are always (z, y, x): z counts slices ascending along their normal, y counts rows, x counts
columns. Indices start at 0 and whole numbers are voxel centres. LPS is DICOM's patient frame in
millimetres: x to the patient's left, y to the back, z to the head (PS3.3 C.7.6.2.1.1).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# Steps and shifts within this are one step: positions are written to 0.01 mm or better.
REGULAR_TOLERANCE_MM = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Where the voxel centres of a stack of parallel slices lie.

    Slices need not be equally far apart, nor stand squarely above each other: each carries its own
    origin, so gaps, irregular steps and gantry tilt are described as they are.

    Attributes
    ----------
    origins_lps_mm
        (n, 3) centre of voxel (0, 0) of each slice, strictly ascending along :attr:`normal`.
    row_direction, column_direction
        (3,) unit vectors along which x, and y, grow (halves of Image Orientation (Patient)).
    spacing_yx_mm
        Distance between rows, and between columns (Pixel Spacing (0028,0030)).
    shape_yx
        Rows and columns.
    """

    origins_lps_mm: Floats
    row_direction: Floats
    column_direction: Floats
    spacing_yx_mm: tuple[float, float]
    shape_yx: tuple[int, int]

    @classmethod
    def regular(
        cls,
        origin_lps_mm: ArrayLike,
        spacing_zyx_mm: tuple[float, float, float],
        shape_zyx: tuple[int, int, int],
        row_direction: ArrayLike = (1.0, 0.0, 0.0),
        column_direction: ArrayLike = (0.0, 1.0, 0.0),
    ) -> Self:
        """Return a grid of equal steps along the normal."""
        row, column = np.asarray(row_direction, float), np.asarray(column_direction, float)
        steps = np.arange(shape_zyx[0])[:, None] * spacing_zyx_mm[0]
        origins = np.asarray(origin_lps_mm, float) + steps * np.cross(row, column)
        return cls(origins, row, column, spacing_zyx_mm[1:], shape_zyx[1:])

    @property
    def normal(self) -> Floats:
        """(3,) unit vector along which z grows: row direction x column direction."""
        return np.cross(self.row_direction, self.column_direction)

    @property
    def positions_mm(self) -> Floats:
        """(n,) distances along the normal, ascending."""
        positions: Floats = self.origins_lps_mm @ self.normal
        return positions

    @property
    def shape_zyx(self) -> tuple[int, int, int]:
        """Slices, rows, columns."""
        return (len(self.origins_lps_mm), *self.shape_yx)

    @property
    def step_mm(self) -> float:
        """The usual distance between slices: the median of the steps; 0 for one slice."""
        return float(np.median(np.diff(self.positions_mm))) if len(self.origins_lps_mm) > 1 else 0.0

    @property
    def pixel_mm2(self) -> float:
        """What one voxel covers of its slice."""
        return self.spacing_yx_mm[0] * self.spacing_yx_mm[1]

    @property
    def depths_mm(self) -> Floats:
        """(n,) thickness that each slice stands for.

        Half the distance to each neighbour's centre; an end slice: that to its one neighbour. Never
        Slice Thickness, which overlaps or leaves gaps.
        """
        steps = np.diff(self.positions_mm)
        if len(steps) == 0:
            return np.ones(1)
        return np.concatenate([steps[:1], (steps[1:] + steps[:-1]) / 2, steps[-1:]])

    @property
    def is_regular(self) -> bool:
        """Whether one affine describes the grid (equal steps, no tilt)."""
        steps = np.diff(self.origins_lps_mm, axis=0)
        return bool(np.all(np.abs(steps - self.step_mm * self.normal) <= REGULAR_TOLERANCE_MM))

    @property
    def affine_lps(self) -> Floats:
        """(4, 4) matrix that maps (z, y, x, 1) to (x, y, z, 1) in LPS millimetres.

        Raises
        ------
        ValueError
            The grid is not regular: no affine is true everywhere.
        """
        if not self.is_regular:
            raise ValueError("the slices are not equally spaced along their normal")
        affine = np.eye(4)
        affine[:3, 0] = self.normal * self.step_mm
        affine[:3, 1] = self.column_direction * self.spacing_yx_mm[0]
        affine[:3, 2] = self.row_direction * self.spacing_yx_mm[1]
        affine[:3, 3] = self.origins_lps_mm[0]
        return affine

    def to_lps(self, index_zyx: ArrayLike) -> Floats:
        """Return the place of (fractional) indices.

        Parameters
        ----------
        index_zyx
            (..., 3). Between slices the origin is interpolated; beyond the ends it goes on with the
            end's own step.

        Returns
        -------
        (..., 3) LPS millimetres.
        """
        index = np.asarray(index_zyx, float)
        z = index[..., 0]
        low = np.clip(np.floor(z).astype(int), 0, max(len(self.origins_lps_mm) - 2, 0))
        high = np.minimum(low + 1, len(self.origins_lps_mm) - 1)
        share = (z - low)[..., None]
        origin = self.origins_lps_mm[low] * (1 - share) + self.origins_lps_mm[high] * share
        along_rows = index[..., 2, None] * self.spacing_yx_mm[1] * self.row_direction
        along_columns = index[..., 1, None] * self.spacing_yx_mm[0] * self.column_direction
        return np.asarray(origin + along_rows + along_columns)

    def to_index(self, lps_mm: ArrayLike) -> Floats:
        """Return the (fractional) indices of places: the inverse of :meth:`to_lps`.

        Parameters
        ----------
        lps_mm
            (..., 3) LPS millimetres.

        Returns
        -------
        (..., 3) indices (z, y, x).
        """
        place = np.asarray(lps_mm, float)
        positions = self.positions_mm
        along = place @ self.normal
        if len(positions) == 1:
            z = np.zeros_like(along)
        else:
            low = np.clip(np.searchsorted(positions, along, "right") - 1, 0, len(positions) - 2)
            z = low + (along - positions[low]) / (positions[low + 1] - positions[low])
        zero_yx = np.zeros_like(z)
        origin = self.to_lps(np.stack([z, zero_yx, zero_yx], axis=-1))
        offset = place - origin
        y = offset @ self.column_direction / self.spacing_yx_mm[0]
        x = offset @ self.row_direction / self.spacing_yx_mm[1]
        return np.stack([z, y, x], axis=-1)


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """HU voxels on their grid.

    Attributes
    ----------
    hu
        int16 (z, y, x), Hounsfield units after rescale, rounded; padding and everything below -1024
        is -1024 (air). Never written to.
    grid
        Where the voxels lie; ``grid.shape_zyx == hu.shape``.
    """

    hu: NDArray[np.int16]
    grid: Grid

    def __post_init__(self) -> None:
        if self.hu.shape != self.grid.shape_zyx:
            raise ValueError(f"voxels {self.hu.shape} do not fit the grid {self.grid.shape_zyx}")
