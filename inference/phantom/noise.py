"""CT noise: correlated in plane as a kernel makes it, independent from slice to slice."""

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Array = NDArray[np.float32]

# Different periodic tiles; each slice adds two of them, shifted and turned at random.
TILES = 6
# Spectrum of a standard kernel: rises with frequency (the ramp filter), then falls off.
PEAK_PER_MM = 0.32
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
        self._strength = 1 - (1 - RIM_SHARE) * radius2

    def _tile(self, shape: Array, matrix: int, sigma: float) -> Array:
        white = self._random.standard_normal((matrix, matrix), dtype=np.float32)
        tile = fft.irfft2(fft.rfft2(white) * shape, s=(matrix, matrix))
        return np.asarray(tile * (sigma / (float(tile.std()) or 1.0) / np.sqrt(2)), np.float32)

    def next_slice(self) -> Array:
        """Return float32 (matrix, matrix) HU."""
        first, second = self._random.choice(TILES, 2, replace=False)
        noise = self._moved(self._tiles[first]) + self._moved(self._tiles[second])
        noise *= self._strength
        return noise

    def _moved(self, tile: Array) -> Array:
        rows, columns = self._random.integers(len(tile), size=2)
        turn = int(self._random.integers(4))
        if turn & 1:
            tile = tile[::-1]
        if turn & 2:
            tile = tile.T
        return np.roll(tile, (int(rows), int(columns)), axis=(0, 1))
