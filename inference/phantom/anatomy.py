"""The body of the phantom as smooth fields on a coarse grid: which tissue begins where.

Each organ is a signed distance in mm (negative inside), drawn from ellipses, tubes and domes and
put together with rounded intersections. Coordinates: x to the left and y to the back from the
middle of the field of view, z to the head from the first slice; all in mm. Sizes are an adult's at
the natural field of view and scale with it; heights follow the lungs' height.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inference.phantom.spec import NATURAL_FIELD_MM, PhantomSpec

Array = NDArray[np.float32]

# Coarse cells: fine enough for ribs (8 mm thick), whose distance is linear between nodes.
CELLS_IN_PLANE = 128
CELL_Z_MM = 2.5
# Blur of a standard kernel in plane (sigma, mm), without that of the pixel itself.
KERNEL_SIGMA_MM = 0.42
NATURAL_LUNG_MM = 280.0


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """Node coordinates (mm) of the coarse grid, and the lungs' place along z.

    Attributes
    ----------
    z, y, x
        float32, shaped (nz, 1, 1), (1, ny, 1), (1, 1, nx) so that they broadcast.
    bottom_mm, height_mm
        Lowest point of the lungs, and their height.
    scale
        In-plane size against an adult's.
    sigma_yx_mm, sigma_z_mm
        The scan's resolution as standard deviations: kernel and pixel; box of the slice.
    """

    z: Array
    y: Array
    x: Array
    bottom_mm: float
    height_mm: float
    scale: float
    sigma_yx_mm: float
    sigma_z_mm: float

    @property
    def level(self) -> Array:
        """Height in the lungs: 0 at their base, 1 at their top."""
        return np.asarray((self.z - self.bottom_mm) / self.height_mm, np.float32)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between nodes along z, y, x."""
        return (
            float(self.z[1, 0, 0] - self.z[0, 0, 0]),
            float(self.y[0, 1, 0] - self.y[0, 0, 0]),
            float(self.x[0, 0, 1] - self.x[0, 0, 0]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """Distances in mm (negative inside), float32 (nz, ny, nx) on the frame's nodes.

    ``right`` and ``left`` are the lungs, ``lung_hu`` their density, ``soft`` heart and great
    vessels. Points are (z, y, x).
    """

    frame: Frame
    body: Array
    muscle: Array
    fat: Array
    soft: Array
    bone: Array
    right: Array
    left: Array
    lung_hu: Array
    hila_mm: tuple[tuple[float, float, float], tuple[float, float, float]]
    carina_mm: tuple[float, float, float]


def make_frame(spec: PhantomSpec) -> Frame:
    """Return the coarse grid under the slices, and place the lungs among them."""
    extent = (spec.slices - 1) * spec.slice_mm
    margin = max(0.07 * extent, 2.5 * spec.slice_mm, 5.0)
    height = min(extent - 2 * margin, NATURAL_LUNG_MM)
    spare = extent - 2 * margin - height
    half = (spec.matrix - 1) / 2 * spec.in_plane_mm
    plane = np.linspace(-half, half, CELLS_IN_PLANE + 1, dtype=np.float32)
    levels = np.linspace(0, extent, int(np.ceil(extent / CELL_Z_MM)) + 1, dtype=np.float32)
    return Frame(
        levels[:, None, None],
        plane[None, :, None],
        plane[None, None, :],
        bottom_mm=margin + 0.7 * spare,
        height_mm=height,
        scale=spec.field_mm / NATURAL_FIELD_MM,
        sigma_yx_mm=float(np.hypot(KERNEL_SIGMA_MM, spec.in_plane_mm / np.sqrt(12))),
        sigma_z_mm=spec.slice_mm / float(np.sqrt(12)),
    )


def make_anatomy(frame: Frame, random: np.random.Generator) -> Anatomy:
    """Draw one chest; sizes vary by some percent from one state of ``random`` to the next."""
    level, scale = frame.level, frame.scale
    width, depth = (
        134 * scale * random.uniform(0.95, 1.03),
        84 * scale * random.uniform(0.94, 1.06),
    )
    narrowing = 1 - 0.5 * np.clip((level - 0.45) / 0.6, 0, 1) ** 2
    cage = _superellipse(frame.x, frame.y, width * narrowing, depth * (0.35 + 0.65 * narrowing))
    body = _superellipse(
        frame.x, frame.y, np.full_like(level, 166 * scale), np.full_like(level, 111 * scale)
    )
    muscle = _smooth_min(cage - 15 * scale, body + 32 * scale, 8 * scale)
    heart = _heart(frame, random)
    tubes = _great_vessels(frame)
    spine = _spine(frame)
    wall = _smooth_max(cage, -(spine - 5 * scale), 6 * scale)
    bent = 1.6 * scale * _smooth_noise(frame, random, 14)
    centre = _smooth_min(heart, tubes, 4 * scale) - 3 * scale
    lungs = [_lung(frame, random, side, wall, centre) + bent for side in (-1, 1)]
    column = np.asarray(np.abs(frame.x) - 34 * scale, np.float32)
    above = np.asarray(frame.bottom_mm + 0.2 * frame.height_mm - frame.z, np.float32)
    fat = _smooth_max(_smooth_max(column, cage + 6 * scale, 12 * scale), above, 12 * scale)
    bone = np.minimum(
        np.minimum(_ribs(frame, cage, random), spine), _sternum_and_scapulae(frame, cage)
    )
    hilum_z = frame.bottom_mm + 0.52 * frame.height_mm
    return Anatomy(
        frame,
        body,
        np.maximum(muscle, body + 4 * scale),
        fat,
        np.minimum(heart, tubes),
        bone,
        lungs[0],
        lungs[1],
        _lung_density(frame, random, depth),
        ((hilum_z, 14 * scale, -34 * scale), (hilum_z + 6 * scale, 14 * scale, 34 * scale)),
        (hilum_z + 0.1 * frame.height_mm, 18 * scale, 1.0 * scale),
    )


def in_blur_widths(frame: Frame, distance: Array) -> Array:
    """Return a distance (mm) in units of the scan's blur across that surface.

    The blur is finer in plane than along z, so it depends on how the surface is tilted.
    """
    slopes = np.gradient(distance, *frame.spacing_mm)
    along_z = slopes[0] ** 2
    in_plane = slopes[1] ** 2 + slopes[2] ** 2
    squared = in_plane * frame.sigma_yx_mm**2 + along_z * frame.sigma_z_mm**2
    return np.asarray(distance / np.sqrt(squared + 1e-3 * frame.sigma_yx_mm**2), np.float32)


def _superellipse(x: Array, y: Array, half_x: Array, half_y: Array) -> Array:
    power = 2.4
    norm = (np.abs(x) / half_x) ** power + (np.abs(y) / half_y) ** power
    return np.asarray((norm ** (1 / power) - 1) * np.minimum(half_x, half_y), np.float32)


def _smooth_max(first: Array, second: Array, radius: float) -> Array:
    overlap = np.maximum(radius - np.abs(first - second), 0)
    return np.asarray(np.maximum(first, second) + overlap**2 / (4 * radius), np.float32)


def _smooth_min(first: Array, second: Array, radius: float) -> Array:
    return -_smooth_max(-first, -second, radius)


def _ellipsoid(frame: Frame, centre_zyx: tuple[float, ...], radii_zyx: tuple[float, ...]) -> Array:
    parts = zip((frame.z, frame.y, frame.x), centre_zyx, radii_zyx, strict=True)
    norm = sum(((axis - c) / r) ** 2 for axis, c, r in parts)
    return np.asarray((np.sqrt(norm) - 1) * min(radii_zyx), np.float32)


def _capsule(
    frame: Frame, start: NDArray[np.float64], end: NDArray[np.float64], radius: float
) -> Array:
    """Distance to a round-ended tube; points are (z, y, x) mm."""
    step = end - start
    offset = [axis - s for axis, s in zip((frame.z, frame.y, frame.x), start, strict=True)]
    along = sum(o * float(s) for o, s in zip(offset, step, strict=True)) / float(step @ step)
    share = np.clip(along, 0, 1)
    squared = sum((o - share * float(s)) ** 2 for o, s in zip(offset, step, strict=True))
    return np.asarray(np.sqrt(squared) - radius, np.float32)


def _smooth_noise(frame: Frame, random: np.random.Generator, wave_nodes: int) -> Array:
    """Unit-variance noise that changes over about ``wave_nodes`` nodes."""
    shape = (frame.z.size, frame.y.size, frame.x.size)
    coarse = random.standard_normal([max(4, n // wave_nodes + 3) for n in shape]).astype(np.float32)
    zoom = [n / c for n, c in zip(shape, coarse.shape, strict=True)]
    return np.asarray(ndimage.zoom(coarse, zoom, order=1, grid_mode=True, mode="nearest"))


def _heart(frame: Frame, random: np.random.Generator) -> Array:
    size = frame.scale * random.uniform(0.92, 1.08)
    z = frame.bottom_mm + 0.27 * frame.height_mm
    tall = min(62.0 * size, 0.26 * frame.height_mm)
    left = _ellipsoid(frame, (z, -22 * size, 26 * size), (tall, 44 * size, 52 * size))
    right = _ellipsoid(
        frame, (z + 0.25 * tall, -18 * size, -14 * size), (tall, 38 * size, 36 * size)
    )
    return _smooth_min(left, right, 12 * size)


def _great_vessels(frame: Frame) -> Array:
    """Descending aorta, arch, ascending aorta, superior vena cava, pulmonary trunk."""
    s, low, tall = frame.scale, frame.bottom_mm, frame.height_mm
    arch, root = low + 0.72 * tall, low + 0.42 * tall
    points = [
        ((-50.0, 52 * s, 14 * s), (arch - 14 * s, 46 * s, 22 * s), 12 * s),
        ((arch - 14 * s, 46 * s, 22 * s), (arch, 14 * s, 16 * s), 12 * s),
        ((arch, 14 * s, 16 * s), (arch - 10 * s, -18 * s, -6 * s), 13 * s),
        ((arch - 10 * s, -18 * s, -6 * s), (root, -26 * s, -4 * s), 15 * s),
        ((low + 0.95 * tall, -6 * s, -20 * s), (root, -8 * s, -24 * s), 9 * s),
        ((root, -34 * s, 14 * s), (low + 0.58 * tall, -4 * s, 22 * s), 13 * s),
    ]
    tubes = [_capsule(frame, np.array(a), np.array(b), r) for a, b, r in points]
    return np.asarray(np.minimum.reduce(tubes))


def _spine(frame: Frame) -> Array:
    """Vertebral bodies with discs between, arch, spinous and transverse processes."""
    s = frame.scale
    body = np.hypot(frame.x / 1.2, frame.y - 66 * s) - 16 * s
    pitch = 25 * s
    phase = np.abs((frame.z / pitch) % 1 - 0.5)  # 0.5 in the middle of a disc
    vertebra = body + 3.0 * s * np.clip((phase - 0.36) / 0.1, 0, 1)
    canal = np.hypot(frame.x, frame.y - 91 * s) - 8.5 * s
    arch = np.maximum(np.abs(canal - 3 * s) - 3 * s, 80 * s - frame.y)
    spinous = np.maximum(np.abs(frame.x) - 3 * s, np.abs(frame.y - 102 * s) - 5 * s)
    transverse = np.maximum(np.abs(frame.y - 84 * s) - 5 * s, np.abs(frame.x) - 30 * s)
    transverse = np.maximum(transverse, (phase - 0.2) * pitch)
    bones = np.minimum(np.minimum(vertebra, arch), np.minimum(spinous, transverse))
    return np.asarray(np.maximum(bones, -canal), np.float32)


def _ribs(frame: Frame, cage: Array, random: np.random.Generator) -> Array:
    """Slanting hoops around the cage; in front they give way to cartilage, drawn as muscle."""
    s = frame.scale
    pitch = max(26 * s * frame.height_mm / NATURAL_LUNG_MM, 17 * s)
    forward = (frame.y / (84 * s)).clip(-1.2, 1.2)
    height = frame.z - 24 * s * forward + pitch * random.uniform()
    off = ((height / pitch) % 1 - 0.5) * pitch
    hoop = np.hypot((cage - 6.5 * s) * 1.5, off) - 5.5 * s
    front = np.maximum(-frame.y - 52 * s, 0) * (np.abs(frame.x) < 70 * s)
    return np.asarray(hoop + 0.5 * front, np.float32)


def _sternum_and_scapulae(frame: Frame, cage: Array) -> Array:
    s, level = frame.scale, frame.level
    sternum = np.maximum(np.abs(frame.x) - 17 * s, np.abs(cage - 7 * s) - 5 * s)
    sternum = np.maximum(np.maximum(sternum, frame.y), (0.4 - level) * frame.height_mm)
    plate = np.abs(cage - 20 * s - 0.05 * np.abs(frame.x)) - 3 * s
    plate = np.maximum(plate, np.abs(np.abs(frame.x) - 92 * s) - 34 * s)
    plate = np.maximum(np.maximum(plate, 22 * s - frame.y), (0.55 - level) * frame.height_mm)
    return np.asarray(np.minimum(sternum, plate), np.float32)


def _lung(
    frame: Frame, random: np.random.Generator, side: int, wall: Array, centre: Array
) -> Array:
    """One lung: inside the cage, beside the mediastinum, above its diaphragm, below its apex.

    Parameters
    ----------
    side
        -1 for the right, 1 for the left lung.
    """
    s, tall = frame.scale, frame.height_mm
    x = frame.x * side
    middle = 17 * s - 12 * s * np.clip((-frame.y - 25 * s) / (40 * s), 0, 1)
    edge = middle + 14 * s * np.exp(-(((frame.y - 60 * s) / (26 * s)) ** 2)) - x
    dome_mm = tall * random.uniform(0.2, 0.25) * (1.08 if side < 0 else 0.95)
    # Highest in front of the middle, so that the deepest recess is at the back.
    hill = 1 - ((x - 62 * s) / (76 * s)) ** 2 - ((frame.y + 30 * s) / (98 * s)) ** 2
    floor = frame.bottom_mm + dome_mm * np.maximum(hill, 0)
    roof_mm = 0.55 * tall
    fall = ((x - 44 * s) / (88 * s)) ** 2 + ((frame.y - 12 * s) / (92 * s)) ** 2
    roof = frame.bottom_mm + tall - roof_mm * fall
    lung = _smooth_max(wall, np.asarray(edge, np.float32), 8 * s)
    lung = _smooth_max(lung, np.asarray(0.8 * (floor - frame.z), np.float32), 5 * s)
    lung = _smooth_max(lung, np.asarray(0.7 * (frame.z - roof), np.float32), 10 * s)
    return _smooth_max(lung, -centre, 5 * s)


def _lung_density(frame: Frame, random: np.random.Generator, depth_mm: float) -> Array:
    """HU of the lung between its vessels: denser at the back, uneven on two scales."""
    base = random.uniform(-885, -845) + 32 * frame.y / depth_mm - 14 * (frame.level - 0.5)
    uneven = 9 * _smooth_noise(frame, random, 9) + 10 * _smooth_noise(frame, random, 2)
    return np.asarray(base + uneven, np.float32)
