"""Branching vessels and airways, grown towards random targets, drawn as soft-edged tubes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.phantom.anatomy import Anatomy, Frame
from inference.phantom.sampling import at_points, points_inside

Floats = NDArray[np.float64]

# Parent radius from the children's: r**k = sum(r_i**k); between Murray's 3 and area-preserving 2.
JUNCTION_POWER = 2.35
TWIG_RADIUS_MM = 0.45
TARGETS_PER_LITRE, FEWEST_TARGETS = 200, 80
AIRWAY_TARGETS = 16
STEP_MM, CLEAR_ROOT_MM = 6.0, 22.0
# What the way to the root counts beside the gap to a branch: more gives many thin stems.
WAY_SHARE = 0.3
WALL_SHARE, WALL_MM = 0.12, 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Tubes:
    """Straight pieces: (n, 3) ends in mm (z, y, x) of the frame, and (n,) radii in mm."""

    start: Floats
    end: Floats
    radius: Floats

    def only(self, keep: NDArray[np.bool_]) -> "Tubes":
        """Return the pieces where ``keep`` (n,) is set."""
        return Tubes(self.start[keep], self.end[keep], self.radius[keep])

    def widened(self, by_mm: Floats) -> "Tubes":
        """Return the pieces with other radii."""
        return Tubes(self.start, self.end, self.radius + by_mm)

    def distance_mm(self, point: Floats) -> Floats:
        """Return (n,) distances of a point from each piece's surface."""
        step = self.end - self.start
        length2 = np.maximum((step**2).sum(1), 1e-9)
        share = np.clip(((point - self.start) * step).sum(1) / length2, 0, 1)
        nearest = self.start + share[:, None] * step
        return np.asarray(np.linalg.norm(nearest - point, axis=1) - self.radius)


def join(parts: list[Tubes]) -> Tubes:
    """Return all pieces in one."""
    return Tubes(
        np.concatenate([p.start for p in parts]),
        np.concatenate([p.end for p in parts]),
        np.concatenate([p.radius for p in parts]),
    )


def grow_vessels(anatomy: Anatomy, random: np.random.Generator) -> Tubes:
    """Return arteries and veins of both lungs."""
    trees = []
    for lung, hilum in zip((anatomy.right, anatomy.left), anatomy.hila_mm, strict=True):
        litres = float((lung < 0).sum()) * float(np.prod(anatomy.frame.spacing_mm)) / 1e6
        count = max(FEWEST_TARGETS, round(TARGETS_PER_LITRE * litres / anatomy.frame.scale**2))
        for shift_mm in ((6.0, -10.0, 0.0), (-14.0, -4.0, 0.0)):
            root = np.array(hilum) + np.array(shift_mm) * anatomy.frame.scale
            targets = points_inside(anatomy.frame, lung, 2.5, count, random)
            trees.append(_grow(root, targets, TWIG_RADIUS_MM, random))
    return join(trees)


def grow_airways(anatomy: Anatomy, random: np.random.Generator) -> Tubes:
    """Return the lumen of trachea, main bronchi and the first generations in both lungs."""
    frame, s = anatomy.frame, anatomy.frame.scale
    carina = np.array(anatomy.carina_mm)
    top = np.array([float(frame.z[-1, 0, 0]) + 20, 4 * s, 0.0])
    parts = [_straight(top, carina, 8.5 * s)]
    for lung, hilum in zip((anatomy.right, anatomy.left), anatomy.hila_mm, strict=True):
        parts.append(_straight(carina, np.array(hilum), 5.5 * s))
        targets = points_inside(frame, lung, 25 * s, AIRWAY_TARGETS, random)
        tree = _grow(np.array(hilum), targets, 1.0 * s, random)
        parts.append(Tubes(tree.start, tree.end, np.minimum(tree.radius, 4.5 * s)))
    return join(parts)


def walls_of(airways: Tubes) -> Tubes:
    """Return the airways with their walls."""
    return airways.widened(WALL_MM + WALL_SHARE * airways.radius)


def inside_lungs(anatomy: Anatomy, tubes: Tubes) -> NDArray[np.bool_]:
    """Return (n,) whether the middle of each piece lies in a lung, 1.5 mm or more from its edge."""
    lungs = np.minimum(anatomy.right, anatomy.left)
    return at_points(anatomy.frame, lungs, (tubes.start + tubes.end) / 2) < -1.5


def draw_tubes(
    tubes: Tubes, frame: Frame, origin_mm: Floats, spacing_mm: Floats, out: NDArray[np.uint8]
) -> None:
    """Raise ``out`` to each voxel's share of tube, 255 for all of it.

    Parameters
    ----------
    origin_mm, spacing_mm
        (z, y, x) of voxel (0, 0, 0), and between voxels, in the frame's millimetres.
    out
        uint8 (z, y, x), written to; pieces keep the larger share where they overlap.
    """
    sigma = np.array([frame.sigma_z_mm, frame.sigma_yx_mm, frame.sigma_yx_mm])
    reach = tubes.radius[:, None] + 2.0 * sigma
    low = np.ceil((np.minimum(tubes.start, tubes.end) - reach - origin_mm) / spacing_mm).astype(int)
    high = np.floor((np.maximum(tubes.start, tubes.end) + reach - origin_mm) / spacing_mm).astype(
        int
    )
    low, high = np.maximum(low, 0), np.minimum(high + 1, out.shape)
    for index in np.flatnonzero((high > low).all(axis=1)):
        (z0, y0, x0), (z1, y1, x1) = low[index], high[index]
        axes = [
            (origin_mm[a] + spacing_mm[a] * np.arange(low[index][a], high[index][a])).astype(
                np.float32
            )
            for a in range(3)
        ]
        share = _share_of_tube(
            axes, tubes.start[index], tubes.end[index], tubes.radius[index], sigma
        )
        piece = out[z0:z1, y0:y1, x0:x1]
        np.maximum(piece, share, out=piece)


def _share_of_tube(
    axes: list[NDArray[np.float32]], start: Floats, end: Floats, radius: float, sigma: Floats
) -> NDArray[np.uint8]:
    step = end - start
    length2 = np.float32(max(float(step @ step), 1e-9))
    z, y, x = (axis - np.float32(s) for axis, s in zip(axes, start, strict=True))
    dz, dy, dx = (np.float32(s) for s in step)
    z, y, x = z[:, None, None], y[None, :, None], x[None, None, :]
    along = np.clip((z * dz + (y * dy + x * dx)) / length2, 0, 1)
    off_z, off_y, off_x = z - along * dz, y - along * dy, x - along * dx
    in_plane = off_y * off_y + off_x * off_x + np.float32(1e-6)
    along_z = off_z * off_z
    squared = in_plane + along_z
    blur2 = (in_plane * np.float32(sigma[1] ** 2) + along_z * np.float32(sigma[0] ** 2)) / squared
    # A soft edge at the radius holds radius**2 + sigma**2; lowered by this the section stays true,
    # which is how blur dims thin vessels.
    peak = radius**2 / (radius**2 + (sigma[0] ** 2 + sigma[1] ** 2) / 2)
    distance = (np.sqrt(squared) - np.float32(radius)) / np.sqrt(blur2)
    rise = np.clip(0.5 - distance / 3.76, 0, 1)
    return np.asarray(255 * peak * rise * rise * (3 - 2 * rise) + 0.5, np.uint8)


def _straight(start: Floats, end: Floats, radius: float) -> Tubes:
    nodes = start + np.linspace(0, 1, 12)[:, None] * (end - start)
    return Tubes(nodes[:-1], nodes[1:], np.full(11, radius))


def _grow(root: Floats, targets: Floats, twig_mm: float, random: np.random.Generator) -> Tubes:
    """Join the targets to a tree, nearest to the root first, each at its cheapest node.

    A node's cost is its distance plus part of the way from there to the root, which makes branches
    leave at acute angles instead of circling.
    """
    gaps = np.linalg.norm(targets - root, axis=1)
    # Targets beside the root would make the stem, which all others leave, a zigzag.
    order = [i for i in np.argsort(gaps, kind="stable") if gaps[i] >= CLEAR_ROOT_MM]
    capacity = 1 + 40 * len(targets)
    nodes, way = np.zeros((capacity, 3)), np.zeros(capacity)
    parent = np.zeros(capacity, int)
    nodes[0], count = root, 1
    for target in targets[order]:
        gaps = np.linalg.norm(nodes[:count] - target, axis=1)
        start = int(np.argmin(gaps + WAY_SHARE * way[:count]))
        pieces = min(max(1, round(gaps[start] / STEP_MM)), 39)
        bend = random.standard_normal(3) * 0.08 * gaps[start]
        for k in range(1, pieces + 1):
            share = k / pieces
            place = nodes[start] * (1 - share) + target * share + bend * np.sin(np.pi * share)
            parent[count] = start if k == 1 else count - 1
            way[count] = way[parent[count]] + np.linalg.norm(place - nodes[parent[count]])
            nodes[count] = place
            count += 1
    flow = np.zeros(count)
    leaves = np.ones(count, bool)
    leaves[parent[1:count]] = False
    flow[leaves] = twig_mm**JUNCTION_POWER
    for k in range(count - 1, 0, -1):
        flow[parent[k]] += flow[k]
    radius = flow[1:] ** (1 / JUNCTION_POWER)
    return Tubes(nodes[parent[1:count]], nodes[1:count], radius)
