"""Blending nodules into a lung, and the truth of it."""

import numpy as np
import pytest
from scipy import ndimage

from training.synthesis.bank import Bank, Nodule, make_bank, seen
from training.synthesis.insertion import Look, Mix, Truth, insert_nodule, insert_nodules
from training.synthesis.shapes import sphere
from training.targets import Mark

SHAPE = (48, 64, 64)
PLACE = (24, 32, 32)


@pytest.fixture(scope="module")
def bank() -> Bank:
    return make_bank([sphere(d) for d in (4, 6, 9, 14)], 1.25, 1.25, 100, np.random.default_rng(1))


def a_lung(noise_hu: float = 30.0) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal(SHAPE), 0.5)
    return np.asarray(-850 + noise * (noise_hu / noise.std()), np.float32)


def a_nodule(diameter_mm: float = 12.0, *, has_core: bool = False) -> Nodule:
    return seen(sphere(diameter_mm), 1.25, 1.25, np.random.default_rng(4), has_core=has_core)


def put(
    hu: np.ndarray, look: Look, nodule: Nodule, lungs: np.ndarray | None = None
) -> tuple[np.ndarray, Truth]:
    out = hu.copy()
    lungs = np.ones(SHAPE, bool) if lungs is None else lungs
    rng = np.random.default_rng(7)
    truth = insert_nodule(hu, lungs, PLACE, nodule, look, spacing_mm=1.25, rng=rng, out=out)
    return out, truth


def inner(hu: np.ndarray, truth: Truth, *, within_mm: float) -> np.ndarray:
    z, y, x = np.indices(SHAPE)
    cz, cy, cx = truth.centre_zyx
    distance_mm = 1.25 * np.sqrt((z - cz) ** 2 + (y - cy) ** 2 + (x - cx) ** 2)
    return np.asarray(hu[distance_mm <= within_mm])


@pytest.mark.parametrize(
    ("look", "low", "high"),
    [
        (Look.SOLID, -80, 110),
        (Look.CALCIFIED, 80, 520),
        (Look.GROUND_GLASS, -720, -380),
    ],
)
def test_each_density_class_has_its_hu(look: Look, low: float, high: float) -> None:
    hu, truth = put(a_lung(), look, a_nodule())

    assert low < np.median(inner(hu, truth, within_mm=4.0)) < high


def test_a_part_solid_nodule_has_both() -> None:
    nodule = a_nodule(16.0, has_core=True)
    hu, truth = put(a_lung(), Look.PART_SOLID, nodule)

    inside = inner(hu, truth, within_mm=7.0)

    assert (inside > -150).sum() > 20
    assert ((inside > -720) & (inside < -350)).sum() > 100


def test_the_truth_is_that_of_the_body() -> None:
    nodule = a_nodule()
    _, truth = put(a_lung(), Look.SOLID, nodule)

    assert truth.diameter_mm == nodule.diameter_mm
    assert truth.mask.sum() * 1.25**3 == pytest.approx(np.pi / 6 * 12**3, rel=0.06)
    middle = np.argwhere(truth.mask).mean(axis=0) + truth.start_zyx
    assert np.linalg.norm(middle - truth.centre_zyx) < 0.2


def test_the_brightness_is_centred_on_the_truth() -> None:
    before = a_lung(noise_hu=5.0)
    hu, truth = put(before, Look.SOLID, a_nodule())

    gain = hu - before
    for axis in range(3):
        profile = gain.sum(axis=tuple(a for a in range(3) if a != axis))
        middle = profile @ np.arange(SHAPE[axis]) / profile.sum()
        assert middle == pytest.approx(truth.centre_zyx[axis], abs=0.1)


def test_nothing_changes_away_from_the_nodule() -> None:
    before = a_lung()
    hu, truth = put(before, Look.SOLID, a_nodule())

    changed = np.argwhere(hu != before)

    assert np.linalg.norm((changed - truth.centre_zyx) * 1.25, axis=1).max() < 6 + 4


@pytest.mark.parametrize("noise_hu", [10.0, 30.0])
def test_inside_is_as_noisy_as_outside(noise_hu: float) -> None:
    before = a_lung(noise_hu)
    hu, truth = put(before, Look.SOLID, a_nodule(20.0))

    def grain(values: np.ndarray) -> float:
        fine = values - ndimage.gaussian_filter(values, 1.2)
        return float(inner(fine, truth, within_mm=4.5).std())

    assert grain(hu) == pytest.approx(grain(before), rel=0.25)


@pytest.mark.parametrize("look", [Look.SOLID, Look.PART_SOLID, Look.GROUND_GLASS])
def test_vessels_and_ribs_never_get_darker(look: Look) -> None:
    before = a_lung()
    before[:, 30:34, :] = 250.0

    hu, _ = put(before, look, a_nodule(has_core=True))

    assert (hu[:, 30:34, :] >= 250.0).all()


def test_zero_contrast_leaves_the_lung_as_it_was() -> None:
    before = a_lung()

    hu, _ = put(before, Look.NOTHING, a_nodule(16.0))

    assert np.abs(hu - before).max() < 60
    assert abs(float((hu - before).mean())) < 1


def test_what_the_wall_hides_is_no_part_of_the_truth() -> None:
    lungs = np.ones(SHAPE, bool)
    lungs[:, 33:] = False
    before = a_lung()
    before[:, 33:] = 40.0

    nodule = a_nodule()
    _, truth = put(before, Look.SOLID, nodule, lungs)

    voxels = np.argwhere(truth.mask) + truth.start_zyx
    assert voxels[:, 1].max() == 32
    assert truth.diameter_mm < 0.9 * nodule.diameter_mm
    assert truth.centre_zyx[1] < PLACE[1] - 0.8


def test_a_nodule_at_the_side_of_the_patch_is_cut_there() -> None:
    hu = a_lung()
    truth = insert_nodule(
        hu, np.ones(SHAPE, bool), (1, 32, 32), a_nodule(), Look.SOLID,
        spacing_mm=1.25, rng=np.random.default_rng(0), out=hu,
    )  # fmt: skip

    assert truth.start_zyx[0] == 0
    assert truth.mask.any()


def test_a_patch_gets_marks_and_masks_of_what_shows_and_the_input_stays(bank: Bank) -> None:
    before, lungs = a_lung(), np.ones(SHAPE, bool)
    kept = before.copy()
    mix = Mix(counts=(0, 0, 0, 1.0), looks=((Look.SOLID, 1.0),), edge_share=0.0)

    inserted = insert_nodules(before, lungs, (), np.random.default_rng(1), bank=bank, mix=mix)

    assert np.array_equal(before, kept)
    assert len(inserted.marks) == 3
    for mark in inserted.marks:
        assert inserted.mask[tuple(round(c) for c in mark.centre_zyx)]
        assert inserted.hu[tuple(round(c) for c in mark.centre_zyx)] > -300
    assert ndimage.label(inserted.mask)[1] == 3


def test_zero_contrast_insertions_are_no_nodules(bank: Bank) -> None:
    mix = Mix(counts=(0, 1.0), looks=((Look.NOTHING, 1.0),), edge_share=0.0)

    inserted = insert_nodules(
        a_lung(), np.ones(SHAPE, bool), (), np.random.default_rng(1), bank=bank, mix=mix
    )

    assert inserted.marks == ()
    assert not inserted.mask.any()


def test_known_lesions_are_kept_clear(bank: Bank) -> None:
    known = Mark((24.0, 32.0, 32.0), 20.0)
    mix = Mix(counts=(0, 0, 0, 0, 1.0), edge_share=0.0)
    for seed in range(10):
        inserted = insert_nodules(
            a_lung(),
            np.ones(SHAPE, bool),
            (known,),
            np.random.default_rng(seed),
            bank=bank,
            mix=mix,
        )
        for mark in inserted.marks:
            gap = np.linalg.norm(np.subtract(mark.centre_zyx, known.centre_zyx)) * 1.25
            # Half a voxel of the centre's shift along each axis may be lost.
            assert gap >= 6 + (20 + mark.diameter_mm) / 2 - 1.25


def test_the_same_generator_gives_the_same_patch(bank: Bank) -> None:
    one, other = (
        insert_nodules(
            a_lung(), np.ones(SHAPE, bool), (), np.random.default_rng(9), bank=bank, mix=Mix()
        )
        for _ in range(2)
    )

    assert np.array_equal(one.hu, other.hu)
    assert one.marks == other.marks


def test_insertions_of_one_patch_keep_their_distance(bank: Bank) -> None:
    mix = Mix(counts=(0, 0, 0, 0, 0, 0, 1.0), looks=((Look.SOLID, 1.0),), edge_share=0.0)
    for seed in range(8):
        marks = insert_nodules(
            a_lung(), np.ones(SHAPE, bool), (), np.random.default_rng(seed), bank=bank, mix=mix
        ).marks
        for i, one in enumerate(marks):
            for other in marks[i + 1 :]:
                gap = np.linalg.norm(np.subtract(one.centre_zyx, other.centre_zyx)) * 1.25
                assert gap >= 6 + (one.diameter_mm + other.diameter_mm) / 2 - 1.25
