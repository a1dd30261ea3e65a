"""What a phantom costs, and how exactly its spheres can be measured.

    .venv/bin/python -m tests.bench.phantom [--seeds 8]

The measurement is the plainest one: voxels at or above half way between lung and sphere, within
2 mm of the sphere.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from inference.phantom import PhantomNodule, PhantomSpec, make_phantom, write_phantom
from inference.phantom.nodules import SOLID_HU
from inference.volume import Volume

DIAMETERS_MM = (6.0, 10.0, 20.0)
LUNG_HU = -865.0


def half_maximum_volume_mm3(volume: Volume, nodule: PhantomNodule) -> float:
    """Return the volume of the voxels above half contrast around a sphere."""
    spacing = np.array([volume.grid.step_mm, *volume.grid.spacing_yx_mm])
    centre, reach = np.array(nodule.centre_index), nodule.diameter_mm / 2 + 2
    low = np.ceil(centre - reach / spacing).astype(int)
    high = np.floor(centre + reach / spacing).astype(int)
    axes = [(np.arange(low[a], high[a] + 1) - centre[a]) * spacing[a] for a in range(3)]
    z, y, x = np.ix_(*axes)
    box = tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))
    bright = volume.hu[box] >= (SOLID_HU + LUNG_HU) / 2
    return float(bright[z**2 + y**2 + x**2 <= reach**2].sum() * spacing.prod())


def print_cost(slices: int, matrix: int) -> None:
    """Make and write one phantom."""
    start = time.process_time()
    phantom = make_phantom(PhantomSpec.spheres(DIAMETERS_MM, slices=slices, matrix=matrix))
    made = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        write_phantom(phantom, Path(folder) / "phantom")
    written = time.process_time()
    sys.stdout.write(
        f"{slices} slices of {matrix} x {matrix}: made in {made - start:.1f}, "
        f"written in {written - made:.1f} CPU s\n"
    )


def print_errors(slice_mm: float, seeds: int) -> None:
    """Volume errors of spheres over some seeds, pixels of 0.7 mm."""
    errors: dict[float, list[float]] = {mm: [] for mm in DIAMETERS_MM}
    for seed in range(1, seeds + 1):
        spec = PhantomSpec.spheres(
            DIAMETERS_MM, slice_mm=slice_mm, slices=round(375 / slice_mm), seed=seed
        )
        phantom = make_phantom(spec)
        for nodule in phantom.nodules:
            measured = half_maximum_volume_mm3(phantom.volume, nodule)
            errors[nodule.diameter_mm].append(measured / nodule.volume_mm3 - 1)
    for diameter_mm, found in errors.items():
        sys.stdout.write(
            f"{slice_mm:g} mm slices, {diameter_mm:g} mm sphere: volume error "
            f"mean {np.mean(found):+.1%}, worst {max(found, key=abs):+.1%}\n"
        )


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=8)
    seeds = parser.parse_args().seeds
    print_cost(300, 512)
    print_cost(120, 256)
    for slice_mm in (1.0, 1.25, 2.5):
        print_errors(slice_mm, seeds)


if __name__ == "__main__":
    main()
