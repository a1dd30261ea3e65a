"""Acquisitions that only their times tell apart."""

from collections.abc import Callable
from random import Random

import pytest

from inference.dicom.instance import Instance
from inference.gate.geometry import judge_geometry
from inference.gate.phases import acquired_apart, seconds_of
from inference.gate.reasons import Code, Status
from inference.stack import build_stack
from tests.inference.gate.hand import COARSE, THIN, a_series, a_slice, heights

Clock = Callable[[int], float]


def at(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600:02d}{whole // 60 % 60:02d}{whole % 60:02d}.{seconds % 1 * 1e6:06.0f}"


def a_pass(
    count: int, clock: Clock, *, step_mm: float = 5.0, offset_mm: float = 0.0
) -> list[Instance]:
    return [
        a_slice(z, uid=f"1.2.{offset_mm}.{k}".replace("-", ""), acquisition_time=at(clock(k)))
        for k, z in enumerate(heights(count, step_mm, -340.0 + offset_mm))
    ]


def apart(instances: list[Instance]) -> tuple[int, ...]:
    return acquired_apart(build_stack([(i, frame) for i in instances for frame in i.frames]))


def helical(start_s: float, per_slice_s: float = 0.17) -> Clock:
    return lambda k: start_s + per_slice_s * k


@pytest.mark.parametrize("offset_mm", [2.5, 2.0, 0.0])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (lambda _: 36000.0, lambda _: 36060.0),
        (helical(36000), helical(36060)),
        (helical(36000), helical(36100, -0.17)),
        (lambda k: 36000.0 + k // 16, lambda k: 36060.0 + k // 16),
        (lambda k: 36000.0 + k // 4, lambda k: 36600.0 + k // 4),
        (lambda k: 36000.0 + 2 * (k // 20), lambda k: 36012.0 + 2 * (k // 20)),
    ],
    ids=["one time each", "helical", "there and back", "turns", "small turns", "turns in a row"],
)
def test_two_phases_in_one_series_are_sent_back(
    offset_mm: float, first: Clock, second: Clock
) -> None:
    instances = [*a_pass(100, first), *a_pass(100, second, offset_mm=offset_mm)]
    result = judge_geometry(a_series(instances), COARSE)
    (mixed,) = [r for r in result.reasons if r.code is Code.ACQUISITIONS_MIXED]
    assert mixed.status is Status.RESEND
    assert mixed.numbers == {"slices": 100, "other_slices": 100, "parts": 2}


def test_three_phases_are_counted() -> None:
    phases = [a_pass(60, helical(36000 + 60 * p), offset_mm=1.5 * p) for p in range(3)]
    assert apart([*phases[0], *phases[1], *phases[2]]) == (60, 60, 60)


def test_a_second_pass_over_the_last_slices_is_mixed() -> None:
    again = a_pass(20, helical(36060), offset_mm=402.5)
    assert apart([*a_pass(100, helical(36000)), *again]) == (100, 20)


@pytest.mark.parametrize(
    "clock",
    [
        helical(36000),
        helical(36100, -0.17),
        helical(36000, 0.0),
        lambda k: 36000.0 + k // 16 * 2.5,
        lambda k: 36100.0 - k // 4 * 1.0,
        lambda k: float(int(36000 + 0.17 * k)),
        lambda k: 36000.0 + 0.17 * k + (40.0 if k >= 50 else 0.0),
        lambda k: 36000.0 + 0.17 * k + 0.3 * (k % 2),
        lambda k: 36000.0 + (k + 5 * (k % 2)) // 16,
    ],
    ids=[
        "rising",
        "falling",
        "one time",
        "turns",
        "falling turns",
        "whole s",
        "pause",
        "jitter",
        "lap",
    ],
)
def test_one_pass_of_the_table_is_one_acquisition(clock: Clock) -> None:
    instances = a_pass(100, clock, step_mm=2.5)
    assert apart(instances) == ()
    assert judge_geometry(a_series(instances), THIN).reasons == ()


def test_passes_side_by_side_are_one_stack() -> None:
    assert apart([*a_pass(50, helical(36000)), *a_pass(50, helical(36060), offset_mm=250)]) == ()


def test_times_in_no_order_tell_nothing() -> None:
    for seed in range(20):
        random = Random(seed)
        assert apart(a_pass(300, lambda _, r=random: r.uniform(36000, 36300))) == ()  # type: ignore[misc]


def test_one_slice_that_was_taken_again_is_no_second_acquisition() -> None:
    assert apart([*a_pass(100, helical(36000)), *a_pass(1, helical(36060), offset_mm=101)]) == ()


def test_without_times_nothing_is_told() -> None:
    assert apart([a_slice(z) for z in heights(100)]) == ()
    assert apart([a_slice(z, acquisition_time="noon") for z in heights(100)]) == ()


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        ("101530.5", 36930.5),
        ("10:15:30", 36930.0),
        ("1015", 36900.0),
        ("10", 36000.0),
        ("101530.123456+0800", 36930.123456),
        ("", None),
        ("1e5", None),
    ],
)
def test_times_are_read_as_the_standard_writes_them(time: str, seconds: float | None) -> None:
    assert seconds_of(time) == seconds
