"""What the page of a case says: findings, verdict, series and history in the reader's language."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from firstread.messages import Language, sentence
from serving.studies.cases import CaseDetail, ResultDetail
from serving.studies.resend import Cure, ResendItem, resend_list
from serving.web.words import (
    LETTERS,
    AiWords,
    ai_words,
    event_words,
    person_name,
    person_words,
    short,
    verdict_words,
    why_words,
)
from serving.worklist.states import AiState
from serving.worklist.urgency import UrgencyPolicy


@dataclass(frozen=True, slots=True)
class FindingWords:
    """One row of the table of findings, and its picture."""

    id: int
    where: str
    size_mm: str
    mean_mm: str
    volume_mm3: str
    mean_hu: str
    score: str
    slices: str
    remark: str
    image: str


@dataclass(frozen=True, slots=True)
class ResendWords:
    """Missing images that the sender is asked for."""

    series: str
    where: str
    missing: str
    is_required: bool


@dataclass(frozen=True, slots=True)
class RenewWords:
    """What is wrong with the images of a series, so that a new series is asked for."""

    series: str
    say: str


@dataclass(frozen=True, slots=True)
class ResultWords:
    """A result in words.

    Attributes
    ----------
    status
        The verdict in a sentence.
    reasons, notes
        Sentences: why it was not scored, or with what limits; what else must be known.
    series, series_why
        Which series was scored, and why.
    """

    status: str
    is_scored: bool
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    findings: tuple[FindingWords, ...]
    series: str
    series_uid: str
    series_why: str
    series_others: int
    package: str
    package_sha256: str
    software: str
    runtime: str
    operating_point: str
    threshold: str
    resend: tuple[ResendWords, ...]
    renew: tuple[RenewWords, ...]
    downloads: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class CaseWords:
    """The page of a case, but for its result."""

    letter: str
    urgency: str
    why: str
    name: str
    person: str
    ai: AiWords
    failure: tuple[str, ...]
    is_under_way: bool
    is_result_old: bool
    history: tuple[tuple[float, str], ...]
    earlier: tuple[ResultDetail, ...]


def case_words(detail: CaseDetail, policy: UrgencyPolicy, language: Language) -> CaseWords:
    """Return what the page says of a case besides its visible result."""
    study = detail.study
    failed = detail.ai_state is AiState.NOT_ANALYSED and detail.summary["status"] == "failed"
    return CaseWords(
        letter=LETTERS[policy.rank(detail.urgency_class)],
        urgency=sentence(f"page.class.{detail.urgency_class}", language),
        why=why_words(detail.reasons, language),
        name=person_name(study.patient_name, language),
        person=person_words(study.sex, study.birth_date, study.study_date, language),
        ai=ai_words(detail.ai_state, detail.summary, language),
        failure=verdict_words(detail.summary["reasons"], language) if failed else (),
        is_under_way=detail.ai_state not in (AiState.SCORED, AiState.NOT_ANALYSED),
        is_result_old=detail.result is not None and not detail.is_result_current,
        history=tuple((event.at, event_words(event, language)) for event in detail.history),
        earlier=tuple(result for result in detail.results if not result.is_visible),
    )


def result_words(
    detail: CaseDetail, result: ResultDetail, document: Mapping[str, Any], language: Language
) -> ResultWords:
    """Return what the page says of a result.

    Parameters
    ----------
    document
        Its ``findings.json``.
    """
    status = document["verdict"]["status"]
    runtime, point = document["runtime"], document["operating_point"]
    choice = document["series_choice"]
    images = document["files"]["key_images"]
    asked = resend_list(document)
    return ResultWords(
        status=sentence(f"page.verdict.{status}", language),
        is_scored=document["scored"],
        reasons=tuple(reason[short(language)] for reason in document["verdict"]["reasons"]),
        notes=tuple(note[short(language)] for note in document["notes"]),
        findings=tuple(
            _finding(finding, image, document["package"]["intended_size"], language)
            for finding, image in zip(document["findings"], images, strict=True)
        ),
        series=_series(detail, document["series_uid"], choice["instances"], language),
        series_uid=document["series_uid"] or "",
        series_why=choice["why_zh" if language is Language.ZH_CN else "why"],
        series_others=len(choice["runners_up"]),
        package=f"{result.package_name} {result.package_version}",
        package_sha256=result.package_sha256,
        software=result.software_version,
        runtime=f"{runtime['provider']} {runtime['version']} {runtime['precision']}"
        if runtime
        else "",
        operating_point=point["name"] if point else "",
        threshold=f"{point['threshold']:.3f}" if point else "",
        resend=tuple(
            _resend(detail, item, language) for item in asked if item.cure is Cure.MISSING_IMAGES
        ),
        renew=tuple(
            RenewWords(
                _series_name(detail, item.series_uid),
                item.zh if language is Language.ZH_CN else item.en,
            )
            for item in asked
            if item.cure is Cure.NEW_SERIES
        ),
        downloads=tuple(
            (name, _size(stored.size_bytes))
            for name, stored in sorted(result.files.items())
            if not name.startswith("key_images/")
        ),
    )


def _finding(
    finding: Mapping[str, Any], image: str, intended: Mapping[str, float], language: Language
) -> FindingWords:
    side = sentence(f"page.side.{finding['laterality']}", language)
    zone = finding["zone"]
    where = (
        sentence("page.place", language, side=side, zone=sentence(f"page.zone.{zone}", language))
        if zone
        else side
    )
    first, last = finding["slices"]
    remark = ""
    if finding["intended_size"] != "within":
        key = f"page.size.{finding['intended_size']}"
        remark = sentence(
            key,
            language,
            least_mm=f"{intended['least_mm']:g}",
            most_mm=f"{intended['most_mm']:g}",
        )
    return FindingWords(
        id=finding["id"],
        where=where,
        size_mm=f"{finding['long_axis_mm']:.1f} × {finding['short_axis_mm']:.1f}",
        mean_mm=f"{finding['mean_diameter_mm']:.1f}",
        volume_mm3=f"{finding['volume_mm3']:.0f}",
        mean_hu=f"{finding['mean_hu']:.0f}",
        score=f"{finding['score']:.2f}",
        # From 1, as the key image counts.
        slices=f"{first + 1}–{last + 1} ({finding['key_slice'] + 1})"
        if first != last
        else str(first + 1),
        remark=remark,
        image=image,
    )


def _series(detail: CaseDetail, series_uid: str | None, count: int, language: Language) -> str:
    found = next((s for s in detail.study.series if s.series_uid == series_uid), None)
    if found is None:
        return sentence("page.series.none", language)
    number = "" if found.number is None else str(found.number)
    return sentence(
        "page.series.words", language, number=number, description=found.description, count=count
    ).strip()


def _resend(detail: CaseDetail, item: ResendItem, language: Language) -> ResendWords:
    where = sentence("page.resend.whole", language)
    if item.position_mm is not None:
        where = f"{item.position_mm:.1f} mm"
        if item.from_mm is not None and item.to_mm is not None:
            where += f" ({item.from_mm:.1f} … {item.to_mm:.1f} mm)"
    return ResendWords(
        series=_series_name(detail, item.series_uid),
        where=where,
        missing="" if item.missing is None else str(item.missing),
        is_required=item.is_required,
    )


def _series_name(detail: CaseDetail, series_uid: str | None) -> str:
    found = next((s for s in detail.study.series if s.series_uid == series_uid), None)
    if found is None:
        return ""
    number = "" if found.number is None else str(found.number)
    return f"{number} {found.description}".strip()


def _size(size_bytes: int) -> str:
    return (
        f"{size_bytes / 1024:.0f} KiB" if size_bytes < 1 << 20 else f"{size_bytes / 2**20:.1f} MiB"
    )


def dynamic_keys() -> set[str]:
    """Return every key that is put together here, for the test that compares the catalogues."""
    return {
        *(f"page.verdict.{status}" for status in ("accept", "limits", "resend", "refuse")),
        *(f"page.side.{side}" for side in ("left", "right", "undetermined")),
        *(f"page.zone.{zone}" for zone in ("upper", "middle", "lower")),
        *(f"page.size.{place}" for place in ("below", "above")),
    }
