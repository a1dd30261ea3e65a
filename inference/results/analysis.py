"""Everything that the results are made of, as one plain value.

The pipeline fills it, :func:`inference.results.write_results` reads it, and nothing else goes into
a result: no clock, no random number, no file name, no order of arrival.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from inference.detection.candidate import Candidate
from inference.dicom.choice import NotChosen, Why
from inference.dicom.instance import Frame, Instance, Series, Study
from inference.findings import Finding
from inference.gate.reasons import Verdict
from inference.volume import Volume
from models.package import SizeRange


@dataclass(frozen=True, slots=True)
class PackageUsed:
    """Which model package, and what it says of itself that a reader of its results must know.

    Attributes
    ----------
    sha256
        Of its ``model.yaml``, 64 hex digits.
    intended_size
        What it was made for.
    has_seen_series
        Whether the analysed series is among those that it was trained on.
    """

    name: str
    version: str
    sha256: str
    intended_size: SizeRange
    has_seen_series: bool = False


@dataclass(frozen=True, slots=True)
class RuntimeIdentity:
    """What the network ran on: any of it may move a mask by a voxel, so all of it is content.

    ``processor`` names family and vector units (or the kind of device), not one machine: kernels
    are chosen by them.
    """

    provider: str
    precision: str
    version: str
    processor: str


@dataclass(frozen=True, slots=True)
class OperatingPointUsed:
    """Findings score at least ``threshold``, candidates from ``floor`` to below it."""

    name: str
    threshold: float
    floor: float


@dataclass(frozen=True, slots=True)
class SplitOff:
    """Instances of the chosen series that are no part of its stack, and why (a stable word)."""

    why: str
    sop_instance_uids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SeriesChoice:
    """Why the chosen series won, what was split off, the other series, and what could not be read.

    Attributes
    ----------
    instances
        How many the gate looked at: those of the stack with both of each doubled position; where
        no stack could be made, those that are not split off. Also those without UIDs.
    unread
        Files of the upload that may be images but could not be read: reason (a stable word) -> how
        many. Each may be a slice of this series, so they are never passed over in silence.
    """

    why: Why
    instances: int
    split_off: tuple[SplitOff, ...] = ()
    runners_up: tuple[NotChosen, ...] = ()
    unread: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """One study after analysis, scored or not.

    Three outcomes: scored (``verdict.status.is_scored``; then everything is given), not scored
    although there is a CT with UIDs (``series`` and ``instances`` are given), and nothing to
    analyse (no CT with UIDs: ``series`` is None and ``instances`` is empty; ``study`` may be None).

    Attributes
    ----------
    software_version
        Of Firstread.
    study
        The analysed study; its codecs decode the texts of the headers.
    series
        The chosen series.
    instances
        Of the stack with both of each doubled position, in the order of the stack; where no stack
        could be made, those of the series that are not split off. Never one without the four UIDs.
    slices
        The distinct slices in the order of ``volume.grid``; empty where no stack could be made.
    volume
        None where it was not read.
    runtime, operating_point
        None where nothing was scored.
    findings
        At or above the threshold, by falling score.
    candidates
        All of the others that the package kept, from its floor to below the threshold, by falling
        score.
    timings_s
        Seconds for each stage; the one part of ``findings.json`` that may differ between two runs.
    """

    software_version: str
    package: PackageUsed
    verdict: Verdict
    choice: SeriesChoice
    study: Study | None
    series: Series | None = None
    instances: tuple[Instance, ...] = ()
    slices: tuple[tuple[Instance, Frame], ...] = ()
    volume: Volume | None = None
    runtime: RuntimeIdentity | None = None
    operating_point: OperatingPointUsed | None = None
    findings: tuple[Finding, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    timings_s: Mapping[str, float] = field(default_factory=dict)
