"""Thousands of nodules, ready to be blended: turned, scaled, shifted and blurred once.

Blurring a body with a scan's resolution costs some ten milliseconds; an insertion may cost five in
all. So a bank is made once for each slice thickness and kept in a file.

A scan of thickness t on the network's grid has a resolution of about 0.55 mm (sigma) in plane and
t * sqrt(1/12 + 1/6) along z: the slice's own box, then linear interpolation between slices. A thick
scan with crisp edges along z is what gives careless insertions away.
"""

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from training.synthesis.shapes import Shape, annotated_shapes, lidc_shapes, sphere

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

THICKNESS_CLASSES_MM = (1.0, 1.25, 2.0, 2.5, 3.0, 5.0)
IN_PLANE_SIGMA_MM = 0.55
Z_SIGMA_PER_MM = float(np.sqrt(1 / 12 + 1 / 6))
REACH_SIGMAS = 2.5

SMALLEST_MM, LARGEST_MM = 3.0, 40.0
# Of the drawn diameters: this share is 25 mm and more, the rest log-uniform below.
LARGE_SHARE, LARGE_FROM_MM = 0.15, 25.0
# Scaling a 6 mm outline to 20 mm gives blocky edges.
SCALES = (0.8, 1.3)
SPHERE_SHARE = 0.1
# Which nodules get a core for part-solid ones, and the share of the body that is none of it; it
# lies off the middle and has its own outline, or it would be a bull's eye.
CORE_SHARE, CORE_FROM_MM, SHELL_SHARES = 0.3, 7.0, (0.4, 0.85)
CORE_TILT, CORE_WANDER, WANDER_MM = 0.45, 0.25, 1.5
# Changes whenever the same arguments would give another bank.
FORMAT = 4


@dataclass(frozen=True, slots=True, eq=False)
class Nodule:
    """A body on the network's grid, as a scan of one slice thickness shows it.

    Attributes
    ----------
    alpha
        uint8 (z, y, x), 255 where the voxel is all nodule: the blurred body.
    core
        The same for a part-solid nodule's core, else None.
    mask
        bool (z, y, x), voxels whose centre lies in the unblurred body.
    centre_zyx
        Centroid of the unblurred body in voxels of the box.
    diameter_mm
        Of the sphere of the unblurred body's volume.
    source
        Patient of the outline, or ``sphere``.
    """

    alpha: Bytes
    core: Bytes | None
    mask: NDArray[np.bool_]
    centre_zyx: tuple[float, float, float]
    diameter_mm: float
    source: str


@dataclass(frozen=True, slots=True, eq=False)
class Bank:
    """Nodules of one thickness class, by rising diameter."""

    slice_mm: float
    spacing_mm: float
    nodules: tuple[Nodule, ...]

    def draw(
        self,
        rng: np.random.Generator,
        *,
        diameters_mm: tuple[float, float] = (0.0, np.inf),
        has_core: bool = False,
    ) -> Nodule:
        """Return a random nodule of the wanted size; with a core where one is asked for."""
        low, high = (
            int(np.searchsorted([n.diameter_mm for n in self.nodules], mm)) for mm in diameters_mm
        )
        among = self.nodules[low:high]
        if has_core:
            among = tuple(n for n in among if n.core is not None)
        if not among:
            raise ValueError(f"the bank has no nodule of {diameters_mm} mm, core: {has_core}")
        return among[int(rng.integers(len(among)))]


def load_bank(
    path_npz: Path,
    spacing_mm: float,
    slice_mm: float,
    *,
    count: int = 3000,
    seed: int = 0,
    annotations: Path | None = None,
    without_patients: Collection[str] = ("LIDC-IDRI-0001",),
    cache: Path | None = None,
) -> Bank:
    """Return the bank of the thickness class nearest to ``slice_mm``, from the cache where it is.

    Parameters
    ----------
    path_npz
        ``lidc_shapes.npz``.
    spacing_mm
        Of the network's isotropic grid.
    count
        Nodules in the bank; about 15 CPU ms each when it is made.
    annotations
        ``nodules.json``, whose masks are added to the shapes.
    without_patients
        Whose shapes must not be seen, so that they can be tested on.
    cache
        Folder for finished banks; None makes it anew.
    """
    thickness_mm = nearest_class_mm(slice_mm)
    without = sorted(without_patients)
    key = {
        "format": FORMAT,
        "shapes": hashlib.sha256(path_npz.read_bytes()).hexdigest(),
        "annotations": annotations and hashlib.sha256(annotations.read_bytes()).hexdigest(),
        "spacing_mm": spacing_mm,
        "slice_mm": thickness_mm,
        "count": count,
        "seed": seed,
        "without": without,
    }
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    stored = None if cache is None else cache / f"bank-{thickness_mm:g}mm-{name}.npz"
    if stored is not None and stored.exists():
        return read_bank(stored)
    shapes = list(lidc_shapes(path_npz, without))
    if annotations is not None:
        shapes += annotated_shapes(annotations, without)
    bank = make_bank(shapes, spacing_mm, thickness_mm, count, np.random.default_rng(seed))
    if stored is not None:
        stored.parent.mkdir(parents=True, exist_ok=True)
        write_bank(bank, stored)
    return bank


def nearest_class_mm(slice_mm: float) -> float:
    """Return the thickness class that a scan's slices fall into."""
    return min(THICKNESS_CLASSES_MM, key=lambda known: abs(known - slice_mm))


def make_bank(
    shapes: Sequence[Shape],
    spacing_mm: float,
    slice_mm: float,
    count: int,
    rng: np.random.Generator,
) -> Bank:
    """Return ``count`` nodules, drawn with fresh sizes, turns and shifts."""
    ordered = sorted(shapes, key=lambda shape: shape.diameter_mm)
    known_mm = np.array([shape.diameter_mm for shape in ordered])
    nodules = []
    for _ in range(count):
        wanted_mm = _draw_diameter_mm(rng)
        low = int(np.searchsorted(known_mm, wanted_mm / SCALES[1]))
        high = int(np.searchsorted(known_mm, wanted_mm / SCALES[0]))
        if high <= low or rng.random() < SPHERE_SHARE:
            shape = sphere(wanted_mm)
        else:
            found = ordered[int(rng.integers(low, high))]
            scale = wanted_mm / found.diameter_mm
            shape = replace(found, fine_mm=found.fine_mm * scale, diameter_mm=wanted_mm)
        has_core = wanted_mm >= CORE_FROM_MM and rng.random() < CORE_SHARE
        nodules.append(seen(_turned(shape, rng), spacing_mm, slice_mm, rng, has_core=has_core))
    return Bank(slice_mm, spacing_mm, tuple(sorted(nodules, key=lambda n: n.diameter_mm)))


def seen(
    shape: Shape,
    spacing_mm: float,
    slice_mm: float,
    rng: np.random.Generator,
    *,
    has_core: bool = False,
) -> Nodule:
    """Return a body as a scan shows it on the network's grid.

    Parameters
    ----------
    slice_mm
        Thickness of the scan's slices.
    rng
        Draws the part of a voxel by which the body lies off the grid, and the core.
    """
    shift = rng.uniform(0, 1, 3)
    sigma_mm = np.array([slice_mm * Z_SIGMA_PER_MM, IN_PLANE_SIGMA_MM, IN_PLANE_SIGMA_MM])
    pad = np.ceil(REACH_SIGMAS * sigma_mm / shape.fine_mm).astype(int)
    field = np.pad(shape.field, [(int(p), int(p)) for p in pad], constant_values=shape.field.min())
    body = field > 0
    weights = [
        _weights(n, shape.fine_mm, spacing_mm, s) for n, s in zip(body.shape, shift, strict=True)
    ]

    def on_grid(fine: NDArray[np.bool_]) -> Bytes:
        sigma = sigma_mm / shape.fine_mm
        soft = ndimage.gaussian_filter(fine.astype(np.float32), sigma, truncate=REACH_SIGMAS)
        return np.asarray(np.rint(np.clip(_sampled(soft, weights), 0, 1) * 255), np.uint8)

    core = on_grid(_core(body, shape.fine_mm, rng)) if has_core else None
    places = np.array([_first_moment(body, axis) for axis in range(3)])
    centre = _to_grid(places, body.shape, shape.fine_mm, spacing_mm, shift)
    return Nodule(
        on_grid(body),
        core,
        _sampled(field, weights) > 0,
        (float(centre[0]), float(centre[1]), float(centre[2])),
        shape.diameter_mm,
        shape.source,
    )


def write_bank(bank: Bank, path: Path) -> None:
    """Write a bank; the file is whole or absent."""
    nodules = bank.nodules
    cores = [n.core if n.core is not None else np.zeros(0, np.uint8) for n in nodules]
    about = [
        {"centre_zyx": n.centre_zyx, "diameter_mm": n.diameter_mm, "source": n.source}
        for n in nodules
    ]
    part = path.with_suffix(".part.npz")
    np.savez_compressed(
        part,
        alpha=np.concatenate([n.alpha.ravel() for n in nodules]),
        mask=np.concatenate([n.mask.ravel() for n in nodules]),
        core=np.concatenate([c.ravel() for c in cores]),
        shape=np.array([n.alpha.shape for n in nodules], np.int16),
        has_core=np.array([c.size > 0 for c in cores]),
        about=np.array(json.dumps(about)),
        scan=np.array([bank.slice_mm, bank.spacing_mm]),
    )
    part.replace(path)


def read_bank(path: Path) -> Bank:
    """Read what :func:`write_bank` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        shapes = [tuple(int(n) for n in shape) for shape in stored["shape"]]
        sizes = np.array([int(np.prod(shape)) for shape in shapes])
        has_core = stored["has_core"]
        alphas = np.split(stored["alpha"], np.cumsum(sizes)[:-1])
        masks = np.split(stored["mask"], np.cumsum(sizes)[:-1])
        cores = np.split(stored["core"], np.cumsum(sizes * has_core)[:-1])
        about = json.loads(str(stored["about"]))
        slice_mm, spacing_mm = (float(mm) for mm in stored["scan"])
    nodules = tuple(
        Nodule(
            alpha.reshape(shape),
            core.reshape(shape) if with_core else None,
            mask.reshape(shape),
            tuple(what["centre_zyx"]),
            what["diameter_mm"],
            what["source"],
        )
        for shape, alpha, mask, core, with_core, what in zip(
            shapes, alphas, masks, cores, has_core, about, strict=True
        )
    )
    return Bank(slice_mm, spacing_mm, nodules)


def _draw_diameter_mm(rng: np.random.Generator) -> float:
    is_large = rng.random() < LARGE_SHARE
    low, high = (LARGE_FROM_MM, LARGEST_MM) if is_large else (SMALLEST_MM, LARGE_FROM_MM)
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _turned(shape: Shape, rng: np.random.Generator) -> Shape:
    """One of the 48 turns and mirrorings of a cube."""
    field = shape.field.transpose(rng.permutation(3))
    mirrored = tuple(axis for axis in range(3) if rng.random() < 0.5)
    return replace(shape, field=np.ascontiguousarray(np.flip(field, mirrored)))


def _core(body: NDArray[np.bool_], fine_mm: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return a part of the body that begins deeper on one side than on the other."""
    depth = ndimage.distance_transform_edt(body)
    depth /= depth.max()
    noise = ndimage.gaussian_filter(
        rng.standard_normal(body.shape, dtype=np.float32), WANDER_MM / fine_mm, truncate=2
    )
    tilt = rng.standard_normal(3)
    tilt *= CORE_TILT / np.linalg.norm(tilt)
    lean = sum(
        (np.linspace(-1, 1, n) * t).reshape([-1 if a == axis else 1 for a in range(3)])
        for axis, (n, t) in enumerate(zip(body.shape, tilt, strict=True))
    )
    depth = depth + lean + noise * (CORE_WANDER / noise.std())
    inside = np.sort(depth[body])
    return np.asarray(body & (depth > inside[int(rng.uniform(*SHELL_SHARES) * len(inside))]))


def _weights(size: int, fine_mm: float, spacing_mm: float, shift: float) -> Floats:
    """(voxels, size): linear interpolation of a fine axis at the voxels of the grid."""
    step = spacing_mm / fine_mm
    count = int(np.ceil(size / step)) + 1
    places = (np.arange(count) - (count - 1) / 2 - (shift - 0.5)) * step + (size - 1) / 2
    weights = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(size)))
    # Beyond its rim the body goes on as it ends there: empty.
    weights[:, 0] += places < 0
    weights[:, -1] += places > size - 1
    return np.asarray(np.minimum(weights, 1), np.float32)


def _sampled(fine: Floats, weights: Sequence[Floats]) -> Floats:
    z, y, x = weights
    return np.asarray(np.matmul(y, np.tensordot(z, fine, 1) @ x.T), np.float32)


def _first_moment(body: NDArray[np.bool_], axis: int) -> float:
    others = tuple(a for a in range(3) if a != axis)
    profile = np.asarray(body.sum(axis=others), float)
    return float(profile @ np.arange(len(profile)) / profile.sum())


def _to_grid(
    places: NDArray[np.float64],
    size: tuple[int, ...],
    fine_mm: float,
    spacing_mm: float,
    shift: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the grid's index of fine places: the inverse of what :func:`_weights` samples."""
    step = spacing_mm / fine_mm
    counts = np.ceil(np.array(size) / step) + 1
    middle = (np.array(size) - 1) / 2
    return np.asarray((places - middle) / step + (counts - 1) / 2 + (shift - 0.5))
