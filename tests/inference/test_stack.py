"""Stacks of planes that are a few bytes in a file each."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.dicom.instance import Instance
from inference.stack import build_stack, read_volume
from tests.inference.gate.hand import a_slice

SIDE = 8


def a_file(
    folder: Path, z_mm: float, stored: NDArray[np.int16], uid: str = "", **changes: Any
) -> Instance:
    """Return a slice of 8 x 8 signed pixels; HU are the stored values unless changes say else."""
    changes = {"plane_rescale_intercept": 0.0, "bits_stored": 16, "is_signed": True, **changes}
    made = a_slice(z_mm, uid=uid, rows=SIDE, columns=SIDE, **changes)
    path = folder / f"{made.sop_instance_uid}-{z_mm}"
    path.write_bytes(stored.astype("<i2").tobytes())
    return replace(made, path=path, pixel_offset=0, pixel_length=SIDE * SIDE * 2)


def an_image(value: int) -> NDArray[np.int16]:
    return np.full((SIDE, SIDE), value, np.int16)


def planes(instances: list[Instance]) -> list[tuple]:  # type: ignore[type-arg]
    return [(instance, frame) for instance in instances for frame in instance.frames]


def test_slices_lie_in_the_volume_where_their_positions_say(tmp_path: Path) -> None:
    files = [a_file(tmp_path, z, an_image(int(z))) for z in (30, 0, 20, 10)]
    volume = read_volume(build_stack(planes(files))).volume
    assert volume.hu[:, 0, 0].tolist() == [0, 10, 20, 30]
    assert volume.grid.origins_lps_mm[:, 2].tolist() == [0, 10, 20, 30]


def test_a_feet_first_stack_ascends_along_its_own_normal(tmp_path: Path) -> None:
    orientation = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    files = [a_file(tmp_path, z, an_image(z), plane_orientation=orientation) for z in (0, 10, 20)]
    stack = build_stack(planes(files))
    volume = read_volume(stack).volume
    assert volume.hu[:, 0, 0].tolist() == [20, 10, 0]
    assert volume.grid.to_lps((0, 0, 0)).tolist() == [-180.0, -180.0, 20.0]
    assert volume.grid.to_lps((0, 0, 1))[0] < -180.0


def test_non_square_pixels_keep_their_two_spacings(tmp_path: Path) -> None:
    files = [a_file(tmp_path, z, an_image(0), plane_pixel_spacing_mm=(0.5, 2.0)) for z in (0, 1)]
    grid = build_stack(planes(files)).grid
    assert grid.to_lps((0, 1, 0)).tolist() == [-180.0, -179.5, 0.0]
    assert grid.to_lps((0, 0, 1)).tolist() == [-178.0, -180.0, 0.0]


def test_an_oblique_stack_lies_where_its_axes_say(tmp_path: Path) -> None:
    c, s = float(np.cos(0.3)), float(np.sin(0.3))
    files = [
        a_file(
            tmp_path,
            d,
            an_image(d),
            plane_orientation=(c, s, 0.0, -s, c, 0.0),
            plane_position_lps_mm=(5.0, 6.0, float(d)),
        )
        for d in (0, 1, 2)
    ]
    grid = build_stack(planes(files)).grid
    expected = (5 + 0.7 * 4 * c - 0.7 * 3 * s, 6 + 0.7 * 4 * s + 0.7 * 3 * c, 2)
    np.testing.assert_allclose(grid.to_lps((2, 3, 4)), expected)


def test_everything_below_minus_1024_is_air_and_counts_as_padding(tmp_path: Path) -> None:
    image = an_image(40)
    image[0] = -2048
    files = [a_file(tmp_path, z, image) for z in (0, 1)]
    pixels = read_volume(build_stack(planes(files)))
    assert pixels.volume.hu[0, 0].tolist() == [-1024] * SIDE
    assert pixels.padding_share == 1 / SIDE


def test_a_padding_value_that_rescales_into_bone_is_padding(tmp_path: Path) -> None:
    image = an_image(40)
    image[0] = -2000
    file = a_file(tmp_path, 0, image, pixel_padding_value=-2000, plane_rescale_intercept=4000.0)
    hu = read_volume(build_stack(planes([file]))).volume.hu
    assert hu[0, 0, 0] == -1024
    assert hu[0, 1, 0] == 4040


def test_a_padding_value_that_tissue_has_too_is_padding_only_at_the_border(tmp_path: Path) -> None:
    image = an_image(40)
    image[0] = 0
    image[1, 0] = 0
    image[4, 4] = 0
    hu = read_volume(
        build_stack(planes([a_file(tmp_path, 0, image, pixel_padding_value=0)]))
    ).volume.hu[0]
    assert hu[0].tolist() == [-1024] * SIDE
    assert hu[1, 0] == -1024
    assert hu[4, 4] == 0


def test_doubles_are_compared_and_each_position_is_used_once(tmp_path: Path) -> None:
    files = [
        a_file(tmp_path, 0, an_image(1)),
        a_file(tmp_path, 10, an_image(2), uid="1.2.3"),
        a_file(tmp_path, 10, an_image(2), uid="1.2.4"),
        a_file(tmp_path, 20, an_image(3), uid="1.2.5"),
        a_file(tmp_path, 20, an_image(4), uid="1.2.6"),
    ]
    pixels = read_volume(build_stack(planes(files)))
    assert pixels.volume.hu[:, 0, 0].tolist() == [1, 2, 3]
    assert [(d.index, d.is_equal) for d in pixels.doubles] == [(1, True), (2, False)]


def test_more_doubles_than_slices_are_compared_in_parts(tmp_path: Path) -> None:
    files = [a_file(tmp_path, 0, an_image(1), uid=f"1.2.{k}") for k in range(7)]
    pixels = read_volume(build_stack(planes(files)))
    assert [d.is_equal for d in pixels.doubles] == [True] * 6


def test_equal_pixels_at_another_place_in_the_plane_are_not_the_same_slice(tmp_path: Path) -> None:
    here = a_file(tmp_path, 0, an_image(1), uid="1.2.3")
    there = a_file(
        tmp_path, 0, an_image(1), uid="1.2.4", plane_position_lps_mm=(-150.0, -180.0, 0.0)
    )
    (double,) = read_volume(build_stack(planes([here, there]))).doubles
    assert not double.is_equal
