"""From a spec to voxels: anatomy, vessels and spheres, then slice by slice."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firstread.progress import Progress, silent
from inference.phantom.anatomy import Anatomy, Frame, in_blur_widths, make_anatomy, make_frame
from inference.phantom.nodules import Painted, Sphere, clear_of, paint_of, place_spheres, truth_of
from inference.phantom.noise import NoiseMaker
from inference.phantom.sampling import SliceSampler
from inference.phantom.spec import Phantom, PhantomSpec
from inference.phantom.trees import (
    Tubes,
    draw_tubes,
    grow_airways,
    grow_vessels,
    inside_lungs,
    join,
    walls_of,
)
from inference.volume import Grid, Volume

Array = NDArray[np.float32]

AIR_HU, SKIN_HU, FAT_HU, MUSCLE_HU = -1000.0, 10.0, -100.0, 52.0
MEDIASTINUM_HU, BLOOD_HU, VESSEL_HU = -85.0, 46.0, 42.0
MARROW_HU, CORTEX_HU = 190.0, 620.0
TABLE_FOAM_HU, TABLE_SHELL_HU = -930.0, -350.0
SKIN_MM, CORTEX_MM = 1.8, 1.6
LOWEST_HU, HIGHEST_HU = -1024, 3071


def make_phantom(spec: PhantomSpec, progress: Progress = silent) -> Phantom:
    """Return the phantom of a spec: the same for the same spec, on every machine of one kind.

    Raises
    ------
    UsageError
        ``usage``: a nodule finds no room.
    """
    shapes, trees, texture, quantum = (
        np.random.default_rng([spec.seed, stream]) for stream in range(4)
    )
    frame = make_frame(spec)
    anatomy = make_anatomy(frame, shapes)
    airways = grow_airways(anatomy, trees)
    vessels = grow_vessels(anatomy, trees)
    vessels = vessels.only(inside_lungs(anatomy, vessels))
    walls = walls_of(airways)
    spheres = place_spheres(spec.nodules, anatomy, join([vessels, walls]), texture)
    grid = _grid(spec, frame)
    scene = _Scene(
        spec,
        frame,
        drawn_tubes=_draw(spec, frame, [clear_of(spheres, vessels), clear_of(spheres, walls)]),
        drawn_lumen=_draw(spec, frame, [clear_of(spheres, airways)]),
        painted=tuple(paint_of(s, _index_of(s, spec), _spacing(spec)) for s in spheres),
    )
    noise = NoiseMaker(spec.matrix, spec.in_plane_mm, spec.slice_mm, spec.noise_hu, quantum)
    hu = _render(scene, anatomy, noise, progress)
    return Phantom(
        spec,
        Volume(hu, grid),
        tuple(
            truth_of(number, sphere, _index_of(sphere, spec), grid)
            for number, sphere in enumerate(spheres, start=1)
        ),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """What is drawn over the anatomy: shares of 255 on the voxel grid, and spheres."""

    spec: PhantomSpec
    frame: Frame
    drawn_tubes: NDArray[np.uint8]
    drawn_lumen: NDArray[np.uint8]
    painted: tuple[Painted, ...]


def _spacing(spec: PhantomSpec) -> NDArray[np.float64]:
    return np.array([spec.slice_mm, spec.in_plane_mm, spec.in_plane_mm])


def _first_voxel_mm(spec: PhantomSpec) -> NDArray[np.float64]:
    half = (spec.matrix - 1) / 2 * spec.in_plane_mm
    return np.array([0.0, -half, -half])


def _grid(spec: PhantomSpec, frame: Frame) -> Grid:
    """Place the frame in the patient: x and y as they are, z 0 in the middle of the lungs."""
    half = (spec.matrix - 1) / 2 * spec.in_plane_mm
    middle = frame.bottom_mm + frame.height_mm / 2
    origin = (round(-half, 4), round(-half, 4), round(-middle, 2))
    spacing = (spec.slice_mm, spec.in_plane_mm, spec.in_plane_mm)
    return Grid.regular(origin, spacing, (spec.slices, spec.matrix, spec.matrix))


def _index_of(sphere: Sphere, spec: PhantomSpec) -> NDArray[np.float64]:
    return np.asarray((sphere.centre_mm - _first_voxel_mm(spec)) / _spacing(spec))


def _draw(spec: PhantomSpec, frame: Frame, tubes: list[Tubes]) -> NDArray[np.uint8]:
    out = np.zeros((spec.slices, spec.matrix, spec.matrix), np.uint8)
    draw_tubes(join(tubes), frame, _first_voxel_mm(spec), _spacing(spec), out)
    return out


def _render(
    scene: _Scene, anatomy: Anatomy, noise: NoiseMaker, progress: Progress
) -> NDArray[np.int16]:
    spec = scene.spec
    paint = _AnatomyPainter(anatomy, spec)
    hu = np.empty((spec.slices, spec.matrix, spec.matrix), np.int16)
    for z in range(spec.slices):
        plane = paint.slice_at(z * spec.slice_mm)
        _blend(plane, scene.drawn_tubes[z], VESSEL_HU, only_brighter=True)
        _blend(plane, scene.drawn_lumen[z], AIR_HU)
        for sphere in scene.painted:
            if z in sphere.slices:
                sphere.paint(z, plane)
        plane += noise.next_slice()
        np.clip(np.rint(plane, out=plane), LOWEST_HU, HIGHEST_HU, out=plane)
        hu[z] = plane
        progress("phantom", z + 1, spec.slices)
    return hu


def _blend(
    plane: Array, shares: NDArray[np.uint8], hu: float, *, only_brighter: bool = False
) -> None:
    rows = np.flatnonzero(shares.any(axis=1))
    if len(rows) == 0:
        return
    columns = np.flatnonzero(shares.any(axis=0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    patch = plane[box]
    contrast = hu - patch
    if only_brighter:
        np.maximum(contrast, 0, out=contrast)
    contrast *= shares[box]
    contrast *= np.float32(1 / 255)
    patch += contrast


class _AnatomyPainter:
    """Paints organs over each other, each with its own soft edge."""

    def __init__(self, anatomy: Anatomy, spec: PhantomSpec) -> None:
        frame = anatomy.frame
        self._sigma_mm = frame.sigma_yx_mm
        self._empty = _air_and_table(spec, frame)

        def sampler(distance: Array) -> SliceSampler:
            widths = in_blur_widths(frame, distance)
            return SliceSampler(frame, widths, spec.matrix, widths < 3)

        self._body = sampler(anatomy.body)
        self._flat = [
            (sampler(anatomy.muscle), MUSCLE_HU),
            (sampler(anatomy.fat), MEDIASTINUM_HU),
            (sampler(anatomy.soft), BLOOD_HU),
        ]
        self._bone = sampler(anatomy.bone)
        lungs = np.minimum(anatomy.right, anatomy.left)
        self._lungs = sampler(lungs)
        near = in_blur_widths(frame, lungs) < 3
        self._lung_hu = SliceSampler(frame, anatomy.lung_hu, spec.matrix, near)

    def slice_at(self, z_mm: float) -> Array:
        """Return float32 HU of the organs at that height, without noise."""
        plane = self._empty.copy()
        widths = self._body.at(z_mm)
        patch = plane[self._body.rows, self._body.columns]
        patch += _share(widths) * (SKIN_HU - patch)
        patch += _share(widths + SKIN_MM / self._sigma_mm) * (FAT_HU - patch)
        for organ, hu in self._flat:
            patch = plane[organ.rows, organ.columns]
            patch += _share(organ.at(z_mm)) * (hu - patch)
        widths = self._bone.at(z_mm)
        patch = plane[self._bone.rows, self._bone.columns]
        inner = _share(widths + CORTEX_MM / self._sigma_mm)
        patch += _share(widths) * (CORTEX_HU + (MARROW_HU - CORTEX_HU) * inner - patch)
        patch = plane[self._lungs.rows, self._lungs.columns]
        patch += _share(self._lungs.at(z_mm)) * (self._lung_hu.at(z_mm) - patch)
        return plane


def _share(widths: Array) -> Array:
    """Return a blurred edge, near the normal integral: 1 inside (negative), 0 outside."""
    rise = np.clip(0.5 - widths * np.float32(1 / 3.76), 0, 1)
    return np.asarray(rise * rise * (3 - 2 * rise))


def _air_and_table(spec: PhantomSpec, frame: Frame) -> Array:
    """Return what is the same in every slice: air, and a table top of foam in a thin shell."""
    axis = (np.arange(spec.matrix) - (spec.matrix - 1) / 2) * spec.in_plane_mm
    x, y, s = axis[None, :], axis[:, None], frame.scale
    top = 116 * s - 14 * s * (x / (170 * s)) ** 2
    depth = np.maximum(np.abs(y - top - 9 * s) - 8 * s, np.abs(x) - 160 * s) / frame.sigma_yx_mm
    outer = _share(depth.astype(np.float32))
    inner = _share((depth + 1.5 / frame.sigma_yx_mm).astype(np.float32))
    table = outer * (TABLE_SHELL_HU - AIR_HU) + inner * (TABLE_FOAM_HU - TABLE_SHELL_HU)
    return np.asarray(AIR_HU + table, np.float32)
