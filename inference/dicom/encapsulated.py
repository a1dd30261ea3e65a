"""A compressed frame out of its fragments, in no more memory than a frame may take."""

import io
from pathlib import Path

from inference.dicom.stored import FRAME_BYTES

# Tag and length of an item: pydicom takes any error while it reads them for the end of the pixels.
_ITEM_HEAD_BYTES = 8


class FrameTooLong(Exception):
    """To find a frame, more than ``FRAME_BYTES`` of fragments would have to be read."""


class _BoundedFile(io.FileIO):
    """A file that gives no more than a frame."""

    _left = FRAME_BYTES

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            raise FrameTooLong
        if size > _ITEM_HEAD_BYTES:
            self._left -= size
        if self._left < 0:
            raise FrameTooLong
        return super().read(size) or b""


def encapsulated_frame(path: Path, offset: int, index: int, frames: int) -> bytes:
    """Return a frame (from 0) of the encapsulated pixels that begin at ``offset``.

    Raises
    ------
    FrameTooLong
    ValueError, EOFError, IndexError
        The fragments cannot be told apart.
    """
    from pydicom.encaps import get_frame

    with _BoundedFile(path) as stream:
        stream.seek(offset)
        return get_frame(stream, index, number_of_frames=frames)
