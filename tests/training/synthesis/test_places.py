"""Where nodules may lie."""

import numpy as np
from scipy import ndimage

from training.synthesis.bank import Nodule, seen
from training.synthesis.places import find_place
from training.synthesis.shapes import sphere

SHAPE = (64, 64, 64)


def a_round_lung() -> tuple[np.ndarray, np.ndarray]:
    z, y, x = np.indices(SHAPE) - 31.5
    lungs = z**2 + y**2 + x**2 < 28**2
    return np.where(lungs, -850, 40).astype(np.float32), lungs


def a_nodule(diameter_mm: float = 5.0) -> Nodule:
    return seen(sphere(diameter_mm), 1.25, 1.25, np.random.default_rng(0))


def places(hu: np.ndarray, lungs: np.ndarray, *, at_edge: bool) -> list[tuple[int, int, int]]:
    found = (
        find_place(
            hu, lungs, a_nodule(), (), 1.25, at_edge=at_edge, rng=np.random.default_rng(seed)
        )
        for seed in range(40)
    )
    return [place for place in found if place is not None]


def test_inner_places_are_far_from_the_edge_and_edge_places_near() -> None:
    hu, lungs = a_round_lung()
    depth_mm = ndimage.distance_transform_edt(lungs) * 1.25

    inner = [depth_mm[place] for place in places(hu, lungs, at_edge=False)]
    edge = [depth_mm[place] for place in places(hu, lungs, at_edge=True)]

    assert len(inner) == len(edge) == 40
    assert min(inner) > 5.0
    assert max(edge) < 7.0
    assert min(edge) < 3.0


def test_there_is_no_place_without_lung() -> None:
    hu, lungs = a_round_lung()

    assert places(hu, np.zeros_like(lungs), at_edge=False) == []


def test_dense_lung_and_clean_air_are_no_places() -> None:
    _, lungs = a_round_lung()

    assert places(np.full(SHAPE, -300, np.float32), lungs, at_edge=False) == []
    assert places(np.full(SHAPE, -1000, np.float32), lungs, at_edge=False) == []
