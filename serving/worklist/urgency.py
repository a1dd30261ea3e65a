"""How urgent a case is: a class, a due time, and the reasons, from the order and the findings.

The rules stand in ``configs/urgency.yaml``. A finding may raise a case above its ordered class;
nothing that the AI says, or does not say, lowers one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from firstread.errors import PackageError
from firstread.yaml import load, load_file
from models.package import load_description, locate
from serving.worklist.states import OrderedClass, UrgencyClass

MINUTE_S = 60.0


class _Part(BaseModel):
    """Unknown keys are a fault: a misspelt rule must not become no rule."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ClassRule(_Part):
    """One class, and how long its cases may wait."""

    name: UrgencyClass
    minutes: Annotated[float, Field(gt=0)]


class CriticalRule(_Part):
    """Which finding raises a case."""

    least_mean_diameter_mm: Annotated[float, Field(gt=0)]
    operating_point: str


class UrgencyPolicy(_Part):
    """The content of ``urgency.yaml``."""

    schema_: Literal["firstread/urgency/1"] = Field(alias="schema")
    classes: tuple[ClassRule, ...]
    ai_critical: CriticalRule

    @model_validator(mode="after")
    def _every_class_once_in_the_ordered_order(self) -> "UrgencyPolicy":
        names = [rule.name for rule in self.classes]
        if sorted(names) != sorted(UrgencyClass):
            raise ValueError("classes must hold each of " + ", ".join(UrgencyClass) + " once")
        ordered = [name.value for name in names if name is not UrgencyClass.AI_CRITICAL]
        if ordered != list(OrderedClass):
            raise ValueError("the ordered classes must stand as " + ", ".join(OrderedClass))
        return self

    @model_validator(mode="after")
    def _minutes_do_not_fall(self) -> "UrgencyPolicy":
        # Else a case that is raised could be due later than it was before.
        minutes = [rule.minutes for rule in self.classes]
        if minutes != sorted(minutes):
            raise ValueError("a class must not have fewer minutes than one above it")
        return self

    def rank(self, urgency_class: UrgencyClass) -> int:
        """Return the place of a class on the list, 0 first."""
        return [rule.name for rule in self.classes].index(urgency_class)

    def wait_s(self, urgency_class: UrgencyClass) -> float:
        """Return how long a case of a class may wait, in seconds."""
        return self.classes[self.rank(urgency_class)].minutes * MINUTE_S


@dataclass(frozen=True, slots=True)
class Urgency:
    """Where a case stands and why; ``reasons`` are ``{"code", "values"}``, sentences come later."""

    urgency_class: UrgencyClass
    class_rank: int
    due_at: float
    reasons: tuple[Mapping[str, Any], ...]


def read_policy(path: Path | None = None) -> UrgencyPolicy:
    """Read the rules; None reads those that ship.

    Raises
    ------
    ConfigurationError
        ``configuration``: with file, line and reason.
    """
    if path is not None:
        return load_file(path, UrgencyPolicy)
    text = (files("configs") / "urgency.yaml").read_text("utf-8")
    return load(text, UrgencyPolicy, name="urgency.yaml")


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


def judge_urgency(
    policy: UrgencyPolicy,
    ordered_class: OrderedClass,
    arrived_at: float,
    findings: Sequence[Mapping[str, Any]] | None = None,
    threshold: float | None = None,
) -> Urgency:
    """Place a case.

    Parameters
    ----------
    arrived_at
        When the first image was acknowledged, seconds since 1970; waiting counts from there.
    findings
        ``findings`` of ``findings.json``; None where nothing was scored (yet).
    threshold
        See :func:`alert_threshold`; None: unknown, so nothing is raised and the reason says so.
    """
    ordered = UrgencyClass(ordered_class.value)
    raised, reasons = ordered, []
    if findings is not None:
        is_critical, reason = _judge_findings(policy.ai_critical, findings, threshold)
        reasons.append(reason)
        if is_critical and policy.rank(UrgencyClass.AI_CRITICAL) < policy.rank(ordered):
            raised = UrgencyClass.AI_CRITICAL
    reasons.append({"code": f"ordered-{ordered}", "values": {}})
    return Urgency(raised, policy.rank(raised), arrived_at + policy.wait_s(raised), tuple(reasons))


def _judge_findings(
    rule: CriticalRule, findings: Sequence[Mapping[str, Any]], threshold: float | None
) -> tuple[bool, Mapping[str, Any]]:
    """Return whether a finding is critical, and the one that tells most about the place."""
    least_mm = rule.least_mean_diameter_mm
    if not findings:
        return False, {"code": "nothing-found", "values": {}}
    largest = max(findings, key=lambda finding: (finding["mean_diameter_mm"], finding["score"]))
    if threshold is None:
        return False, {"code": "threshold-unknown", "values": _numbers(largest)}
    large = [finding for finding in findings if finding["mean_diameter_mm"] >= least_mm]
    critical = [finding for finding in large if finding["score"] >= threshold]
    if critical:
        most = max(critical, key=lambda finding: (finding["mean_diameter_mm"], finding["score"]))
        return True, {"code": "finding-critical", "values": _numbers(most)}
    if large:
        values = {**_numbers(largest), "threshold": threshold}
        return False, {"code": "finding-uncertain", "values": values}
    values = {**_numbers(largest), "least_mm": least_mm}
    return False, {"code": "finding-small", "values": values}


def _numbers(finding: Mapping[str, Any]) -> dict[str, Any]:
    return {"mean_diameter_mm": finding["mean_diameter_mm"], "score": finding["score"]}
