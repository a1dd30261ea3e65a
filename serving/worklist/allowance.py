"""What a hospital may send without its cases waiting longer, and what it is beyond that.

A leaky bucket for each hospital of a pool, in the form of the generic cell rate algorithm (ITU-T
I.371): a case that comes within the allowance has no excess; one that comes beyond it gets the
minutes by which it is too early, added to its due time once, at arrival, and kept whatever becomes
of its class. So a dump of 300 studies makes its own sender wait and nobody else, and an excess
never leaves a reader idle.

    r = max(contract, trailing 28-day mean)      cases a minute that the hospital usually sends
    R = (1 + growth) r + pool_share mu           the rate that it may send; mu: what the pool reads
    b = burst_min mu                             cases at once on top of it

Time runs with the pool's day curve (:class:`DayCurve`), so that the morning peak is no excess. Why
a bucket, and not turns between hospitals: ``docs/order.md``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

DAY_MIN, HOUR_MIN, HOURS = 1440, 60, 24


@dataclass(frozen=True, slots=True)
class AllowanceRules:
    """How much above its usual volume a hospital may send; defaults as measured."""

    growth: float = 0.15
    pool_share: float = 0.05
    burst_min: float = 15.0


@dataclass(frozen=True, slots=True)
class Allowance:
    """The bucket of a hospital in a pool, in operational minutes.

    Attributes
    ----------
    interval_min
        Between two cases at the rate that is allowed: 1 / R.
    tolerance_min
        How far ahead of that rate it may be: b / R.
    """

    interval_min: float
    tolerance_min: float


class Charge(NamedTuple):
    """Minutes to add to the case's due time, and the hospital's new arrival time (TAT) to store."""

    excess_min: float
    tat_min: float


class DayCurve:
    """Operational time: a clock that runs fast in the busy hours, with 1,440 minutes a day.

    Parameters
    ----------
    loads
        Of the 24 hours from midnight, in any unit, none negative, not all zero; all equal: the
        operational time is the clock's.

    Raises
    ------
    ValueError
        Otherwise: configuration is checked where it is read.
    """

    __slots__ = ("_before_min", "_pace")

    def __init__(self, loads: Sequence[float]) -> None:
        if len(loads) != HOURS or min(loads) < 0 or not sum(loads) > 0:
            raise ValueError("a day curve has 24 loads, none negative, not all zero")
        mean = sum(loads) / HOURS
        self._pace = tuple(load / mean for load in loads)
        self._before_min = tuple(sum(self._pace[:hour]) * HOUR_MIN for hour in range(HOURS))

    def operational_min(self, clock_min: float) -> float:
        """Return the operational time of a clock time, both in minutes since one midnight."""
        days, in_day = divmod(clock_min, DAY_MIN)
        # The remainder of a hair before midnight rounds to a whole day.
        hour = min(int(in_day // HOUR_MIN), HOURS - 1)
        in_hour = in_day - hour * HOUR_MIN
        return days * DAY_MIN + self._before_min[hour] + in_hour * self._pace[hour]


FLAT = DayCurve([1.0] * HOURS)


def allowance_for(
    contract_per_min: float,
    trailing_per_min: float,
    pool_per_min: float,
    rules: AllowanceRules | None = None,
) -> Allowance:
    """Return the bucket of a hospital.

    Parameters
    ----------
    contract_per_min, trailing_per_min
        Cases a minute, mean of the day: as agreed, and as sent over the last 28 days. The larger
        counts: a contract that lags behind would delay ordinary work.
    pool_per_min
        What the pool's readers can read: readers / mean reading time.

    Raises
    ------
    ValueError
        Nothing at all may be sent: neither the hospital nor the pool has a volume.
    """
    rules = rules or AllowanceRules()
    usual = max(contract_per_min, trailing_per_min)
    rate = (1 + rules.growth) * usual + rules.pool_share * pool_per_min
    if not rate > 0:
        raise ValueError("an allowance needs a volume of the hospital or readers in the pool")
    return Allowance(1 / rate, rules.burst_min * pool_per_min / rate)


def charge(at_min: float, tat_min: float, allowance: Allowance) -> Charge:
    """Enter one case into its hospital's bucket.

    Parameters
    ----------
    at_min
        Arrival in operational minutes.
    tat_min
        The theoretical arrival time stored for the hospital; 0 or less: it has sent nothing yet.
    """
    ahead = max(tat_min, at_min)
    excess = ahead - allowance.tolerance_min - at_min
    return Charge(max(0.0, excess), ahead + allowance.interval_min)
