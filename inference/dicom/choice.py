"""Which study and which series to analyse, and why.

Only header values count. Series are compared by the criteria of :data:`CRITERIA`, from the first to
the last: the first that tells two series apart decides, and its sentence says why the other lost.
The order is total (the last criterion is the Series Instance UID), so it does not depend on the
order of files.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, TypeVar

import numpy as np
from pydicom.uid import UID

from firstread.errors import SeveralStudies, UsageError
from firstread.messages import Language, sentence
from inference.dicom.body_parts import names_body_part
from inference.dicom.instance import Frame, Series, Study, Upload
from inference.dicom.listing import list_studies
from inference.dicom.placement import SAME_POSITION_MM, is_placed
from models.package import InputContract

# Slices whose normal is further from the body's long axis are no axial slices.
AXIAL_WITHIN_DEG = 30.0
# A tall adult's lungs; what a series covers beyond them is no chest and no merit.
LUNGS_AT_MOST_MM = 350.0
# A series this much shorter than the longest one may not show the whole lungs.
WHOLE_COVERAGE_SHARE = 0.9
# Steps that differ by less are the same thickness to a reader.
SPACING_DECIMALS = 2


class Kernel(IntEnum):
    """What a reconstruction kernel was made for, from best to worst for nodules."""

    STANDARD = 0
    LUNG = 1
    UNKNOWN = 2
    UNUSUAL = 3


# Looked up in this order: BONEPLUS is bone, whatever else is in the name.
_KERNEL_WORDS = {
    Kernel.UNUSUAL: ("BONE", "EDGE", "HEAD", "BRAIN", "NEURO", "INNER"),
    Kernel.LUNG: ("LUNG",),
    Kernel.STANDARD: ("STANDARD", "STND", "SOFT", "DETAIL", "CHST", "CHEST", "BODY"),
}
_SIEMENS_KERNEL = re.compile(r"([BIHJU])([A-Z]?)(\d{2})")


Value = TypeVar("Value", str, tuple[float, ...])


@dataclass(frozen=True, slots=True)
class NotChosen:
    """A series that was not chosen, and the one criterion that decided."""

    series_uid: str
    why_not: str


# A key of the catalogue, and the values that its sentence names.
Piece = tuple[str, Mapping[str, str | int]]


@dataclass(frozen=True, slots=True)
class Why:
    """Why a series won: pieces of one sentence."""

    pieces: tuple[Piece, ...]

    def sentence(self, language: Language) -> str:
        """Return the sentence for people."""
        return "".join(sentence(key, language, **values) for key, values in self.pieces)


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """The series to analyse (None: nothing is CT), why it won, and the others, best first."""

    series: Series | None
    why: Why
    runners_up: tuple[NotChosen, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """What choosing needs to know of a series.

    Attributes
    ----------
    slices
        Distinct positions along the commonest orientation, localizers left out.
    spacing_mm
        Median step between them; infinite for fewer than two.
    coverage_mm
        From the first slice's far side to the last one's.
    is_other_part
        Whether its slices name body parts, and none of them one of the contract's.
    """

    series: Series
    has_uids: bool
    is_localizer: bool
    is_axial: bool
    is_computed: bool
    body_part: str
    kernel: str
    slices: int
    spacing_mm: float
    pixel_mm: float
    coverage_mm: float
    covers_whole: bool
    is_other_part: bool
    kernel_kind: Kernel
    fits_contract: bool


@dataclass(frozen=True, slots=True)
class Criterion:
    """One step of the comparison: smaller keys win; ``why_not`` speaks of loser and winner."""

    key: Callable[[Facts], Any]
    why_not: Callable[[Facts, Facts], str]


CRITERIA: tuple[Criterion, ...] = (
    Criterion(lambda s: not s.has_uids, lambda s, _: "SOP class or UIDs are missing"),
    Criterion(lambda s: s.is_localizer, lambda s, _: "a localizer, not a stack of slices"),
    Criterion(lambda s: not s.is_axial, lambda s, _: "not axial, or without positions"),
    Criterion(
        lambda s: s.is_computed,
        lambda s, _: "computed from other slices (projection, average or reformat)",
    ),
    Criterion(
        lambda s: not s.fits_contract,
        lambda s, _: (
            f"{s.slices} slices, {_mm(s.spacing_mm)} apart: outside what the model was made for"
        ),
    ),
    Criterion(
        lambda s: s.is_other_part, lambda s, _: f"shows {s.body_part.lower()}, not the chest"
    ),
    Criterion(
        lambda s: not s.covers_whole,
        lambda s, w: (
            f"covers {s.coverage_mm:.0f} mm along the body, the chosen one {w.coverage_mm:.0f} mm"
        ),
    ),
    Criterion(
        lambda s: s.kernel_kind is Kernel.UNUSUAL,
        lambda s, _: f"kernel {s.kernel} is neither lung nor standard",
    ),
    Criterion(
        lambda s: round(s.spacing_mm, SPACING_DECIMALS),
        lambda s, w: (
            f"slices {_mm(s.spacing_mm)} apart, those of the chosen one {_mm(w.spacing_mm)}"
        ),
    ),
    Criterion(
        lambda s: s.kernel_kind,
        lambda s, w: f"kernel {s.kernel or 'unknown'}, the chosen one has {w.kernel}",
    ),
    Criterion(
        lambda s: -round(_useful_mm(s.coverage_mm)),
        lambda s, w: (
            f"covers {s.coverage_mm:.0f} mm along the body, the chosen one {w.coverage_mm:.0f} mm"
        ),
    ),
    Criterion(
        lambda s: -s.slices, lambda s, w: f"{s.slices} slices, the chosen one has {w.slices}"
    ),
    Criterion(
        lambda s: round(s.pixel_mm, SPACING_DECIMALS),
        lambda s, w: f"pixels of {_mm(s.pixel_mm)}, those of the chosen one {_mm(w.pixel_mm)}",
    ),
    Criterion(
        lambda s: s.series.uid, lambda s, _: "as fit as the chosen one, whose UID comes first"
    ),
)


def choose_study(upload: Upload, study_uid: str | None) -> Study:
    """Return the study to analyse.

    An instance without a Study Instance UID is a study of its own that nobody can name. Only when
    no study with a UID has a CT image are all of these returned as one, so that a verdict speaks of
    what was sent.

    Raises
    ------
    SeveralStudies
        ``several-studies``: there are several and ``study_uid`` is None.
    UsageError
        ``usage``: no such study in the upload.
    """
    named = [study for study in upload.studies if study.uid]
    if study_uid is not None:
        for study in named:
            if study.uid == study_uid:
                return study
        raise UsageError("the input has no study of that UID", advice=_choose_one(named))
    if len(named) > 1:
        raise SeveralStudies(f"the input holds {len(named)} studies", advice=_choose_one(named))
    if named and named[0].has_named_ct:
        return named[0]
    nameless = [study for study in upload.studies if not study.uid and study.ct_instances]
    return _gathered(nameless or named or list(upload.studies[:1]))


def _gathered(studies: Sequence[Study]) -> Study:
    """Return one study in which everything without a Series Instance UID is one series.

    It can be judged but never scored: nothing says that its images belong together.
    """
    series = [series for study in studies for series in study.series]
    nameless = [instance for one in series if not one.uid for instance in one.instances]
    gathered = [Series("", tuple(nameless))] if nameless else []
    codecs = {declared: codec for study in studies for declared, codec in study.codecs.items()}
    return Study(studies[0].uid, (*gathered, *(one for one in series if one.uid)), codecs)


def _choose_one(named: Sequence[Study]) -> str:
    if not named:
        return "no study of the input has a UID: leave out --study"
    return "choose one with --study UID:\n" + list_studies(named)


def rank_series(study: Study, contract: InputContract) -> Choice:
    """Choose the chest CT series that is fittest for the model.

    Series without a CT image (dose reports, secondary captures, other modalities, results) are
    never chosen. A series that cannot be scored is still chosen when there is no better one: the
    gate says why not.
    """
    candidates, others = [], []
    for series in study.series:
        if series.ct_instances:
            candidates.append(_facts(series, contract))
        else:
            others.append(NotChosen(series.uid, f"no CT image: {_kind(series)}"))
    if not candidates:
        return Choice(None, Why((("choice.none", {}),)), tuple(others))
    longest_mm = max(
        s.coverage_mm for s in candidates if s.is_axial or not any(c.is_axial for c in candidates)
    )
    whole_mm = WHOLE_COVERAGE_SHARE * _useful_mm(longest_mm)
    ranked = sorted(
        (replace(s, covers_whole=s.coverage_mm >= whole_mm) for s in candidates),
        key=lambda s: tuple(criterion.key(s) for criterion in CRITERIA),
    )
    winner, losers = ranked[0], ranked[1:]
    runners_up = [NotChosen(s.series.uid, _why_not(s, winner)) for s in losers]
    return Choice(winner.series, _why(winner, len(losers)), (*runners_up, *others))


def _why(winner: Facts, losers: int) -> Why:
    where: Piece = ("choice.only", {})
    if losers:
        where = ("choice.fittest", {"series": losers + 1})
    if winner.is_localizer or winner.slices < 2:
        one = "choice.one-slice" if winner.slices == 1 else "choice.slices"
        return Why((where, (one, {"slices": winner.slices})))
    stack: Mapping[str, str | int] = {
        "slices": winner.slices,
        "spacing": f"{winner.spacing_mm:.3g} mm",
        "coverage": f"{winner.coverage_mm:.0f} mm",
    }
    pieces: list[Piece] = [where, ("choice.axial" if winner.is_axial else "choice.stack", stack)]
    if winner.kernel:
        pieces.append(("choice.kernel", {"kernel": winner.kernel}))
    return Why(tuple(pieces))


def _why_not(loser: Facts, winner: Facts) -> str:
    decisive = next((c for c in CRITERIA if c.key(loser) != c.key(winner)), CRITERIA[-1])
    return decisive.why_not(loser, winner)


def _mm(length: float) -> str:
    return f"{length:.3g} mm" if np.isfinite(length) else "an unknown distance"


def _useful_mm(coverage_mm: float) -> float:
    return min(coverage_mm, LUNGS_AT_MOST_MM)


def _kind(series: Series) -> str:
    first = series.instances[0]
    if not first.sop_class_uid:
        return first.modality or "of unknown class"
    name = UID(first.sop_class_uid).name
    return name if name != first.sop_class_uid else f"class {name}"


def _facts(series: Series, contract: InputContract) -> Facts:
    instances = series.ct_instances
    # Of localizers alone there is nothing better to look at.
    slices = [instance for instance in instances if not instance.is_localizer] or instances
    is_localizer = all(instance.is_localizer for instance in instances)
    frames = [frame for i in slices for frame in i.frames if not i.is_localizer]
    body_part = _commonest(instance.body_part for instance in slices)
    kernel = _commonest(instance.kernel for instance in slices)
    named = {names_body_part(instance.body_part, contract.body_parts) for instance in slices}
    positions, is_axial, pixel_mm = _positions([frame for frame in frames if is_placed(frame)])
    spacing_mm = float(np.median(np.diff(positions))) if len(positions) > 1 else float("inf")
    coverage_mm = float(positions[-1] - positions[0]) + spacing_mm if len(positions) > 1 else 0.0
    return Facts(
        series=series,
        has_uids=all(instance.has_uids for instance in instances),
        is_localizer=is_localizer,
        is_axial=is_axial,
        is_computed=any(instance.is_computed for instance in slices),
        body_part=body_part,
        kernel=kernel,
        slices=len(positions),
        spacing_mm=spacing_mm,
        pixel_mm=pixel_mm,
        coverage_mm=coverage_mm,
        covers_whole=True,
        is_other_part=named == {False},
        kernel_kind=_kernel_kind(kernel),
        fits_contract=(
            len(positions) >= contract.min_slices
            and spacing_mm <= contract.max_slice_spacing_mm
            and pixel_mm <= contract.max_pixel_spacing_mm
        ),
    )


def _commonest(values: Iterable[Value]) -> Value:
    """Return the commonest value; of equally common ones the smallest, whatever their order."""
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], value))


def _positions(
    frames: Sequence[Frame],
) -> tuple[np.ndarray[Any, np.dtype[np.float64]], bool, float]:
    """Return distinct positions along the commonest orientation, is it axial, pixel size.

    All frames have a place (``is_placed``).
    """
    if not frames:
        return np.empty(0), False, float("inf")
    orientation = _commonest(frame.orientation for frame in frames if frame.orientation)
    own = [frame for frame in frames if frame.orientation == orientation]
    normal = np.cross(orientation[:3], orientation[3:])
    along = np.sort(np.array([frame.position_lps_mm for frame in own], float) @ normal)
    distinct = along[np.insert(np.diff(along) > SAME_POSITION_MM, 0, True)]
    is_axial = abs(normal[2]) / np.linalg.norm(normal) >= np.cos(np.radians(AXIAL_WITHIN_DEG))
    spacing = _commonest(frame.pixel_spacing_mm for frame in own if frame.pixel_spacing_mm)
    return distinct, bool(is_axial), max(spacing)


def _kernel_kind(kernels: str) -> Kernel:
    """Return what a Convolution Kernel (0018,1210) was made for; of several the worst kind.

    Siemens: letter and sharpness (B31f, Br38, Bl57; body up to 49 is standard, above is lung; H, J
    and U are head and ultra sharp). Others use words.
    """
    return max(_kind_of_one(kernel) for kernel in kernels.upper().split("\\"))


def _kind_of_one(name: str) -> Kernel:
    for kind, words in _KERNEL_WORDS.items():
        if any(word in name for word in words):
            return kind
    siemens = _SIEMENS_KERNEL.match(name)
    if siemens is None:
        return Kernel.UNKNOWN
    if siemens[1] not in "BI":
        return Kernel.UNUSUAL
    return Kernel.LUNG if siemens[2] == "L" or int(siemens[3]) >= 50 else Kernel.STANDARD
