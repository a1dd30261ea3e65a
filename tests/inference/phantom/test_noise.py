"""The noise of a reconstruction kernel."""

import numpy as np
import pytest

from inference.phantom.noise import NoiseMaker


def slices_of_noise(slice_mm: float = 1.25, noise_hu: float = 25.0, count: int = 12) -> np.ndarray:
    maker = NoiseMaker(128, 0.7, slice_mm, noise_hu, np.random.default_rng(7))
    return np.stack([maker.next_slice() for _ in range(count)])


def test_the_middle_of_the_field_has_the_wanted_deviation() -> None:
    assert slices_of_noise()[:, 48:80, 48:80].std() == pytest.approx(25, rel=0.1)


def test_thicker_slices_have_less_noise() -> None:
    assert slices_of_noise(5.0).std() == pytest.approx(slices_of_noise(1.25).std() / 2, rel=0.1)


def test_noise_is_correlated_as_in_real_scans() -> None:
    noise = slices_of_noise()

    beside = np.corrcoef(noise[:, :, 1:].ravel(), noise[:, :, :-1].ravel())[0, 1]
    above = np.corrcoef(noise[1:].ravel(), noise[:-1].ravel())[0, 1]

    beyond = np.corrcoef(noise[2:].ravel(), noise[:-2].ravel())[0, 1]

    assert 0.65 < beside < 0.8
    assert 0.25 < above < 0.5
    assert abs(beyond) < 0.05


def test_the_spectrum_rises_from_nothing_and_falls_again() -> None:
    power = np.abs(np.fft.fft2(slices_of_noise())) ** 2
    spectrum = power.mean(axis=0)[0, :64]

    assert spectrum[1:3].mean() < 0.4 * spectrum[12:18].mean()
    assert spectrum[-8:].mean() < 0.2 * spectrum[12:18].mean()


def test_no_noise_is_no_noise() -> None:
    assert not slices_of_noise(noise_hu=0.0).any()
