"""CT noise: correlated in plane as a kernel makes it, and a little between neighbouring slices."""

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Array = NDArray[np.float32]

# Different periodic tiles; each slice adds two of them, shifted and turned at random.
TILES = 6
# Spectrum of a standard kernel: rises with frequency (the ramp filter), then falls off. In soft
# tissue of four real scans neighbours 0.64 to 0.87 mm apart had a correlation of 0.67 to 0.80.
PEAK_PER_MM = 0.19
# Helical interpolation shares rays between slices: share of the next slice's noise in each. Real
# neighbours had a correlation of 0.45 to 0.54, some of it anatomy.
NEXT_SLICE_SHARE = 0.35
# Scans are noisier behind the thick parts: share of the noise at the rim of the field of view.
RIM_SHARE = 0.7


class NoiseMaker:
    """Slices of noise, made from a few tiles because a transform for each slice is slow.

    Parameters
    ----------
    noise_hu
        Standard deviation in the middle of the field at 1.25 mm slices; it falls with the square
        root of the thickness.
    """

    def __init__(
        self,
        matrix: int,
        pixel_mm: float,
        slice_mm: float,
        noise_hu: float,
        random: np.random.Generator,
    ) -> None:
        self._random = random
        frequency = np.hypot(
            fft.fftfreq(matrix, pixel_mm)[:, None], fft.rfftfreq(matrix, pixel_mm)[None, :]
        ).astype(np.float32)
        shape = np.sqrt(frequency) * np.exp(-((frequency / (1.6 * PEAK_PER_MM)) ** 2))
        sigma = noise_hu * np.sqrt(1.25 / slice_mm)
        self._tiles = [self._tile(shape, matrix, float(sigma)) for _ in range(TILES)]
        axis = np.linspace(-1, 1, matrix, dtype=np.float32)
        radius2 = np.minimum(axis[:, None] ** 2 + axis[None, :] ** 2, 1)
        self._strength = (1 - (1 - RIM_SHARE) * radius2) / np.float32(np.hypot(1, NEXT_SLICE_SHARE))
        self._ahead = self._independent()

    def _tile(self, shape: Array, matrix: int, sigma: float) -> Array:
        white = self._random.standard_normal((matrix, matrix), dtype=np.float32)
        tile = fft.irfft2(fft.rfft2(white) * shape, s=(matrix, matrix))
        return np.asarray(tile * (sigma / (float(tile.std()) or 1.0) / np.sqrt(2)), np.float32)

    def next_slice(self) -> Array:
        """Return float32 (matrix, matrix) HU."""
        this, self._ahead = self._ahead, self._independent()
        noise = this + np.float32(NEXT_SLICE_SHARE) * self._ahead
        noise *= self._strength
        return noise

    def _independent(self) -> Array:
        first, second = self._random.choice(TILES, 2, replace=False)
        return self._moved(self._tiles[first]) + self._moved(self._tiles[second])

    def _moved(self, tile: Array) -> Array:
        rows, columns = self._random.integers(len(tile), size=2)
        turn = int(self._random.integers(4))
        if turn & 1:
            tile = tile[::-1]
        if turn & 2:
            tile = tile.T
        return np.roll(tile, (int(rows), int(columns)), axis=(0, 1))
