"""The buckets of hospitals in SQL: each case is charged once, in the transaction that opens it."""

from datetime import UTC, datetime
from functools import lru_cache

from sqlalchemy import Connection, func, insert, select, update

from serving.database.tables import allowances, site_days, sites
from serving.worklist.allowance import (
    DAY_MIN,
    Allowance,
    AllowanceRules,
    DayCurve,
    allowance_for,
    charge,
)
from serving.worklist.pools import Sender
from serving.worklist.urgency import CalendarRule, UrgencyPolicy

# Of the mean that a hospital sent lately.
TRAILING_DAYS = 28


def hold_site(connection: Connection, site_id: int) -> None:
    """Be the only transaction that opens cases of a site until this one ends.

    Before it locks a study: whoever waits here holds nothing that another one wants.
    """
    query = select(sites.c.id).where(sites.c.id == site_id).with_for_update(key_share=True)
    connection.execute(query)


def charge_case(connection: Connection, policy: UrgencyPolicy, sender: Sender, now: float) -> float:
    """Enter a case that arrives now into its hospital's bucket.

    The site is held (:func:`hold_site`).

    Returns
    -------
    Its excess in minutes: by how much it came too early for the allowance.
    """
    pool = sender.pool
    calendar = policy.calendar(pool.code)
    at_min = operational_min(calendar, now)
    row = allowances.c.pool_id == pool.id, allowances.c.site_id == sender.site_id
    before = connection.execute(select(allowances).where(*row)).one_or_none()
    tat_min = 0.0
    if before is not None:
        # A clock that was set back takes the bucket with it: as far ahead as it was.
        tat_min = before.tat_min - max(0.0, before.charged_min - at_min)
    allowance = _allowance(connection, policy, sender, now)
    _count(connection, sender, now)
    if allowance is None:
        return 0.0
    charged = charge(at_min, tat_min, allowance)
    values = {"tat_min": charged.tat_min, "charged_min": at_min}
    if before is None:
        key = {"pool_id": pool.id, "site_id": sender.site_id}
        connection.execute(insert(allowances).values(**key, **values))
    else:
        connection.execute(update(allowances).where(*row).values(values))
    return charged.excess_min


def operational_min(calendar: CalendarRule, at: float) -> float:
    """Return a moment in minutes that run with the load of a pool's day, from the year 1 on."""
    local = datetime.fromtimestamp(at, calendar.timezone)
    in_day = local.hour * 60 + local.minute + (local.second + local.microsecond / 1e6) / 60
    curve = _curve(calendar.load_by_hour)
    return curve.operational_min(local.toordinal() * DAY_MIN + in_day)


@lru_cache
def _curve(load_by_hour: tuple[float, ...]) -> DayCurve:
    return DayCurve(load_by_hour)


def _allowance(
    connection: Connection, policy: UrgencyPolicy, sender: Sender, now: float
) -> Allowance | None:
    """Return a hospital's bucket; None: nothing is known of it, and the rules give it no share."""
    contract = sender.contract_per_day / DAY_MIN
    trailing = _trailing_per_min(connection, sender, now)
    rule = policy.allowance
    if not (contract or trailing or rule.pool_share):
        return None
    rules = AllowanceRules(rule.growth, rule.pool_share, rule.burst_minutes)
    return allowance_for(contract, trailing, sender.pool.cases_per_min, rules)


def _day(at: float) -> int:
    return datetime.fromtimestamp(at, UTC).toordinal()


def _trailing_per_min(connection: Connection, sender: Sender, now: float) -> float:
    """Return what a hospital sent on the whole days before this one, cases a minute.

    Today does not count: a dump must not raise its own allowance.
    """
    today = _day(now)
    of_site = site_days.c.pool_id == sender.pool.id, site_days.c.site_id == sender.site_id
    days = site_days.c.day >= today - TRAILING_DAYS, site_days.c.day < today
    query = select(func.sum(site_days.c.cases), func.min(site_days.c.day))
    count, first = connection.execute(query.where(*of_site, *days)).one()
    return 0.0 if count is None else float(count) / ((today - first) * DAY_MIN)


def _count(connection: Connection, sender: Sender, now: float) -> None:
    key = {"pool_id": sender.pool.id, "site_id": sender.site_id, "day": _day(now)}
    row = (site_days.c[name] == value for name, value in key.items())
    statement = update(site_days).where(*row).values(cases=site_days.c.cases + 1)
    if connection.execute(statement).rowcount == 0:
        connection.execute(insert(site_days).values(**key, cases=1))
