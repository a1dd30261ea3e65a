"""What to think of an outcome: no benefit to expect, nothing shown yet, outside the conditions."""

from dataclasses import replace
from statistics import fmean

from serving.worklist.conditions import Note, outside_conditions
from serving.worklist.simulate.experiment import Outcome, expected
from serving.worklist.simulate.policies import Policy
from serving.worklist.simulate.scenarios import SCENARIOS, Name, Scenario
from serving.worklist.simulate.theory import Detector

# A diseased patient who is read less than this earlier is not helped.
LEAST_BENEFIT_MIN = 1.0


def notes(outcome: Outcome) -> tuple[Note, ...]:
    """Return what whoever reads the figures must know."""
    plan = outcome.plan
    traffic, found = plan.traffic, []
    if traffic.load >= 1:
        found.append(Note("line-grows", {"load": traffic.load}))
    if plan.seeds == 1:
        found.append(Note("one-seed"))
    if plan.policy is not Policy.FIFO:
        found += _benefit(outcome)
    if plan.policy is Policy.FIRSTREAD:
        found += outside_conditions(
            readers=traffic.readers,
            load=traffic.load,
            prioritised_share=traffic.detector.flagged_share,
            routine_slas=1,
            phi=plan.phi,
        )
    return tuple(found)


def day_notes(name: Name, scenario: Scenario, policy: Policy, phi: float) -> tuple[Note, ...]:
    """Return why a changed reference day may miss its promises."""
    if policy is not Policy.FIRSTREAD:
        return (Note("not-promised"),)
    load, usual_load = fmean(scenario.day_loads), fmean(SCENARIOS[name].day_loads)
    ordered = scenario.stat_share + scenario.urgent_share
    detector = Detector(scenario.prevalence, scenario.sensitivity, scenario.specificity)
    return outside_conditions(
        readers=scenario.readers,
        # The promises were measured at the day's own load: only more of it is outside.
        load=load if load > usual_load + 1e-9 else 0.0,
        prioritised_share=ordered + (1 - ordered) * detector.flagged_share,
        routine_slas=1,
        phi=phi,
    )


def _benefit(outcome: Outcome) -> tuple[Note, ...]:
    detector, saved = outcome.plan.traffic.detector, outcome.saved_diseased
    if detector.sensitivity <= detector.flagged_share:
        percents = {
            "found": 100 * detector.sensitivity,
            "flagged": 100 * detector.flagged_share,
        }
        return (Note("flags-too-many", percents),)
    in_turn = expected(replace(outcome.plan, policy=Policy.FIFO))
    first = expected(replace(outcome.plan, policy=Policy.STRICT))
    if in_turn is not None and first is not None:
        # No policy saves more than the one that reads every flagged case first.
        most_min = in_turn.diseased - first.diseased
        if most_min < LEAST_BENEFIT_MIN:
            return (Note("quiet-team", {"saved": most_min, "wait": in_turn.diseased}),)
    if saved is None or saved.low is None or saved.high is None:
        return ()
    if saved.high < LEAST_BENEFIT_MIN:
        wait_min = outcome.in_turn["diseased"].mean or 0.0
        return (Note("quiet-team", {"saved": saved.mean, "wait": wait_min}),)
    return (Note("benefit-unproven"),) if saved.low <= 0 else ()
