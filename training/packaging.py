"""From a checkpoint to a shipped package: export, validate, calibrate, set thresholds, write."""

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from firstread.errors import ConfigurationError
from firstread.progress import Progress, silent
from models.package import OPERATING_POINTS, Package
from models.runtime import open_runtime
from training import checkpoint as checkpoints
from training.backgrounds import Background
from training.banks import load_banks
from training.card import CardFacts, write_card
from training.checkpoint import Checkpoint
from training.configuration import (
    TrainingConfiguration,
    ignored_regions_path,
    read_configuration,
)
from training.export import check_parity, stage, to_onnx, write_package
from training.network import LungNoduleNet
from training.operating_points import (
    Expected,
    Group,
    Platt,
    calibrate,
    expect,
    lowest_threshold,
    published,
    sentence,
)
from training.preparation import Prepared, prepare
from training.run import RunFiles, code_version, run_sha256
from training.tracking import tracked_run
from training.validation import (
    PER_VERSION,
    Evidence,
    inserted_volumes,
    measure,
    phantom_volumes,
    rank_lesions,
    read_evidence,
    write_evidence,
)

# The calibration of the package that thresholds are measured with: flat, so that scores rounded to
# 0.001 still tell large logits apart.
FLAT = Platt(0.2, 0.0)
FLAT_FLOOR = 0.3
PHANTOMS, INSERTIONS = "validation phantoms", "insertions into training scans"


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What validation gave.

    Attributes
    ----------
    points
        Operating point -> threshold and what to expect on each group.
    """

    platt: Platt
    floor: float
    points: Mapping[str, tuple[float, Sequence[Expected]]]


def make_package(
    configuration_path: Path, *, run: Path, packages: Path, progress: Progress = silent
) -> Package:
    """Export a run as the package that its configuration names.

    Parameters
    ----------
    run
        Folder of the run: its checkpoint's averaged weights are exported.
    packages
        Root of the packages; ``<name>/<version>`` is written below it.

    Returns
    -------
    The package, loaded from where it was written.

    Raises
    ------
    ConfigurationError
        ``configuration``: no checkpoint, or of another configuration or other data.
    OutputExists
        ``output-exists``: that version is there already.
    """
    configuration = read_configuration(configuration_path)
    prepared = prepare(
        configuration, ignored_regions_path(configuration_path, configuration), progress
    )
    files = RunFiles(run)
    state = checkpoints.read(files.checkpoint, run_sha256(configuration, prepared))
    network = averaged_network(configuration, state)
    onnx = to_onnx(network)
    parity = check_parity(network, onnx, configuration.seed)
    key = _evidence_key(configuration, onnx)
    evidence = read_evidence(key, files.validation)
    if evidence is None:
        with tempfile.TemporaryDirectory() as folder:
            flat = _flat_package(Path(folder), onnx, configuration, prepared, state)
            evidence = _measure(configuration, prepared, flat, progress)
        write_evidence(evidence, key, files.validation)
    measured = set_points(configuration, evidence.groups)
    facts = CardFacts(
        data=prepared.data,
        code=code_version(),
        mlflow_run=state.mlflow_run,
        patches_seen=state.step * configuration.loop.batch,
        trained_minutes=state.trained_s / 60,
        last_losses=_last_losses(files),
        parity=parity,
        platt=measured.platt,
        points=measured.points,
        lesions=evidence.lesions,
    )
    package = write_package(
        packages / configuration.package.name / configuration.package.version,
        onnx,
        write_card(configuration, facts),
        describe(configuration, prepared, state.mlflow_run, measured),
    )
    with tracked_run(run, {}, state.mlflow_run) as tracked:
        tracked.artifacts(files.validation, "validation")
        tracked.artifacts(package.folder, "package")
    return package


def averaged_network(configuration: TrainingConfiguration, state: Checkpoint) -> nn.Module:
    """Return the network with the moving average of its weights."""
    network = LungNoduleNet(configuration.widths)
    prefix = "module."
    network.load_state_dict(
        {key.removeprefix(prefix): v for key, v in state.average.items() if key.startswith(prefix)}
    )
    return network.eval()


def service_backgrounds(prepared: Prepared) -> tuple[Background, ...]:
    """Return each real scan once, untouched and on the grid of service."""
    return tuple(b for b in prepared.backgrounds if b.name.endswith("-x1-0"))


def set_points(configuration: TrainingConfiguration, groups: Sequence[Group]) -> Measured:
    """Calibrate, and set every threshold by the false positives that it may have."""
    floor_false_positives = configuration.validation.floor_false_positives
    platt = calibrate(published(groups, floor_false_positives))
    points = {}
    for name, false_positives in configuration.validation.false_positives.items():
        threshold = lowest_threshold(groups, platt, false_positives)
        points[name] = (threshold, [expect(group, platt, threshold) for group in groups])
    lowest = min(threshold for threshold, _ in points.values())
    floor = lowest_threshold(groups, platt, floor_false_positives)
    return Measured(platt, min(floor, lowest), points)


def describe(
    configuration: TrainingConfiguration, prepared: Prepared, mlflow_run: str, measured: Measured
) -> dict[str, Any]:
    """Return the content of ``model.yaml`` without the hashes of the files."""
    package = configuration.package.model_dump(mode="json", by_alias=True)
    return {
        "schema": "firstread/package/1",
        "name": package["name"],
        "version": package["version"],
        "task": "detection",
        "labels": package["labels"],
        "stages": [stage(configuration.preprocessing.model_dump(mode="json"))],
        "input_contract": package["input_contract"],
        "calibration": {
            "scale": measured.platt.scale,
            "shift": measured.platt.shift,
            "measured_on": f"{PHANTOMS}; {INSERTIONS}",
        },
        "operating_points": {
            name: {
                "threshold": threshold,
                "sensitivity": _pooled(expected),
                "false_positives_per_scan": max(e.false_positives for e in expected),
                "measured_on": sentence(expected),
            }
            for name, (threshold, expected) in measured.points.items()
        },
        "floor": measured.floor,
        "intended_use": package["intended_use"],
        "intended_size": package["intended_size"],
        "trained_on_series": [i.what for i in prepared.data if i.is_scan],
        "training_data": [f"{i.name}: {i.what}, SHA-256 {i.sha256}" for i in prepared.data],
        "licence": package["licence"],
        "mlflow_run": mlflow_run,
    }


def _measure(
    configuration: TrainingConfiguration, prepared: Prepared, package: Package, progress: Progress
) -> Evidence:
    runtime = open_runtime(package, threads=configuration.loop.threads)
    plain = service_backgrounds(prepared)
    wanted = configuration.validation.insertions
    banks = load_banks(configuration, plain, validation=True)
    phantoms = measure(
        PHANTOMS,
        phantom_volumes(configuration),
        package,
        runtime,
        progress=progress,
        total=configuration.phantoms.validation_count,
    )
    insertions = measure(
        INSERTIONS,
        inserted_volumes(plain, banks, wanted, configuration.seed),
        package,
        runtime,
        progress=progress,
        total=-(-wanted // PER_VERSION) * len(plain),
    )
    return Evidence((phantoms, insertions), rank_lesions(plain, package, runtime))


def _evidence_key(configuration: TrainingConfiguration, onnx: bytes) -> str:
    """Return the hash of the network and of what it is measured on."""
    phantoms, wanted = configuration.phantoms, configuration.validation.insertions
    volumes = (phantoms.first_validation_seed, phantoms.validation_count, wanted)
    return hashlib.sha256(onnx + repr((volumes, configuration.seed)).encode()).hexdigest()


def _flat_package(
    root: Path,
    onnx: bytes,
    configuration: TrainingConfiguration,
    prepared: Prepared,
    state: Checkpoint,
) -> Package:
    """Write a package to be measured and thrown away: every candidate down to a low floor."""
    nothing = Expected("nothing yet", 0, 1, 0.0, 0.0)
    everything = Measured(
        FLAT, FLAT_FLOOR, {name: (FLAT_FLOOR, [nothing]) for name in OPERATING_POINTS}
    )
    description = describe(configuration, prepared, state.mlflow_run, everything)
    return write_package(root / "flat" / "0.0.0", onnx, "# Not for use\n", description)


def _pooled(expected: Sequence[Expected]) -> float:
    nodules = sum(e.nodules for e in expected)
    return round(sum(e.sensitivity * e.nodules for e in expected) / max(nodules, 1), 3)


def _last_losses(files: RunFiles) -> dict[str, float]:
    """Return the last line of the curve."""
    try:
        lines = files.curve.read_text("utf-8").splitlines()
    except OSError as error:
        raise ConfigurationError(f"{files.curve}: the run's curve is not there") from error
    losses: dict[str, float] = json.loads(lines[-1])["losses"]
    return losses
