"""Blending nodules into HU: density, the scan's own noise, and the truth of what was put in."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from training.patches import Inserted
from training.synthesis.bank import Bank, Nodule
from training.synthesis.places import Box, Place, box_at, find_place
from training.targets import Mark

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

# What is kept of the background inside a nodule is its noise: what a Gaussian of 1.5 mm takes away,
# within three deviations; the rest of it is small vessels, which would show as specks.
NOISE_SIGMA_MM, NOISE_LIMIT_HU, NOISE_DEVIATIONS = 1.5, 60.0, 3.0
SOLID_HU, CALCIFIED_HU, GROUND_GLASS_HU = (-60.0, 90.0), (100.0, 500.0), (-680.0, -420.0)
# A mass with a low density would let the vessels under it shine through.
MASS_FROM_MM, MASS_HU = 15.0, (0.0, 90.0)
# Uneven density inside (standard deviation), and how far it reaches: no tissue is flat.
SOLID_UNEVEN_HU, GROUND_GLASS_UNEVEN_HU, UNEVEN_MM = 8.0, 40.0, 4.0
# Ground glass has no sharp outline of its own.
FUZZY_MM = (0.2, 1.2)
# Large calcified insertions look absurd and teach that white is nodule.
LARGEST_CALCIFIED_MM = 12.0
# Ground glass below 5 mm cannot be seen; a label for it would be noise.
SMALL_GROUND_GLASS_MM = (5.0, 8.0)


class Look(StrEnum):
    """Density class of an inserted nodule."""

    SOLID = "solid"
    PART_SOLID = "part-solid"
    GROUND_GLASS = "ground-glass"
    CALCIFIED = "calcified"
    NOTHING = "nothing"
    """The lung's own density: all that the pipeline leaves behind, and no nodule."""


@dataclass(frozen=True, slots=True)
class Mix:
    """How often what is inserted.

    Attributes
    ----------
    counts
        Weights of 0, 1, 2, ... insertions in a patch.
    looks
        Weight of each density class.
    edge_share
        Of the nodules lie at the edge of the lung.
    small_ground_glass_share
        Of the ground-glass nodules are below 8 mm.
    """

    counts: tuple[float, ...] = (0.12, 0.28, 0.32, 0.2, 0.08)
    looks: tuple[tuple[Look, float], ...] = (
        (Look.SOLID, 0.53),
        (Look.PART_SOLID, 0.15),
        (Look.GROUND_GLASS, 0.25),
        (Look.CALCIFIED, 0.02),
        (Look.NOTHING, 0.05),
    )
    edge_share: float = 0.4
    small_ground_glass_share: float = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What was put in, from the unblurred body.

    Attributes
    ----------
    centre_zyx
        Centroid of the visible body, voxels of the volume.
    diameter_mm
        Of the sphere of the visible body's volume.
    start_zyx, mask
        Its voxels: first index and bool (z, y, x); cut at the volume's sides.
    """

    centre_zyx: tuple[float, float, float]
    diameter_mm: float
    start_zyx: tuple[int, int, int]
    mask: Bools
    look: Look
    source: str


def insert_nodules(
    hu: Floats,
    lungs: Bools,
    taken: Sequence[Mark],
    rng: np.random.Generator,
    *,
    bank: Bank,
    mix: Mix,
) -> Inserted:
    """Return the patch with a random number of nodules in it; fewer where no place is found.

    Parameters
    ----------
    hu, lungs
        float32 and bool (z, y, x) on the bank's grid; not changed.
    taken
        Known lesions and ignored regions of the patch.
    """
    counts = np.array(mix.counts) / sum(mix.counts)
    hu, mask, marks = hu.copy(), np.zeros(hu.shape, bool), list(taken)
    shown: list[Mark] = []
    for _ in range(int(rng.choice(len(counts), p=counts))):
        look = _draw_look(mix, rng)
        nodule = draw_nodule(bank, look, mix, rng)
        at_edge = bool(rng.random() < mix.edge_share)
        place = find_place(hu, lungs, nodule, marks, bank.spacing_mm, at_edge=at_edge, rng=rng)
        if place is None:
            continue
        truth = insert_nodule(
            hu, lungs, place, nodule, look, spacing_mm=bank.spacing_mm, rng=rng, out=hu
        )
        mark = Mark(truth.centre_zyx, truth.diameter_mm)
        marks.append(mark)
        if look != Look.NOTHING:
            shown.append(mark)
            box = tuple(
                slice(s, s + n) for s, n in zip(truth.start_zyx, truth.mask.shape, strict=True)
            )
            mask[box] |= truth.mask
    return Inserted(hu, mask, tuple(shown))


def draw_nodule(bank: Bank, look: Look, mix: Mix, rng: np.random.Generator) -> Nodule:
    """Return a nodule of the bank that suits the density class."""
    if look == Look.CALCIFIED:
        return bank.draw(rng, diameters_mm=(0, LARGEST_CALCIFIED_MM))
    if look == Look.PART_SOLID:
        return bank.draw(rng, has_core=True)
    if look == Look.GROUND_GLASS and rng.random() < mix.small_ground_glass_share:
        return bank.draw(rng, diameters_mm=SMALL_GROUND_GLASS_MM)
    if look == Look.GROUND_GLASS:
        return bank.draw(rng, diameters_mm=(SMALL_GROUND_GLASS_MM[1], np.inf))
    return bank.draw(rng)


def insert_nodule(
    hu: Floats,
    lungs: Bools,
    place: Place,
    nodule: Nodule,
    look: Look,
    *,
    spacing_mm: float,
    rng: np.random.Generator,
    out: Floats,
) -> Truth:
    """Blend a nodule into ``out``, and return its truth.

    Nothing that is denser than the nodule (vessels, ribs, the wall) is made darker: the nodule lies
    beside it or around it.

    Parameters
    ----------
    place
        Voxel (z, y, x) of the middle of the nodule's box.
    out
        Written to within the box; may be ``hu`` itself.
    """
    box = box_at(place, nodule, hu.shape)
    background = hu[box.volume]
    sigma = NOISE_SIGMA_MM / spacing_mm
    smooth = ndimage.gaussian_filter(background, sigma, truncate=2, mode="nearest")
    noise = _noise(background - smooth)
    visible = nodule.mask[box.nodule] & lungs[box.volume]
    blended = np.asarray(background, np.float32)
    for layer in _layers(nodule, look, background[visible], rng):
        share = layer.alpha[box.nodule] * np.float32(1 / 255)
        if layer.fuzzy_mm:
            share = ndimage.gaussian_filter(share, layer.fuzzy_mm / spacing_mm, truncate=2)
        density_hu = layer.hu + layer.uneven_hu * _uneven(share.shape, spacing_mm, rng)
        target = np.maximum(smooth, density_hu) + noise
        # Above the density a vessel or the wall shows through as sharp as it was, not smoothed.
        target = np.where(background > density_hu + NOISE_LIMIT_HU, background, target)
        blended = np.asarray(blended + share * (target - blended), np.float32)
    out[box.volume] = blended
    return _truth(nodule, place, box, visible, look)


def _noise(residual: Floats) -> Floats:
    """Clip a high-pass residual to what its own median says is noise."""
    deviation = 1.4826 * float(np.median(np.abs(residual)))
    limit = min(NOISE_LIMIT_HU, NOISE_DEVIATIONS * deviation)
    return np.asarray(np.clip(residual, -limit, limit), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """A blurred body (uint8), what it is filled with, and how much softer its outline is."""

    alpha: NDArray[np.uint8]
    hu: float
    uneven_hu: float
    fuzzy_mm: float = 0.0


def _layers(
    nodule: Nodule, look: Look, under: Floats, rng: np.random.Generator
) -> tuple[_Layer, ...]:
    """Return what is painted, in this order."""
    if look == Look.NOTHING:
        return (_Layer(nodule.alpha, float(np.median(under)), 0.0),)
    if look in (Look.SOLID, Look.CALCIFIED):
        solid = MASS_HU if nodule.diameter_mm >= MASS_FROM_MM else SOLID_HU
        limits = solid if look == Look.SOLID else CALCIFIED_HU
        return (_Layer(nodule.alpha, rng.uniform(*limits), SOLID_UNEVEN_HU),)
    fuzzy_mm = min(rng.uniform(*FUZZY_MM), nodule.diameter_mm / 10)
    shell = _Layer(nodule.alpha, rng.uniform(*GROUND_GLASS_HU), GROUND_GLASS_UNEVEN_HU, fuzzy_mm)
    if look == Look.PART_SOLID and nodule.core is not None:
        return shell, _Layer(nodule.core, rng.uniform(*SOLID_HU), SOLID_UNEVEN_HU, fuzzy_mm / 2)
    return (shell,)


def _uneven(shape: tuple[int, ...], spacing_mm: float, rng: np.random.Generator) -> Floats:
    """Return smooth noise of unit deviation: coarse random nodes, linear between them."""
    step = UNEVEN_MM / spacing_mm
    noise = rng.standard_normal([int(n / step) + 2 for n in shape], dtype=np.float32)
    for axis, size in enumerate(shape):
        places = (np.arange(size) + 0.5) / step
        low = np.minimum(places.astype(int), noise.shape[axis] - 2)
        share = (
            (places - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        )
        noise = np.take(noise, low, axis) * (1 - share) + np.take(noise, low + 1, axis) * share
    return np.asarray(noise / (float(noise.std()) or 1.0), np.float32)


def _truth(nodule: Nodule, place: Place, box: Box, visible: Bools, look: Look) -> Truth:
    """Place the body's truth in the volume; what the wall hides is taken off."""
    body = nodule.mask[box.nodule]
    corner = np.array(place) - np.array(nodule.alpha.shape) // 2
    centre = corner + np.array(nodule.centre_zyx)
    diameter_mm = nodule.diameter_mm
    if not np.array_equal(body, visible):
        whole, seen = np.argwhere(body), np.argwhere(visible)
        centre = centre + seen.mean(axis=0) - whole.mean(axis=0)
        diameter_mm *= float(np.cbrt(len(seen) / len(whole)))
    return Truth(
        (float(centre[0]), float(centre[1]), float(centre[2])),
        diameter_mm,
        (box.volume[0].start, box.volume[1].start, box.volume[2].start),
        visible,
        look,
        nodule.source,
    )


def _draw_look(mix: Mix, rng: np.random.Generator) -> Look:
    looks, weights = zip(*mix.looks, strict=True)
    shares = np.array(weights) / sum(weights)
    return Look(looks[int(rng.choice(len(looks), p=shares))])
