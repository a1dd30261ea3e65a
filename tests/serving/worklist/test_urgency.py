"""The rules of urgency: mistakes have their line, and what is written is what holds."""

from datetime import datetime
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from firstread.errors import ConfigurationError
from firstread.messages import Language, sentence
from serving.worklist.calendars import due_at
from serving.worklist.cautions import cautions
from serving.worklist.placing import CaseFacts, Score, judge_urgency
from serving.worklist.states import OrderedClass, UrgencyClass
from serving.worklist.urgency import UrgencyPolicy, read_policy
from tests.serving.worklist.cases import POLICY, a_finding

FILE = (files("configs") / "urgency.yaml").read_text("utf-8")
OFFICE = """
  office:
    timezone: Asia/Shanghai
    hours:
      monday: ["08:00-12:00", "13:30-17:30"]
      friday: ["22:00-06:00"]
    closed: [2026-10-01]
    other_hours:
      2026-10-10: ["08:00-17:30"]
"""


def read_text(folder: Path, text: str) -> UrgencyPolicy:
    path = folder / "mine.yaml"
    path.write_text(text, "utf-8")
    return read_policy(path)


def changed(old: str, new: str) -> str:
    assert FILE.count(old) == 1
    return FILE.replace(old, new)


def with_calendar(text: str) -> str:
    return changed("\npools:\n  default: always", f"{text}\npools:\n  default: office")


@pytest.mark.parametrize(
    ("old", "new", "at", "reason"),
    [
        ("minutes: 60}", "minutes: soon}", "minutes: soon}", "valid number"),
        ("minutes: 60}", "minutes: 0}", "minutes: 0}", "greater than 0"),
        ("minutes: 1440}", "minutes: 99999}", "minutes: 99999}", "43200"),
        ("{name: urgent, ", "{name: urgnt, ", "name: urgnt", "'urgent'"),
        ("{name: routine, ", "{name: urgent, ", "- {name: stat", "each of"),
        ("minutes: 60}", "minutes: 20}", "{name: urgent",
         "urgent has 20 minutes, fewer than the 30 of ai-critical above it"),
        ("minutes: 120}", "minutes: 20}", "{name: routine", "routine has 20 minutes, fewer than"),
        ("  standard: {}", "  standard: {}\n  a: {stat: 40}", "  a: {stat",
         "tiers.a.stat: ai-critical has 30"),
        ("  standard: {}", "  standard: {}\n  a: {urgent: 9}", "  a: {urgent",
         "tiers.a.urgent: urgent has 9"),
        ("  standard: {}", "  standard: {quick: 40}", "quick: 40", "'routine'"),
        ("  standard: {}", "  county: {}", "  county: {}", "tiers: standard is missing"),
        ("least_mean_diameter_mm", "leest_mean_diameter_mm", "  leest_mean",
         "leest_mean_diameter_mm: no such key, and least_mean_diameter_mm is missing"),
        ("study_age_days: 1", "study_age_days: -1", "study_age_days: -1", "greater than"),
        ("  share: 0.25", "  share: 25", "  share: 25", "less than or equal to 1"),
        ("burst_minutes: 15", "burst_minutes: .inf", "burst_minutes: .inf", "finite"),
        ("improbable: 0.000001", "improbable: 0.06", "  acts: true", "more than improbable"),
        ("window_cases: 100\n", "window_cases: 2000\n", "window_cases: 2000", "equal to 1000"),
        ("flagged_share: 0.18", "flagged_share: 0.9", "  acts: true", "never trip"),
        ("timezone: Asia/Shanghai\n    load", "timezone: Asia/Shangha\n    load",
         "timezone: Asia/Shangha\n    load", "no time zone 'Asia/Shangha'"),
        ("1.40, 1.40, ", "1.40, ", "    timezone: Asia/Shanghai\n    load", "24 numbers"),
        ("default: always", "night: always", "  night: always", "default is missing"),
        ("default: always", "default: nights", "default: nights", "calendar nights, which"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_file_is_told_with_its_line(
    old: str, new: str, at: str, reason: str, tmp_path: Path
) -> None:
    text = changed(old, new)
    line = text.count("\n", 0, text.index(at)) + 1
    with pytest.raises(ConfigurationError, match=rf"mine\.yaml, line {line}: ") as refused:
        read_text(tmp_path, text)
    assert reason in refused.value.message
    assert "Value error" not in refused.value.message
    assert "the file that ships is whole" in refused.value.advice


@pytest.mark.parametrize(
    ("old", "new", "at", "reason"),
    [
        ("12:00", "12", "monday:", "not written as"),
        ("monday:", "moonday:", "[", "'monday'"),
        ("2026-10-01", "2026-10-10", "timezone: Asia/Shanghai\n    hours", "closed and has"),
        ("2026-10-01", "2026-13-01", "2026-13-01", "no such value"),
        ("Asia/Shanghai", "../etc/passwd", "../etc/passwd", "no time zone"),
    ],
)  # fmt: skip
def test_a_malformed_calendar_is_refused_with_its_line(
    old: str, new: str, at: str, reason: str, tmp_path: Path
) -> None:
    text = with_calendar(OFFICE.replace(old, new, 1))
    line = text.count("\n", 0, text.index(at, text.index("\n  office:"))) + 1
    with pytest.raises(ConfigurationError, match=rf"mine\.yaml, line {line}: ") as refused:
        read_text(tmp_path, text)
    assert reason in refused.value.message


def test_a_week_without_an_open_hour_is_refused(tmp_path: Path) -> None:
    closed = "  office:\n    timezone: Asia/Shanghai\n    hours: {monday: []}\n"
    with pytest.raises(ConfigurationError, match="without an open hour"):
        read_text(tmp_path, with_calendar("\n" + closed))


def test_an_older_file_is_told_what_it_lacks(tmp_path: Path) -> None:
    older = FILE[: FILE.index("# Tiers")].replace("urgency/2", "urgency/1")
    with pytest.raises(
        ConfigurationError, match=r"line 7: schema: .*lacks tiers, .* pools"
    ) as told:
        read_text(tmp_path, older)
    assert "put your values into a copy of it" in told.value.advice


def test_due_times_are_those_of_the_calendar_of_the_pool(tmp_path: Path) -> None:
    policy = read_text(tmp_path, with_calendar(OFFICE))
    night = datetime(2026, 10, 9, 23, 0, tzinfo=ZoneInfo("Asia/Shanghai")).timestamp()
    working = policy.calendar().calendar
    # 420 minutes of the night from Friday, then Saturday the 10th from 8, worked for a holiday.
    assert due_at(working, night, 480) == night + 600 * 60
    assert policy.calendar("no such pool") is policy.calendar("default")


def test_closed_days_alone_leave_a_pool_open_on_all_others(tmp_path: Path) -> None:
    text = "\n  office:\n    timezone: Asia/Shanghai\n    closed: [2026-10-01]\n"
    working = read_text(tmp_path, with_calendar(text)).calendar().calendar
    eve = datetime(2026, 9, 30, 23, 0, tzinfo=ZoneInfo("Asia/Shanghai")).timestamp()
    assert due_at(working, eve, 120) == eve + 26 * 3600


def test_what_a_tier_agreed_on_takes_the_place_of_the_minutes_of_a_class(tmp_path: Path) -> None:
    policy = read_text(tmp_path, changed("  standard: {}", "  standard: {}\n  a: {routine: 240}"))
    assert policy.minutes(UrgencyClass.ROUTINE, "a") == 240
    assert policy.minutes(UrgencyClass.URGENT, "a") == 60
    assert policy.minutes(UrgencyClass.ROUTINE, "gone") == policy.minutes(UrgencyClass.ROUTINE)


def test_the_version_follows_the_rules_and_not_how_they_are_written(tmp_path: Path) -> None:
    commented = changed("token:\n", "# more words\ntoken:\n")
    assert read_text(tmp_path, commented).version == POLICY.version
    assert read_text(tmp_path, changed("share: 0.25", "share: 0.26")).version != POLICY.version
    two = ("  a: {routine: 240}", "  standard: {}")
    one_way, other_way = ("\n".join(tiers) for tiers in (two, two[::-1]))
    first, second = (
        read_text(tmp_path, changed("  standard: {}", tiers)).version
        for tiers in (one_way, other_way)
    )
    assert first == second


def test_the_rules_that_ship_need_no_caution() -> None:
    assert cautions(POLICY) == ()


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("  share: 0.25", "  share: 0.2", "token-small"),
        ("unflagged_share_in_storm: 0.15", "unflagged_share_in_storm: 0.17", "token-small"),
        ("  standard: {}", "  standard: {}\n  a: {routine: 240}", "routine-differs"),
        ("pool_share: 0.05", "pool_share: 0.2", "allowance-unproved"),
        ("improbable: 0.000001", "improbable: 0.001", "guard-nervous"),
    ],
)
def test_rules_with_which_a_promise_does_not_hold_are_told(
    old: str, new: str, code: str, language: Language, tmp_path: Path
) -> None:
    (found,) = cautions(read_text(tmp_path, changed(old, new)))
    assert found.code == code
    assert sentence(f"urgency.caution.{code}", language, **found.values)


def test_critical_may_stand_elsewhere_among_the_classes(tmp_path: Path) -> None:
    head, rest = FILE.split("  - {name: ai-critical", 1)
    raised, rest = rest.split("\n", 1)
    urgent, rest = rest.split("\n", 1)
    moved = f"{head}{urgent}\n  - {{name: ai-critical{raised}\n{rest}"
    policy = read_text(tmp_path, moved.replace("minutes: 30}", "minutes: 90}"))
    score = Score([a_finding(30.0)], 0.462)
    urgent_case = judge_urgency(policy, CaseFacts(OrderedClass.URGENT, 0.0), score)
    assert urgent_case.urgency_class is UrgencyClass.URGENT
    routine = judge_urgency(policy, CaseFacts(OrderedClass.ROUTINE, 0.0), score)
    assert routine.urgency_class is UrgencyClass.AI_CRITICAL


def test_critical_may_not_stand_above_stat(tmp_path: Path) -> None:
    critical = next(line for line in FILE.splitlines(keepends=True) if "ai-critical, " in line)
    first = FILE.replace(critical, "").replace("classes:\n", "classes:\n" + critical)
    with pytest.raises(ConfigurationError, match="stat must stand first"):
        read_text(tmp_path, first)
