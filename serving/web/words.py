"""Values into words: what a row and a case page say, in the reader's language.

Pure functions of stored values. Texts that came from outside (names, descriptions) are handed on as
they are: the templates escape them and keep their direction inside one ``<bdi>``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

from firstread.messages import Language, sentence
from inference.gate.reasons import Code
from serving.events.log import Event
from serving.worklist.states import AiState, OrderedClass, UrgencyClass
from serving.worklist.store import Row
from serving.worklist.storm_guard import Alarm, AlarmCode
from serving.worklist.summary import Failure

# Letters of the classes by their place on the list.
LETTERS = "ABCDE"

# Codes of the gate that tell of images which are not there.
INCOMPLETE = frozenset({"slices-missing", "slices-thinned", "instances-missing"})


class AiForm(StrEnum):
    """The forms that an analysis may take on a page; no two look alike."""

    FINDINGS = "findings"
    NOTHING = "nothing"
    UNANALYSED = "unanalysed"
    UNDER_WAY = "under-way"


@dataclass(frozen=True, slots=True)
class AiWords:
    """What the AI column says.

    Attributes
    ----------
    say
        The short answer.
    sub
        More about it, or empty.
    marks
        Things that the reader must know at once: limits, sizes outside the intended range.
    is_resend
        Whether the sender is asked for more.
    """

    form: AiForm
    say: str
    sub: str
    marks: tuple[str, ...]
    is_resend: bool


@dataclass(frozen=True, slots=True)
class RowWords:
    """One row of the worklist."""

    case_id: str
    version: int
    letter: str
    urgency_class: str
    urgency: str
    why: str
    name: str
    person: str
    patient_id: str
    hospital: str
    description: str
    arrived_at: float
    due_at: float
    ai: AiWords
    # Of the study, whatever its analysis says.
    marks: tuple[str, ...]


def row_words(row: Row, language: Language) -> RowWords:
    """Return what the list shows of a case."""
    return RowWords(
        case_id=row.case_id,
        version=row.version,
        letter=LETTERS[row.class_rank],
        urgency_class=row.urgency_class.value,
        urgency=sentence(f"page.class.{row.urgency_class}", language),
        why=why_words(row.reasons, language),
        name=person_name(row.patient_name, language),
        person=person_words(row.sex, row.birth_date, row.study_date, language),
        patient_id=row.patient_id,
        hospital=row.site_name,
        description=row.description,
        arrived_at=row.arrived_at,
        due_at=row.due_at,
        ai=ai_words(row.ai_state, row.summary, language),
        marks=(sentence("page.mark.conflict", language),) if row.has_conflicts else (),
    )


def why_words(reasons: tuple[Mapping[str, Any], ...], language: Language) -> str:
    """Return why a case stands where it stands, as one text."""
    return sentence("page.why.join", language).join(
        reason_words(reason, language) for reason in reasons
    )


def reason_words(reason: Mapping[str, Any], language: Language) -> str:
    """Return the sentence of one reason of :func:`serving.worklist.placing.judge_urgency`."""
    code, values = reason["code"], _numbers(reason["values"])
    if "minutes" in values:
        # A day of reading hours is no day of the calendar.
        has_days = code == "due-always"
        values["wait"] = _wait_words(reason["values"]["minutes"], language, has_days=has_days)
    return sentence(f"page.why.{code}", language, **values)


def _wait_words(minutes: float, language: Language, *, has_days: bool) -> str:
    """Return how long a case may wait: minutes up to two hours, then as the column "due" does."""
    if minutes <= 120:
        return sentence("page.script.minutes", language, minutes=f"{minutes:g}")
    hours, rest = divmod(minutes, 60)
    if has_days and hours >= 24:
        days, hours = divmod(hours, 24)
        return sentence("page.script.days", language, days=f"{days:g}", hours=f"{hours:g}")
    return sentence("page.script.hours", language, hours=f"{hours:g}", minutes=f"{rest:g}")


def alarm_words(alarm: Alarm, where: str, language: Language) -> str:
    """Return the sentence of an alarm of the storm guard.

    Parameters
    ----------
    where
        Name of the hospital whose case raised it; an alarm of all small ones does not name it.
    """
    if not alarm.is_of_site:
        where = sentence("page.alarm.small-sites", language)
    values = {name: f"{value:.3g}" for name, value in alarm.values.items()}
    return sentence(f"page.alarm.{alarm.code}", language, where=where, **values)


def ai_words(state: AiState, summary: Mapping[str, Any], language: Language) -> AiWords:
    """Return what the AI column says of a case.

    Parameters
    ----------
    summary
        See :mod:`serving.worklist.summary`; empty where no analysis ever ended.
    """
    if state not in (AiState.SCORED, AiState.NOT_ANALYSED):
        sub = ""
        if summary:
            done = AiState.NOT_ANALYSED if summary["findings"] is None else AiState.SCORED
            older = ai_words(done, summary, language)
            sub = sentence("page.ai.before", language, say=older.say)
        say = sentence(f"page.state.{state}", language)
        return AiWords(AiForm.UNDER_WAY, say, sub, (), is_resend=False)
    if summary["findings"] is None:
        return AiWords(
            AiForm.UNANALYSED,
            sentence("page.ai.not-analysed", language),
            "\n".join(verdict_words(summary["reasons"], language)[:1]),
            (),
            is_resend=summary["status"] == "resend",
        )
    marks = []
    if INCOMPLETE & {reason["code"] for reason in summary["reasons"]}:
        marks.append(sentence("page.mark.incomplete", language))
    if summary["status"] == "limits":
        marks.append(sentence("page.mark.limits", language))
    if summary["outside_intended"]:
        marks.append(sentence("page.mark.outside-intended-size", language))
    if "seen-in-training" in summary["notes"]:
        marks.append(sentence("page.mark.seen-in-training", language))
    count = summary["findings"]
    if not count:
        say = sentence("page.ai.nothing-found", language)
        return AiWords(AiForm.NOTHING, say, "", tuple(marks), is_resend=False)
    say = sentence(f"page.ai.{'finding' if count == 1 else 'findings'}", language, count=count)
    sub = sentence(
        "page.ai.largest",
        language,
        largest_mm=f"{summary['largest_mm']:.1f}",
        score=f"{summary['highest_score']:.2f}",
    )
    return AiWords(AiForm.FINDINGS, say, sub, tuple(marks), is_resend=False)


def verdict_words(reasons: tuple[Mapping[str, Any], ...], language: Language) -> tuple[str, ...]:
    """Return the sentences of a verdict's reasons, or of the failure that took its place."""
    return tuple(
        reason[short(language)]
        if short(language) in reason
        else sentence(f"page.failure.{reason['code']}", language)
        for reason in reasons
    )


def event_words(event: Event, language: Language) -> str:
    """Return one line of a case's history."""
    values = _numbers(event.details)
    if "code" in values:
        values["reason"] = sentence(_code_key(values["code"]), language)
    return sentence(f"page.event.{event.kind}", language, **values)


def _code_key(code: str) -> str:
    if code in set(Failure):
        return f"page.failure.{code}"
    # A verdict without a reason is told by its status, and older results may know other codes.
    return f"page.code.{code}" if code in set(Code) else "page.event.by-verdict"


def person_name(stored: str, language: Language) -> str:
    """Return a Person Name (PS3.5 6.2) as it is read: the ideographic group, or both for English.

    Chinese characters are written together, other names with a space.
    """
    groups = [_joined(group) for group in stored.split("=")[:2]]
    alphabetic, ideographic = groups[0], groups[1] if len(groups) > 1 else ""
    if not ideographic or not alphabetic:
        return ideographic or alphabetic
    return ideographic if language is Language.ZH_CN else f"{alphabetic} ({ideographic})"


def _joined(group: str) -> str:
    parts = [part.strip() for part in group.split("^") if part.strip()]
    is_written_together = all(_is_cjk(letter) for part in parts for letter in part)
    return ("" if is_written_together else " ").join(parts)


def _is_cjk(letter: str) -> bool:
    return "\u3400" <= letter <= "\u9fff" or "\U00020000" <= letter <= "\U0003ffff"


def person_words(sex: str, birth_date: str, study_date: str, language: Language) -> str:
    """Return sex and age in years at the study, as far as they are known."""
    words = [sentence(f"page.sex.{sex}", language)] if sex in ("F", "M", "O") else []
    years = _years(birth_date, study_date)
    if years is not None:
        words.append(sentence("page.years", language, years=years))
    return " ".join(words)


def _years(birth_date: str, study_date: str) -> int | None:
    try:
        born, seen = date.fromisoformat(birth_date), date.fromisoformat(study_date)
    except ValueError:
        return None
    years = seen.year - born.year - ((seen.month, seen.day) < (born.month, born.day))
    return years if 0 <= years < 150 else None


def _numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as they are printed: millimetres with one decimal, scores with two."""
    return {
        name: f"{value:.1f}" if name.endswith("_mm") else
        f"{value:.2f}" if isinstance(value, float) else value
        for name, value in values.items()
    }  # fmt: skip


def short(language: Language) -> str:
    """Return the key of a language in ``findings.json``."""
    return "zh" if language is Language.ZH_CN else "en"


def dynamic_keys() -> set[str]:
    """Return every key that is put together here, for the test that compares the catalogues."""
    why = (
        "nothing-found", "threshold-unknown", "finding-critical", "finding-uncertain",
        "finding-small", "storm", *(f"ordered-{name}" for name in OrderedClass),
        "batch", "old-study", "due-always", "due-open", "tier", "tier-unknown",
    )  # fmt: skip
    from serving.events.log import Kind

    return {
        *(f"page.class.{name}" for name in UrgencyClass),
        *(f"page.why.{code}" for code in why),
        *(f"page.state.{state}" for state in AiState),
        *(f"page.failure.{failure}" for failure in Failure),
        *(f"page.event.{kind}" for kind in Kind),
        *(f"page.code.{code}" for code in Code),
        *(f"page.alarm.{code}" for code in AlarmCode),
        *(f"page.sex.{sex}" for sex in "FMO"),
        "page.ai.finding",
        "page.ai.findings",
    }
