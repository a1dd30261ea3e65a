"""The package format: one folder with ``model.yaml``, ONNX files and a card, checked byte by byte at load.

``model.yaml`` says everything that serving needs to know of a model: what goes in, what comes out, what
it was made for, and where it must not be used. Its identity is name, version and its own SHA-256.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

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


class OutputKind(StrEnum):
    """The kinds of output that a decoder exists for."""

    HEAT_MAP = "heat-map"


class Stage(_Part):
    """One network of the package."""

    role: Literal["detect"]
    file: str
    preprocessing: Preprocessing
    output: OutputKind
    stride: Annotated[int, Field(ge=1)]


class InputContract(_Part):
    """What may be scored; the gate reads its limits here and has none of its own."""

    modalities: tuple[str, ...] = ("CT",)
    body_parts: tuple[str, ...]
    min_slices: Annotated[int, Field(ge=2)]
    max_slice_spacing_mm: Positive
    max_pixel_spacing_mm: Positive
    max_bridgeable_gap_mm: Positive
    max_gantry_tilt_deg: Annotated[float, Field(ge=0)]
    min_lung_coverage: Share
    min_lung_volume_ml: Annotated[float, Field(ge=0)]
    min_age_years: Annotated[float, Field(ge=0)]
    min_bits_stored: Annotated[int, Field(ge=1)]
    max_hu_per_step: Positive


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
    training_data: tuple[str, ...]
    licence: str
    mlflow_run: str
    files: dict[str, Sha256]

    @model_validator(mode="after")
    def _floor_is_lowest(self) -> "ModelDescription":
        low = min((point.threshold for point in self.operating_points.values()), default=0.0)
        if not self.operating_points or self.floor > low:
            raise ValueError("floor must not lie above any operating point, and there must be one")
        return self
