"""Builders for tests: phantoms in memory and as DICOM, each made once in a test run."""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

from inference.phantom import (
    Density,
    NameStyle,
    NoduleSpec,
    Phantom,
    PhantomSpec,
    PixelStyle,
    make_phantom,
    write_phantom,
)


@functools.cache
def a_phantom(
    nodules_mm: tuple[float, ...] = (6.0, 10.0),
    slice_mm: float = 1.25,
    *,
    density: Density = Density.SOLID,
    slices: int | None = None,
    matrix: int = 256,
    pixel_mm: float | None = None,
    noise_hu: float = 25.0,
    seed: int = 1,
    names: NameStyle = NameStyle.UTF8,
    pixels: PixelStyle = PixelStyle.UNSIGNED_12,
) -> Phantom:
    """Return a small chest, 150 mm tall unless ``slices`` says otherwise, about 1 CPU s.

    256 pixels of 1.4 mm by default. For fine pixels at the same price ``pixel_mm=0.7`` makes a
    chest of half the width.
    """
    return make_phantom(
        PhantomSpec(
            tuple(NoduleSpec(float(d), density) for d in nodules_mm),
            slice_mm=slice_mm,
            slices=round(150 / slice_mm) if slices is None else slices,
            matrix=matrix,
            pixel_mm=pixel_mm,
            noise_hu=noise_hu,
            seed=seed,
            names=names,
            pixels=pixels,
        )
    )


@functools.cache
def phantom_folder(phantom: Phantom) -> Path:
    """Return a folder with the phantom's instances and truth.json; read it, never write into it."""
    folder = Path(tempfile.mkdtemp(prefix="firstread-phantom-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    write_phantom(phantom, folder)
    return folder
