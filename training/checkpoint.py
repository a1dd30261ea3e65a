"""The state of a run on disk: whole or absent, and enough to go on as if nothing had happened."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from firstread.errors import ConfigurationError


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A run at a step.

    Attributes
    ----------
    step
        Steps done.
    trained_s
        Seconds spent in steps, over all parts of the run.
    configuration_sha256
        Of the configuration and data that the run began with; a resumed run must have the same.
    mlflow_run
        Empty when the run is not tracked.
    network, average, optimiser
        State dictionaries: the network, its exponential moving average, AdamW.
    """

    step: int
    trained_s: float
    configuration_sha256: str
    mlflow_run: str
    network: dict[str, Any]
    average: dict[str, Any]
    optimiser: dict[str, Any]


def write(checkpoint: Checkpoint, path: Path) -> None:
    """Write beside the old one, flush to the disk, and only then take its place."""
    part = path.with_suffix(".part")
    state = {name: getattr(checkpoint, name) for name in Checkpoint.__slots__}
    with part.open("wb") as stream:
        torch.save(state, stream)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)


def read(path: Path, configuration_sha256: str | None = None) -> Checkpoint:
    """Read what :func:`write` wrote.

    Parameters
    ----------
    configuration_sha256
        What the run must have begun with; None asks nothing.

    Raises
    ------
    ConfigurationError
        ``configuration``: there is no checkpoint, or it belongs to another configuration.
    """
    if not path.is_file():
        raise ConfigurationError(
            f"{path}: no checkpoint to resume", advice="start the run without --resume"
        )
    checkpoint = Checkpoint(**torch.load(path, weights_only=True))
    if configuration_sha256 not in (None, checkpoint.configuration_sha256):
        raise ConfigurationError(
            f"{path.name} was trained with another configuration or other data",
            advice="put the old configuration back, or train into another folder without --resume",
        )
    return checkpoint
