"""Training patches: pieces of backgrounds with nodules, disturbed as scanners disturb.

A patch depends on the run's seed and its own number only, so a resumed run goes on with the same
patches, however many processes make them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inference.preprocess import AIR_HU, normalise
from models.package import Preprocessing
from training.backgrounds import Background
from training.targets import Mark, Targets, make_targets

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Inserted:
    """A patch after the insertions.

    Attributes
    ----------
    hu
        float32 (z, y, x).
    mask
        bool (z, y, x) of what was inserted.
    marks
        One for each inserted nodule; none for an insertion of zero contrast.
    """

    hu: Floats
    mask: Bools
    marks: tuple[Mark, ...]


class Insert(Protocol):
    """Puts nodules into a patch."""

    def __call__(
        self,
        hu: Floats,
        lungs: Bools,
        taken: Sequence[Mark],
        slice_mm: float,
        rng: np.random.Generator,
    ) -> Inserted:
        """Return the patch with nodules: clear of ``taken``, inside ``lungs``.

        Parameters
        ----------
        slice_mm
            Of the scan: nodules must be as blurred along z as its slices make them.
        """
        ...


@dataclass(frozen=True, slots=True)
class PatchRecipe:
    """How patches are cut and disturbed.

    Attributes
    ----------
    shape_zyx
        Voxels.
    lesion_share
        Of patches around a known nodule, where the background has one.
    noise_hu
        Largest standard deviation of added noise.
    preprocessing
        The package's; its HU window maps to -1..1.
    """

    shape_zyx: tuple[int, int, int]
    lesion_share: float
    noise_hu: float
    preprocessing: Preprocessing


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """What the network sees, float32 (1, z, y, x), and should answer."""

    volume: Floats
    targets: Targets


def make_patch(
    backgrounds: Sequence[Background],
    shares: Sequence[float],
    recipe: PatchRecipe,
    insert: Insert,
    rng: np.random.Generator,
) -> Patch:
    """Return one training patch.

    Parameters
    ----------
    backgrounds, shares
        What to cut from, and how often each is taken; shares sum to 1.
    rng
        All chance comes from here.
    """
    background = backgrounds[int(rng.choice(len(backgrounds), p=shares))]
    piece = _flip(_cut(background, _corner(background, recipe, rng), recipe.shape_zyx), rng)
    inserted = insert(piece.hu, piece.lungs, piece.marks, background.slice_mm, rng)
    targets = make_targets(
        piece.mask | inserted.mask, (*piece.marks, *inserted.marks), background.spacing_mm
    )
    volume = normalise(_disturb(inserted.hu, recipe, rng), recipe.preprocessing)
    return Patch(volume[None], targets)


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    hu: Floats
    lungs: Bools
    mask: Bools
    marks: tuple[Mark, ...]


def _corner(
    background: Background, recipe: PatchRecipe, rng: np.random.Generator
) -> tuple[int, ...]:
    """First voxel of a patch around a known nodule, or around any voxel of the lungs."""
    nodules = [mark for mark in background.marks if not mark.is_ignored]
    if nodules and rng.random() < recipe.lesion_share:
        centre = np.array(nodules[int(rng.integers(len(nodules)))].centre_zyx)
        shift = np.array(recipe.shape_zyx) * rng.uniform(-0.4, 0.4, 3)
        return tuple(int(c) for c in np.round(centre + shift - np.array(recipe.shape_zyx) / 2))
    # A random voxel until one lies in the lungs: they fill a third of the box, and no list of
    # millions of voxels needs to be kept.
    while True:
        voxel = tuple(int(rng.integers(side)) for side in background.lungs.shape)
        if background.lungs[voxel]:
            break
    return tuple(
        v - side // 2 + int(rng.integers(-8, 9))
        for v, side in zip(voxel, recipe.shape_zyx, strict=True)
    )


def _cut(background: Background, corner: tuple[int, ...], shape: tuple[int, int, int]) -> _Piece:
    """Cut a piece; beyond the box is air, as in service."""
    source, target = [], []
    for start, side, whole in zip(corner, shape, background.hu.shape, strict=True):
        low, high = max(0, start), min(whole, start + side)
        source.append(slice(low, max(low, high)))
        target.append(slice(low - start, max(low, high) - start))
    hu = np.full(shape, AIR_HU, np.float32)
    lungs, mask = np.zeros(shape, bool), np.zeros(shape, bool)
    here, there = tuple(target), tuple(source)
    hu[here] = background.hu[there]
    lungs[here] = background.lungs[there]
    mask[here] = background.nodule_mask[there]
    marks = tuple(
        replace(mark, centre_zyx=_minus(mark.centre_zyx, corner))
        for mark in background.marks
        if _reaches(mark, corner, shape, background.spacing_mm)
    )
    return _Piece(hu, lungs, mask, marks)


def _minus(
    place: tuple[float, float, float], corner: tuple[int, ...]
) -> tuple[float, float, float]:
    z, y, x = (p - c for p, c in zip(place, corner, strict=True))
    return z, y, x


def _reaches(
    mark: Mark, corner: tuple[int, ...], shape: tuple[int, int, int], spacing_mm: float
) -> bool:
    reach = (mark.diameter_mm / 2 + 10.0) / spacing_mm
    return all(
        -reach <= place - start <= side + reach
        for place, start, side in zip(mark.centre_zyx, corner, shape, strict=True)
    )


def _flip(piece: _Piece, rng: np.random.Generator) -> _Piece:
    """Mirror along each axis with probability one half."""
    axes = tuple(axis for axis in range(3) if rng.random() < 0.5)
    if not axes:
        return piece

    def mirrored(mark: Mark) -> Mark:
        z, y, x = (
            side - 1 - place if axis in axes else place
            for axis, (place, side) in enumerate(zip(mark.centre_zyx, piece.hu.shape, strict=True))
        )
        return replace(mark, centre_zyx=(z, y, x))

    return _Piece(
        np.ascontiguousarray(np.flip(piece.hu, axes)),
        np.ascontiguousarray(np.flip(piece.lungs, axes)),
        np.ascontiguousarray(np.flip(piece.mask, axes)),
        tuple(mirrored(mark) for mark in piece.marks),
    )


def _disturb(hu: Floats, recipe: PatchRecipe, rng: np.random.Generator) -> Floats:
    """Blur, calibration error and noise, each in a part of the patches."""
    if rng.random() < 0.25:
        hu = ndimage.gaussian_filter1d(hu, rng.uniform(0.3, 1.0), axis=0, truncate=3)
    if rng.random() < 0.2:
        sigma = rng.uniform(0.2, 0.6)
        hu = ndimage.gaussian_filter(hu, (0, sigma, sigma), truncate=3)
    hu = hu * np.float32(rng.uniform(0.97, 1.03)) + np.float32(rng.uniform(-20, 20))
    if rng.random() < 0.7:
        noise = rng.standard_normal(hu.shape, dtype=np.float32)
        sigma = rng.uniform(0, 0.8)
        if sigma > 0.4:
            # Reconstruction correlates neighbouring voxels: smooth kernels show grain, not salt.
            noise = ndimage.gaussian_filter(noise, sigma, truncate=2)
            noise /= noise.std()
        hu = hu + noise * np.float32(recipe.noise_hu * rng.beta(1.2, 2.5))
    return hu
