"""Where a case stands: the AI raises a case, and never lowers one; old studies hurry nobody."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.package import find_package
from serving.worklist.placing import (
    CaseFacts,
    Score,
    Urgency,
    alert_threshold,
    is_flagged,
    judge_urgency,
    study_age_days,
)
from serving.worklist.states import OrderedClass, UrgencyClass
from serving.worklist.storm_guard import Tally
from tests.packages import blob_network, make_package
from tests.serving.worklist.cases import POLICY, a_finding, a_policy

THRESHOLD = 0.462
ARRIVED_AT = 1_000_000.0
TIERED = a_policy(tiers={"standard": {}, "county": {"routine": 240}})

findings = st.lists(
    st.builds(a_finding, st.floats(1, 60).map(lambda mm: round(mm, 1)), st.floats(0, 1)), max_size=4
)


def judged(
    ordered: OrderedClass, found: list[dict[str, Any]], threshold: float | None = THRESHOLD
) -> Urgency:
    return judge_urgency(POLICY, CaseFacts(ordered, ARRIVED_AT), Score(found, threshold))


def codes(urgency: Urgency) -> list[str]:
    return [reason["code"] for reason in urgency.reasons]


def test_a_large_sure_finding_makes_a_routine_case_critical() -> None:
    urgency = judged(OrderedClass.ROUTINE, [a_finding(18.3, 0.94)])
    assert urgency.urgency_class is UrgencyClass.AI_CRITICAL
    assert urgency.due_at == ARRIVED_AT + 30 * 60
    assert urgency.reasons[0] == {
        "code": "finding-critical",
        "values": {"mean_diameter_mm": 18.3, "score": 0.94},
    }


@pytest.mark.parametrize(
    ("finding", "code"),
    [
        (a_finding(14.9, 0.99), "finding-small"),
        (a_finding(30.0, 0.461), "finding-uncertain"),
    ],
)
def test_a_finding_that_is_small_or_uncertain_moves_nothing_and_says_so(
    finding: dict[str, Any], code: str
) -> None:
    urgency = judged(OrderedClass.ROUTINE, [finding])
    assert urgency.urgency_class is UrgencyClass.ROUTINE
    assert urgency.reasons[0]["code"] == code


def test_size_and_score_must_be_of_one_and_the_same_finding() -> None:
    two = [a_finding(20.0, 0.4), a_finding(6.0, 0.99)]
    urgency = judged(OrderedClass.ROUTINE, two)
    assert urgency.urgency_class is UrgencyClass.ROUTINE


def test_both_limits_belong_to_the_critical_side() -> None:
    urgency = judged(OrderedClass.BACKLOG, [a_finding(15.0, THRESHOLD)])
    assert urgency.urgency_class is UrgencyClass.AI_CRITICAL


def test_an_unknown_threshold_raises_nothing_and_says_so() -> None:
    urgency = judged(OrderedClass.ROUTINE, [a_finding(30.0)], None)
    assert urgency.urgency_class is UrgencyClass.ROUTINE
    assert urgency.reasons[0]["code"] == "threshold-unknown"


facts = st.builds(
    CaseFacts,
    st.sampled_from(OrderedClass),
    st.just(ARRIVED_AT),
    st.sampled_from(("", "19691231", "19700112", "20991231", "20261399", "soon")),
    st.booleans(),
    st.sampled_from(("standard", "county", "gone")),
)
scores = st.builds(
    Score, findings, st.none() | st.floats(0, 1), st.none() | st.just(Tally(40, 100))
)


@given(facts, scores)
def test_nothing_that_the_ai_says_lowers_a_case(facts: CaseFacts, score: Score) -> None:
    before, after = judge_urgency(TIERED, facts), judge_urgency(TIERED, facts, score)
    assert after.class_rank <= before.class_rank
    assert after.minutes <= before.minutes
    assert after.due_at <= before.due_at


@given(facts, scores)
def test_one_more_finding_never_moves_a_case_down(facts: CaseFacts, score: Score) -> None:
    more = replace(score, findings=[*score.findings, a_finding(25.0, 0.9)])
    assert (
        judge_urgency(TIERED, facts, more).class_rank
        <= judge_urgency(TIERED, facts, score).class_rank
    )


@given(facts, scores)
def test_in_a_storm_a_case_stands_where_it_would_without_its_score(
    facts: CaseFacts, score: Score
) -> None:
    stormy = judge_urgency(TIERED, facts, replace(score, storm=Tally(40, 100)))
    unscored = judge_urgency(TIERED, facts)
    assert (stormy.urgency_class, stormy.minutes, stormy.due_at) == (
        unscored.urgency_class,
        unscored.minutes,
        unscored.due_at,
    )


def test_a_flag_that_does_not_count_says_the_numbers_of_the_storm() -> None:
    critical = Score([a_finding(18.3, 0.94)], THRESHOLD, Tally(52, 100))
    routine = judge_urgency(POLICY, CaseFacts(OrderedClass.ROUTINE, ARRIVED_AT), critical)
    assert routine.urgency_class is UrgencyClass.ROUTINE
    assert routine.due_at == ARRIVED_AT + 120 * 60
    assert codes(routine) == ["finding-critical", "storm", "ordered-routine", "due-always"]
    assert routine.reasons[1]["values"] == {"flagged": 52, "cases": 100}
    # Nothing was taken from a case that stands higher by its order.
    stat = judge_urgency(POLICY, CaseFacts(OrderedClass.STAT, ARRIVED_AT), critical)
    assert codes(stat) == ["finding-critical", "ordered-stat", "due-always"]
    # What the guard counts goes on.
    assert is_flagged(POLICY, critical)


@pytest.mark.parametrize(
    ("study_date", "urgency_class", "days"),
    [
        ("19700112", "routine", 0),
        ("19700111", "routine", 1),
        ("19700110", "backlog", 2),
        ("20260301", "routine", -20502),
        ("", "routine", None),
        ("19701399", "routine", None),
    ],
)
def test_a_routine_case_of_a_study_of_the_day_before_yesterday_is_no_everyday_work(
    study_date: str, urgency_class: str, days: int | None
) -> None:
    """It arrived on the 12th of January 1970, at 21:46 in Shanghai."""
    facts = CaseFacts(OrderedClass.ROUTINE, ARRIVED_AT, study_date)
    assert judge_urgency(POLICY, facts).urgency_class == urgency_class
    assert study_age_days(POLICY, facts) == days


def test_which_day_a_study_came_is_that_of_the_place_where_it_is_read() -> None:
    # 23:30 on the 11th in UTC is 07:30 on the 12th in Shanghai.
    late = CaseFacts(OrderedClass.ROUTINE, 11 * 86400 - 1800.0, "19700110")
    assert study_age_days(POLICY, late) == 2
    # And 15:00 is still 23:00 on the 11th.
    night = CaseFacts(OrderedClass.ROUTINE, 11 * 86400 - 9 * 3600, "19700110")
    assert study_age_days(POLICY, night) == 1


@pytest.mark.parametrize("ordered", [OrderedClass.STAT, OrderedClass.URGENT, OrderedClass.BACKLOG])
def test_only_a_routine_order_becomes_backlog(ordered: OrderedClass) -> None:
    old = CaseFacts(ordered, ARRIVED_AT, "19600101", is_batch=True)
    assert judge_urgency(POLICY, old).urgency_class.value == ordered.value


def test_a_batch_is_backlog_whatever_its_date_and_a_finding_raises_it_like_any_other() -> None:
    batch = CaseFacts(OrderedClass.ROUTINE, ARRIVED_AT, is_batch=True)
    waiting = judge_urgency(POLICY, batch)
    assert waiting.urgency_class is UrgencyClass.BACKLOG
    assert waiting.minutes == 1440
    assert codes(waiting) == ["ordered-routine", "batch", "due-always"]
    raised = judge_urgency(POLICY, batch, Score([a_finding(18.3)], THRESHOLD))
    assert raised.urgency_class is UrgencyClass.AI_CRITICAL
    assert raised.due_at == ARRIVED_AT + 30 * 60


@given(facts, scores)
def test_only_a_case_in_the_backlog_is_said_to_hurry_nobody(facts: CaseFacts, score: Score) -> None:
    urgency = judge_urgency(TIERED, facts, score)
    if urgency.urgency_class is not UrgencyClass.BACKLOG:
        assert not {"old-study", "batch"} & set(codes(urgency))


def test_a_raised_case_of_an_old_study_tells_its_finding_and_its_order() -> None:
    old = CaseFacts(OrderedClass.ROUTINE, ARRIVED_AT, "19600101")
    raised = judge_urgency(POLICY, old, Score([a_finding(18.3)], THRESHOLD))
    assert codes(raised) == ["finding-critical", "ordered-routine", "due-always"]
    storm = judge_urgency(POLICY, old, Score([a_finding(18.3)], THRESHOLD, Tally(52, 100)))
    expected = ["finding-critical", "storm", "ordered-routine", "old-study", "due-always"]
    assert codes(storm) == expected


def test_old_studies_can_be_left_where_they_were_ordered() -> None:
    never = a_policy(backlog={"study_age_days": "never"})
    old = CaseFacts(OrderedClass.ROUTINE, ARRIVED_AT, "19600101")
    assert judge_urgency(never, old).urgency_class is UrgencyClass.ROUTINE


def test_a_tier_has_its_minutes_and_one_that_is_gone_the_usual_ones() -> None:
    county = judge_urgency(TIERED, CaseFacts(OrderedClass.ROUTINE, ARRIVED_AT, tier="county"))
    assert county.minutes == 240
    assert codes(county)[-1] == "tier"
    gone = judge_urgency(TIERED, CaseFacts(OrderedClass.ROUTINE, ARRIVED_AT, tier="gone"))
    assert gone.minutes == 120
    assert codes(gone)[-1] == "tier-unknown"


def test_only_open_minutes_count_until_a_case_is_due() -> None:
    office = {"timezone": "Asia/Shanghai", "hours": {"tuesday": ["08:00-12:00"]}}
    policy = a_policy(
        calendars={**POLICY.calendars, "office": office},
        pools={"default": "always", "day": "office"},
    )
    # Monday evening; from Tuesday at 8 in Shanghai on.
    waiting = judge_urgency(policy, CaseFacts(OrderedClass.ROUTINE, ARRIVED_AT, pool="day"))
    assert waiting.due_at == 12 * 86400 + 2 * 3600
    assert codes(waiting)[-1] == "due-open"
    elsewhere = judge_urgency(policy, CaseFacts(OrderedClass.ROUTINE, ARRIVED_AT, pool="night"))
    assert elsewhere.due_at == ARRIVED_AT + 120 * 60


def test_a_decision_names_the_rules_that_made_it() -> None:
    facts = CaseFacts(OrderedClass.ROUTINE, ARRIVED_AT)
    assert judge_urgency(POLICY, facts).rules == POLICY.version
    assert judge_urgency(TIERED, facts).rules == TIERED.version != POLICY.version


def test_the_threshold_is_that_of_the_package_that_the_result_names() -> None:
    package = find_package(check_files=False)
    named = {
        "name": package.description.name,
        "version": package.description.version,
        "sha256": package.sha256,
    }
    expected = package.description.operating_points["few_alerts"].threshold
    assert alert_threshold(POLICY, named, None) == expected
    assert alert_threshold(POLICY, named, "no_such") == expected
    assert alert_threshold(POLICY, {**named, "sha256": "0" * 64}, None) is None
    assert alert_threshold(POLICY, {**named, "sha256": "0" * 64}, str(package.folder)) is None


def test_the_package_that_runs_need_not_be_one_that_ships(tmp_path: Path) -> None:
    package = make_package(tmp_path, blob_network())
    named = {"name": "elsewhere", "version": "7.0.0", "sha256": package.sha256}
    points = package.description.operating_points
    assert alert_threshold(POLICY, named, str(package.folder)) == points["few_alerts"].threshold
    assert alert_threshold(POLICY, named, None) is None
