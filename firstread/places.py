"""Where results go: whether anything can be written there, and is apart from what is read."""

import errno
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from firstread.errors import OutputError, UsageError

_ELSEWHERE = "choose another place for the output"

# What the operating system says, as a sentence about {place} or the folder {above}, and advice.
_SENTENCES = {
    errno.EACCES: ("you have no right to write in {above}", _ELSEWHERE),
    errno.EPERM: ("you have no right to write in {above}", _ELSEWHERE),
    errno.ENOENT: ("{above} takes no new folders", _ELSEWHERE),
    errno.EROFS: ("{above} can only be read", _ELSEWHERE),
    errno.ENOSPC: ("the disk of {above} is full", f"make room, or {_ELSEWHERE}"),
    errno.EDQUOT: ("your share of the disk of {above} is full", f"make room, or {_ELSEWHERE}"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter name for the output"),
    # A folder that a disk or a container's volume is mounted on cannot be renamed.
    errno.EBUSY: ("{place} is in use, so it cannot be replaced", "name a new folder in it"),
}


def check_writable(place: Path) -> None:
    """Make a temporary folder where ``place`` would stand, and remove it; parents may be absent.

    Raises
    ------
    OutputError
        ``output-unwritable``
    """
    above = _folder_above(place)
    if place.absolute() == Path.cwd():
        raise OutputError(
            f"{place} is the folder you are in, which would be replaced",
            advice="name a new folder in it",
        )
    try:
        # Named as those that are made later: too long a name is too long here.
        with tempfile.TemporaryDirectory(prefix=f".{place.name}.", dir=above):
            pass
    except OSError as error:
        raise cannot_write(place, error) from error


def cannot_write(place: Path, error: OSError) -> OutputError:
    """Return the error for a place that could not be written, in one sentence and with advice."""
    above = _folder_above(place)
    if not above.is_dir():
        why, advice = f"{above} is no folder", _ELSEWHERE
    else:
        unknown = (f"nothing can be written in {{above}} ({error.strerror or error})", _ELSEWHERE)
        why, advice = _SENTENCES.get(error.errno or 0, unknown)
    named = {"place": place, "above": above}
    return OutputError(
        f"{place} cannot be written: {why.format(**named)}", advice=advice.format(**named)
    )


def check_apart(out: Path, inputs: Sequence[Path]) -> None:
    """Refuse a place for results that lies in an input, or an input in it; links are followed.

    Raises
    ------
    UsageError
        ``usage``: a second run would read the results of the first, or replace its own input.
    """
    place = Path(os.path.realpath(out))
    for given in inputs:
        source = Path(os.path.realpath(given))
        if place.is_relative_to(source):
            raise UsageError(
                f"{out} lies in the input {given}, so a second run would read its own results",
                advice=f"choose a place for the output that is not in {source}",
            )
        if source.is_relative_to(place):
            raise UsageError(
                f"{out} holds the input {given}, which the results would replace",
                advice="choose a new folder for the output",
            )


def _folder_above(place: Path) -> Path:
    """Return the nearest thing above a place that is there."""
    above = place.absolute().parent
    # lexists answers False where a folder must not be looked into: then that folder is the one.
    while not os.path.lexists(above):
        above = above.parent
    return above
