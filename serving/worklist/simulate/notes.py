"""What to think of an outcome: no benefit to expect, nothing shown yet, outside the conditions."""

from statistics import fmean

from serving.worklist.conditions import Note, outside_conditions
from serving.worklist.simulate.experiment import Outcome
from serving.worklist.simulate.policies import Policy
from serving.worklist.simulate.scenarios import Name, Scenario
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
    """Return in what a changed reference day lies outside the conditions."""
    if policy is not Policy.FIRSTREAD:
        return ()
    ordered = scenario.stat_share + scenario.urgent_share
    detector = Detector(scenario.prevalence, scenario.sensitivity, scenario.specificity)
    return outside_conditions(
        readers=scenario.readers,
        # The day and the storm have their load by design.
        load=fmean(scenario.day_loads) if name is Name.DUMP else 0.0,
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
    if saved is None:
        return ()
    if saved.mean < LEAST_BENEFIT_MIN:
        wait_min = outcome.in_turn["diseased"].mean or 0.0
        return (Note("quiet-team", {"saved": saved.mean, "wait": wait_min}),)
    if saved.low is not None and saved.low <= 0:
        return (Note("benefit-unproven"),)
    return ()
