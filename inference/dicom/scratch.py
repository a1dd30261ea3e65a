"""Temporary folders and files: removed in any case; no room for them is nobody's damaged slice."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from firstread.errors import OutputError

_PREFIX = "firstread-"


@contextmanager
def needing_room() -> Iterator[None]:
    """Turn what the operating system refuses within this block into an error with advice.

    Raises
    ------
    OutputError
        ``output-unwritable``
    """
    try:
        yield
    except OSError as error:
        raise no_room(error.strerror or "none found") from error


def no_room(why: str) -> OutputError:
    """Return the error for a temporary file that could not be written."""
    return OutputError(
        f"the temporary folder cannot be written: {why}",
        advice="make room in it, or name another folder in TMPDIR",
    )


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give a temporary folder that is gone when the block ends, however it ends."""
    with needing_room():
        folder = tempfile.TemporaryDirectory(prefix=_PREFIX)
    with folder as name:
        yield Path(name)


def make_scratch_folder() -> Path:
    """Return a temporary folder that the caller removes: nothing else ever does."""
    with needing_room():
        return Path(tempfile.mkdtemp(prefix=_PREFIX))


@contextmanager
def scratch_file(path: Path) -> Iterator[Callable[[bytes], None]]:
    """Give a function that writes to a new file; what else fails in the block stays what it is."""
    with needing_room():
        # Without a buffer, so that a full disk is met by a write and not by the end of the block.
        out = path.open("xb", buffering=0)

    def write(data: bytes) -> None:
        left = memoryview(data)
        with needing_room():
            while left:
                left = left[out.write(left) :]

    with out:
        yield write
