"""Where a case stands, and why: its class, its due time and the reasons, from all that is known.

::

    ordered class ── routine, and a batch or an old study? ──> backlog
          │                                                       │
          └──────────────> base class <───────────────────────────┘
                               │ a finding is AI-critical, and no storm?
                               v
                  the better of ai-critical and the base ──> minutes of class and tier
                                                         ──> due, in the pool's open minutes

The rules stand in ``configs/urgency.yaml``. A finding may raise a case; nothing that the AI says,
or does not say, lowers one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from firstread.errors import PackageError
from models.package import load_description, locate
from serving.worklist.calendars import due_at, local_date
from serving.worklist.states import OrderedClass, UrgencyClass
from serving.worklist.storm_guard import Tally
from serving.worklist.urgency import DEFAULT_POOL, STANDARD_TIER, CriticalRule, UrgencyPolicy

Reason = Mapping[str, Any]

# What puts a routine case into the backlog; told only while it stands there.
_NO_HURRY = frozenset({"batch", "old-study"})


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """What is known of a case before anything was scored.

    Attributes
    ----------
    arrived_at
        When the first image was acknowledged, seconds since 1970; waiting counts from there.
    study_date
        Study Date (0008,0020) as YYYYMMDD; empty where there is none. One that is no day, or lies
        in the future, makes no case old.
    is_batch
        Whether the hospital declared it as a part of a batch.
    """

    ordered_class: OrderedClass
    arrived_at: float
    study_date: str = ""
    is_batch: bool = False
    tier: str = STANDARD_TIER
    pool: str = DEFAULT_POOL


@dataclass(frozen=True, slots=True)
class Score:
    """What a model said of a case.

    Attributes
    ----------
    findings
        ``findings`` of ``findings.json``.
    threshold
        See :func:`alert_threshold`; None: unknown, so nothing is raised and the reason says so.
    storm
        The storm in which flags of this package and site do not count, see
        :func:`serving.worklist.storm_guard.storm_of`.
    """

    findings: Sequence[Mapping[str, Any]]
    threshold: float | None
    storm: Tally | None = None


@dataclass(frozen=True, slots=True)
class Urgency:
    """Where a case stands and why.

    Attributes
    ----------
    minutes
        How long it may wait, by class and tier, in open minutes of its pool.
    reasons
        ``{"code", "values"}``; the sentence of each is ``page.why.<code>``.
    rules
        Version of the rules that decided.
    """

    urgency_class: UrgencyClass
    class_rank: int
    minutes: float
    due_at: float
    reasons: tuple[Reason, ...]
    rules: str


def judge_urgency(policy: UrgencyPolicy, facts: CaseFacts, score: Score | None = None) -> Urgency:
    """Place a case; ``score`` is None where nothing was scored (yet)."""
    placed, reasons = _base_class(policy, facts)
    if score is not None:
        is_critical, reason = judge_findings(policy.ai_critical, score.findings, score.threshold)
        told = [reason]
        critical = UrgencyClass.AI_CRITICAL
        if is_critical and policy.rank(critical) < policy.rank(placed):
            if score.storm is None:
                placed = critical
                # Why it was in no hurry would contradict where it stands now.
                reasons = [reason for reason in reasons if reason["code"] not in _NO_HURRY]
            else:
                told.append(_storm_reason(score.storm))
        reasons = told + reasons
    minutes = policy.minutes(placed, facts.tier)
    working = policy.calendar(facts.pool).calendar
    reasons.append(_reason("due-always" if working.week is None else "due-open", minutes=minutes))
    if facts.tier != STANDARD_TIER:
        is_known = facts.tier in policy.tiers
        reasons.append(_reason("tier" if is_known else "tier-unknown", tier=facts.tier))
    due = due_at(working, facts.arrived_at, minutes)
    return Urgency(placed, policy.rank(placed), minutes, due, tuple(reasons), policy.version)


def is_flagged(policy: UrgencyPolicy, score: Score) -> bool:
    """Return whether a finding is AI-critical, whatever follows: what the storm guard counts."""
    return judge_findings(policy.ai_critical, score.findings, score.threshold)[0]


def judge_findings(
    rule: CriticalRule, findings: Sequence[Mapping[str, Any]], threshold: float | None
) -> tuple[bool, Reason]:
    """Return whether a finding is critical, and the one that tells most about the place."""
    least_mm = rule.least_mean_diameter_mm
    if not findings:
        return False, _reason("nothing-found")
    largest = max(findings, key=lambda finding: (finding["mean_diameter_mm"], finding["score"]))
    if threshold is None:
        return False, _reason("threshold-unknown", **_numbers(largest))
    large = [finding for finding in findings if finding["mean_diameter_mm"] >= least_mm]
    critical = [finding for finding in large if finding["score"] >= threshold]
    if critical:
        most = max(critical, key=lambda finding: (finding["mean_diameter_mm"], finding["score"]))
        return True, _reason("finding-critical", **_numbers(most))
    if large:
        return False, _reason("finding-uncertain", **_numbers(largest), threshold=threshold)
    return False, _reason("finding-small", **_numbers(largest), least_mm=least_mm)


def alert_threshold(
    policy: UrgencyPolicy, named: Mapping[str, Any], running: str | None
) -> float | None:
    """Return the threshold of the policy's operating point from the package that a result names.

    Parameters
    ----------
    named
        ``package`` of ``findings.json``: name, version and the SHA-256 of its description.
    running
        What the service scores with, as in its settings; others are looked for where ours lie.

    Returns
    -------
    None where exactly that package is not installed (any more), or has no such operating point:
    another one's threshold would mean something else.
    """
    for reference in (running, f"{named['name']}@{named['version']}"):
        try:
            found = load_description(locate(reference))
        except PackageError:
            continue
        if found.sha256 == named["sha256"]:
            point = found.description.operating_points.get(policy.ai_critical.operating_point)
            return None if point is None else point.threshold
    return None


def study_age_days(policy: UrgencyPolicy, facts: CaseFacts) -> int | None:
    """Return how many days before its arrival a study was made, where its pool reads.

    By date alone: one of yesterday is a day old. Negative where it lies in the future; None where
    there is no date.
    """
    try:
        made = date.fromisoformat(facts.study_date)
    except ValueError:
        return None
    return (local_date(policy.calendar(facts.pool).calendar, facts.arrived_at) - made).days


def _base_class(policy: UrgencyPolicy, facts: CaseFacts) -> tuple[UrgencyClass, list[Reason]]:
    """Return the class of a case without its score: as ordered, or backlog."""
    ordered = _reason(f"ordered-{facts.ordered_class}")
    if facts.ordered_class is not OrderedClass.ROUTINE:
        return UrgencyClass(facts.ordered_class.value), [ordered]
    if facts.is_batch:
        return UrgencyClass.BACKLOG, [ordered, _reason("batch")]
    days, limit = study_age_days(policy, facts), policy.backlog.study_age_days
    if days is not None and limit != "never" and days > limit:
        return UrgencyClass.BACKLOG, [ordered, _reason("old-study", days=days)]
    return UrgencyClass.ROUTINE, [ordered]


def _storm_reason(storm: Tally) -> Reason:
    return _reason("storm", flagged=storm.flagged, cases=storm.cases)


def _reason(code: str, **values: Any) -> Reason:
    return {"code": code, "values": values}


def _numbers(finding: Mapping[str, Any]) -> dict[str, Any]:
    return {"mean_diameter_mm": finding["mean_diameter_mm"], "score": finding["score"]}
