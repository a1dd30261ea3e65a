"""The storm guard: when so many cases are flagged that flags no longer tell who is ill.

::

            P(X >= flagged) < improbable
    usual ──────────────────────────────> storm      flagged cases stand where they were ordered,
          <──────────────────────────────            in class and in due time
            P(X >= flagged) >= usual_again

X is the number of flags among the newest ``window_cases`` if the share is the usual one (binomial).
The two limits lie apart, so that a share between them does not switch the guard to and fro. A slow
window tells of drift, upwards and downwards: it raises an alarm and moves no case.

A watch counts the cases that one model package scored at one site. A site that needs more than
``most_days`` for a window is judged together with the package's other small sites: a watch of its
own would see a storm weeks later. Everything is a function of the cases in the order in which they
were scored; the only times are theirs.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache

from serving.worklist.urgency import StormRule

DAY_S = 86400.0
HOUR_S = 3600.0


class Drift(StrEnum):
    """Where the share of flagged cases has gone in the slow window."""

    NONE = "none"
    UP = "up"
    DOWN = "down"


class AlarmCode(StrEnum):
    """What the guard raises; its sentence is ``page.alarm.<code>``."""

    STORM_BEGAN = "storm-began"
    STORM_ENDED = "storm-ended"
    DRIFT_UP = "drift-up"
    DRIFT_DOWN = "drift-down"
    DRIFT_ENDED = "drift-ended"


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that somebody must hear of.

    Attributes
    ----------
    is_of_site
        Whether it is of the case's own site; else of all small sites of the package.
    values
        ``flagged`` of ``cases``, ``percent``, ``usual_percent``, and ``hours`` from the oldest of
        the newest ``window_cases`` to the newest.
    """

    code: AlarmCode
    is_of_site: bool
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Watch:
    """What is remembered of a stream of scored cases.

    Attributes
    ----------
    flags
        A bit for each case, 1 where it was flagged; bit 0 is the newest.
    cases
        How many bits count, at most ``slow_window_cases``.
    scored_at
        Times of the newest ``window_cases``, the newest last.
    """

    flags: int = 0
    cases: int = 0
    scored_at: tuple[float, ...] = ()
    is_storm: bool = False
    drift: Drift = Drift.NONE


@dataclass(frozen=True, slots=True)
class Guard:
    """The two watches that a case of one package and site concerns."""

    site: Watch = field(default_factory=Watch)
    small_sites: Watch = field(default_factory=Watch)


@dataclass(frozen=True, slots=True)
class Tally:
    """How many of the newest cases were flagged."""

    flagged: int
    cases: int


def watch_case(
    rule: StormRule, usual_share: float, guard: Guard, *, is_flagged: bool, scored_at: float
) -> tuple[Guard, tuple[Alarm, ...]]:
    """Count one more scored case, once for each score, in the order in which they came.

    Parameters
    ----------
    usual_share
        Of the package: ``rule.usual_share(name)``.
    is_flagged
        Whether a finding is AI-critical, whatever the case was ordered as, storm or not.
    """
    site = _add(rule, guard.site, scored_at, is_flagged=is_flagged)
    if is_large(rule, site):
        site, alarms = _judge(rule, usual_share, site, is_of_site=True)
        return replace(guard, site=site), alarms
    small = _add(rule, guard.small_sites, scored_at, is_flagged=is_flagged)
    small, alarms = _judge(rule, usual_share, small, is_of_site=False)
    return Guard(site, small), alarms


def storm_of(rule: StormRule, guard: Guard) -> Tally | None:
    """Return the numbers of the storm in which flags of this package and site do not count."""
    watch = guard.site if is_large(rule, guard.site) else guard.small_sites
    return _tally(watch, rule.window_cases) if rule.acts and watch.is_storm else None


def is_large(rule: StormRule, site: Watch) -> bool:
    """Return whether a site fills a window in so few days that its own watch is quick enough."""
    newest = site.scored_at[-rule.window_cases :]
    if len(newest) < rule.window_cases:
        return False
    # Negative where the clock was set back: quick.
    return newest[-1] - newest[0] <= rule.most_days * DAY_S


@lru_cache(maxsize=4096)
def least_improbable(cases: int, share: float, chance: float) -> int:
    """Return the least x with P(X >= x) < ``chance`` for X ~ Binomial(cases, share), 0 < share < 1.

    It is ``cases + 1`` where even x = cases is likelier than that.
    """
    log_hit, log_miss, tail = math.log(share), math.log1p(-share), 0.0
    for x in range(cases, -1, -1):
        ways = math.lgamma(cases + 1) - math.lgamma(x + 1) - math.lgamma(cases - x + 1)
        tail += math.exp(ways + x * log_hit + (cases - x) * log_miss)
        if tail >= chance:
            return x + 1
    return 0


def _add(rule: StormRule, watch: Watch, scored_at: float, *, is_flagged: bool) -> Watch:
    slow = rule.slow_window_cases
    return Watch(
        flags=(watch.flags << 1 | is_flagged) & ((1 << slow) - 1),
        cases=min(watch.cases + 1, slow),
        scored_at=(*watch.scored_at, scored_at)[-rule.window_cases :],
        is_storm=watch.is_storm,
        drift=watch.drift,
    )


def _tally(watch: Watch, window_cases: int) -> Tally:
    cases = min(watch.cases, window_cases)
    return Tally((watch.flags & ((1 << cases) - 1)).bit_count(), cases)


def _judge(
    rule: StormRule, usual_share: float, watch: Watch, *, is_of_site: bool
) -> tuple[Watch, tuple[Alarm, ...]]:
    newest, slow = _tally(watch, rule.window_cases), _tally(watch, rule.slow_window_cases)
    is_storm = _is_storm(rule, usual_share, newest, was_storm=watch.is_storm)
    drift = _drift(rule, usual_share, slow, watch.drift)
    if is_storm == watch.is_storm and drift is watch.drift:
        return watch, ()

    def alarm(code: AlarmCode, tally: Tally) -> Alarm:
        values = {
            "flagged": tally.flagged,
            "cases": tally.cases,
            "percent": 100 * tally.flagged / tally.cases,
            "usual_percent": 100 * usual_share,
            "hours": (watch.scored_at[-1] - watch.scored_at[0]) / HOUR_S,
        }
        return Alarm(code, is_of_site, values)

    alarms = []
    if is_storm != watch.is_storm:
        code = AlarmCode.STORM_BEGAN if is_storm else AlarmCode.STORM_ENDED
        alarms.append(alarm(code, newest))
    if drift is not watch.drift:
        code = AlarmCode.DRIFT_ENDED if drift is Drift.NONE else AlarmCode(f"drift-{drift}")
        alarms.append(alarm(code, slow))
    return replace(watch, is_storm=is_storm, drift=drift), tuple(alarms)


def _is_storm(rule: StormRule, usual_share: float, newest: Tally, *, was_storm: bool) -> bool:
    chance = rule.usual_again if was_storm else rule.improbable
    return newest.flagged >= least_improbable(newest.cases, usual_share, chance)


def _drift(rule: StormRule, usual_share: float, slow: Tally, was: Drift) -> Drift:
    """Return where the share has gone; nowhere until the slow window is full."""
    if slow.cases < rule.slow_window_cases:
        return Drift.NONE
    unflagged = slow.cases - slow.flagged
    for drift, count, share in (
        (Drift.UP, slow.flagged, usual_share),
        (Drift.DOWN, unflagged, 1 - usual_share),
    ):
        chance = rule.usual_again if was is drift else rule.improbable
        if count >= least_improbable(slow.cases, share, chance):
            return drift
    return Drift.NONE
