"""Patches: cut, mirrored and disturbed without losing what is known."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from models.package import Preprocessing
from training.backgrounds import Background, load, save
from training.patches import Inserted, PatchRecipe, make_patch
from training.targets import Mark

SHAPE = (64, 80, 96)
PREPROCESSING = Preprocessing(
    spacing_mm=1.25, hu_window=(-1000, 400), region="lungs", margin_mm=12, orientation="LPS",
    size_multiple=32,
)  # fmt: skip
CENTRE, RADIUS_MM = (40.0, 30.0, 50.0), 8.0
QUIET = PatchRecipe((32, 48, 64), lesion_share=1.0, noise_hu=0.0, preprocessing=PREPROCESSING)


def a_background(marks: tuple[Mark, ...] = (Mark(CENTRE, 2 * RADIUS_MM),)) -> Background:
    """A dense ball in a lung that fills the middle of the box."""
    grid = np.indices(SHAPE).transpose(1, 2, 3, 0)
    ball = np.linalg.norm(grid - CENTRE, axis=-1) * 1.25 <= RADIUS_MM
    hu = np.where(ball, 40, -850).astype(np.int16)
    lungs = np.zeros(SHAPE, bool)
    lungs[8:-8, 8:-8, 8:-8] = True
    return Background("made", hu, lungs, ball, marks, 2.5, 1.25, (-10.0, 20.0, 30.0))


def nothing(
    hu: NDArray[np.float32],
    lungs: NDArray[np.bool_],
    taken: Sequence[Mark],
    slice_mm: float,
    rng: np.random.Generator,
) -> Inserted:
    return Inserted(hu, np.zeros(hu.shape, bool), ())


@pytest.mark.parametrize("seed", range(12))
def test_mask_and_centre_stay_on_the_nodule_however_a_patch_is_cut_and_mirrored(seed: int) -> None:
    patch = make_patch([a_background()], [1.0], QUIET, nothing, np.random.default_rng(seed))
    bright = patch.volume[0] > -0.15  # half way between ball and lung
    cells = np.argwhere(patch.targets.heat[0] == 1)
    if len(cells) == 1:
        found = 2 * cells[0] + 0.5 + patch.targets.offset[(slice(None), *cells[0])]
        places = np.argwhere(bright)
        # A ball that is cut by the patch's side has its middle elsewhere.
        if places.min() > 0 and (places.max(axis=0) < np.array(bright.shape) - 1).all():
            np.testing.assert_allclose(places.mean(axis=0), found, atol=0.8)
    mask = patch.targets.mask.sum()
    assert mask == pytest.approx(bright.sum(), rel=0.25, abs=30)


def test_a_patch_depends_on_its_seed_alone() -> None:
    noisy = PatchRecipe((32, 48, 64), 0.3, 60.0, PREPROCESSING)
    first, again, other = (
        make_patch([a_background()], [1.0], noisy, nothing, np.random.default_rng(seed)).volume
        for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_patch_never_writes_into_its_background() -> None:
    background = a_background()
    before = background.hu.copy()
    noisy = PatchRecipe((32, 48, 64), 0.3, 60.0, PREPROCESSING)
    make_patch([background], [1.0], noisy, nothing, np.random.default_rng(1))
    np.testing.assert_array_equal(background.hu, before)


def test_what_lies_beyond_the_box_is_air() -> None:
    large = PatchRecipe((128, 128, 128), 0.0, 0.0, PREPROCESSING)
    patch = make_patch([a_background()], [1.0], large, nothing, np.random.default_rng(2))
    assert patch.volume.min() == -1.0


def test_inserted_nodules_become_targets() -> None:
    def one(
        hu: NDArray[np.float32],
        lungs: NDArray[np.bool_],
        taken: Sequence[Mark],
        slice_mm: float,
        rng: np.random.Generator,
    ) -> Inserted:
        assert slice_mm == 2.5
        mask = np.zeros(hu.shape, bool)
        mask[10:14, 10:14, 10:14] = True
        return Inserted(hu, mask, (Mark((11.5, 11.5, 11.5), 6.0),))

    plain = a_background(())
    patch = make_patch([plain], [1.0], QUIET, one, np.random.default_rng(3))
    assert patch.targets.mask.sum() >= 64
    assert (patch.targets.heat == 1).sum() == 1


def test_a_background_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("cache") / "made.npz"
    written = a_background((Mark(CENTRE, 16.0), Mark((1.0, 2.0, 3.0), 5.0, is_ignored=True)))
    save(written, path)
    read = load(path)
    np.testing.assert_array_equal(read.hu, written.hu)
    np.testing.assert_array_equal(read.lungs, written.lungs)
    np.testing.assert_array_equal(read.nodule_mask, written.nodule_mask)
    assert (read.name, read.marks, read.slice_mm, read.origin_lps_mm) == (
        written.name, written.marks, written.slice_mm, written.origin_lps_mm,
    )  # fmt: skip
