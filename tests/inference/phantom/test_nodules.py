"""How spheres are placed and seen."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.lungs import Laterality
from inference.phantom.nodules import Painted, Sphere, blurred_sphere, clear_of
from inference.phantom.spec import NoduleSpec
from inference.phantom.trees import Tubes
from tests.builders import a_phantom


@settings(max_examples=20)
@given(
    centre=st.tuples(*[st.floats(20, 21)] * 3),
    slices_a_radius=st.floats(1, 6),
    pixel_mm=st.floats(0.4, 1.5),
    radius_mm=st.floats(2, 6),
)
def test_blur_keeps_the_volume_and_the_centre_of_a_sphere(
    centre: tuple[float, float, float], slices_a_radius: float, pixel_mm: float, radius_mm: float
) -> None:
    spacing = np.array([radius_mm / slices_a_radius, pixel_mm, pixel_mm])

    start, share = blurred_sphere(np.array(centre), spacing, radius_mm)

    volume = share.sum(dtype=float) * spacing.prod()
    assert abs(volume / (4 / 3 * np.pi * radius_mm**3) - 1) < 0.02
    for axis in range(3):
        profile = share.sum(axis=tuple(a for a in range(3) if a != axis), dtype=float)
        place = profile @ (start[axis] + np.arange(len(profile))) / profile.sum()
        assert abs(place - centre[axis]) < 0.03


def test_thicker_slices_blur_more_along_z_only() -> None:
    _, thin = blurred_sphere(np.full(3, 30.0), np.array([0.5, 0.7, 0.7]), 4.0)
    _, thick = blurred_sphere(np.full(3, 30.0), np.array([4.0, 0.7, 0.7]), 4.0)

    def soft_share(share: np.ndarray) -> float:
        return float(((share > 0.1) & (share < 0.9)).sum() / (share > 0.1).sum())

    assert soft_share(thick) > 1.3 * soft_share(thin)


def test_ground_glass_never_darkens_a_vessel() -> None:
    plane = np.full((5, 5), -860.0, np.float32)
    plane[2] = 40.0
    glass = Painted((0, 0, 0), ((np.ones((1, 5, 5), np.float32), -600.0),), brightens_only=True)

    glass.paint(0, plane)

    assert (plane[2] == 40.0).all()
    assert (plane[[0, 1, 3, 4]] == -600.0).all()


def test_spheres_keep_their_distance_from_each_other() -> None:
    nodules = a_phantom((6.0, 10.0, 20.0), pixel_mm=0.7).nodules

    for i, one in enumerate(nodules):
        for other in nodules[i + 1 :]:
            gap = np.linalg.norm(np.subtract(one.centre_lps_mm, other.centre_lps_mm))
            assert gap >= (one.diameter_mm + other.diameter_mm) / 2 + 8


def test_vessels_near_a_sphere_are_left_out_and_others_stay() -> None:
    sphere = Sphere(np.zeros(3), NoduleSpec(10.0), Laterality.LEFT)
    start = np.array([[0.0, 8.4, -5.0], [0.0, 8.6, -5.0], [0.0, 30.0, -5.0]])
    tubes = Tubes(start, start + np.array([0.0, 0.0, 10.0]), np.full(3, 1.0))

    kept = clear_of((sphere,), tubes)

    # 5 mm of sphere, 2.5 mm of room and 1 mm of vessel.
    assert kept.start[:, 1].tolist() == [8.6, 30.0]
