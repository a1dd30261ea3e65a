"""Masks: pieces, overlaps, boxes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from inference.mask import SourceMask, cropped, dice, one_piece, overlap


@given(st.integers(0, 2**20))
def test_one_piece_is_one_piece_in_every_slice_and_in_space(seed: int) -> None:
    random = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(random.normal(size=(9, 20, 20)), 1.5)
    mask = one_piece(noise > 0.02, np.array([4.0, 10.0, 10.0]))
    if not mask.any():
        return
    assert ndimage.label(mask)[1] == 1
    slices = np.flatnonzero(mask.any(axis=(1, 2)))
    assert np.array_equal(slices, np.arange(slices[0], slices[-1] + 1))
    assert all(ndimage.label(mask[z])[1] == 1 for z in slices)


def test_the_piece_at_the_centre_is_kept_however_small() -> None:
    mask = np.zeros((3, 9, 9), bool)
    mask[:, :4] = True
    mask[1, 7, 7] = True
    assert np.argwhere(one_piece(mask, np.array([1.0, 7.0, 8.0]))).tolist() == [[1, 7, 7]]


def test_holes_are_filled_in_the_plane() -> None:
    ring = np.ones((1, 5, 5), bool)
    ring[0, 2, 2] = False
    assert one_piece(ring, np.zeros(3)).all()


def test_a_cropped_mask_knows_where_it_was() -> None:
    mask = np.zeros((4, 5, 6), bool)
    mask[1, 2:4, 3] = True
    found = cropped(mask, (10, 20, 30))
    assert found.start_zyx == (11, 22, 33)
    assert found.voxels.shape == (1, 2, 1)


def test_overlap_and_dice_compare_places_not_boxes() -> None:
    one = SourceMask((0, 0, 0), np.ones((2, 2, 2), bool))
    other = SourceMask((1, 1, 1), np.ones((2, 2, 2), bool))
    far = SourceMask((5, 5, 5), np.ones((2, 2, 2), bool))
    assert (overlap(one, other), overlap(one, far)) == (1, 0)
    assert dice(one, other) == 1 / 8
    assert dice(one, one) == 1.0
