"""The rules of urgency: what stands in ``configs/urgency.yaml``, checked, with its version.

What follows from them for a case is decided in :mod:`serving.worklist.placing`.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from functools import cached_property
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from firstread.errors import ConfigurationError
from firstread.yaml import Fault, load, load_file
from serving.worklist.calendars import ALL_DAY, Calendar, Shift, read_shift
from serving.worklist.states import OrderedClass, UrgencyClass

# What a hospital and a case are of until something else is said of them.
STANDARD_TIER = "standard"
DEFAULT_POOL = "default"
SINCE_SCHEMA_2 = ("tiers", "backlog", "token", "allowance", "storm_guard", "calendars", "pools")


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

    growth: NotNegative
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
        if names[0] is not UrgencyClass.STAT:
            # The order serves it before all others, and no token passes it.
            raise ValueError(f"{UrgencyClass.STAT} must stand first")
        return classes

    @field_validator("tiers")
    @classmethod
    def _has_the_standard(
        cls, tiers: Mapping[str, Mapping[UrgencyClass, float]]
    ) -> Mapping[str, Mapping[UrgencyClass, float]]:
        if STANDARD_TIER not in tiers:
            raise ValueError(f"{STANDARD_TIER} is missing")
        return tiers

    @field_validator("pools")
    @classmethod
    def _has_a_default(cls, pools: Mapping[str, str]) -> Mapping[str, str]:
        if DEFAULT_POOL not in pools:
            raise ValueError(f"{DEFAULT_POOL} is missing")
        return pools

    @model_validator(mode="after")
    def _minutes_do_not_fall(self) -> "UrgencyPolicy":
        # Else a case that is raised could be due later than it was before.
        for tier, agreed in self.tiers.items():
            for above, rule in pairwise(self.classes):
                fewer, more = self.minutes(rule.name, tier), self.minutes(above.name, tier)
                if fewer >= more:
                    continue
                reason = (
                    f"{rule.name} has {fewer:g} minutes, fewer than the {more:g} of {above.name} "
                    "above it"
                )
                for name in (rule.name, above.name):
                    if name in agreed:
                        raise Fault(reason, "tiers", tier, name)
                raise Fault(reason, "classes", self.rank(rule.name))
        return self

    @model_validator(mode="after")
    def _names_what_there_is(self) -> "UrgencyPolicy":
        for pool, name in self.pools.items():
            if name not in self.calendars:
                raise Fault(f"it has the calendar {name}, which is not there", "pools", pool)
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
