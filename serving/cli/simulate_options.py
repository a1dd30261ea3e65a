"""The options of ``firstread simulate``, checked and turned into what is simulated."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeVar

from firstread.errors import UsageError
from serving.worklist.simulate.cases import Pool, flat_day
from serving.worklist.simulate.experiment import PREEMPTIVE, Plan
from serving.worklist.simulate.guarantees import SEEDS
from serving.worklist.simulate.policies import Policy
from serving.worklist.simulate.reading import Modality, Reading, Scatter
from serving.worklist.simulate.scenarios import SCENARIOS, WORKING_DAY, Name, Scenario
from serving.worklist.simulate.theory import Detector
from serving.worklist.simulate.traffic import Traffic

Word = TypeVar("Word", bound=StrEnum)

# Far more than work from one list; a typing error beyond would simulate for hours.
MOST_READERS = 10_000
# Of a reading (a week), and of one share of the cases beside another: sums stay finite.
MINUTES = (0.01, 10_000.0)
SHARES = (1e-6, 1e6)


class Day(StrEnum):
    """How the traffic is spread over the day."""

    FLAT = "flat"
    WORKING = "working"


@dataclass(frozen=True, slots=True)
class Given:
    """The options as they were typed; None where one was left out."""

    policy: str
    readers: int | None
    traffic: float | None
    mean_minutes: float | None
    modalities: tuple[str, ...]
    prevalence: float | None
    sensitivity: float | None
    specificity: float | None
    roc: str | None
    phi: float
    reading: str
    cv: float
    day: str | None
    hospitals: int | None
    cases: int | None
    seeds: int | None
    is_preemptive: bool


@dataclass(frozen=True, slots=True)
class ReferenceDay:
    """A reference scenario, changed as asked."""

    name: Name
    scenario: Scenario
    policy: Policy
    seeds: int
    pool: Pool


def plans(given: Given) -> tuple[Plan, ...]:
    """Return one plan, or one for each operating point.

    Raises
    ------
    UsageError
        ``usage``
    """
    policy = one_of(Policy, given.policy, "--policy")
    if given.is_preemptive and policy not in PREEMPTIVE:
        raise UsageError(
            f"--preemptive with --policy {policy}", advice="only fifo and strict may interrupt"
        )
    is_flat = given.day is None or one_of(Day, given.day, "--day") is Day.FLAT
    detector = Detector(*(_or(value, usual) for value, usual in _detector(given)))
    traffic = Traffic(
        _readers(given, 4),
        _or(given.traffic, 0.8),
        _reading(given),
        detector,
        _or(given.hospitals, 40),
        flat_day(1.0) if is_flat else WORKING_DAY,
    )
    plan = Plan(
        policy,
        traffic,
        _or(given.cases, 100_000),
        _or(given.seeds, 8),
        given.phi,
        given.is_preemptive,
    )
    return tuple(
        replace(plan, traffic=replace(traffic, detector=point))
        for point in _points(given, detector)
    )


def reference_day(name: str, given: Given) -> ReferenceDay:
    """Return a reference scenario with what else was asked.

    Raises
    ------
    UsageError
        ``usage``: also for an option that means nothing there.
    """
    which = one_of(Name, name, "--scenario")
    meaningless = {
        "--roc": given.roc, "--day": given.day, "--cases": given.cases,
        "--preemptive": given.is_preemptive or None,
    }  # fmt: skip
    for option, value in meaningless.items():
        if value is not None:
            raise UsageError(f"{option} means nothing in a scenario", advice="leave it out")
    changes: dict[str, Any] = {
        name: value
        for name in ("hospitals", "prevalence", "sensitivity", "specificity")
        if (value := getattr(given, name)) is not None
    }
    if changes.keys() & {"prevalence", "sensitivity", "specificity"}:
        changes["flagged_share"] = None
    if given.traffic is not None:
        loads = SCENARIOS[which].day_loads
        factor = given.traffic * len(loads) / sum(loads)
        changes["day_loads"] = tuple(load * factor for load in loads)
    changes["readers"] = _readers(given, SCENARIOS[which].readers)
    scenario = replace(SCENARIOS[which], reading=_reading(given), **changes)
    return ReferenceDay(
        which,
        scenario,
        one_of(Policy, given.policy, "--policy"),
        _or(given.seeds, SEEDS[which]),
        replace(scenario.pool, phi=given.phi),
    )


def one_of(kind: type[Word], value: str, option: str) -> Word:
    """Return the word that was typed.

    Raises
    ------
    UsageError
        ``usage``: it is none of them.
    """
    try:
        return kind(value)
    except ValueError as error:
        raise UsageError(
            f"{option} {value!r} is not known", advice="one of " + ", ".join(kind)
        ) from error


def _readers(given: Given, usual: int) -> int:
    if given.readers is not None and given.readers > MOST_READERS:
        raise UsageError(
            f"--readers {given.readers:,}: at most {MOST_READERS:,} readers are simulated",
            advice="no pool is larger: give the readers of one pool",
        )
    return _or(given.readers, usual)


def _detector(given: Given) -> tuple[tuple[float | None, float], ...]:
    return (given.prevalence, 0.1), (given.sensitivity, 0.9), (given.specificity, 0.9)


def _points(given: Given, detector: Detector) -> tuple[Detector, ...]:
    if given.roc is None:
        return (detector,)

    def point(text: str) -> Detector:
        sensitivity, specificity = (float(part) for part in text.split(":"))
        if not (0 <= sensitivity <= 1 and 0 <= specificity <= 1):
            raise ValueError(text)
        return replace(detector, sensitivity=sensitivity, specificity=specificity)

    return _parsed(point, tuple(given.roc.split(",")), "--roc", "0.95:0.8,0.9:0.9")


def _reading(given: Given) -> Reading:
    if given.modalities and given.mean_minutes is not None:
        raise UsageError("--modality and --mean-minutes both say how long", advice="one of the two")

    def modality(text: str) -> Modality:
        name, minutes, share = text.split(":")
        mean_min, weight = float(minutes), float(share)
        # Written so that nan is outside.
        if not (MINUTES[0] <= mean_min <= MINUTES[1] and SHARES[0] <= weight <= SHARES[1]):
            raise ValueError(text)
        return Modality(name, mean_min, weight)

    mix = _parsed(modality, given.modalities, "--modality", "CT:12:0.6 --modality CR:3:0.4")
    mix = mix or (Modality("all", _or(given.mean_minutes, 10.0), 1.0),)
    return Reading(mix, one_of(Scatter, given.reading, "--reading"), given.cv)


Value = TypeVar("Value")


def _parsed(
    read: Callable[[str], Value], texts: tuple[str, ...], option: str, example: str
) -> tuple[Value, ...]:
    try:
        return tuple(read(text) for text in texts)
    except ValueError as error:
        raise UsageError(
            f"{option}: {','.join(texts)!r} cannot be read",
            advice=f"for instance {option} {example}",
        ) from error


def _or(value: Value | None, usual: Value) -> Value:
    return usual if value is None else value
