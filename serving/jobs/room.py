"""No room on this machine is nobody's fault: such an attempt is not counted against a study.

A full disk, a used-up quota, no more open files or no memory would meet every study alike, and
pass. Told apart where the analysis runs, so that both engines say the same.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from firstread.errors import OutputError
from serving.errors import Unavailable

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM})


class NoRoom(Unavailable):
    """The machine lacks disk, memory or open files; the study is as good as it was."""

    code = "no-room"


def lacks_room(error: BaseException) -> bool:
    """Whether an error, or one that it was raised from, says that the machine has no room."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, MemoryError | OutputError | Unavailable):
            return True
        if isinstance(link, OSError) and link.errno in _NO_ROOM:
            return True
        link = link.__cause__
    return False


@contextmanager
def needing_room() -> Iterator[None]:
    """Have no room within this block told as such, whatever stumbled over it.

    Raises
    ------
    NoRoom
        ``no-room``
    """
    try:
        yield
    except Exception as error:
        if lacks_room(error):
            raise NoRoom(
                f"no room for an analysis: {_why(error)}",
                advice="make room: disk, memory, open files; studies are tried again by themselves",
            ) from error
        raise


def _why(error: BaseException) -> str:
    """Say why without the error's own text, which may name files."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
