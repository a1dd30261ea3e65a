"""From scans and phantoms to backgrounds, once: read, find the lungs, resample, mark what is known.

Everything goes through the project's own reader, lungs and preprocessing, so training sees what
serving sees. Finished backgrounds lie in a cache folder outside git, named by what they were made
from.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstread.errors import ConfigurationError
from firstread.progress import Progress, silent
from inference.dicom.reader import open_upload
from inference.lungs import Lungs, find_lungs
from inference.phantom import Phantom
from inference.preprocess import network_grid, resample
from inference.stack import build_stack, read_volume
from inference.volume import Grid, Volume
from models.package import Preprocessing
from training.backgrounds import Background, load, save
from training.configuration import Scan, TrainingConfiguration, refuse_reserved
from training.phantoms import training_phantom
from training.targets import Mark

# Changes whenever the same configuration would give other backgrounds.
FORMAT = 1
# What stands for "inside" when a mask is resampled like a volume; half of it is its edge.
INSIDE = 1000
# Single readers' marks of nodules below 3 mm have a place but no size.
SMALL_MARK_MM = 5.0
# The name of the synthetic chests in the data list.
PHANTOMS = "phantoms"


@dataclass(frozen=True, slots=True)
class DataItem:
    """One entry of the run's data list.

    Attributes
    ----------
    name
        Of the case, or :data:`PHANTOMS`.
    what
        Series Instance UID, or the seeds.
    sha256
        Over the SHA-256 of the series' files in the order of their names; of phantoms: over their
        voxels.
    """

    name: str
    what: str
    sha256: str

    @property
    def is_scan(self) -> bool:
        """Whether it is a real series, which somebody may send for analysis."""
        return self.name != PHANTOMS


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """Everything that patches are cut from, and the list of it."""

    backgrounds: tuple[Background, ...]
    shares: tuple[float, ...]
    data: tuple[DataItem, ...]


def prepare(
    configuration: TrainingConfiguration, ignored_regions: Path, progress: Progress = silent
) -> Prepared:
    """Return the backgrounds of a run, from the cache where they are finished.

    Parameters
    ----------
    ignored_regions
        The list that the configuration locks.

    Raises
    ------
    ConfigurationError
        ``configuration``: a scan is absent or reserved for acceptance, or has no lungs.
    """
    folder = configuration.cache / f"backgrounds-{_key(configuration)}"
    folder.mkdir(parents=True, exist_ok=True)
    regions = json.loads(ignored_regions.read_text("utf-8"))["regions"]
    annotations = json.loads(configuration.scans.annotations.read_text("utf-8"))["cases"]
    scans, seeds = configuration.scans.cases, _training_seeds(configuration)
    total = len(scans) + len(seeds)
    real: list[tuple[Background, float]] = []
    data = []
    for number, scan in enumerate(scans):
        known = [region for region in regions if region["case"] == scan.case]
        made, item = _scan_backgrounds(scan, annotations, known, configuration, folder)
        real += [(background, scan.share / len(made)) for background in made]
        data.append(item)
        progress("prepare", number + 1, total)
    synthetic = []
    for number, seed in enumerate(seeds, start=len(scans)):
        synthetic.append(_phantom_background(seed, configuration, folder))
        progress("prepare", number + 1, total)
    data.append(_phantom_item(synthetic, seeds))
    real_sum = sum(share for _, share in real)
    scale = (1 - configuration.phantoms.share) / real_sum
    shares = [share * scale for _, share in real]
    shares += [configuration.phantoms.share / len(synthetic)] * len(synthetic)
    return Prepared((*(b for b, _ in real), *synthetic), tuple(shares), tuple(data))


def read_series(folder: Path, series_uid: str) -> Volume:
    """Read one series through the project's reader.

    Raises
    ------
    ConfigurationError
        ``configuration``: it is not there, or its patient is reserved for acceptance.
    """
    with open_upload([folder]) as upload:
        found = [s for study in upload.studies for s in study.series if s.uid == series_uid]
        if not found:
            raise ConfigurationError(f"{folder.name}: the annotated series is not there")
        for instance in found[0].instances:
            refuse_reserved(instance.patient_id)
        planes = [(i, frame) for i in found[0].instances for frame in i.frames]
        return read_volume(build_stack(planes)).volume


def merge_slices(volume: Volume, count: int) -> Volume:
    """Return the scan as if its slices were ``count`` times as thick: means of neighbours."""
    if count == 1:
        return volume
    kept = len(volume.hu) // count * count
    groups = volume.hu[:kept].reshape(-1, count, *volume.hu.shape[1:])
    hu = np.rint(groups.mean(axis=1, dtype=np.float32)).astype(np.int16)
    origins = volume.grid.origins_lps_mm[:kept].reshape(-1, count, 3).mean(axis=1)
    return Volume(hu, replace(volume.grid, origins_lps_mm=origins))


def network_background(
    name: str,
    volume: Volume,
    lungs: Lungs,
    nodule_mask: NDArray[np.bool_],
    known: Sequence[tuple[Sequence[float], float, bool]],
    *,
    preprocessing: Preprocessing,
    phase: Sequence[float] = (0.0, 0.0, 0.0),
) -> Background:
    """Return a scan on the network's grid.

    Parameters
    ----------
    nodule_mask
        bool (z, y, x) on the volume's grid.
    known
        Centre in LPS mm, diameter in mm, and whether it is ignored.
    phase
        (x, y, z) part of a voxel by which the grid is shifted against the one in service.
    """
    target = network_grid(volume.grid, lungs.box_zyx, preprocessing)
    spacing = preprocessing.spacing_mm
    axes = np.stack([target.row_direction, target.column_direction, target.normal])
    shifted = np.asarray(phase, float) * spacing @ axes
    target = replace(target, origins_lps_mm=target.origins_lps_mm + shifted)
    marks = [
        Mark(_triple(target.to_index(centre)), float(diameter), is_ignored)
        for centre, diameter, is_ignored in known
    ]
    return Background(
        name,
        np.rint(resample(volume, target)).astype(np.int16),
        _on_grid(lungs.labels > 0, lungs.grid, target),
        _on_grid(nodule_mask, volume.grid, target),
        tuple(marks),
        volume.grid.step_mm,
        spacing,
        _triple(target.origins_lps_mm[0]),
    )


def _scan_backgrounds(
    scan: Scan,
    annotations: dict[str, Any],
    regions: Sequence[dict[str, Any]],
    configuration: TrainingConfiguration,
    folder: Path,
) -> tuple[list[Background], DataItem]:
    case = annotations.get(scan.case)
    source = configuration.scans.root / scan.case
    if case is None or not source.is_dir():
        raise ConfigurationError(f"{scan.case}: no such scan, or nothing is known of it")
    refuse_reserved(case["patient_id"])
    item = DataItem(scan.case, case["series_instance_uid"], _files_sha256(source))
    versions = [(merge, phase) for merge in scan.merge_slices for phase in range(scan.phases)]
    paths = [folder / f"{scan.case}-x{merge}-{phase}.npz" for merge, phase in versions]
    if all(path.exists() for path in paths):
        return [load(path) for path in paths], item
    volume = read_series(source, case["series_instance_uid"])
    lungs = find_lungs(volume)
    if lungs is None:
        raise ConfigurationError(f"{scan.case}: no lungs found")
    mask, known = _known(case, regions, volume)
    made = []
    for (merge, phase), path in zip(versions, paths, strict=True):
        merged = merge_slices(volume, merge)
        merged_lungs = lungs if merge == 1 else find_lungs(merged)
        assert merged_lungs is not None
        merged_mask = merge_slices(Volume(mask.astype(np.int16) * INSIDE, volume.grid), merge)
        shift = np.random.default_rng((configuration.seed, phase)).uniform(0, 1, 3) * (phase > 0)
        background = network_background(
            path.stem,
            merged,
            merged_lungs,
            merged_mask.hu > INSIDE / 2,
            known,
            preprocessing=configuration.preprocessing,
            phase=shift.tolist(),
        )
        save(background, path)
        made.append(background)
    return made, item


def _known(
    case: dict[str, Any], regions: Sequence[dict[str, Any]], volume: Volume
) -> tuple[NDArray[np.bool_], list[tuple[Sequence[float], float, bool]]]:
    """Mask of the nodules on the scan's grid; centre, diameter and whether ignored of all."""
    mask = np.zeros(volume.hu.shape, bool)
    known: list[tuple[Sequence[float], float, bool]] = []
    for lesion in case["lesions"]:
        is_ignored = lesion["truth"] == "ignore"
        known.append((lesion["centre_lps_mm"], lesion["sphere_diameter_mm"], is_ignored))
        for plane in () if is_ignored else lesion["consensus_mask"]:
            for row, column, length in plane["runs"]:
                mask[plane["slice"], row, column : column + length] = True
    small = [point for point in case["ignore_points"] if point["kind"] == "nodule < 3 mm"]
    known += [(point["lps"], SMALL_MARK_MM, True) for point in small]
    known += [(region["centre_lps_mm"], region["diameter_mm"], True) for region in regions]
    return mask, known


def _phantom_background(
    seed: int, configuration: TrainingConfiguration, folder: Path
) -> Background:
    path = folder / f"phantom-{seed}.npz"
    if path.exists():
        return load(path)
    background = phantom_background(training_phantom(seed), configuration)
    save(background, path)
    return background


def phantom_background(phantom: Phantom, configuration: TrainingConfiguration) -> Background:
    """Return a phantom on the network's grid, its nodules marked."""
    volume = phantom.volume
    lungs = find_lungs(volume)
    if lungs is None:
        raise ConfigurationError(f"phantom {phantom.spec.seed}: no lungs found")
    mask = np.zeros(volume.hu.shape, bool)
    for nodule in phantom.nodules:
        box = tuple(
            slice(start, start + size)
            for start, size in zip(nodule.mask.start_zyx, nodule.mask.voxels.shape, strict=True)
        )
        mask[box] |= nodule.mask.voxels
    known = [(nodule.centre_lps_mm, nodule.diameter_mm, False) for nodule in phantom.nodules]
    name = f"phantom-{phantom.spec.seed}"
    preprocessing = configuration.preprocessing
    return network_background(name, volume, lungs, mask, known, preprocessing=preprocessing)


def _training_seeds(configuration: TrainingConfiguration) -> range:
    first = configuration.phantoms.first_seed
    return range(first, first + configuration.phantoms.count)


def _phantom_item(backgrounds: Sequence[Background], seeds: range) -> DataItem:
    digest = hashlib.sha256()
    for background in backgrounds:
        digest.update(background.hu.tobytes())
    return DataItem(PHANTOMS, f"seeds {seeds[0]} to {seeds[-1]}", digest.hexdigest())


def _key(configuration: TrainingConfiguration) -> str:
    parts = {
        "format": FORMAT,
        "seed": configuration.seed,
        "preprocessing": configuration.preprocessing.model_dump(mode="json"),
        "scans": configuration.scans.model_dump(mode="json"),
        "ignored": configuration.ignored_regions.sha256,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def _files_sha256(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.dcm")):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _on_grid(mask: NDArray[np.bool_], grid: Grid, target: Grid) -> NDArray[np.bool_]:
    """Resample a mask like a volume, cut at one half."""
    inside: NDArray[np.bool_] = resample(Volume(mask * np.int16(INSIDE), grid), target) > INSIDE / 2
    return inside


def _triple(values: NDArray[np.float64]) -> tuple[float, float, float]:
    z, y, x = (float(value) for value in values)
    return z, y, x


def write_data_list(data: Sequence[DataItem], path: Path) -> None:
    """Write the run's data list as JSON."""
    path.write_text(json.dumps([asdict(item) for item in data], indent=1) + "\n", "utf-8")
