"""How urgent a case is: a class, a due time, and the reasons, from the order and the findings.

The rules stand in ``configs/urgency.yaml``. A finding may raise a case above its ordered class;
nothing that the AI says, or does not say, lowers one.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from firstread.errors import ConfigurationError, PackageError
from firstread.yaml import load, load_file
from models.package import load_description, locate
from serving.worklist.calendars import ALL_DAY, Calendar, Shift, due_at, read_shift
from serving.worklist.states import OrderedClass, UrgencyClass

# What a hospital and a case are of until something else is said of them.
STANDARD_TIER = "standard"
DEFAULT_POOL = "default"


# Longer, and a calendar that hardly opens could look for a due time for ever.
MOST_MINUTES = 30 * 1440

Minutes = Annotated[float, Field(gt=0, le=MOST_MINUTES)]
Share = Annotated[float, Field(ge=0, le=1)]
Chance = Annotated[float, Field(gt=0, lt=1)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
TierName = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")]


class Weekday(StrEnum):
    """As :meth:`datetime.date.weekday` counts them."""

    MONDAY = "monday"
    TUESDAY = "tuesday"
    WEDNESDAY = "wednesday"
    THURSDAY = "thursday"
    FRIDAY = "friday"
    SATURDAY = "saturday"
    SUNDAY = "sunday"


def _zone(name: object) -> ZoneInfo:
    try:
        return ZoneInfo(str(name))
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(
            f"no time zone {name!r} on this machine; they are called as Asia/Shanghai, and lie in "
            "the system's package tzdata"
        ) from error


def _hours(text: object) -> Shift:
    return read_shift(str(text))


def _not_older(schema: object) -> object:
    if schema == "firstread/urgency/1":
        raise ValueError(
            "this file was made for an older version of Firstread and lacks "
            + ", ".join(SINCE_SCHEMA_2)
        )
    return schema


SINCE_SCHEMA_2 = ("tiers", "backlog", "token", "allowance", "storm_guard", "calendars", "pools")
Hours = Annotated[Shift, BeforeValidator(_hours)]


class _Part(BaseModel):
    """Unknown keys are a fault: a misspelt rule must not become no rule."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ClassRule(_Part):
    """One class, and how long its cases may wait."""

    name: UrgencyClass
    minutes: Minutes


class CriticalRule(_Part):
    """Which finding raises a case."""

    least_mean_diameter_mm: Annotated[float, Field(gt=0)]
    operating_point: str


class BacklogRule(_Part):
    """Which routine cases are old."""

    study_age_days: Annotated[int, Field(ge=0)] | Literal["never"]


class TokenRule(_Part):
    """What is reserved for overdue cases of a lower class; ``share`` is phi."""

    share: Share
    unflagged_share_in_storm: Share


class AllowanceRule(_Part):
    """What a hospital may send without an excess: delta, epsilon and beta."""

    rate_margin: NotNegative
    pool_share: NotNegative
    burst_minutes: NotNegative


class StormRule(_Part):
    """When the share of flagged cases is a storm: see :mod:`serving.worklist.storm_guard`."""

    acts: bool
    flagged_share: Chance
    packages: Mapping[str, Chance]
    window_cases: Annotated[int, Field(ge=20, le=1000)]
    slow_window_cases: Annotated[int, Field(ge=20, le=10_000)]
    improbable: Chance
    usual_again: Chance
    most_days: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _can_trip_and_recover(self) -> "StormRule":
        if self.slow_window_cases < self.window_cases:
            raise ValueError("slow_window_cases must not be less than window_cases")
        if self.usual_again <= self.improbable:
            raise ValueError("usual_again must be more than improbable")
        for share in (self.flagged_share, *self.packages.values()):
            if share**self.window_cases >= self.improbable:
                raise ValueError(
                    f"with a usual share of {share:g} even {self.window_cases} flags in "
                    f"{self.window_cases} cases come by chance: it would never trip"
                )
        return self

    def usual_share(self, package_name: str) -> float:
        """Return the share of cases that a package usually flags."""
        return self.packages.get(package_name, self.flagged_share)


class CalendarRule(_Part):
    """When a pool reads, and how its cases spread over the day."""

    timezone: Annotated[ZoneInfo, BeforeValidator(_zone)]
    hours: Mapping[Weekday, tuple[Hours, ...]] | None = None
    closed: tuple[date, ...] = ()
    other_hours: Mapping[date, tuple[Hours, ...]] = Field(default_factory=dict)
    load_by_hour: tuple[NotNegative, ...] = (1.0,) * 24

    @model_validator(mode="after")
    def _can_be_read_by(self) -> "CalendarRule":
        if len(self.load_by_hour) != 24 or not sum(self.load_by_hour):
            raise ValueError("load_by_hour must hold 24 numbers, not all of them 0")
        if twice := set(self.closed) & set(self.other_hours):
            raise ValueError(f"{min(twice)} is closed and has other hours")
        # It is made here, so that whatever it refuses has a line.
        _ = self.calendar
        return self

    @cached_property
    def calendar(self) -> Calendar:
        """Return the working time."""
        other = {**dict.fromkeys(self.closed, ()), **self.other_hours}
        if self.hours is None:
            return Calendar(self.timezone, ((ALL_DAY,),) * 7 if other else None, other)
        week = tuple(tuple(self.hours.get(day, ())) for day in Weekday)
        return Calendar(self.timezone, week, other)


class UrgencyPolicy(_Part):
    """The content of ``urgency.yaml``."""

    schema_: Annotated[Literal["firstread/urgency/2"], BeforeValidator(_not_older)] = Field(
        alias="schema"
    )
    classes: tuple[ClassRule, ...]
    tiers: Mapping[TierName, Mapping[UrgencyClass, Minutes]]
    ai_critical: CriticalRule
    backlog: BacklogRule
    token: TokenRule
    allowance: AllowanceRule
    storm_guard: StormRule
    calendars: Mapping[str, CalendarRule]
    pools: Mapping[str, str]

    @field_validator("classes")
    @classmethod
    def _every_class_once_in_the_ordered_order(
        cls, classes: tuple[ClassRule, ...]
    ) -> tuple[ClassRule, ...]:
        names = [rule.name for rule in classes]
        if sorted(names) != sorted(UrgencyClass):
            raise ValueError("classes must hold each of " + ", ".join(UrgencyClass) + " once")
        ordered = [name.value for name in names if name is not UrgencyClass.AI_CRITICAL]
        if ordered != list(OrderedClass):
            raise ValueError("the ordered classes must stand as " + ", ".join(OrderedClass))
        return classes

    @field_validator("pools")
    @classmethod
    def _has_a_default(cls, pools: Mapping[str, str]) -> Mapping[str, str]:
        if DEFAULT_POOL not in pools:
            raise ValueError(f"{DEFAULT_POOL} is missing")
        return pools

    @model_validator(mode="after")
    def _minutes_do_not_fall(self) -> "UrgencyPolicy":
        # Else a case that is raised could be due later than it was before.
        for tier in self.tiers:
            minutes = [self.minutes(rule.name, tier) for rule in self.classes]
            if minutes != sorted(minutes):
                raise ValueError(f"{tier}: a class must not have fewer minutes than one above it")
        return self

    @model_validator(mode="after")
    def _names_what_there_is(self) -> "UrgencyPolicy":
        if STANDARD_TIER not in self.tiers:
            raise ValueError(f"tiers must hold {STANDARD_TIER}")
        for pool, name in self.pools.items():
            if name not in self.calendars:
                raise ValueError(f"pools: {pool} has the calendar {name}, which is not there")
        return self

    def rank(self, urgency_class: UrgencyClass) -> int:
        """Return the place of a class on the list, 0 first."""
        return [rule.name for rule in self.classes].index(urgency_class)

    def minutes(self, urgency_class: UrgencyClass, tier: str = STANDARD_TIER) -> float:
        """Return how long a case may wait; a tier that is not known has agreed on nothing else."""
        agreed = self.tiers.get(tier, {})
        return agreed.get(urgency_class, self.classes[self.rank(urgency_class)].minutes)

    def calendar(self, pool: str = DEFAULT_POOL) -> CalendarRule:
        """Return the calendar of a pool."""
        return self.calendars[self.pools.get(pool, self.pools[DEFAULT_POOL])]

    @cached_property
    def version(self) -> str:
        """Return what every decision names: 12 hexadecimal digits of the content's SHA-256.

        Comments, and the order in which a file is written, change nothing.
        """
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:12]


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
    ships = files("configs") / "urgency.yaml"
    if path is None:
        return load(ships.read_text("utf-8"), UrgencyPolicy, name="urgency.yaml")
    try:
        return load_file(path, UrgencyPolicy)
    except ConfigurationError as error:
        advice = f"the file that ships is whole: {ships}; put your values into a copy of it"
        raise ConfigurationError(error.message, advice=advice) from error


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
    due = due_at(policy.calendar().calendar, arrived_at, policy.minutes(raised))
    return Urgency(raised, policy.rank(raised), due, tuple(reasons))


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
