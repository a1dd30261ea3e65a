"""A contact sheet of insertions: the same place without and with, to be judged by eye.

Each cell shows, from left to right: axial without, axial with, coronal with. What can be told from
the scan's own nodules at a glance must be mended before a network learns it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from training.synthesis.bank import Bank
from training.synthesis.insertion import Look, Mix, draw_nodule, insert_nodule
from training.synthesis.places import find_place
from training.targets import Mark

Floats = NDArray[np.float32]

HALF_VOXELS, ZOOM, GAP, CAPTION = 24, 4, 6, 14
LUNG_WINDOW_HU = (-1350.0, 150.0)


def draw_sheet(
    path: Path,
    hu: Floats,
    lungs: NDArray[np.bool_],
    taken: Sequence[Mark],
    bank: Bank,
    *,
    count: int,
    rng: np.random.Generator,
    mix: Mix | None = None,
    looks: Sequence[Look] = (Look.SOLID, Look.PART_SOLID, Look.GROUND_GLASS),
    columns: int = 3,
) -> int:
    """Write a PNG of ``count`` single insertions into one scan, each into the untouched scan.

    Parameters
    ----------
    hu, lungs
        (z, y, x), z to the head, on the bank's grid.
    looks
        Density classes, taken in turn.

    Returns
    -------
    The number of insertions drawn; fewer than ``count`` where no place was found.
    """
    mix = mix or Mix()
    cells: list[Image.Image] = []
    for number in range(count):
        look = looks[number % len(looks)]
        nodule = draw_nodule(bank, look, mix, rng)
        at_edge = bool(rng.random() < mix.edge_share)
        place = find_place(hu, lungs, nodule, taken, bank.spacing_mm, at_edge=at_edge, rng=rng)
        if place is None:
            continue
        after = hu.copy()
        truth = insert_nodule(
            hu, lungs, place, nodule, look, spacing_mm=bank.spacing_mm, rng=rng, out=after
        )
        caption = f"{number + 1} {look} {truth.diameter_mm:.1f} mm{' edge' if at_edge else ''}"
        cells.append(_cell(hu, after, truth.centre_zyx, caption))
    _mounted(cells, columns).save(path)
    return len(cells)


def _cell(
    before: Floats, after: Floats, centre: tuple[float, float, float], caption: str
) -> Image.Image:
    views = [_view(before, centre, 0), _view(after, centre, 0), _view(after, centre, 1)]
    side = views[0].width
    cell = Image.new("L", (3 * side + 2 * GAP, side + CAPTION), 0)
    for index, view in enumerate(views):
        cell.paste(view, (index * (side + GAP), CAPTION))
    ImageDraw.Draw(cell).text((2, 1), caption, fill=255)
    return cell


def _view(hu: Floats, centre: tuple[float, float, float], axis: int) -> Image.Image:
    """Axial (axis 0) or coronal (axis 1, head up) piece around the centre, in a lung window."""
    index = [round(c) for c in centre]
    plane = hu.take(index[axis], axis)
    rest = [i for a, i in enumerate(index) if a != axis]
    padded = np.pad(plane, HALF_VOXELS, constant_values=LUNG_WINDOW_HU[0])
    piece = padded[rest[0] : rest[0] + 2 * HALF_VOXELS, rest[1] : rest[1] + 2 * HALF_VOXELS]
    if axis == 1:
        piece = piece[::-1]
    low, high = LUNG_WINDOW_HU
    grey = np.clip((piece - low) / (high - low), 0, 1) * 255
    picture = Image.fromarray(grey.astype(np.uint8))
    return picture.resize([n * ZOOM for n in picture.size], Image.Resampling.BICUBIC)


def _mounted(cells: Sequence[Image.Image], columns: int) -> Image.Image:
    if not cells:
        return Image.new("L", (1, 1))
    width, height = cells[0].width + 3 * GAP, cells[0].height + GAP
    rows = -(-len(cells) // columns)
    sheet = Image.new("L", (columns * width, rows * height), 40)
    for index, cell in enumerate(cells):
        sheet.paste(cell, (index % columns * width, index // columns * height))
    return sheet
