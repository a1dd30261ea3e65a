"""Which package a command line means."""

from pathlib import Path


def locate(reference: str | None) -> Path:
    """Return the folder that :func:`models.package.locate` finds; imported when it is needed."""
    from models import package

    return package.locate(reference)
