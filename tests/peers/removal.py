"""Slices are taken out at random: ``python -m tests.peers.removal [--runs N] [--package ...]``.

Two properties, for any subset of the interior slices of a series:

1. The gate names every gap that this leaves: from where to where, and how many millimetres.
2. Each nodule of the whole series has a finding within 1 mm or one slice spacing (the larger), or a
   stated limit names a gap that touches it, or the study is not scored.

Findings that the whole series did not have are counted and printed. A known nodule is a finding of
the whole series; for a phantom also its truth.
"""

import argparse
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pydicom

from inference.dicom.instance import Instance, Series, Upload, Vector
from inference.dicom.reader import open_upload
from inference.findings import Finding
from inference.gate.geometry import judge_geometry
from inference.gate.reasons import Code, Reason
from inference.pipeline import analyse
from inference.results.analysis import Analysis
from inference.volume import Grid
from models.package import SHIPPED, InputContract, Package, find_package
from models.runtime import Runtime, open_runtime
from tests.peers.cases import SCAN

NEAR_MM = 1.0
JPEG_LS = "1.2.840.10008.1.2.4.80"
# Reasons that name a stretch in which the voxels were not measured.
NAMES_A_GAP = (Code.SLICES_MISSING, Code.SPACING_IRREGULAR)


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch between two slices that are there, along z in LPS millimetres."""

    from_mm: float
    to_mm: float

    @property
    def length_mm(self) -> float:
        return round(self.to_mm - self.from_mm, 2)


@dataclass(frozen=True, slots=True, eq=False)
class Whole:
    """A series with nothing removed, its instances from the feet to the head.

    Attributes
    ----------
    heights_mm
        z of each instance's first voxel; the series is axial, so this is its height.
    """

    upload: Upload
    instances: tuple[Instance, ...]
    heights_mm: tuple[float, ...]

    def without(self, removed: Sequence[int]) -> Upload:
        """Return the upload as it would be had these slices never come."""
        gone = set(removed)
        kept = [one for index, one in enumerate(self.instances) if index not in gone]
        (study,) = self.upload.studies
        (series,) = study.series
        return Upload((replace(study, series=(_series_of(series, kept),)),), ())


@dataclass(frozen=True, slots=True)
class Known:
    """A nodule of the whole series: where it is, and from where to where along z."""

    centre_lps_mm: Vector
    from_mm: float
    to_mm: float


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of the known nodules when some slices were gone.

    Attributes
    ----------
    moved_mm
        For each known nodule the distance to the nearest finding; infinite where there is none.
    is_told
        For each whether a stated limit names a gap that touches it.
    is_kept
        Whether the property holds.
    new_findings
        Findings that are near no finding of the whole series.
    """

    removed: tuple[int, ...]
    status: str
    is_scored: bool
    moved_mm: tuple[float, ...]
    is_told: tuple[bool, ...]
    is_kept: bool
    new_findings: int


@contextmanager
def opened(folder: Path) -> Iterator[Whole]:
    """Open the one series of a folder."""
    with open_upload([folder]) as upload:
        ((series,),) = (study.series for study in upload.studies)
        order = sorted(series.instances, key=_height_mm)
        yield Whole(upload, tuple(order), tuple(_height_mm(one) for one in order))


def decompressed_scan(folder: Path) -> Path:
    """Write the real scan without compression, so that a hundred readings are cheap."""
    for path in sorted(SCAN.glob("*.dcm")):
        instance = pydicom.dcmread(path)
        if instance.file_meta.TransferSyntaxUID == JPEG_LS:
            instance.decompress(decoding_plugin="pyjpegls", generate_instance_uid=False)
        instance.save_as(folder / path.name)
    return folder


def true_gaps(heights_mm: Sequence[float], removed: Sequence[int]) -> frozenset[Gap]:
    """Return the stretches that removing these slices leaves open."""
    gone = set(removed)
    kept = [index for index in range(len(heights_mm)) if index not in gone]
    return frozenset(
        Gap(round(heights_mm[low], 2), round(heights_mm[high], 2))
        for low, high in pairwise(kept)
        if high - low > 1
    )


def named_gaps(reasons: Sequence[Reason]) -> frozenset[Gap]:
    """Return the stretches that the gate names."""
    return frozenset(
        Gap(float(reason.numbers["from_mm"]), float(reason.numbers["to_mm"]))
        for reason in reasons
        if reason.code in NAMES_A_GAP
    )


def gate_reasons(whole: Whole, removed: Sequence[int], contract: InputContract) -> list[Reason]:
    """Return what the gate says of the positions."""
    ((series,),) = (study.series for study in whole.without(removed).studies)
    return list(judge_geometry(series, contract).reasons)


def known_nodules(analysis: Analysis) -> tuple[Known, ...]:
    """Return the findings of the whole series as what must be found again."""
    assert analysis.volume is not None
    return tuple(_known(finding, analysis.volume.grid) for finding in analysis.findings)


def attempt(
    whole: Whole,
    removed: Sequence[int],
    known: Sequence[Known],
    own: Sequence[Known],
    package: Package,
    runtime: Callable[[], Runtime],
) -> Trial:
    """Analyse without these slices and compare.

    Parameters
    ----------
    known
        What must be found again, or be told of.
    own
        The whole series' own findings: another one is new.
    """
    analysis = analyse(whole.without(removed), package, runtime)
    status, is_scored = str(analysis.verdict.status), analysis.verdict.status.is_scored
    if not is_scored:
        return Trial(tuple(removed), status, False, (), (), True, 0)
    assert analysis.volume is not None
    near_mm = max(NEAR_MM, analysis.volume.grid.step_mm)
    centres = [finding.centre_lps_mm for finding in analysis.findings]
    moved = tuple(_nearest_mm(one.centre_lps_mm, centres) for one in known)
    gaps = named_gaps(analysis.verdict.reasons)
    told = tuple(any(_touch(gap, one) for gap in gaps) for one in known)
    old = [one.centre_lps_mm for one in own]
    return Trial(
        removed=tuple(removed),
        status=status,
        is_scored=True,
        moved_mm=moved,
        is_told=told,
        is_kept=all(mm <= near_mm or says for mm, says in zip(moved, told, strict=True)),
        new_findings=sum(_nearest_mm(centre, old) > near_mm for centre in centres),
    )


def summary(trials: Sequence[Trial], what: str) -> str:
    """Return one line of what came out, and one more for each trial that broke the property."""
    scored = [trial for trial in trials if trial.is_scored]
    moved = [mm for t in scored for mm, told in zip(t.moved_mm, t.is_told, strict=True) if not told]
    broken = [trial for trial in trials if not trial.is_kept]
    text = (
        f"{what}: {len(scored)} of {len(trials)} scored, {len(broken)} broken, "
        f"{sum(trial.new_findings for trial in scored)} new findings; "
        f"nodules away from a gap moved by at most {max(moved, default=0.0):.2f} mm\n"
    )
    return text + "".join(f"  broken: {trial}\n" for trial in broken)


def subsets(slices: int, count: int, seed: int, at_most: int = 40) -> Iterator[tuple[int, ...]]:
    """Yield sets of 3 to ``at_most`` interior slices, one half of them without two in a row.

    Of a set drawn blindly two neighbours are nearly always gone, which no package bridges: the
    other half leaves only gaps that are scored.
    """
    chance = random.Random(seed)
    for turn in range(count):
        size = chance.randint(3, at_most)
        if turn % 2:
            # Any choice from a row shortened by size - 1, spread out again, has no two in a row.
            chosen = sorted(chance.sample(range(slices - 2 - (size - 1)), size))
            yield tuple(1 + index + shift for shift, index in enumerate(chosen))
        else:
            yield tuple(sorted(chance.sample(range(1, slices - 1), size)))


def _height_mm(instance: Instance) -> float:
    position = instance.frames[0].position_lps_mm
    assert position is not None
    return position[2]


def _series_of(series: Series, kept: Sequence[Instance]) -> Series:
    """Keep the order that the reader gives: nothing of the true order may leak."""
    stays = {id(one) for one in kept}
    return replace(series, instances=tuple(one for one in series.instances if id(one) in stays))


def _known(finding: Finding, grid: Grid) -> Known:
    heights = grid.origins_lps_mm[:, 2]
    first, last = finding.slices
    # Half a slice beyond its centre belongs to a slice too.
    low, high = sorted((heights[first], heights[last]))
    half = grid.step_mm / 2
    return Known(finding.centre_lps_mm, float(low) - half, float(high) + half)


def _touch(gap: Gap, nodule: Known) -> bool:
    return gap.from_mm <= nodule.to_mm and gap.to_mm >= nodule.from_mm


def _nearest_mm(place: Vector, places: Sequence[Vector]) -> float:
    distances = [float(np.linalg.norm(np.subtract(place, other))) for other in places]
    return min(distances, default=float("inf"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the trials on the real scan and print what came out; 1 where a property is broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.peers.removal")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--package", help="NAME@VERSION; the shipped one if not given")
    parser.add_argument("--packages", type=Path, default=SHIPPED, help="a folder of packages")
    given = parser.parse_args(arguments)
    package = find_package(given.package, given.packages)
    runtime = open_runtime(package)
    with tempfile.TemporaryDirectory() as folder, opened(decompressed_scan(Path(folder))) as whole:
        own = known_nodules(analyse(whole.upload, package, lambda: runtime))
        count = len(whole.instances)
        one_gone = [(index,) for index in range(5, count - 5, max(1, (count - 10) // given.runs))]
        trials = [
            attempt(whole, removed, own, own, package, lambda: runtime)
            for removed in (*one_gone, *subsets(count, given.runs, given.seed))
        ]
    sys.stdout.write(summary(trials[: len(one_gone)], "one interior slice removed"))
    sys.stdout.write(summary(trials[len(one_gone) :], "3 to 40 interior slices removed"))
    return 0 if all(trial.is_kept for trial in trials) else 1


if __name__ == "__main__":
    raise SystemExit(main())
