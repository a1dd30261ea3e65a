"""What is urgent: the AI raises a case, and never lowers one."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstread.errors import ConfigurationError
from models.package import find_package
from serving.worklist.states import OrderedClass, UrgencyClass
from serving.worklist.urgency import alert_threshold, judge_urgency, read_policy
from tests.packages import blob_network, make_package
from tests.serving.worklist.cases import POLICY, a_finding

THRESHOLD = 0.462
ARRIVED_AT = 1000.0

findings = st.lists(
    st.builds(a_finding, st.floats(1, 60).map(lambda mm: round(mm, 1)), st.floats(0, 1)), max_size=4
)


def test_a_large_sure_finding_makes_a_routine_case_critical() -> None:
    urgency = judge_urgency(
        POLICY, OrderedClass.ROUTINE, ARRIVED_AT, [a_finding(18.3, 0.94)], THRESHOLD
    )
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
    urgency = judge_urgency(POLICY, OrderedClass.ROUTINE, ARRIVED_AT, [finding], THRESHOLD)
    assert urgency.urgency_class is UrgencyClass.ROUTINE
    assert urgency.reasons[0]["code"] == code


def test_size_and_score_must_be_of_one_and_the_same_finding() -> None:
    two = [a_finding(20.0, 0.4), a_finding(6.0, 0.99)]
    urgency = judge_urgency(POLICY, OrderedClass.ROUTINE, ARRIVED_AT, two, THRESHOLD)
    assert urgency.urgency_class is UrgencyClass.ROUTINE


def test_both_limits_belong_to_the_critical_side() -> None:
    urgency = judge_urgency(
        POLICY, OrderedClass.BACKLOG, ARRIVED_AT, [a_finding(15.0, THRESHOLD)], THRESHOLD
    )
    assert urgency.urgency_class is UrgencyClass.AI_CRITICAL


def test_an_unknown_threshold_raises_nothing_and_says_so() -> None:
    urgency = judge_urgency(POLICY, OrderedClass.ROUTINE, ARRIVED_AT, [a_finding(30.0)], None)
    assert urgency.urgency_class is UrgencyClass.ROUTINE
    assert urgency.reasons[0]["code"] == "threshold-unknown"


@given(st.sampled_from(OrderedClass), st.none() | findings, st.none() | st.floats(0, 1))
def test_nothing_that_the_ai_says_lowers_a_case(
    ordered: OrderedClass, found: list[dict[str, Any]] | None, threshold: float | None
) -> None:
    before = judge_urgency(POLICY, ordered, ARRIVED_AT)
    after = judge_urgency(POLICY, ordered, ARRIVED_AT, found, threshold)
    assert after.class_rank <= before.class_rank
    assert after.due_at <= before.due_at


@given(st.sampled_from(OrderedClass), findings, st.floats(0, 1))
def test_one_more_finding_never_moves_a_case_down(
    ordered: OrderedClass, found: list[dict[str, Any]], threshold: float
) -> None:
    more = [*found, a_finding(25.0, 0.9)]
    assert (
        judge_urgency(POLICY, ordered, ARRIVED_AT, more, threshold).class_rank
        <= judge_urgency(POLICY, ordered, ARRIVED_AT, found, threshold).class_rank
    )


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


FILE = """\
schema: firstread/urgency/1
classes:
  - {name: stat, minutes: 15}
  - {name: ai-critical, minutes: 30}
  - {name: urgent, minutes: 60}
  - {name: routine, minutes: 120}
  - {name: backlog, minutes: 1440}
ai_critical:
  least_mean_diameter_mm: 15
  operating_point: few_alerts
"""


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("minutes: 60", "minutes: soon", 5),
        ("name: urgent", "name: urgnt", 5),
        ("minutes: 120", "minutes: 20", 1),
        ("name: routine", "name: urgent", 1),
        ("least_mean", "leest_mean", 9),
    ],
)
def test_a_mistake_in_the_file_is_told_with_its_line(
    old: str, new: str, line: int, tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(FILE.replace(old, new), "utf-8")
    with pytest.raises(ConfigurationError, match=rf"mine\.yaml, line {line}: "):
        read_policy(path)


def test_critical_may_stand_elsewhere_among_the_classes(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    critical = "  - {name: ai-critical, minutes: 30}\n"
    swapped = FILE.replace(critical, "").replace("minutes: 60}\n", "minutes: 60}\n" + critical)
    path.write_text(swapped.replace("minutes: 30", "minutes: 90"), "utf-8")
    policy = read_policy(path)
    urgent = judge_urgency(policy, OrderedClass.URGENT, 0.0, [a_finding(30.0)], THRESHOLD)
    assert urgent.urgency_class is UrgencyClass.URGENT
    routine = judge_urgency(policy, OrderedClass.ROUTINE, 0.0, [a_finding(30.0)], THRESHOLD)
    assert routine.urgency_class is UrgencyClass.AI_CRITICAL
