"""Which package a command line means."""

from pathlib import Path


def locate(reference: str | None) -> Path:
    """Return the folder of a shipped ``NAME[@VERSION]``, or the path itself if it holds a slash.

    Raises
    ------
    PackageMissing
        ``package-missing``: nothing of that name.
    """
    from models.package import find_folder

    if reference is not None and ("/" in reference or "\\" in reference):
        return Path(reference)
    return find_folder(reference)
