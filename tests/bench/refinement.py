"""Dice of the network's mask and of the refined mask with the truth, by density and surroundings.

    .venv/bin/python -m tests.bench.refinement [--cases 20] [--network]

Each case is a lobulated nodule in noisy lung, blurred as a scan blurs it (a Gaussian kernel in the
plane, the mean over the slice's thickness along z), free, on a vessel, or on the pleura; the
network is imitated by the true shape with an error of about half a millimetre, as a probability on
its own 1.25 mm grid. Seeds start at 1000, so no test's phantom is among them. These cases chose the
constants of ``inference.refinement``. With ``--network`` the shipped network itself marks the
spheres of phantoms (seeds from 500, of three densities), which it was not trained on.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inference.detection.candidate import Candidate
from inference.detection.detect import detect
from inference.lungs import find_lungs
from inference.mask import SourceMask, cropped, dice
from inference.measurement import measure
from inference.phantom import Density as PhantomDensity
from inference.phantom import NoduleSpec, PhantomNodule, PhantomSpec, make_phantom
from inference.refinement import Density, refine
from inference.volume import Grid, Volume
from models.package import find_package
from models.runtime import open_runtime

FIRST_SEED = 1000
LUNG_HU, SOLID_HU, GLASS_HU, WALL_HU, VESSEL_HU = -860.0, 40.0, -580.0, 45.0, 40.0
KERNEL_SIGMA_MM, NOISE_HU, PIXEL_MM, FINE = 0.55, 25.0, 0.7, 2
NETWORK_MM = 1.25
SURROUNDINGS = ("free", "vessel", "pleura")
DENSITIES = ("solid", "part-solid", "ground-glass")

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Row:
    """One case: what was made, and how well both masks fit."""

    density: str
    surroundings: str
    slice_mm: float
    diameter_mm: float
    said: Density
    dice_network: float
    dice_refined: float
    volume_error_network: float
    volume_error_refined: float
    diameter_error_mm: float


@dataclass(frozen=True, slots=True)
class Shape:
    """A sphere whose radius is modulated by a few directions."""

    centre_mm: Floats
    radius_mm: float
    bumps: Floats
    amplitudes: Floats

    def depth_mm(self, places: Floats) -> Floats:
        """Signed distance to the surface, positive inside; (..., 3) z, y, x in millimetres."""
        offset = places - self.centre_mm
        distance = np.linalg.norm(offset, axis=-1)
        direction = offset / np.maximum(distance, 1e-6)[..., None]
        waves = (
            self.amplitudes * np.cos(3 * np.arccos(np.clip(direction @ self.bumps.T, -1, 1)))
        ).sum(-1)
        depth: Floats = self.radius_mm * (1 + waves) - distance
        return depth


def run_case(
    seed: int, density: str, surroundings: str, slice_mm: float, diameter_mm: float
) -> Row:
    random = np.random.default_rng(seed)
    size_mm = diameter_mm + 28
    shape_zyx = (round(size_mm / slice_mm), round(size_mm / PIXEL_MM), round(size_mm / PIXEL_MM))
    grid = Grid.regular((0, 0, 0), (slice_mm, PIXEL_MM, PIXEL_MM), shape_zyx)
    bumps = random.normal(size=(3, 3))
    nodule = Shape(
        size_mm / 2 + random.uniform(-0.5, 0.5, 3),
        diameter_mm / 2,
        bumps / np.linalg.norm(bumps, axis=1, keepdims=True),
        random.uniform(0, 0.04, 3),
    )
    scan, truth = _scan(nodule, density, surroundings, grid, random)
    candidate = _imitate_network(nodule, size_mm, random)
    refined = refine(candidate, Volume(scan, grid))
    assert refined is not None
    true_mask = cropped(truth, (0, 0, 0))
    made = measure(refined.mask, Volume(scan, grid))
    wanted = measure(true_mask, Volume(scan, grid))
    return Row(
        density,
        surroundings,
        slice_mm,
        diameter_mm,
        refined.density,
        dice(refined.network, true_mask),
        dice(refined.mask, true_mask),
        _ratio(refined.network, true_mask),
        _ratio(refined.mask, true_mask),
        made.mean_diameter_mm - wanted.mean_diameter_mm,
    )


def _ratio(mask: SourceMask, truth: SourceMask) -> float:
    return float(mask.voxels.sum() / truth.voxels.sum() - 1)


def _scan(
    nodule: Shape, density: str, surroundings: str, grid: Grid, random: np.random.Generator
) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """Return HU and the voxels whose centres lie inside the nodule."""
    spacing = np.array([grid.step_mm, *grid.spacing_yx_mm])
    centres = np.stack(np.meshgrid(*map(np.arange, grid.shape_zyx), indexing="ij"), -1) * spacing
    truth = nodule.depth_mm(centres) > 0
    fine_shape = np.array(grid.shape_zyx) * FINE
    axes = [
        ((np.arange(n) + 0.5) / FINE - 0.5) * s for n, s in zip(fine_shape, spacing, strict=True)
    ]
    places = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    hu = np.full(fine_shape, LUNG_HU)
    depth = nodule.depth_mm(places)
    direction = random.normal(size=3)
    direction /= np.linalg.norm(direction)
    if surroundings == "vessel":
        side = np.cross(direction, random.normal(size=3))
        axis_point = nodule.centre_mm + side / np.linalg.norm(side) * nodule.radius_mm * 0.9
        along = (places - axis_point) @ direction
        off = np.linalg.norm(places - axis_point - along[..., None] * direction, axis=-1)
        hu[off < random.uniform(0.8, 1.6)] = VESSEL_HU
    if surroundings == "pleura":
        direction[0] *= 0.3
        direction /= np.linalg.norm(direction)
        hu[(places - nodule.centre_mm) @ direction > nodule.radius_mm * 0.8] = WALL_HU
        truth &= (centres - nodule.centre_mm) @ direction <= nodule.radius_mm * 0.8
    inside = SOLID_HU if density == "solid" else GLASS_HU
    hu[depth > 0] = np.maximum(hu[depth > 0], inside)
    if density == "part-solid":
        hu[depth > nodule.radius_mm * 0.5] = SOLID_HU
    sigma = [0.0, *(FINE * KERNEL_SIGMA_MM / s for s in spacing[1:])]
    soft = ndimage.gaussian_filter(hu, sigma, mode="nearest")
    coarse = soft.reshape(*(v for n in grid.shape_zyx for v in (n, FINE))).mean(axis=(1, 3, 5))
    grain = ndimage.gaussian_filter(random.normal(size=grid.shape_zyx), (0, 0.8, 0.8))
    noisy = coarse + grain / grain.std() * NOISE_HU
    return np.clip(np.rint(noisy), -1024, 3000).astype(np.int16), truth


def _imitate_network(nodule: Shape, size_mm: float, random: np.random.Generator) -> Candidate:
    cells = int(np.ceil(size_mm / NETWORK_MM))
    grid = Grid.regular((0.3, 0.2, 0.1), (NETWORK_MM,) * 3, (cells,) * 3)
    places = grid.to_lps(np.stack(np.meshgrid(*[np.arange(cells)] * 3, indexing="ij"), -1))[
        ..., ::-1
    ]
    wrong = ndimage.gaussian_filter(random.normal(size=(cells,) * 3), 2.5)
    error_mm = random.normal(0, 0.4) + wrong / wrong.std() * 0.5
    shift_mm = random.normal(0, 0.3, 3)
    depth = nodule.depth_mm(places + shift_mm) + error_mm
    probability = 1 / (1 + np.exp(-depth / 0.6))
    z, y, x = nodule.centre_mm + random.normal(0, 0.4, 3)
    return Candidate((x, y, z), 0.9, 2 * nodule.radius_mm, probability.astype(np.float32), grid)


def run(cases: int) -> list[Row]:
    rows = []
    for density in DENSITIES:
        for surroundings in SURROUNDINGS:
            for number in range(cases):
                random = np.random.default_rng(FIRST_SEED + number)
                rows.append(
                    run_case(
                        FIRST_SEED + number,
                        density,
                        surroundings,
                        float(random.choice([1.0, 1.25, 2.5])),
                        float(random.uniform(5, 22)),
                    )
                )
    return rows


def table(rows: list[Row]) -> str:
    titles = (
        *("density", "surroundings", "cases", "said solid", "Dice network", "Dice refined"),
        *("volume error network", "refined", "mean diameter error mm"),
    )
    lines = [f"| {' | '.join(titles)} |", "| --- " * len(titles) + "|"]
    for density in DENSITIES:
        for surroundings in SURROUNDINGS:
            some = [r for r in rows if (r.density, r.surroundings) == (density, surroundings)]
            if not some:
                continue
            mean = {
                name: np.mean([getattr(row, name) for row in some])
                for name in ("dice_network", "dice_refined")
            }
            spread = {
                name: np.mean(np.abs([getattr(row, name) for row in some]))
                for name in ("volume_error_network", "volume_error_refined", "diameter_error_mm")
            }
            lines.append(
                f"| {density} | {surroundings} | {len(some)} "
                f"| {sum(row.said == Density.SOLID for row in some)} "
                f"| {mean['dice_network']:.3f} | {mean['dice_refined']:.3f} "
                f"| {spread['volume_error_network']:.0%} | {spread['volume_error_refined']:.0%} "
                f"| {spread['diameter_error_mm']:.2f} |"
            )
    return "\n".join(lines)


def run_network(phantoms: int) -> list[Row]:
    """Let the shipped network mark phantoms, and refine what it marked; a miss is no row."""
    package = find_package()
    runtime = open_runtime(package)
    rows = []
    for number in range(phantoms):
        for density in PhantomDensity:
            nodules = tuple(NoduleSpec(d, density) for d in (6.0, 8.0, 11.0, 15.0, 20.0))
            slice_mm = (1.0, 1.25, 2.5)[number % 3]
            spec = PhantomSpec(
                nodules, slice_mm=slice_mm, slices=round(280 / slice_mm), seed=500 + number
            )
            phantom = make_phantom(spec)
            lungs = find_lungs(phantom.volume)
            assert lungs is not None
            found = detect(phantom.volume, lungs, package, runtime)
            rows += [
                row
                for nodule in phantom.nodules
                if (row := _network_row(nodule, phantom.volume, slice_mm, found))
            ]
    return rows


def _network_row(
    nodule: PhantomNodule, volume: Volume, slice_mm: float, found: Sequence[Candidate]
) -> Row | None:
    for candidate in found:
        away = np.linalg.norm(np.subtract(candidate.centre_lps_mm, nodule.centre_lps_mm))
        refined = refine(candidate, volume) if away <= nodule.diameter_mm / 2 else None
        if refined is not None:
            made, wanted = measure(refined.mask, volume), measure(nodule.mask, volume)
            return Row(
                nodule.density,
                "free",
                slice_mm,
                nodule.diameter_mm,
                refined.density,
                dice(refined.network, nodule.mask),
                dice(refined.mask, nodule.mask),
                _ratio(refined.network, nodule.mask),
                _ratio(refined.mask, nodule.mask),
                made.mean_diameter_mm - wanted.mean_diameter_mm,
            )
    return None


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--network", action="store_true", help="of the shipped network")
    given = parser.parse_args(argv)
    rows = run_network(given.cases) if given.network else run(given.cases)
    sys.stdout.write(table(rows) + "\n")


if __name__ == "__main__":
    main()
