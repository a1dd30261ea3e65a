"""Vessels: how they branch, and how they are drawn."""

import numpy as np
import pytest

from inference.phantom.anatomy import make_anatomy, make_frame
from inference.phantom.sampling import at_points
from inference.phantom.spec import PhantomSpec
from inference.phantom.trees import Tubes, draw_tubes, grow_vessels, inside_lungs

FRAME = make_frame(PhantomSpec(slice_mm=1.0, slices=100, matrix=512))


@pytest.fixture(scope="module")
def vessels() -> Tubes:
    return grow_vessels(make_anatomy(FRAME, np.random.default_rng(1)), np.random.default_rng(2))


def drawn(tubes: Tubes, times: int = 1) -> np.ndarray:
    out = np.zeros((40, 60, 60), np.uint8)
    for _ in range(times):
        draw_tubes(tubes, FRAME, np.zeros(3), np.array([1.0, 0.7, 0.7]), out)
    return out


def a_tube(radius_mm: float) -> Tubes:
    start, end = np.array([[20.0, 5.0, 21.0]]), np.array([[20.0, 35.0, 21.0]])
    return Tubes(start, end, np.array([radius_mm]))


def test_a_branch_is_never_thicker_than_what_it_leaves(vessels: Tubes) -> None:
    radius_by_end = {
        tuple(end): radius for end, radius in zip(vessels.end, vessels.radius, strict=True)
    }

    children = [
        (radius, radius_by_end[tuple(start)])
        for start, radius in zip(vessels.start, vessels.radius, strict=True)
        if tuple(start) in radius_by_end
    ]

    assert len(children) > 200
    assert all(child <= parent + 1e-9 for child, parent in children)


def test_there_are_thick_and_thin_vessels(vessels: Tubes) -> None:
    assert vessels.radius.max() > 2.0
    assert vessels.radius.min() < 0.6


def test_vessels_that_are_kept_lie_in_the_lungs() -> None:
    anatomy = make_anatomy(FRAME, np.random.default_rng(1))
    vessels = grow_vessels(anatomy, np.random.default_rng(2))

    kept = vessels.only(inside_lungs(anatomy, vessels))

    lungs = np.minimum(anatomy.right, anatomy.left)
    assert (at_points(FRAME, lungs, (kept.start + kept.end) / 2) < 0).all()
    assert len(kept.radius) > 0.7 * len(vessels.radius)


@pytest.mark.parametrize("radius_mm", [0.5, 1.0, 2.0, 4.0])
def test_a_drawn_tube_has_the_section_of_its_radius(radius_mm: float) -> None:
    middle = drawn(a_tube(radius_mm))[:, 22:36].astype(float) / 255

    section_mm2 = middle.sum(axis=(0, 2)).mean() * 1.0 * 0.7

    assert section_mm2 == pytest.approx(np.pi * radius_mm**2, rel=0.3 if radius_mm < 1 else 0.12)


def test_pieces_that_overlap_make_no_beads() -> None:
    assert np.array_equal(drawn(a_tube(1.5)), drawn(a_tube(1.5), times=3))
