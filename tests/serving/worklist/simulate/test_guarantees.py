"""What the order promises on an overloaded day, in a storm of false alarms, and beside a dump.

Each promise turns red when the part of the order that keeps it is taken away.
"""

from dataclasses import replace

import pytest

from serving.worklist import allowance, order
from serving.worklist.allowance import Allowance, Charge
from serving.worklist.order import Heads
from serving.worklist.simulate.guarantees import SEEDS, judge, measure
from serving.worklist.simulate.policies import Policy
from serving.worklist.simulate.scenarios import SCENARIOS, Name

THREE_DAYS = replace(SCENARIOS[Name.STORM], days=3)


@pytest.mark.parametrize("name", Name)
def test_every_promise_is_kept(name: Name) -> None:
    days = measure(name, SCENARIOS[name], Policy.FIRSTREAD, SEEDS[name])
    assert [kept for kept in judge(name, days) if not kept.is_met] == []


def test_a_storm_may_last_three_days() -> None:
    days = measure(Name.STORM, THREE_DAYS, Policy.FIRSTREAD, 20)
    assert all(kept.is_met for kept in judge(Name.STORM, days))


def test_without_fair_due_times_a_dump_delays_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_excess(at_min: float, tat_min: float, bucket: Allowance) -> Charge:
        return Charge(0.0, at_min)

    monkeypatch.setattr(allowance, "charge", no_excess)
    days = measure(Name.DUMP, SCENARIOS[Name.DUMP], Policy.FIRSTREAD, 10)
    assert not any(kept.is_met for kept in judge(Name.DUMP, days))


def test_a_token_for_any_class_starves_the_others_in_a_storm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of_lower = order.most_overdue

    def of_any(heads: Heads, below: int, now: float) -> int | None:
        return of_lower(heads, 0, now)

    monkeypatch.setattr(order, "most_overdue", of_any)
    days = measure(Name.STORM, THREE_DAYS, Policy.FIRSTREAD, 20)
    assert not any(kept.is_met for kept in judge(Name.STORM, days))


def test_without_a_token_a_storm_starves_the_others() -> None:
    pool = replace(SCENARIOS[Name.STORM].pool, phi=0.0)
    days = measure(Name.STORM, SCENARIOS[Name.STORM], Policy.FIRSTREAD, 20, pool)
    assert not any(kept.is_met for kept in judge(Name.STORM, days))


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        (Name.OVERLOAD, Policy.CAP),
        (Name.OVERLOAD, Policy.EDF),
        (Name.STORM, Policy.STRICT),
        (Name.DUMP, Policy.STRICT),
    ],
)
def test_the_other_policies_break_a_promise(name: Name, policy: Policy) -> None:
    days = measure(name, SCENARIOS[name], policy, 10)
    assert not all(kept.is_met for kept in judge(name, days))
