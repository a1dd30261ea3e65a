"""The measure itself: it sees a moved, a dropped and a doubled slice, and nothing else."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.peers.places import Misplacement, Stack, measure
from tests.peers.source import SourceSlice, digest

NODULE = np.array([10.0, 12.0, 30.0])
STEP_MM = 2.5


def voxels(slices: int) -> NDArray[np.int16]:
    return np.random.default_rng(7).integers(-1000, 400, (slices, 16, 20)).astype(np.int16)


def source_of(hu: NDArray[np.int16]) -> tuple[SourceSlice, ...]:
    return tuple(
        SourceSlice(
            digest=digest(pixels),
            origin_lps_mm=np.array([0.0, 0.0, k * STEP_MM]),
            row_direction=np.array([1.0, 0.0, 0.0]),
            column_direction=np.array([0.0, 1.0, 0.0]),
            spacing_yx_mm=(0.8, 0.7),
            shape_yx=(16, 20),
        )
        for k, pixels in enumerate(hu)
    )


def stack_of(
    hu: NDArray[np.int16], step_mm: float = STEP_MM, shift_mm: float = 0.0, pixel_mm: float = 0.7
) -> Stack:
    def place(plane: float, row: float, column: float) -> NDArray[np.float64]:
        return np.array([column * pixel_mm, row * 0.8, plane * step_mm + shift_mm])

    return Stack(hu, place)


def test_a_reader_that_keeps_every_place_has_no_error() -> None:
    hu = voxels(24)
    assert measure(source_of(hu), stack_of(hu), NODULE) == Misplacement(0.0, 0.0, 0, 0)


def test_a_moved_volume_is_off_by_the_shift_everywhere() -> None:
    hu = voxels(24)
    found = measure(source_of(hu), stack_of(hu, shift_mm=3.0), NODULE)
    assert (found.worst_mm, found.at_nodule_mm) == pytest.approx((3.0, 3.0))


def test_a_closed_gap_moves_what_lies_behind_it() -> None:
    hu = voxels(24)
    kept = np.r_[0:8, 10:24]
    source = tuple(source_of(hu)[k] for k in kept)
    found = measure(source, stack_of(hu[kept]), NODULE)
    assert (found.worst_mm, found.at_nodule_mm) == pytest.approx((2 * STEP_MM, 2 * STEP_MM))


def test_a_wrong_pixel_spacing_is_seen_at_the_corners_and_less_at_the_nodule() -> None:
    hu = voxels(24)
    found = measure(source_of(hu), stack_of(hu, pixel_mm=0.8), NODULE)
    assert found.worst_mm == pytest.approx(19 * 0.1)
    assert found.at_nodule_mm == pytest.approx(10.0 / 0.7 * 0.1)


def test_a_slice_that_the_reader_leaves_out_is_counted() -> None:
    hu = voxels(24)
    assert measure(source_of(hu), stack_of(hu[:-1]), NODULE).left_out == 1


def test_a_slice_that_the_reader_shows_twice_is_counted_and_its_worse_place_taken() -> None:
    hu = voxels(24)
    found = measure(source_of(hu), stack_of(np.concatenate([hu, hu[12:13]])), NODULE)
    assert found.repeated == 1
    assert found.worst_mm == pytest.approx(12 * STEP_MM)


def test_slices_that_look_alike_are_not_held_against_the_reader() -> None:
    hu = voxels(24)
    hu[20:] = -1000
    assert measure(source_of(hu), stack_of(hu), NODULE).worst_mm == 0.0


def test_padding_that_was_turned_into_air_is_the_same_slice() -> None:
    hu = voxels(24)
    hu[:, 0, :] = -2048
    clipped = np.maximum(hu, -1024).astype(np.float32)
    assert measure(source_of(hu), Stack(clipped, stack_of(hu).place), NODULE).left_out == 0


def test_a_volume_of_other_pixels_is_not_measured() -> None:
    hu = voxels(24)
    with pytest.raises(ValueError, match="no slice"):
        measure(source_of(hu), stack_of(hu + np.int16(1)), NODULE)
