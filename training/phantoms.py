"""Which phantoms are trained on and validated on: everything about one follows from its seed."""

import numpy as np

from inference.phantom import Density, NoduleSpec, Phantom, PhantomSpec, make_phantom

SLICES_MM = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0)
MATRICES = (384, 512)
NOISE_HU = (8.0, 45.0)
LUNG_HEIGHT_MM = 310.0
# Half of the phantoms have spheres of their own; all of them get inserted nodules as well.
NODULE_SHARE, MOST_NODULES = 0.5, 4
SMALLEST_MM, LARGEST_MM = 4.0, 24.0
DENSITIES = (Density.SOLID, Density.SOLID, Density.PART_SOLID, Density.GROUND_GLASS)
# Validation: as many nodules as can be told apart, of the sizes that the package is for.
VALIDATION_MM = (6.0, 20.0)
VALIDATION_NODULES = 3


def training_phantom(seed: int) -> Phantom:
    """Return the training phantom of a seed: random slices, noise, matrix and spheres."""
    rng = np.random.default_rng((seed, 1))
    count = int(rng.integers(1, MOST_NODULES + 1)) if rng.random() < NODULE_SHARE else 0
    nodules = [
        NoduleSpec(
            round(float(np.exp(rng.uniform(np.log(SMALLEST_MM), np.log(LARGEST_MM)))), 1),
            DENSITIES[int(rng.integers(len(DENSITIES)))],
        )
        for _ in range(count)
    ]
    return make_phantom(_spec(seed, tuple(nodules), rng))


def validation_phantom(seed: int) -> Phantom:
    """Return the validation phantom of a seed: three solid spheres of 6 to 20 mm."""
    rng = np.random.default_rng((seed, 2))
    sizes = np.round(rng.uniform(*VALIDATION_MM, VALIDATION_NODULES), 1)
    return make_phantom(_spec(seed, tuple(NoduleSpec(float(mm)) for mm in sizes), rng))


def _spec(seed: int, nodules: tuple[NoduleSpec, ...], rng: np.random.Generator) -> PhantomSpec:
    slice_mm = SLICES_MM[int(rng.integers(len(SLICES_MM)))]
    return PhantomSpec(
        nodules,
        slice_mm=slice_mm,
        slices=round(LUNG_HEIGHT_MM / slice_mm),
        matrix=MATRICES[int(rng.integers(len(MATRICES)))],
        noise_hu=float(rng.uniform(*NOISE_HU)),
        seed=seed,
    )
