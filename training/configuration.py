"""What a training run is made of: one YAML file, checked before anything is computed.

Paths are relative to the folder in which the command runs (the repository's root), except the list
of ignored regions, which lies beside the configuration and is locked by its SHA-256.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from firstread.errors import ConfigurationError
from firstread.yaml import load_file
from inference.phantom.spec import FIRST_TRAINING_SEED
from models.package import Bilingual, InputContract, Label, Preprocessing, Share, SizeRange

# Kept for acceptance: whoever trains on one of these has nothing left to measure on.
RESERVED_PATIENTS = frozenset({"LIDC-IDRI-0003", "QIN-LSC-0049", "QIN-LSC-0064", "Lung_Dx-A0001"})

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]


class _Part(BaseModel):
    """Unknown keys are a fault: a misspelt setting must not become a default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Scan(_Part):
    """A real CT to train on.

    Attributes
    ----------
    case
        Folder below ``scans.root``, and key of the annotations.
    merge_slices
        For each number a version of the scan whose slices are means of that many: 1 is the scan
        itself.
    phases
        How many versions of each, on grids that are shifted by parts of a voxel.
    share
        How often it is taken, against the other scans.
    """

    case: str
    merge_slices: tuple[Count, ...] = (1,)
    phases: Count = 2
    share: Positive = 1.0


class Scans(_Part):
    """The real CTs and what is known of them."""

    root: Path
    annotations: Path
    shapes: Path
    cases: tuple[Scan, ...]


class IgnoredRegions(_Part):
    """Unmarked places that may be real, seen by eye; a changed list refuses to train."""

    file: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Phantoms(_Part):
    """Synthetic chests; seeds below 1000 are kept for tests and demonstrations.

    Attributes
    ----------
    share
        Of the patches that are cut from phantoms.
    first_seed, count
        Of the training phantoms.
    first_validation_seed, validation_count
        Of those that operating points are set on, never trained on.
    """

    share: Share
    first_seed: Annotated[int, Field(ge=FIRST_TRAINING_SEED)]
    count: Count
    first_validation_seed: Annotated[int, Field(ge=FIRST_TRAINING_SEED)]
    validation_count: Count

    @model_validator(mode="after")
    def _seeds_are_apart(self) -> "Phantoms":
        training = range(self.first_seed, self.first_seed + self.count)
        validation = range(
            self.first_validation_seed, self.first_validation_seed + self.validation_count
        )
        if set(training) & set(validation):
            raise ValueError("phantoms of training and validation must have different seeds")
        return self


class Insertions(_Part):
    """Nodules put into the patches.

    Attributes
    ----------
    bank_count
        Ready-blurred nodules for each slice thickness.
    validation_share
        Of the shapes' patients that are kept for validation.
    """

    bank_count: Count
    validation_share: Share


class Patches(_Part):
    """How patches are cut and disturbed; see :class:`training.patches.PatchRecipe`."""

    shape_zyx: tuple[Count, Count, Count]
    lesion_share: Share
    noise_hu: Annotated[float, Field(ge=0)]

    @model_validator(mode="after")
    def _sides_fit_the_network(self) -> "Patches":
        if any(side % 16 for side in self.shape_zyx):
            raise ValueError("sides must be multiples of 16 voxels")
        return self


class Loop(_Part):
    """How the network is trained; see :class:`training.loop.LoopSettings`."""

    patches: Count
    batch: Count
    learning_rate: Positive
    weight_decay: Annotated[float, Field(ge=0)]
    average_decay: Share
    bfloat16: bool
    checkpoint_steps: Count
    threads: Count
    workers: Annotated[int, Field(ge=0)]


class PackageSettings(_Part):
    """What the exported package says of itself beyond what was measured."""

    name: str
    version: str
    labels: tuple[Label, ...]
    input_contract: InputContract
    intended_use: Bilingual
    intended_size: SizeRange
    not_trained_for: tuple[str, ...]
    licence: str
    attribution: tuple[str, ...]


class Validation(_Part):
    """How operating points are chosen: the most false positives for a phantom and a scan.

    Attributes
    ----------
    false_positives
        Operating point -> false positives for each volume that it may have.
    floor_false_positives
        The same for the floor, below which nothing is kept as a candidate.
    insertions
        Into each real scan.
    """

    false_positives: dict[str, Annotated[float, Field(ge=0)]]
    floor_false_positives: Annotated[float, Field(ge=0)]
    insertions: Count


class TrainingConfiguration(_Part):
    """One run, from data to package."""

    schema_: Literal["firstread/training/1"] = Field(alias="schema")
    seed: int
    cache: Path
    preprocessing: Preprocessing
    widths: tuple[Count, ...]
    scans: Scans
    ignored_regions: IgnoredRegions
    phantoms: Phantoms
    insertions: Insertions
    patches: Patches
    loop: Loop
    validation: Validation
    package: PackageSettings


def read_configuration(path: Path) -> TrainingConfiguration:
    """Read and check a configuration, and that the list of ignored regions is the one it names.

    Raises
    ------
    ConfigurationError
        ``configuration``: the file is wrong, or the list of ignored regions was changed.
    """
    configuration = load_file(path, TrainingConfiguration)
    listed = ignored_regions_path(path, configuration)
    try:
        actual = hashlib.sha256(listed.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigurationError(f"{listed.name}: cannot be read") from error
    if actual != configuration.ignored_regions.sha256:
        raise ConfigurationError(
            f"{listed.name}: SHA-256 is {actual[:12]}, "
            f"{path.name} says {configuration.ignored_regions.sha256[:12]}",
            advice="look at the changed regions as pictures, then write the new SHA-256",
        )
    return configuration


def ignored_regions_path(path: Path, configuration: TrainingConfiguration) -> Path:
    """Return where the list of ignored regions lies: beside the configuration."""
    return path.parent / configuration.ignored_regions.file


def refuse_reserved(patient_id: str) -> None:
    """Stop when a patient is kept for acceptance.

    Raises
    ------
    ConfigurationError
        ``configuration``
    """
    if patient_id.strip().upper() in {reserved.upper() for reserved in RESERVED_PATIENTS}:
        raise ConfigurationError(
            "a scan of a patient that is kept for acceptance is among the training data",
            advice="remove it; see docs/training.md for the four patients",
        )
