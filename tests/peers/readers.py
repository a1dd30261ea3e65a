"""The readers that are compared: what each gives for a folder, and whether it said anything.

=========== ======================================================================================
reader      how it is called
=========== ======================================================================================
MONAI       ``LoadImage(reader="PydicomReader")`` on the folder, as its bundles do
SimpleITK   ``ImageSeriesReader`` on ``GetGDCMSeriesFileNames``, as its own examples do
=========== ======================================================================================

"Warned" is anything said during the call: a Python warning, a log record of level warning or above,
or text that native code writes to standard error. What a library says at import is not counted.
"""

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.peers.places import Stack

# What the two libraries raise for a series that they cannot stack.
REFUSALS = (
    RuntimeError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    IndexError,
    NotImplementedError,
)


Read = Callable[[Path], Stack]


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a reader made of a folder: a volume or an exception, and what it said meanwhile."""

    stack: Stack | None
    raised: str
    said: tuple[str, ...]


def attempt(read: Read, folder: Path) -> Outcome:
    """Call a reader and keep everything that it says."""
    said: list[str] = []
    with _listening(said):
        try:
            stack, raised = read(folder), ""
        except REFUSALS as error:
            stack, raised = None, f"{type(error).__name__}: {error}"
    return Outcome(stack, raised, tuple(said))


def monai_reader() -> Read:
    """Return MONAI's LoadImage, its (x, y, slice) and RAS turned to our order and LPS."""
    logging.disable(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from monai.transforms.io.array import LoadImage

        load = LoadImage(reader="PydicomReader")
    logging.disable(logging.NOTSET)

    def read(folder: Path) -> Stack:
        image = load(str(folder))
        affine = np.asarray(image.affine, float)
        affine[:2] *= -1.0

        def place(plane: float, row: float, column: float) -> NDArray[np.float64]:
            return np.asarray((affine @ (column, row, plane, 1.0))[:3])

        return Stack(np.transpose(image.numpy(), (2, 1, 0)), place)

    return read


def simpleitk_reader() -> Read:
    """Return SimpleITK's series reader on the names that GDCM sorts."""
    import SimpleITK as sitk  # noqa: N813 - the name everybody gives it

    def read(folder: Path) -> Stack:
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
        image = reader.Execute()

        def place(plane: float, row: float, column: float) -> NDArray[np.float64]:
            return np.asarray(image.TransformContinuousIndexToPhysicalPoint((column, row, plane)))

        return Stack(sitk.GetArrayFromImage(image), place)

    return read


@contextmanager
def _listening(said: list[str]) -> Iterator[None]:
    """Append what Python warnings, log records and native code say to ``said``."""
    handler = _Keep(said)
    root = logging.getLogger()
    with (
        warnings.catch_warnings(record=True) as caught,
        tempfile.TemporaryFile() as native,
    ):
        warnings.simplefilter("always")
        root.addHandler(handler)
        sys.stderr.flush()
        kept = os.dup(2)
        os.dup2(native.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            root.removeHandler(handler)
            said += [str(one.message) for one in caught]
            native.seek(0)
            text = native.read().decode("utf-8", "replace").strip()
            said += [text] if text else []


class _Keep(logging.Handler):
    def __init__(self, said: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.said = said

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())
