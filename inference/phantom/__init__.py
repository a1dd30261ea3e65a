"""Synthetic chest CTs with exact truth, drawn by ``make_phantom``, written by ``write_phantom``.

==============  ===================================================================
module          what it does
==============  ===================================================================
``spec``        what is wanted, and what is known afterwards
``anatomy``     organs as smooth distances on a coarse grid
``sampling``    reads such a grid at points and on slices
``trees``       vessels and airways
``nodules``     spheres: place, blur, exact mask
``noise``       a kernel's noise
``make``        spec to voxels, slice by slice
``writer``      CT instances and ``truth.json``
==============  ===================================================================
"""

from inference.phantom.make import make_phantom
from inference.phantom.spec import (
    Density,
    NameStyle,
    NoduleSpec,
    Phantom,
    PhantomNodule,
    PhantomSpec,
    PixelStyle,
)
from inference.phantom.writer import write_phantom

__all__ = [
    "Density",
    "NameStyle",
    "NoduleSpec",
    "Phantom",
    "PhantomNodule",
    "PhantomSpec",
    "PixelStyle",
    "make_phantom",
    "write_phantom",
]
