"""Spheres in the lungs: where they can lie, how the scan sees them, and their exact masks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from firstread.errors import UsageError
from inference.lungs import Laterality
from inference.mask import SourceMask
from inference.phantom.anatomy import KERNEL_SIGMA_MM, Anatomy
from inference.phantom.sampling import at_points, points_inside
from inference.phantom.spec import Density, NoduleSpec, PhantomNodule
from inference.phantom.trees import Tubes
from inference.volume import Grid

Floats = NDArray[np.float64]

# Room between a sphere and the pleura, a vessel that may stay, and another sphere.
WALL_GAP_MM, VESSEL_GAP_MM, NEIGHBOUR_GAP_MM = 3.0, 2.5, 8.0
# Vessels up to this radius are left out near a sphere; thicker ones are avoided while that works.
MOVABLE_RADIUS_MM = (1.2, 2.0, 3.5, np.inf)
TRIES = 600
SUPERSAMPLED_MM = 0.15  # in plane, before a pixel averages
CORE_SHARE = 0.55  # diameter of a part-solid nodule's core against the whole
SOLID_HU, GROUND_GLASS_HU = 35.0, -600.0


@dataclass(frozen=True, slots=True, eq=False)
class Sphere:
    """A placed sphere; ``centre_mm`` is (z, y, x) of the anatomy's frame."""

    centre_mm: Floats
    wanted: NoduleSpec
    laterality: Laterality

    @property
    def radius_mm(self) -> float:
        """Half the wanted diameter."""
        return self.wanted.diameter_mm / 2


def place_spheres(
    wanted: tuple[NoduleSpec, ...],
    anatomy: Anatomy,
    tubes: Tubes,
    random: np.random.Generator,
) -> tuple[Sphere, ...]:
    """Find room for each sphere, wholly in one lung; the largest are placed first.

    Parameters
    ----------
    tubes
        Vessels and airways with walls; thick ones are avoided.

    Raises
    ------
    UsageError
        ``usage``: a sphere does not fit beside the others.
    """
    placed: dict[int, Sphere] = {}
    for index in sorted(range(len(wanted)), key=lambda i: -wanted[i].diameter_mm):
        placed[index] = _place(wanted[index], anatomy, tubes, list(placed.values()), random)
    return tuple(placed[i] for i in range(len(wanted)))


def _place(
    wanted: NoduleSpec,
    anatomy: Anatomy,
    tubes: Tubes,
    others: list[Sphere],
    random: np.random.Generator,
) -> Sphere:
    radius = wanted.diameter_mm / 2
    lungs = np.minimum(anatomy.right, anatomy.left)
    points = points_inside(anatomy.frame, lungs, 1.0, TRIES, random)
    shell = _directions() * (radius + WALL_GAP_MM)
    for movable_mm in MOVABLE_RADIUS_MM:
        thick = tubes.only(tubes.radius > movable_mm)
        for point in points:
            if any(
                np.linalg.norm(point - o.centre_mm) < radius + o.radius_mm + NEIGHBOUR_GAP_MM
                for o in others
            ):
                continue
            sides = [at_points(anatomy.frame, lung, point + shell) for lung in _sides(anatomy)]
            inside = [bool((side < 0).all()) for side in sides]
            if not any(inside):
                continue
            if (thick.distance_mm(point) < radius + VESSEL_GAP_MM).any():
                continue
            return Sphere(point, wanted, Laterality.RIGHT if inside[0] else Laterality.LEFT)
    raise UsageError(
        f"there is no room for a nodule of {wanted.diameter_mm:g} mm beside the others",
        advice="ask for fewer or smaller nodules, or for more slices",
    )


def clear_of(spheres: tuple[Sphere, ...], tubes: Tubes) -> Tubes:
    """Return the tubes that keep their distance, so that a sphere's edge is its own everywhere."""
    keep = np.ones(len(tubes.radius), bool)
    for sphere in spheres:
        keep &= tubes.distance_mm(sphere.centre_mm) >= sphere.radius_mm + VESSEL_GAP_MM
    return tubes.only(keep)


@dataclass(frozen=True, slots=True, eq=False)
class Painted:
    """A sphere's share of the voxels of a box, as the scan sees it.

    Attributes
    ----------
    start_zyx
        Index of the box's first voxel.
    layers
        Pairs of share (float32, 0..1) and HU, painted in this order.
    brightens_only
        Never darker than what is there: ground glass over vessels.
    """

    start_zyx: tuple[int, int, int]
    layers: tuple[tuple[NDArray[np.float32], float], ...]
    brightens_only: bool

    @property
    def slices(self) -> range:
        """The slices that it touches."""
        return range(self.start_zyx[0], self.start_zyx[0] + len(self.layers[0][0]))

    def paint(self, z: int, plane: NDArray[np.float32]) -> None:
        """Blend slice ``z`` into ``plane`` (HU, written to)."""
        for share, hu in self.layers:
            layer = share[z - self.start_zyx[0]]
            _, y, x = self.start_zyx
            patch = plane[y : y + layer.shape[0], x : x + layer.shape[1]]
            contrast = hu - patch
            if self.brightens_only:
                contrast = np.maximum(contrast, 0)
            patch += layer * contrast


def paint_of(sphere: Sphere, centre_index: Floats, spacing_mm: Floats) -> Painted:
    """Return how a scan of that spacing shows the sphere.

    Parameters
    ----------
    centre_index
        (z, y, x) of its centre on the voxel grid, fractional.
    """
    start, whole = blurred_sphere(centre_index, spacing_mm, sphere.radius_mm)
    layers = [(whole, GROUND_GLASS_HU if sphere.wanted.density != Density.SOLID else SOLID_HU)]
    if sphere.wanted.density == Density.PART_SOLID:
        core_start, core = blurred_sphere(centre_index, spacing_mm, sphere.radius_mm * CORE_SHARE)
        padded = np.zeros_like(whole)
        at = tuple(
            slice(c - s, c - s + n) for c, s, n in zip(core_start, start, core.shape, strict=True)
        )
        padded[at] = core
        layers.append((padded, SOLID_HU))
    return Painted(start, tuple(layers), sphere.wanted.density != Density.SOLID)


def blurred_sphere(
    centre_index: Floats, spacing_mm: Floats, radius_mm: float
) -> tuple[tuple[int, int, int], NDArray[np.float32]]:
    """Return the first index and the shares of a box of voxels that a sphere fills.

    Exact along z (a slice averages the sphere over its thickness), supersampled in plane, where the
    kernel's Gaussian and the pixel's square blur it.
    """
    reach = np.array([radius_mm, *[radius_mm + 4 * KERNEL_SIGMA_MM] * 2]) / spacing_mm + 0.5
    low = np.floor(centre_index - reach).astype(int)
    count = np.ceil(centre_index + reach).astype(int) - low + 1
    parts = [int(np.ceil(mm / SUPERSAMPLED_MM)) for mm in spacing_mm]
    fine = [
        ((np.arange(count[a] * parts[a]) + 0.5) / parts[a] - 0.5 + low[a] - centre_index[a])
        * spacing_mm[a]
        for a in (1, 2)
    ]
    off_axis2 = fine[0][:, None] ** 2 + fine[1][None, :] ** 2
    chord_mm = np.sqrt(np.maximum(radius_mm**2 - off_axis2, 0))
    sigma = [KERNEL_SIGMA_MM * parts[a] / spacing_mm[a] for a in (1, 2)]
    share = np.empty(count, np.float32)
    for k in range(count[0]):
        middle = (low[0] + k - centre_index[0]) * spacing_mm[0]
        bottom, top = middle - spacing_mm[0] / 2, middle + spacing_mm[0] / 2
        filled = np.maximum(np.minimum(top, chord_mm) - np.maximum(bottom, -chord_mm), 0)
        soft = ndimage.gaussian_filter(filled / spacing_mm[0], sigma, mode="constant")
        cells = soft.reshape(count[1], parts[1], count[2], parts[2])
        share[k] = cells.mean(axis=(1, 3))
    return (int(low[0]), int(low[1]), int(low[2])), share


def truth_of(number: int, sphere: Sphere, centre_index: Floats, grid: Grid) -> PhantomNodule:
    """Return what is known of a placed sphere."""
    spacing = np.array([grid.step_mm, *grid.spacing_yx_mm])
    reach = sphere.radius_mm / spacing
    low = np.ceil(centre_index - reach).astype(int)
    high = np.floor(centre_index + reach).astype(int)
    axes = [(np.arange(low[a], high[a] + 1) - centre_index[a]) * spacing[a] for a in range(3)]
    z, y, x = np.ix_(*axes)
    inside = z**2 + y**2 + x**2 <= sphere.radius_mm**2
    lps, index = grid.to_lps(centre_index), centre_index
    return PhantomNodule(
        number,
        (float(lps[0]), float(lps[1]), float(lps[2])),
        (float(index[0]), float(index[1]), float(index[2])),
        sphere.wanted.diameter_mm,
        4 / 3 * float(np.pi) * sphere.radius_mm**3,
        sphere.wanted.density,
        sphere.laterality,
        _trimmed(low, inside),
    )


def _trimmed(low: NDArray[np.int_], inside: NDArray[np.bool_]) -> SourceMask:
    """Drop empty slices, rows and columns at the rim."""
    box = ndimage.find_objects(inside.astype(np.uint8))[0]
    start = [int(low[a] + box[a].start) for a in range(3)]
    return SourceMask((start[0], start[1], start[2]), inside[box])


def _sides(anatomy: Anatomy) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return anatomy.right, anatomy.left


def _directions() -> Floats:
    """26 unit vectors: faces, edges and corners of a cube."""
    cube = np.array(np.meshgrid(*[(-1, 0, 1)] * 3)).reshape(3, -1).T
    cube = cube[np.abs(cube).sum(1) > 0]
    return np.asarray(cube / np.linalg.norm(cube, axis=1, keepdims=True))
