"""A prepared scan: the lung box on the network's grid, ready to be cut into patches."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.targets import Mark


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """The surroundings of the lungs on the network's grid, with what is known of them.

    Attributes
    ----------
    name
        Of the case and how it was resampled, for logs and the data list.
    hu
        int16 (z, y, x) in LPS order, the region that the network sees in service.
    lungs
        bool (z, y, x).
    nodule_mask
        bool (z, y, x), known nodules.
    marks
        Known nodules and ignored regions, in voxels of :attr:`hu`.
    slice_mm
        Thickness and step of the source's slices: how blurred an inserted nodule must be along z.
    spacing_mm
        Of the isotropic grid.
    origin_lps_mm
        Of voxel (0, 0, 0).
    """

    name: str
    hu: NDArray[np.int16]
    lungs: NDArray[np.bool_]
    nodule_mask: NDArray[np.bool_]
    marks: tuple[Mark, ...]
    slice_mm: float
    spacing_mm: float
    origin_lps_mm: tuple[float, float, float]


def save(background: Background, path: Path) -> None:
    """Write one file; whoever reads it again needs no code of the file's own."""
    about = {
        "name": background.name,
        "marks": [asdict(mark) for mark in background.marks],
        "slice_mm": background.slice_mm,
        "spacing_mm": background.spacing_mm,
        "origin_lps_mm": background.origin_lps_mm,
    }
    whole = path.with_suffix(".part.npz")
    np.savez(
        whole,
        hu=background.hu,
        lungs=np.packbits(background.lungs),
        nodule_mask=np.packbits(background.nodule_mask),
        about=np.array(json.dumps(about)),
    )
    whole.replace(path)


def load(path: Path) -> Background:
    """Read what :func:`save` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        hu = stored["hu"]
        about = json.loads(str(stored["about"]))
        lungs, nodule_mask = (
            np.unpackbits(stored[key], count=hu.size).reshape(hu.shape).astype(bool)
            for key in ("lungs", "nodule_mask")
        )
    marks = tuple(
        Mark(tuple(mark["centre_zyx"]), mark["diameter_mm"], mark["is_ignored"])
        for mark in about["marks"]
    )
    return Background(
        about["name"], hu, lungs, nodule_mask, marks,
        about["slice_mm"], about["spacing_mm"], tuple(about["origin_lps_mm"]),
    )  # fmt: skip
