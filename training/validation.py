"""Validation volumes and what a package finds in them, through serving's own detection.

Phantoms of seeds that were never trained on, and the training scans with nodules of patients whose
shapes were never trained on. The scans' own anatomy was trained on: on unseen scans expect more
false alarms.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from firstread.progress import Progress, silent
from inference.detection.detect import detect
from inference.lungs import find_lungs
from inference.preprocess import AIR_HU
from inference.volume import Grid, Volume
from models.package import Package
from models.runtime import Runtime
from training.backgrounds import Background
from training.configuration import TrainingConfiguration
from training.operating_points import Group
from training.phantoms import validation_phantom
from training.synthesis.bank import Bank, nearest_class_mm
from training.synthesis.insertion import Mix, insert_nodules
from training.targets import Mark

# A candidate hits a nodule when it lies within half its diameter, and within this for small ones.
SMALLEST_HIT_MM = 2.5
# A candidate further than this from everything known is a false alarm; nearer ones are neither.
CLEAR_MM = 5.0
# Nodules for each version of a scan: more would leave no place that looks like an untouched lung.
PER_VERSION = 10


@dataclass(frozen=True, slots=True)
class Nodule:
    """A nodule that must be found."""

    centre_lps_mm: tuple[float, float, float]
    diameter_mm: float


@dataclass(frozen=True, slots=True, eq=False)
class ValidationVolume:
    """A scan with truth.

    Attributes
    ----------
    wanted
        Nodules to be found.
    known
        Everything else that must count as neither: real lesions, ignored regions.
    """

    volume: Volume
    wanted: tuple[Nodule, ...]
    known: tuple[Nodule, ...]


@dataclass(frozen=True, slots=True)
class Ranked:
    """Where a real, marked lesion stands among its scan's candidates; None: not among them."""

    case: str
    rank: int | None
    logit: float | None
    distance_mm: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """All that a network gave on validation, before any threshold."""

    groups: tuple[Group, ...]
    lesions: tuple[Ranked, ...]


def phantom_volumes(configuration: TrainingConfiguration) -> Iterator[ValidationVolume]:
    """Yield the validation phantoms."""
    first = configuration.phantoms.first_validation_seed
    for seed in range(first, first + configuration.phantoms.validation_count):
        phantom = validation_phantom(seed)
        wanted = tuple(Nodule(n.centre_lps_mm, n.diameter_mm) for n in phantom.nodules)
        yield ValidationVolume(phantom.volume, wanted, ())


def inserted_volumes(
    backgrounds: Sequence[Background], banks: dict[float, Bank], insertions: int, seed: int
) -> Iterator[ValidationVolume]:
    """Yield real scans with nodules of validation patients in them.

    Parameters
    ----------
    backgrounds
        One for each scan, on the grid of service.
    insertions
        Wanted in each scan, over several versions of it.
    """
    for number, background in enumerate(backgrounds):
        rng = np.random.default_rng((seed, 3, number))
        bank = banks[nearest_class_mm(background.slice_mm)]
        for _ in range(-(-insertions // PER_VERSION)):
            mix = Mix(counts=(0.0,) * PER_VERSION + (1.0,))
            hu = background.hu.astype(np.float32)
            put = insert_nodules(hu, background.lungs, background.marks, rng, bank=bank, mix=mix)
            volume = Volume(
                np.rint(np.clip(put.hu, AIR_HU, 3071)).astype(np.int16), grid_of(background)
            )
            yield ValidationVolume(
                volume, _nodules(put.marks, volume.grid), _nodules(background.marks, volume.grid)
            )


def measure(
    name: str,
    volumes: Iterator[ValidationVolume],
    package: Package,
    runtime: Runtime,
    *,
    progress: Progress = silent,
    total: int = 0,
) -> Group:
    """Run a package over volumes and sort its candidates into hits and false alarms.

    Parameters
    ----------
    package
        Its calibration is undone, so that the group holds raw logits.
    """
    hits: list[float] = []
    false_alarms: list[float] = []
    count = 0
    for each in volumes:
        lungs = find_lungs(each.volume)
        found = () if lungs is None else detect(each.volume, lungs, package, runtime)
        places = np.array([candidate.centre_lps_mm for candidate in found]).reshape(-1, 3)
        logits = raw_logits(np.array([candidate.score for candidate in found]), package)
        hits += [_best(nodule, places, logits) for nodule in each.wanted]
        is_clear = np.ones(len(found), bool)
        for nodule in (*each.wanted, *each.known):
            reach = nodule.diameter_mm / 2 + CLEAR_MM
            is_clear &= np.linalg.norm(places - nodule.centre_lps_mm, axis=1) > reach
        false_alarms += logits[is_clear].tolist()
        count += 1
        progress(name, count, total)
    return Group(name, count, np.array(hits), np.array(false_alarms))


def rank_lesions(
    backgrounds: Sequence[Background], package: Package, runtime: Runtime
) -> tuple[Ranked, ...]:
    """Return where the marked lesions stand among the candidates of their untouched scans."""
    ranked = []
    for background in backgrounds:
        grid = grid_of(background)
        volume = Volume(background.hu, grid)
        lungs = find_lungs(volume)
        found = () if lungs is None else detect(volume, lungs, package, runtime)
        places = np.array([candidate.centre_lps_mm for candidate in found]).reshape(-1, 3)
        logits = raw_logits(np.array([candidate.score for candidate in found]), package)
        case = background.name.partition("-x")[0]
        for mark in (mark for mark in background.marks if not mark.is_ignored):
            away = np.linalg.norm(places - grid.to_lps(mark.centre_zyx), axis=1)
            near = np.flatnonzero(away <= mark.diameter_mm / 2)
            if len(near) == 0:
                ranked.append(Ranked(case, None, None, None))
                continue
            first = int(near[0])
            ranked.append(Ranked(case, first + 1, float(logits[first]), float(away[first])))
    return tuple(ranked)


def write_evidence(evidence: Evidence, key: str, path: Path) -> None:
    """Keep what was measured, so that thresholds can be set again without running the network."""
    groups = [
        {
            "name": group.name,
            "volumes": group.volumes,
            # JSON knows no infinity: a nodule without a candidate is null.
            "hits": [hit if np.isfinite(hit) else None for hit in group.hits.tolist()],
            "false_alarms": group.false_alarms.tolist(),
        }
        for group in evidence.groups
    ]
    lesions = [asdict(lesion) for lesion in evidence.lesions]
    text = json.dumps({"key": key, "groups": groups, "lesions": lesions}, indent=1)
    path.write_text(text + "\n", "utf-8")


def read_evidence(key: str, path: Path) -> Evidence | None:
    """Return what was measured with the same network on the same volumes; None: nothing was."""
    if not path.is_file():
        return None
    stored = json.loads(path.read_text("utf-8"))
    if stored["key"] != key:
        return None
    groups = tuple(
        Group(
            group["name"],
            group["volumes"],
            np.array([-np.inf if hit is None else hit for hit in group["hits"]], float),
            np.array(group["false_alarms"], float),
        )
        for group in stored["groups"]
    )
    return Evidence(groups, tuple(Ranked(**lesion) for lesion in stored["lesions"]))


def raw_logits(scores: NDArray[np.float64], package: Package) -> NDArray[np.float64]:
    """Return what the network said before calibration."""
    calibration = package.description.calibration
    # Published scores are rounded to 0.001: 0 and 1 stand for half a step from the end.
    inside = np.clip(scores, 0.0005, 0.9995)
    return np.asarray((np.log(inside / (1 - inside)) - calibration.shift) / calibration.scale)


def grid_of(background: Background) -> Grid:
    """Return where a background's voxels lie."""
    spacing = background.spacing_mm
    z, y, x = background.hu.shape
    return Grid.regular(background.origin_lps_mm, (spacing, spacing, spacing), (z, y, x))


def _best(nodule: Nodule, places: NDArray[np.float64], logits: NDArray[np.float64]) -> float:
    reach = max(nodule.diameter_mm / 2, SMALLEST_HIT_MM)
    is_near = np.linalg.norm(places - nodule.centre_lps_mm, axis=1) <= reach
    return float(logits[is_near].max()) if is_near.any() else -np.inf


def _nodules(marks: Sequence[Mark], grid: Grid) -> tuple[Nodule, ...]:
    found = []
    for mark in marks:
        x, y, z = (float(mm) for mm in grid.to_lps(mark.centre_zyx))
        found.append(Nodule((x, y, z), mark.diameter_mm))
    return tuple(found)
