"""What is said beside the figures: a quiet team gains nothing, a promise has its conditions."""

from dataclasses import replace
from typing import Any

import pytest

from firstread.messages import Language, sentence
from serving.worklist.conditions import outside_conditions
from serving.worklist.simulate.experiment import Plan, experiment
from serving.worklist.simulate.notes import day_notes, notes
from serving.worklist.simulate.policies import Policy
from serving.worklist.simulate.reading import Reading, Scatter
from serving.worklist.simulate.scenarios import SCENARIOS, Name
from serving.worklist.simulate.theory import Detector
from tests.serving.worklist.simulate.builders import some_traffic

WITHIN: dict[str, Any] = {
    "readers": 4, "load": 0.8, "prioritised_share": 0.18, "routine_slas": 1, "phi": 0.25,
}  # fmt: skip


def codes(plan: Plan) -> list[str]:
    return [note.code for note in notes(experiment(plan))]


def a_plan(readers: int = 4, load: float = 0.8) -> Plan:
    return Plan(Policy.FIRSTREAD, some_traffic(readers, load), cases=3000, seeds=4)


def test_a_busy_team_within_the_conditions_is_told_nothing() -> None:
    assert codes(a_plan()) == []
    assert outside_conditions(**WITHIN) == ()


def test_a_quiet_team_is_told_that_no_benefit_is_to_be_expected() -> None:
    assert codes(a_plan(readers=8, load=0.5)) == ["quiet-team"]


def test_a_few_unlucky_cases_do_not_make_a_busy_team_quiet() -> None:
    assert codes(replace(a_plan(), cases=50, seeds=1)) == ["one-seed"]


def test_a_quiet_team_is_known_by_theory_however_few_the_cases() -> None:
    plan = replace(a_plan(readers=8, load=0.5), cases=50, seeds=1)
    assert codes(plan) == ["one-seed", "quiet-team"]


def test_where_no_theory_is_a_quiet_team_is_known_by_the_whole_interval() -> None:
    def fixed(plan: Plan) -> Plan:
        reading = Reading(scatter=Scatter.FIXED)
        return replace(plan, traffic=replace(plan.traffic, reading=reading))

    assert codes(fixed(a_plan(readers=8, load=0.5))) == ["quiet-team"]
    assert codes(fixed(replace(a_plan(readers=8, load=0.5), cases=50, seeds=1))) == ["one-seed"]


def test_an_ai_that_flags_as_many_as_it_finds_helps_nobody() -> None:
    plan = a_plan()
    traffic = replace(plan.traffic, detector=Detector(0.1, 0.5, 0.5))
    assert codes(replace(plan, traffic=traffic)) == ["flags-too-many", "many-prioritised"]


def test_a_benefit_that_few_seeds_do_not_show_is_not_claimed() -> None:
    plan = a_plan(readers=24, load=0.95)
    assert "benefit-unproven" in codes(replace(plan, policy=Policy.STRICT, cases=60, seeds=2))


def test_a_line_that_grows_for_ever_has_no_mean() -> None:
    assert "line-grows" in codes(a_plan(load=1.1))


def test_one_seed_says_that_it_has_no_error() -> None:
    assert "one-seed" in codes(replace(a_plan(), seeds=1))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"readers": 3}, "few-readers"),
        ({"load": 0.81}, "heavy-load"),
        ({"prioritised_share": 0.25}, "many-prioritised"),
        ({"routine_slas": 2}, "several-slas"),
        ({"phi": 0.2}, "small-phi"),
        ({"storm_unflagged_share": 0.2}, "small-phi"),
    ],
)
def test_each_condition_has_its_note_and_its_sentences(change: dict[str, float], code: str) -> None:
    (note,) = outside_conditions(**{**WITHIN, **change})
    assert note.code == code
    for language in Language:
        assert sentence(f"order.note.{code}", language, **note.values)


@pytest.mark.parametrize("name", Name)
def test_the_reference_days_lie_within_the_conditions(name: Name) -> None:
    assert day_notes(name, SCENARIOS[name], Policy.FIRSTREAD, 0.25) == ()
    (note,) = day_notes(name, replace(SCENARIOS[name], readers=3), Policy.FIRSTREAD, 0.25)
    assert note.code == "few-readers"


@pytest.mark.parametrize("name", Name)
def test_more_traffic_than_a_reference_day_has_is_outside(name: Name) -> None:
    usual = SCENARIOS[name]
    heavier = replace(usual, day_loads=tuple(1.6 * load for load in usual.day_loads))
    (note,) = day_notes(name, heavier, Policy.FIRSTREAD, 0.25)
    assert note.code == "heavy-load"


@pytest.mark.parametrize("policy", [one for one in Policy if one is not Policy.FIRSTREAD])
def test_the_promises_are_those_of_firstread_alone(policy: Policy) -> None:
    (note,) = day_notes(Name.STORM, SCENARIOS[Name.STORM], policy, 0.25)
    assert note.code == "not-promised"
    for language in Language:
        assert sentence(f"order.note.{note.code}", language)
