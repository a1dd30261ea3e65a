"""The way of a study, from an upload to an analysis; each step is one call.

======== ====================================================== ==========================
step     does                                                   gives
======== ====================================================== ==========================
choose   which study, which series, and why                     ``Study``, ``Choice``
judge    split, positions, pixels, content                      ``Judgement``
detect   lung box, network grid, runtime, candidates            ``Candidate`` ...
measure  merge, mask on the source grid, measure                ``Finding`` ...
======== ====================================================== ==========================

Writing the results is the caller's last step: ``inference.results.writing.write_results``.
"""

from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter

from firstread.errors import UsageError
from firstread.progress import Progress, silent
from firstread.version import __version__
from inference.detection.detect import detect
from inference.dicom.choice import Choice, choose_study, rank_series
from inference.dicom.instance import Series, Study, Upload, unread_counts
from inference.findings import measure_findings
from inference.gate.arrival import await_the_rest, judge_arrival
from inference.gate.judge import Judgement, judge
from inference.gate.reasons import Verdict
from inference.results.analysis import (
    Analysis,
    OperatingPointUsed,
    PackageUsed,
    RuntimeIdentity,
    SeriesChoice,
    SplitOff,
)
from models.package import InputContract, Package
from models.runtime import Runtime

Stopwatch = Callable[[], float]


@dataclass(slots=True)
class Timings:
    """Seconds of each stage, in the order in which they ended; the clock belongs to the caller."""

    clock: Stopwatch = perf_counter
    seconds: dict[str, float] = field(default_factory=dict)
    started_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.started_s = self.clock()

    @property
    def total_s(self) -> float:
        """Seconds since these timings began."""
        return self.clock() - self.started_s

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of this block to ``name``."""
        start = self.clock()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + self.clock() - start


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What the gate says of an upload: the study, the choice of the series, and the judgement."""

    study: Study
    choice: Choice
    judgement: Judgement
    unread: Mapping[str, int]


def judge_upload(
    upload: Upload,
    contract: InputContract,
    *,
    study_uid: str | None = None,
    manifest: Set[str] | None = None,
    progress: Progress = silent,
    timings: Timings | None = None,
) -> Judged:
    """Choose study and series and judge them: all of ``--gate-only``, and where analysis begins.

    Parameters
    ----------
    manifest
        SOP Instance UIDs that the sender says were sent.

    Raises
    ------
    SeveralStudies
        ``several-studies``: more than one study and none named.
    """
    timings = timings or Timings()
    with timings.stage("choose"):
        study = choose_study(upload, study_uid)
        choice = rank_series(study, contract)
    judgement = judge(study, choice.series, contract, progress=progress, timings=timings)
    reasons = (*judgement.verdict.reasons, *judge_arrival(upload, manifest))
    verdict = Verdict.of(await_the_rest(reasons, contract.body_parts))
    return Judged(study, choice, replace(judgement, verdict=verdict), unread_counts(upload))


def check_operating_point(package: Package, name: str) -> None:
    """Refuse a name that the package does not know; cheap, so ask before anything is read.

    Raises
    ------
    UsageError
        ``usage``: the package has no such operating point.
    """
    points = package.description.operating_points
    if name not in points:
        raise UsageError(
            f"{package.description.name} has no operating point {name!r}",
            advice="choose one of " + ", ".join(points),
        )


def analyse(
    upload: Upload,
    package: Package,
    open_runtime: Callable[[], Runtime],
    *,
    operating_point: str = "balanced",
    study_uid: str | None = None,
    manifest: Set[str] | None = None,
    progress: Progress = silent,
    timings: Timings | None = None,
) -> Analysis:
    """Analyse one study of an upload.

    Parameters
    ----------
    open_runtime
        Called only when there is something to score, so that a refused study loads no network.
    operating_point
        A name in the package.

    Raises
    ------
    UsageError
        ``usage``: the package has no such operating point.
    SeveralStudies
        ``several-studies``: more than one study and none named.
    """
    timings = timings or Timings()
    check_operating_point(package, operating_point)
    judged = judge_upload(
        upload,
        package.description.input_contract,
        study_uid=study_uid,
        manifest=manifest,
        progress=progress,
        timings=timings,
    )
    analysis = _not_scored(judged, package)
    judgement = judged.judgement
    if judgement.verdict.status.is_scored:
        # The gate accepts nothing without a stack, a volume and lungs.
        assert judgement.stack is not None
        assert judgement.volume is not None
        assert judgement.lungs is not None
        with timings.stage("load"):
            runtime = open_runtime()
        with timings.stage("detect"):
            candidates = detect(judgement.volume, judgement.lungs, package, runtime, progress)
        threshold = package.description.operating_points[operating_point].threshold
        with timings.stage("measure"):
            findings = measure_findings(candidates, judgement.volume, judgement.lungs, threshold)
        analysis = replace(
            analysis,
            slices=judgement.stack.slices,
            volume=judgement.volume,
            runtime=RuntimeIdentity(
                runtime.provider, runtime.precision, runtime.version, runtime.processor
            ),
            operating_point=OperatingPointUsed(
                operating_point, threshold, package.description.floor
            ),
            findings=findings,
            candidates=tuple(c for c in candidates if c.score < threshold),
        )
    return replace(analysis, timings_s=timings.seconds | {"total": timings.total_s})


def series_choice(judged: Judged) -> SeriesChoice:
    """Return which series was chosen and why, what was split off, and the others."""
    return SeriesChoice(
        judged.choice.why,
        len(judged.judgement.instances),
        tuple(
            SplitOff(part.why, tuple(instance.sop_instance_uid for instance in part.instances))
            for part in judged.judgement.split_off
        ),
        judged.choice.runners_up,
        judged.unread,
    )


def _not_scored(judged: Judged, package: Package) -> Analysis:
    """Return what is known without a score; an instance without UIDs can be named in no result."""
    judgement = judged.judgement
    instances = tuple(instance for instance in judgement.instances if instance.has_uids)
    return Analysis(
        software_version=__version__,
        package=_used(package, judgement.series),
        verdict=judgement.verdict,
        choice=series_choice(judged),
        study=judged.study,
        series=judgement.series if instances else None,
        instances=instances,
    )


def _used(package: Package, series: Series | None) -> PackageUsed:
    described = package.description
    return PackageUsed(
        described.name,
        described.version,
        package.sha256,
        described.intended_size,
        has_seen_series=series is not None and series.uid in described.trained_on_series,
    )
