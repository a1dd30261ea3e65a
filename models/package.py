"""The package format: one folder with ``model.yaml``, ONNX files and a card, checked at load.

``model.yaml`` says everything that serving needs to know of a model: what goes in, what comes out,
what it was made for, and where it must not be used. Its identity is name, version and its own
SHA-256.
"""

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from firstread.errors import ConfigurationError, PackageDamaged, PackageError, PackageMissing
from firstread.yaml import load

DESCRIPTION_FILE = "model.yaml"
# Every package has these, from the lowest threshold to the highest; it may have more.
OPERATING_POINTS = ("high_sensitivity", "balanced", "few_alerts")
# The packages that ship: <name>/<version>/model.yaml.
SHIPPED = Path(__file__).parent / "packages"

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    """Unknown keys are a fault: a misspelt limit must not become no limit."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Code(_Part):
    """A coded concept (PS3.16)."""

    value: str
    scheme: str
    meaning: str


class Label(_Part):
    """What the model marks."""

    name: str
    category: Code
    type: Code


class Preprocessing(_Part):
    """How voxels are made ready for a stage.

    ``hu_window`` maps linearly to -1..1 and is clipped; the region is the lung box plus a margin;
    every side is padded with air to a multiple of ``size_multiple`` voxels.
    """

    spacing_mm: Positive
    hu_window: tuple[float, float]
    region: Literal["lungs"]
    margin_mm: Annotated[float, Field(ge=0)]
    orientation: Literal["LPS"]
    size_multiple: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _window_ascends(self) -> "Preprocessing":
        if self.hu_window[0] >= self.hu_window[1]:
            raise ValueError("hu_window must go from low to high")
        return self


class OutputKind(StrEnum):
    """The kinds of output that a decoder exists for."""

    HEAT_MAP = "heat-map"


class Stage(_Part):
    """One network of the package."""

    role: str
    file: str
    preprocessing: Preprocessing
    output: OutputKind
    stride: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _cells_fill_the_box(self) -> "Stage":
        if self.preprocessing.size_multiple % self.stride:
            raise ValueError("size_multiple must be a multiple of stride")
        return self


class InputContract(_Part):
    """What may be scored; the gate reads its limits here and has none of its own."""

    modalities: tuple[str, ...] = ("CT",)
    body_parts: tuple[str, ...]
    min_slices: Annotated[int, Field(ge=2)]
    max_slice_spacing_mm: Positive
    max_pixel_spacing_mm: Positive
    max_bridgeable_gap_mm: Positive
    max_gantry_tilt_deg: Annotated[float, Field(ge=0)]
    # Further off, slices are another view and no stack at all.
    max_obliquity_deg: Annotated[float, Field(ge=0, le=30)]
    min_lung_coverage: Share
    min_lung_volume_ml: Annotated[float, Field(ge=0)]
    min_age_years: Annotated[float, Field(ge=0)]
    min_bits_stored: Annotated[int, Field(ge=1)]
    max_hu_per_step: Positive

    @model_validator(mode="after")
    def _one_missing_slice_can_be_bridged(self) -> "InputContract":
        if self.max_bridgeable_gap_mm < 2 * self.max_slice_spacing_mm:
            raise ValueError("max_bridgeable_gap_mm must be at least twice max_slice_spacing_mm")
        return self


class OperatingPoint(_Part):
    """A threshold on the score, and what to expect there."""

    threshold: Share
    sensitivity: Share | None
    false_positives_per_scan: Annotated[float, Field(ge=0)] | None
    measured_on: str


class Bilingual(_Part):
    """One text in both languages."""

    zh: str
    en: str


class SizeRange(_Part):
    """Mean diameters that a model was made for; findings of others are marked as such."""

    least_mm: Positive
    most_mm: Positive

    @model_validator(mode="after")
    def _ascends(self) -> "SizeRange":
        if self.least_mm > self.most_mm:
            raise ValueError("least_mm must not be more than most_mm")
        return self

    def place(self, diameter_mm: float) -> Literal["below", "within", "above"]:
        """Return where a diameter lies; both ends are within."""
        if diameter_mm < self.least_mm:
            return "below"
        return "above" if diameter_mm > self.most_mm else "within"


class Calibration(_Part):
    """How a raw network output becomes a score: ``sigmoid(scale * logit + shift)``."""

    scale: Positive
    shift: float
    measured_on: str


class ModelDescription(_Part):
    """The content of ``model.yaml``."""

    schema_: Literal["firstread/package/1"] = Field(alias="schema")
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
    task: Literal["detection", "segmentation"]
    labels: tuple[Label, ...]
    stages: tuple[Stage, ...]
    input_contract: InputContract
    calibration: Calibration
    operating_points: dict[str, OperatingPoint]
    floor: Share
    intended_use: Bilingual
    intended_size: SizeRange
    # Series Instance UIDs: a result of one of these says nothing about how well the model works.
    trained_on_series: tuple[str, ...]
    training_data: tuple[str, ...]
    licence: str
    mlflow_run: str
    files: dict[str, Sha256]

    @model_validator(mode="after")
    def _files_are_plain_and_listed(self) -> "ModelDescription":
        for name in self.files:
            if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name) or name == DESCRIPTION_FILE:
                raise ValueError(f"{name!r} is no plain file name in the package's own folder")
        unlisted = sorted({stage.file for stage in self.stages} - set(self.files))
        if not self.stages or unlisted:
            raise ValueError(f"every stage's file must stand in files: {unlisted or 'no stage'}")
        return self

    @model_validator(mode="after")
    def _floor_is_lowest(self) -> "ModelDescription":
        low = min((point.threshold for point in self.operating_points.values()), default=0.0)
        if self.floor > low:
            raise ValueError("floor must not lie above any operating point")
        return self

    @model_validator(mode="after")
    def _operating_points_ascend(self) -> "ModelDescription":
        known = self.operating_points
        thresholds = [known[name].threshold for name in OPERATING_POINTS if name in known]
        if len(thresholds) < len(OPERATING_POINTS) or thresholds != sorted(thresholds):
            names = ", ".join(OPERATING_POINTS)
            raise ValueError(f"operating points must be {names}, with thresholds that ascend")
        return self


@dataclass(frozen=True, slots=True, eq=False)
class Package:
    """A model package on disk, as :func:`load_package` found it.

    Attributes
    ----------
    folder
        Where it lies.
    sha256
        Of ``model.yaml``, which names the SHA-256 of every other file: with name and version the
        package's identity.
    """

    description: ModelDescription
    folder: Path
    sha256: str

    @property
    def reference(self) -> str:
        """``name@version``."""
        return f"{self.description.name}@{self.description.version}"

    def file_bytes(self, name: str) -> bytes:
        """Read one file whole and return exactly the bytes whose SHA-256 was checked.

        Hand these to a runtime, never the path: the file may be another one a moment later.

        Raises
        ------
        PackageDamaged
            ``package-damaged``: not listed, not readable, or not the bytes that were listed.
        """
        stated = self.description.files.get(name)
        if stated is None:
            raise PackageDamaged(f"{self.reference} lists no file {name!r}", advice=_COPY_AGAIN)
        try:
            data = (self.folder / name).read_bytes()
        except OSError as error:
            raise PackageDamaged(
                f"{self.reference}: {name} cannot be read ({error.__class__.__name__})",
                advice=_COPY_AGAIN,
            ) from error
        actual = hashlib.sha256(data).hexdigest()
        if actual != stated:
            raise PackageDamaged(
                f"{self.reference}: SHA-256 of {name} is {actual[:12]}, "
                f"{DESCRIPTION_FILE} says {stated[:12]}",
                advice=_COPY_AGAIN,
            )
        return data


_COPY_AGAIN = "copy the package again, or choose another one with --package"


def load_description(folder: Path) -> Package:
    """Read ``model.yaml`` alone: enough for the gate, which needs no weights.

    Raises
    ------
    PackageMissing
        ``package-missing``: no such folder, or no ``model.yaml`` in it.
    PackageDamaged
        ``package-damaged``: ``model.yaml`` cannot be read or breaks the schema.
    PackageError
        ``package-refused``: a sound package of a kind that is not run here.
    """
    path = folder / DESCRIPTION_FILE
    if not path.is_file():
        raise PackageMissing(f"{folder.name}: no {DESCRIPTION_FILE} there", advice=_list_them())
    try:
        data = path.read_bytes()
        description = load(data.decode("utf-8"), ModelDescription, name=DESCRIPTION_FILE)
    except (OSError, UnicodeDecodeError) as error:
        raise PackageDamaged(
            f"{DESCRIPTION_FILE} cannot be read ({error.__class__.__name__})", advice=_COPY_AGAIN
        ) from error
    except ConfigurationError as error:
        raise PackageDamaged(error.message, advice=_COPY_AGAIN) from error
    roles = [stage.role for stage in description.stages]
    if description.task != "detection" or roles != ["detect"]:
        raise PackageError(
            f"{description.name} is a {description.task} of {' + '.join(roles)}; this version of "
            "Firstread runs packages for detection with one detect stage",
            advice="choose another one with --package",
        )
    return Package(description, folder, hashlib.sha256(data).hexdigest())


def load_package(folder: Path) -> Package:
    """Read a package and check every file of it.

    Raises
    ------
    PackageMissing
        ``package-missing``: no such folder, or no ``model.yaml`` in it.
    PackageDamaged
        ``package-damaged``: a file is absent, changed, or not listed; or ``model.yaml`` is wrong.
    """
    package = load_description(folder)
    listed = {DESCRIPTION_FILE, *package.description.files}
    foreign = sorted({entry.name for entry in folder.iterdir()} - listed)
    if foreign:
        raise PackageDamaged(
            f"{package.reference} holds {foreign[0]!r}, which {DESCRIPTION_FILE} does not list",
            advice="remove it, or copy the package again",
        )
    for name in package.description.files:
        package.file_bytes(name)
    return package


def available_packages(root: Path = SHIPPED) -> tuple[str, ...]:
    """Return ``name@version`` of the packages in a folder, by name, newest version first."""
    found = [
        (path.parent.parent.name, path.parent.name) for path in root.glob(f"*/*/{DESCRIPTION_FILE}")
    ]
    found.sort(key=lambda pair: (pair[0], [-number for number in _numbers(pair[1])]))
    return tuple(f"{name}@{version}" for name, version in found)


def locate(reference: str | None) -> Path:
    """Return the folder of a shipped ``NAME[@VERSION]``, or the path itself if it holds a slash.

    Raises
    ------
    PackageMissing
        ``package-missing``: nothing of that name.
    """
    if reference is not None and ("/" in reference or "\\" in reference):
        return Path(reference)
    return find_folder(reference)


def find_folder(reference: str | None = None, root: Path = SHIPPED) -> Path:
    """Return the folder of a package, unread.

    Parameters
    ----------
    reference
        ``name@version``; ``name`` for its newest version; None for the only name that there is.
    root
        Where packages lie as ``<name>/<version>``.

    Raises
    ------
    PackageMissing
        ``package-missing``: none of that name and version, or several names and none given.
    """
    available = available_packages(root)
    if reference is None and len({entry.partition("@")[0] for entry in available}) == 1:
        reference = available[0]
    fitting = [entry for entry in available if reference in (entry, entry.partition("@")[0])]
    if not fitting:
        asked = f"no package {reference}" if reference else "no package, or several names"
        raise PackageMissing(asked, advice=_list_them(available))
    name, _, version = fitting[0].partition("@")
    return root / name / version


def find_package(
    reference: str | None = None, root: Path = SHIPPED, *, check_files: bool = True
) -> Package:
    """Find and load a package by name; see :func:`find_folder` for ``reference`` and ``root``.

    Parameters
    ----------
    check_files
        False reads the description alone: the gate needs no weights.

    Raises
    ------
    PackageMissing
        ``package-missing``: see :func:`find_folder`.
    PackageDamaged
        ``package-damaged``: see :func:`load_package`; or the folder's names are not the
        description's.
    """
    folder = find_folder(reference, root)
    package = load_package(folder) if check_files else load_description(folder)
    if package.reference != f"{folder.parent.name}@{folder.name}":
        raise PackageDamaged(
            f"the package at {folder.parent.name}@{folder.name} calls itself {package.reference}",
            advice=_COPY_AGAIN,
        )
    return package


def _numbers(version: str) -> list[int]:
    return [int(part) if part.isdecimal() else -1 for part in version.split(".")]


def _list_them(available: tuple[str, ...] | None = None) -> str:
    if available:
        return "available: " + ", ".join(available)
    return "see what there is with: firstread models list"
