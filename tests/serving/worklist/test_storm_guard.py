"""The storm guard: it trips at what is improbable, ends late enough, and asks those who know."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from statistics import median
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firstread.messages import Language
from serving.web.words import alarm_words
from serving.worklist.storm_guard import (
    Alarm,
    AlarmCode,
    Drift,
    Guard,
    Tally,
    is_large,
    least_improbable,
    storm_of,
    watch_case,
)
from serving.worklist.urgency import StormRule
from tests.serving.worklist.cases import POLICY

RULE = POLICY.storm_guard
USUAL = 0.18
# Fifty cases a day.
STEP_S = 1728.0


def a_rule(**changes: Any) -> StormRule:
    return StormRule(**{**RULE.model_dump(), **changes})


def watched(
    flags: Sequence[bool],
    guard: Guard | None = None,
    rule: StormRule = RULE,
    step_s: float = STEP_S,
) -> tuple[Guard, list[Alarm]]:
    guard = guard or Guard()
    alarms: list[Alarm] = []
    for number, is_flagged in enumerate(flags):
        guard, raised = watch_case(
            rule, USUAL, guard, is_flagged=is_flagged, scored_at=number * step_s
        )
        alarms += raised
    return guard, alarms


def usual(cases: int) -> list[bool]:
    """Return flags at the usual share, evenly spread."""
    return [math.floor((n + 1) * USUAL) > math.floor(n * USUAL) for n in range(cases)]


def exact_tail(count: int, cases: int, share: Fraction) -> Fraction:
    return sum(
        (
            math.comb(cases, x) * share**x * (1 - share) ** (cases - x)
            for x in range(count, cases + 1)
        ),
        Fraction(0),
    )


@pytest.mark.parametrize("share", ["0.05", "0.18", "0.5", "0.82"])
@pytest.mark.parametrize("chance", ["0.000001", "0.0001", "0.05"])
@pytest.mark.parametrize("cases", [1, 9, 50, 100])
def test_the_limit_is_that_of_exact_arithmetic(share: str, chance: str, cases: int) -> None:
    limit = least_improbable(cases, float(share), float(chance))
    p, alpha = Fraction(share), Fraction(chance)
    assert limit == cases + 1 or exact_tail(limit, cases, p) < alpha
    assert exact_tail(limit - 1, cases, p) >= alpha


@pytest.mark.parametrize(
    ("cases", "chance", "share"), [(50, 1e-4, 0.42), (100, 1e-5, 0.37), (100, 1e-6, 0.39),
                                   (200, 1e-5, 0.31)],
)  # fmt: skip
def test_it_trips_at_the_shares_that_the_reference_measured(
    cases: int, chance: float, share: float
) -> None:
    assert least_improbable(cases, USUAL, chance) == round(share * cases)


def test_a_storm_begins_with_the_flag_that_is_one_too_many_and_says_its_numbers() -> None:
    quiet = usual(100)
    assert sum(quiet) == 18
    # The oldest cases leave the window while flagged ones come.
    guard, alarms = watched(quiet)
    assert (storm_of(RULE, guard), alarms) == (None, [])
    until_39 = next(n for n in range(100) if 18 - sum(quiet[:n]) + n == 39)
    before, alarms = watched([True] * (until_39 - 1), guard)
    assert (storm_of(RULE, before), alarms) == (None, [])
    guard, (alarm,) = watched([True] * until_39, guard)
    assert storm_of(RULE, guard) == Tally(39, 100)
    assert (alarm.code, alarm.is_of_site) == (AlarmCode.STORM_BEGAN, True)
    assert alarm.values["percent"] == 39
    assert alarm.values["usual_percent"] == 18


def test_a_storm_ends_when_the_share_is_usual_again_and_not_just_below_the_limit() -> None:
    guard, _ = watched([True] * 39 + [False] * 61)
    assert storm_of(RULE, guard)
    below = [True] * 38 + [False] * 62
    guard, alarms = watched(below, guard)
    assert storm_of(RULE, guard)
    assert not alarms
    guard, alarms = watched(usual(100), guard)
    assert storm_of(RULE, guard) is None
    assert [alarm.code for alarm in alarms] == [AlarmCode.STORM_ENDED]
    # 24 of 100 come by chance in one window of twenty, 25 do less often.
    assert alarms[0].values["flagged"] == 24


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=150))
def test_more_flags_never_end_a_storm(pairs: list[tuple[bool, bool]]) -> None:
    rule = a_rule(window_cases=20, improbable=1e-3, slow_window_cases=50)
    few, many = Guard(), Guard()
    for number, (first, second) in enumerate(pairs):
        at = number * STEP_S
        few, _ = watch_case(rule, USUAL, few, is_flagged=first and second, scored_at=at)
        many, _ = watch_case(rule, USUAL, many, is_flagged=first or second, scored_at=at)
        assert storm_of(rule, few) is None or storm_of(rule, many) is not None


@settings(max_examples=15, deadline=None)
@given(st.lists(st.booleans(), min_size=10, max_size=100))
def test_a_watch_is_no_more_than_the_newest_cases(flags: list[bool]) -> None:
    rule = a_rule(window_cases=20, slow_window_cases=50)
    guard, _ = watched(flags, rule=rule)
    newest = flags[-50:]
    assert guard.site.flags == sum(bit << place for place, bit in enumerate(reversed(newest)))
    assert guard.site.cases == len(newest)
    assert len(guard.site.scored_at) == min(len(flags), 20)


def test_a_site_with_few_cases_is_judged_with_the_other_small_ones() -> None:
    slow = RULE.most_days * 86400 / 50
    alone, alarms = watched([False] * 60 + [True] * 60, step_s=slow)
    assert not is_large(RULE, alone.site)
    assert not alone.site.is_storm
    assert alarms[0].is_of_site is False
    assert storm_of(RULE, alone) == Tally(60, 100)
    # What a quick site counts is its own affair.
    quick = Guard(watched(usual(100))[0].site, alone.small_sites)
    assert storm_of(RULE, quick) is None
    after, _ = watch_case(RULE, USUAL, quick, is_flagged=True, scored_at=100 * STEP_S)
    assert after.small_sites is quick.small_sites
    assert after.site is not quick.site


def test_a_small_site_hears_of_a_storm_at_others() -> None:
    storm = watched([True] * 40, step_s=3600.0)[0].small_sites
    assert storm_of(RULE, Guard(small_sites=storm)) == Tally(40, 40)


def test_a_clock_that_was_set_back_makes_no_site_small() -> None:
    first, _ = watched(usual(60))
    moved = Guard(replace(first.site, scored_at=tuple(at + 1e9 for at in first.site.scored_at)))
    guard, alarms = watched([False] * 60, moved)
    assert is_large(RULE, guard.site)
    assert not alarms


def test_a_guard_that_shall_not_act_still_raises_its_alarm() -> None:
    guard, alarms = watched([True] * 40, rule=a_rule(acts=False))
    assert [alarm.code for alarm in alarms] == [AlarmCode.STORM_BEGAN]
    assert storm_of(a_rule(acts=False), guard) is None


@pytest.mark.parametrize(
    ("every", "drift", "codes"),
    [
        (4, Drift.UP, [AlarmCode.DRIFT_UP, AlarmCode.DRIFT_ENDED]),
        (20, Drift.DOWN, [AlarmCode.DRIFT_DOWN, AlarmCode.DRIFT_ENDED]),
    ],
)
def test_a_slow_change_raises_an_alarm_and_moves_no_case(
    every: int, drift: Drift, codes: list[AlarmCode]
) -> None:
    changed = [number % every == 0 for number in range(1000)]
    guard, alarms = watched(changed)
    assert guard.site.drift is drift
    assert storm_of(RULE, guard) is None
    assert alarms[0].values["cases"] == 1000
    _, after = watched(usual(1000), guard)
    assert [alarm.code for alarm in [*alarms, *after]] == codes


def test_the_usual_share_raises_nothing() -> None:
    assert watched(usual(3000))[1] == []


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("code", AlarmCode)
def test_every_alarm_has_its_sentence(code: AlarmCode, language: Language) -> None:
    values = {"flagged": 39, "cases": 100, "percent": 39.0, "usual_percent": 18.0, "hours": 3.25}
    own = alarm_words(Alarm(code, True, values), "县医院", language)
    assert "县医院" in own
    assert "39" in own
    assert "18" in own
    small = alarm_words(Alarm(code, False, values), "县医院", language)
    assert "县医院" not in small
    for text in (own, small):
        text.encode("gbk")


def until(
    rule: StormRule,
    guard: Guard,
    chance: random.Random,
    share: float,
    is_over: Callable[[Guard], bool],
    most: int = 6000,
) -> int:
    for count in range(1, most + 1):
        flag = chance.random() < share
        guard, _ = watch_case(rule, USUAL, guard, is_flagged=flag, scored_at=count * STEP_S)
        if is_over(guard):
            return count
    return most


def is_storm(guard: Guard) -> bool:
    return guard.site.is_storm


SHARES = (0.3, 0.4, 0.6, 0.85)
REFERENCE = [
    # window, alpha, then median and p95 of the cases until it trips, for each of SHARES
    (50, 1e-4, [(229, 840), (51, 142), (27, 41), (17, 23)]),
    (100, 1e-5, [(276, 1041), (82, 181), (44, 62), (29, 37)]),
    (100, 1e-6, [(498, 1813), (92, 200), (51, 70), (31, 41)]),
    (200, 1e-5, [(220, 626), (112, 159), (62, 84), (38, 51)]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("window", "alpha", "measured"), REFERENCE)
def test_it_trips_after_as_many_cases_as_the_reference_measured(
    window: int, alpha: float, measured: list[tuple[int, int]]
) -> None:
    rule, chance = a_rule(window_cases=window, improbable=alpha), random.Random(1)
    for share, (expected, p95) in zip(SHARES, measured, strict=True):
        counts: list[int] = []
        while len(counts) < 400:
            guard, _ = watched([chance.random() < USUAL for _ in range(window)], rule=rule)
            if not is_storm(guard):
                counts.append(until(rule, guard, chance, share, is_storm))
        counts.sort()
        # The reference's own figures are of a simulation, too.
        assert median(counts) == pytest.approx(expected, rel=0.2, abs=3), share
        assert counts[380] == pytest.approx(p95, rel=0.3, abs=5), share


@pytest.mark.slow
@pytest.mark.parametrize(
    ("window", "alpha", "least", "most"), [(50, 1e-4, 0.12, 0.34), (100, 1e-6, 0.0, 0.02)]
)
def test_false_storms_in_a_year_are_as_rare_as_the_reference_measured(
    window: int, alpha: float, least: float, most: float
) -> None:
    """Of sites with fifty cases a day."""
    rule, chance, sites = a_rule(window_cases=window, improbable=alpha), random.Random(3), 100
    tripped = 0
    for _ in range(sites):
        year = 365 * 50
        tripped += until(rule, Guard(), chance, USUAL, is_storm, year) < year
    assert least <= tripped / sites <= most


@pytest.mark.slow
def test_a_storm_ends_within_a_window_of_its_end_and_not_before() -> None:
    chance = random.Random(2)
    ended, kept = [], 0
    for _ in range(200):
        guard, _ = watched([chance.random() < 0.85 for _ in range(150)])
        ended.append(until(RULE, guard, chance, USUAL, lambda g: not is_storm(g)))
        lasting, _ = watched([chance.random() < 0.6 for _ in range(150)])
        kept += until(RULE, lasting, chance, 0.6, lambda g: not is_storm(g), 1000) == 1000
    ended.sort()
    assert 75 <= median(ended) <= 105
    assert ended[190] <= 125
    assert kept == 200
