"""The card of a package: what it was made from, what it is for, and what nobody has measured."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from training.configuration import TrainingConfiguration
from training.export import Parity
from training.operating_points import Expected, Platt, sentence
from training.preparation import DataItem
from training.validation import Ranked


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What a card tells beside its configuration."""

    data: Sequence[DataItem]
    code: str
    mlflow_run: str
    patches_seen: int
    trained_minutes: float
    last_losses: Mapping[str, float]
    parity: Parity
    platt: Platt
    points: Mapping[str, tuple[float, Sequence[Expected]]]
    lesions: Sequence[Ranked]


def write_card(configuration: TrainingConfiguration, facts: CardFacts) -> str:
    """Return the card as Markdown."""
    package = configuration.package
    lines = [
        f"# {package.name} {package.version}",
        "",
        package.intended_use.en,
        "",
        package.intended_use.zh,
        "",
        "**Not measured on unseen scans.** The real scans below were trained on; the figures say",
        "how the network does on phantoms and inserted nodules that it never saw, not on patients.",
        "It is not a certified medical device.",
        "",
        "## Not trained for",
        "",
        *(f"- {what}" for what in package.not_trained_for),
        "",
        "## Operating points",
        "",
        "| name | threshold | measured on validation, never trained on |",
        "| --- | --- | --- |",
        *(f"| {name} | {t:.3f} | {sentence(e)} |" for name, (t, e) in facts.points.items()),
        "",
        "A hit lies within half the nodule's diameter (at least 2.5 mm) of its centre. Phantoms:",
        f"seeds {configuration.phantoms.first_validation_seed} and up, each with three solid",
        "spheres of 6 to 20 mm. Insertions: shapes of LIDC patients that training never saw, 3 to",
        "40 mm, of all densities, put into the training scans; false alarms there are too few,",
        "because their anatomy was trained on.",
        "",
        "## Marked lesions of the training scans",
        "",
        "| case | rank | score | distance of the centres, mm |",
        "| --- | --- | --- | --- |",
        *(_lesion_row(lesion, facts.platt) for lesion in facts.lesions),
        "",
        "## Training",
        "",
        f"- {facts.patches_seen} patches in {facts.trained_minutes:.0f} minutes",
        f"- seed {configuration.seed}",
        f"- code at export: {facts.code}",
        f"- MLflow run: {facts.mlflow_run}",
        "- losses at the end: "
        + ", ".join(f"{name} {value:.3f}" for name, value in facts.last_losses.items()),
        f"- ONNX Runtime against torch: largest difference {facts.parity.largest:.1e}",
        "- places that may be real but are unmarked were looked at and ignored: "
        f"{configuration.ignored_regions.file}, SHA-256 {configuration.ignored_regions.sha256}",
        "",
        "| data | what | SHA-256 |",
        "| --- | --- | --- |",
        *(f"| {item.name} | {item.what} | {item.sha256} |" for item in facts.data),
        "",
        "## Licence and attribution",
        "",
        f"{package.licence}",
        "",
        *(f"- {text}" for text in package.attribution),
        "",
        "## Configuration",
        "",
        "```json",
        json.dumps(
            configuration.model_dump(mode="json", by_alias=True, exclude={"package"}), indent=1
        ),
        "```",
        "",
    ]
    return "\n".join(lines)


def _lesion_row(lesion: Ranked, platt: Platt) -> str:
    if lesion.logit is None:
        return f"| {lesion.case} | not among the candidates | | |"
    score = float(platt.scores(np.array(lesion.logit)))
    return f"| {lesion.case} | {lesion.rank} | {score:.3f} | {lesion.distance_mm:.1f} |"
