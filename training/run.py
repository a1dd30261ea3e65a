"""A whole run, from a configuration to a package: what ``firstread train`` calls."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from firstread.version import __version__
from training import checkpoint as checkpoints
from training.banks import InsertFromBanks, load_banks
from training.configuration import (
    TrainingConfiguration,
    ignored_regions_path,
    read_configuration,
)
from training.display import shown_progress
from training.loop import Batches, LoopSettings, Report, train_network
from training.network import LungNoduleNet
from training.patches import PatchRecipe
from training.preparation import Prepared, prepare, write_data_list
from training.synthesis.insertion import Mix
from training.tracking import Tracked, tracked_run


@dataclass(frozen=True, slots=True)
class RunFiles:
    """Where a run keeps its things."""

    folder: Path

    @property
    def checkpoint(self) -> Path:
        """The run's state."""
        return self.folder / "checkpoint.pt"

    @property
    def curve(self) -> Path:
        """One JSON line for each report."""
        return self.folder / "curve.jsonl"

    @property
    def data(self) -> Path:
        """The data list."""
        return self.folder / "data.json"

    @property
    def validation(self) -> Path:
        """What the exported network gave on validation volumes."""
        return self.folder / "validation.json"


def train(
    configuration_path: Path,
    *,
    out: Path,
    minutes: float | None = None,
    resume: bool = False,
) -> bool:
    """Train until the run is complete or the process is asked to stop.

    Parameters
    ----------
    configuration_path
        ``configs/training/*.yaml``.
    out
        Folder of the run: checkpoint, curve, data list, MLflow's record.
    minutes
        Budget of training time of the whole run, earlier parts included; None: the configuration's
        number of patches.
    resume
        Go on from the checkpoint in ``out``.

    Returns
    -------
    Whether the run is complete; False: stopped at a checkpoint, to be resumed.

    Raises
    ------
    ConfigurationError
        ``configuration``: the file, a scan or the checkpoint is wrong.
    """
    configuration = read_configuration(configuration_path)
    files = RunFiles(out)
    out.mkdir(parents=True, exist_ok=True)
    with shown_progress() as shown:
        prepared = prepare(
            configuration, ignored_regions_path(configuration_path, configuration), shown.stage
        )
        write_data_list(prepared.data, files.data)
        digest = run_sha256(configuration, prepared)
        resumed = checkpoints.read(files.checkpoint, digest) if resume else None
        # Before any thread of this process computes: the workers that make patches are forked.
        torch.set_num_threads(configuration.loop.threads)
        torch.manual_seed(configuration.seed)
        settings = loop_settings(configuration, minutes)
        parameters = {**flat(configuration), "data": digest, "code": code_version()}
        with tracked_run(out, parameters, resumed.mlflow_run if resumed else "") as tracked:
            tracked.artifacts(files.data, "data")
            return train_network(
                LungNoduleNet(configuration.widths),
                _batches(configuration, prepared, settings),
                settings,
                files.checkpoint,
                configuration_sha256=digest,
                mlflow_run=tracked.run_id,
                resumed=resumed,
                workers=configuration.loop.workers,
                report=_recorder(files, tracked, shown.report),
            )


def _batches(
    configuration: TrainingConfiguration, prepared: Prepared, settings: LoopSettings
) -> Batches:
    banks = load_banks(configuration, prepared.backgrounds, validation=False)
    recipe = PatchRecipe(
        configuration.patches.shape_zyx,
        configuration.patches.lesion_share,
        configuration.patches.noise_hu,
        configuration.preprocessing,
    )
    return Batches(
        prepared.backgrounds,
        prepared.shares,
        recipe,
        InsertFromBanks(banks, Mix()),
        settings=settings,
        seed=configuration.seed,
    )


def loop_settings(configuration: TrainingConfiguration, minutes: float | None) -> LoopSettings:
    """Return the loop's settings from the configuration and the command's budget."""
    loop = configuration.loop
    return LoopSettings(
        steps=loop.patches // loop.batch,
        seconds=minutes * 60 if minutes is not None else None,
        batch=loop.batch,
        learning_rate=loop.learning_rate,
        weight_decay=loop.weight_decay,
        average_decay=loop.average_decay,
        is_bfloat16=loop.bfloat16,
        checkpoint_steps=loop.checkpoint_steps,
    )


def run_sha256(configuration: TrainingConfiguration, prepared: Prepared) -> str:
    """Return the hash of everything that decides the run's weights, but for its length."""
    parts = {
        "configuration": configuration.model_dump(mode="json", exclude={"package", "validation"}),
        "data": [asdict(item) for item in prepared.data],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def flat(configuration: TrainingConfiguration) -> dict[str, str]:
    """Return the settings that are numbers or short lists, under dotted names."""
    found: dict[str, str] = {"seed": str(configuration.seed), "widths": str(configuration.widths)}
    for part in ("patches", "loop", "phantoms", "insertions", "preprocessing"):
        values = getattr(configuration, part).model_dump(mode="json")
        found |= {f"{part}.{key}": str(value) for key, value in values.items()}
    return found


def code_version() -> str:
    """Return the version and, in a working copy, the commit (``+changed``: files differ)."""
    root = Path(__file__).resolve().parents[1]
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty=+changed"],  # noqa: S607
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    commit = said.stdout.strip() if said.returncode == 0 else "no working copy"
    python = sys.version.split()[0]
    return f"firstread {__version__} ({commit}), Python {python}, torch {torch.__version__}"


def _recorder(
    files: RunFiles, tracked: Tracked, show: Callable[[Report], None]
) -> Callable[[Report], None]:
    """Write each report to the curve, to MLflow and to the person."""

    def record(report: Report) -> None:
        with files.curve.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(report)) + "\n")
        tracked.metrics({**report.losses, "learning_rate": report.learning_rate}, report.step)
        show(report)

    return record
