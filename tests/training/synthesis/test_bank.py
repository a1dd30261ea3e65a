"""Nodules ready to be blended."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.shared import SHARED, needs_shared
from training.synthesis.bank import (
    Bank,
    load_bank,
    make_bank,
    nearest_class_mm,
    read_bank,
    seen,
    write_bank,
)
from training.synthesis.shapes import sphere


@pytest.fixture(scope="module")
def bank() -> Bank:
    return make_bank(
        [sphere(d) for d in (4, 6, 9, 14, 22, 33)], 1.25, 2.5, 120, np.random.default_rng(1)
    )


@settings(max_examples=15)
@given(
    diameter_mm=st.floats(5, 16),
    slice_mm=st.sampled_from([1.0, 1.25, 2.5, 5.0]),
    seed=st.integers(0, 1000),
)
def test_blur_and_sampling_keep_volume_and_centre(
    diameter_mm: float, slice_mm: float, seed: int
) -> None:
    nodule = seen(sphere(diameter_mm), 1.25, slice_mm, np.random.default_rng(seed))

    share = nodule.alpha.astype(float) / 255
    assert share.sum() * 1.25**3 == pytest.approx(np.pi / 6 * diameter_mm**3, rel=0.06)
    for axis in range(3):
        profile = share.sum(axis=tuple(a for a in range(3) if a != axis))
        centre = profile @ np.arange(len(profile)) / profile.sum()
        assert centre == pytest.approx(nodule.centre_zyx[axis], abs=0.06)


def test_the_mask_is_that_of_the_unblurred_body() -> None:
    nodule = seen(sphere(12.0), 1.25, 5.0, np.random.default_rng(3))

    places = (np.argwhere(nodule.mask) - nodule.centre_zyx) * 1.25
    outside = (np.argwhere(~nodule.mask) - nodule.centre_zyx) * 1.25

    assert np.linalg.norm(places, axis=1).max() < 6.15
    assert np.linalg.norm(outside, axis=1).min() > 5.85


def test_thick_slices_soften_edges_along_z_only() -> None:
    def widths_mm(slice_mm: float) -> list[float]:
        """How far each profile through the centre takes from 90 to 10 percent."""
        nodule = seen(sphere(24.0), 1.25, slice_mm, np.random.default_rng(3))
        z, y, _ = (round(c) for c in nodule.centre_zyx)
        x = round(nodule.centre_zyx[2])
        profiles = (nodule.alpha[: z + 1, y, x], nodule.alpha[z, : y + 1, x])
        fine = [
            np.interp(np.arange(0, len(p) - 1, 0.05), np.arange(len(p)), p) / 255 for p in profiles
        ]
        return [float(((p > 0.1) & (p < 0.9)).sum()) * 0.05 * 1.25 for p in fine]

    thin, thick = widths_mm(1.0), widths_mm(5.0)

    assert thick[0] > thin[0] + 2.0
    assert thick[1] == pytest.approx(thin[1], abs=0.4)


def test_a_core_lies_inside_and_off_the_middle() -> None:
    offsets = []
    for seed in range(6):
        nodule = seen(sphere(20.0), 1.25, 1.0, np.random.default_rng(seed), has_core=True)
        assert nodule.core is not None
        core, whole = nodule.core.astype(float), nodule.alpha.astype(float)
        assert (core <= whole + 1).all()
        assert 0.05 < core.sum() / whole.sum() < 0.7
        middle = np.argwhere(nodule.core > 128).mean(axis=0)
        offsets.append(float(np.linalg.norm(middle - nodule.centre_zyx)))

    assert np.mean(offsets) > 1.5


def test_a_bank_is_sorted_and_holds_all_sizes(bank: Bank) -> None:
    diameters = [nodule.diameter_mm for nodule in bank.nodules]

    assert diameters == sorted(diameters)
    assert diameters[0] < 4
    assert diameters[-1] > 33
    assert 0.05 < np.mean(np.array(diameters) >= 25) < 0.3


def test_the_same_seed_gives_the_same_bank(bank: Bank) -> None:
    shapes = [sphere(d) for d in (4, 6, 9, 14, 22, 33)]

    again = make_bank(shapes, 1.25, 2.5, 120, np.random.default_rng(1))

    assert all(
        np.array_equal(a.alpha, b.alpha) for a, b in zip(bank.nodules, again.nodules, strict=True)
    )


def test_a_bank_comes_back_from_its_file(bank: Bank, tmp_path: Path) -> None:
    write_bank(bank, tmp_path / "bank.npz")

    back = read_bank(tmp_path / "bank.npz")

    assert (back.slice_mm, back.spacing_mm) == (2.5, 1.25)
    for one, other in zip(bank.nodules, back.nodules, strict=True):
        assert np.array_equal(one.alpha, other.alpha)
        assert np.array_equal(one.mask, other.mask)
        assert (one.core is None) == (other.core is None)
        assert one.core is None or np.array_equal(one.core, other.core)  # type: ignore[arg-type]
        assert (one.centre_zyx, one.diameter_mm, one.source) == (
            other.centre_zyx,
            other.diameter_mm,
            other.source,
        )


def test_a_draw_gives_what_was_asked_for(bank: Bank) -> None:
    rng = np.random.default_rng(2)

    drawn = [bank.draw(rng, diameters_mm=(5, 8)) for _ in range(20)]
    with_core = [bank.draw(rng, has_core=True) for _ in range(20)]

    assert all(5 <= nodule.diameter_mm < 8 for nodule in drawn)
    assert all(nodule.core is not None for nodule in with_core)


def test_a_size_that_the_bank_has_not_is_named(bank: Bank) -> None:
    with pytest.raises(ValueError, match="no nodule of"):
        bank.draw(np.random.default_rng(0), diameters_mm=(90, 100))


def test_a_scan_falls_into_the_nearest_thickness_class() -> None:
    assert [nearest_class_mm(mm) for mm in (0.6, 1.2, 1.5, 2.4, 3.1, 8.0)] == [
        1,
        1.25,
        1.25,
        2.5,
        3,
        5,
    ]


@needs_shared
@pytest.mark.slow
def test_a_cached_bank_is_the_bank_and_no_shape_is_scaled_far(tmp_path: Path) -> None:
    path = SHARED / "data" / "annotations" / "lidc_shapes.npz"

    made = load_bank(path, 1.25, 1.2, count=150, cache=tmp_path)
    read = load_bank(path, 1.25, 1.2, count=150, cache=tmp_path)

    assert [n.diameter_mm for n in made.nodules] == [n.diameter_mm for n in read.nodules]
    assert len(list(tmp_path.iterdir())) == 1
    assert "LIDC-IDRI-0001" not in {n.source for n in made.nodules}
    assert np.mean([n.source == "sphere" for n in made.nodules]) < 0.25
