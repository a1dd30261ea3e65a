"""Working time: laws of due times, and nights, holidays and clocks that jump."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.worklist.calendars import (
    ALL_DAY,
    Calendar,
    Shift,
    due_at,
    local_date,
    open_minutes,
    read_shift,
)

SHANGHAI = ZoneInfo("Asia/Shanghai")
BERLIN = ZoneInfo("Europe/Berlin")
# By an hour, by half an hour, at midnight, and one that skipped the 30th of December 2011.
ZONES = ("Asia/Shanghai", "Europe/Berlin", "Australia/Lord_Howe", "America/Havana", "Pacific/Apia")
DAY = (read_shift("08:00-12:00"), read_shift("13:30-17:30"))
OFFICE = Calendar(SHANGHAI, (DAY,) * 5 + ((), ()))

shifts = st.builds(
    lambda begin, length: Shift(begin, begin + length), st.integers(0, 1439), st.integers(1, 1440)
)
days = st.lists(shifts, max_size=3).map(tuple)
weeks = st.tuples(*(days,) * 7).filter(any)
dates = st.dates(date(2011, 12, 20), date(2012, 4, 10))
calendars = st.builds(
    Calendar, st.sampled_from(ZONES).map(ZoneInfo), weeks, st.dictionaries(dates, days, max_size=4)
)
# Whole seconds, so that every sum below is exact.
moments = st.integers(
    int(datetime(2011, 12, 20, tzinfo=UTC).timestamp()),
    int(datetime(2012, 4, 10, tzinfo=UTC).timestamp()),
).map(float)
waits = st.integers(1, 2000).map(float)


def at(text: str, zone: ZoneInfo = SHANGHAI) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def due(calendar: Calendar, text: str, minutes: float, zone: ZoneInfo = SHANGHAI) -> str:
    moment = due_at(calendar, at(text, zone), minutes)
    return datetime.fromtimestamp(moment, zone).isoformat(" ", "minutes")[:16]


@settings(max_examples=25, deadline=None)
@given(calendars, moments, waits)
def test_between_arrival_and_due_lie_just_the_minutes_that_may_be_waited(
    calendar: Calendar, arrived_at: float, minutes: float
) -> None:
    moment = due_at(calendar, arrived_at, minutes)
    assert open_minutes(calendar, arrived_at, moment) == minutes
    # And it is the first such moment.
    assert open_minutes(calendar, arrived_at, moment - 1) < minutes


@settings(max_examples=25, deadline=None)
@given(calendars, moments, waits, waits)
def test_waiting_twice_is_waiting_the_sum(
    calendar: Calendar, arrived_at: float, first: float, second: float
) -> None:
    half_way = due_at(calendar, arrived_at, first)
    assert due_at(calendar, half_way, second) == due_at(calendar, arrived_at, first + second)


@settings(max_examples=25, deadline=None)
@given(calendars, st.tuples(moments, moments), st.tuples(waits, waits))
def test_who_comes_earlier_or_may_wait_less_is_never_due_later(
    calendar: Calendar, arrivals: tuple[float, float], minutes: tuple[float, float]
) -> None:
    earlier, later = sorted(arrivals)
    shorter, longer = sorted(minutes)
    assert due_at(calendar, earlier, shorter) <= due_at(calendar, later, longer)


@settings(max_examples=25, deadline=None)
@given(calendars, moments, moments, moments)
def test_open_minutes_add_up_whichever_way_the_clock_ran(
    calendar: Calendar, first: float, second: float, third: float
) -> None:
    one, two = open_minutes(calendar, first, second), open_minutes(calendar, second, third)
    assert one + two == pytest.approx(open_minutes(calendar, first, third), abs=1e-6)


@settings(max_examples=15, deadline=None)
@given(weeks, st.integers(0, 3 * 1440), st.integers(0, 3 * 1440))
def test_open_is_what_the_wall_clock_says(
    week: tuple[tuple[Shift, ...], ...], begin: int, minutes: int
) -> None:
    """Counted minute by minute, in a zone whose clocks do not jump."""
    calendar, origin = Calendar(SHANGHAI, week), at("2026-03-01")

    def is_open(minute: int) -> bool:
        day, of_day = divmod(minute, 1440)
        today = (date(2026, 3, 1) + timedelta(days=day)).weekday()
        return any(s.begin_minute <= of_day < s.end_minute for s in week[today]) or any(
            s.begin_minute <= of_day + 1440 < s.end_minute for s in week[today - 1]
        )

    counted = sum(map(is_open, range(begin, begin + minutes)))
    moments_s = origin + begin * 60, origin + (begin + minutes) * 60
    assert open_minutes(calendar, *moments_s) == counted


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(ZONES).map(ZoneInfo), moments, waits)
def test_open_all_day_on_every_day_is_always_open(
    zone: ZoneInfo, arrived_at: float, minutes: float
) -> None:
    assert due_at(Calendar(zone), arrived_at, minutes) == arrived_at + minutes * 60
    all_days = Calendar(zone, ((ALL_DAY,),) * 7)
    assert due_at(all_days, arrived_at, minutes) == arrived_at + minutes * 60


@pytest.mark.parametrize(
    ("arrival", "minutes", "expected"),
    [
        ("2026-03-02 09:00", 120, "2026-03-02 11:00"),
        ("2026-03-02 11:30", 60, "2026-03-02 14:00"),
        ("2026-03-02 11:30", 30, "2026-03-02 12:00"),
        ("2026-03-06 17:10", 120, "2026-03-09 09:40"),
        ("2026-03-07 03:00", 15, "2026-03-09 08:15"),
        ("2026-03-02 08:00", 1440, "2026-03-04 17:30"),
    ],
)
def test_minutes_out_of_hours_do_not_count(arrival: str, minutes: float, expected: str) -> None:
    assert due(OFFICE, arrival, minutes) == expected


def test_a_holiday_is_closed_and_a_saturday_worked_for_it_is_open() -> None:
    festival = {date(2026, 10, 1): (), date(2026, 10, 2): (), date(2026, 10, 10): DAY}
    calendar = Calendar(SHANGHAI, OFFICE.week, festival)
    assert due(calendar, "2026-09-30 17:00", 60) == "2026-10-05 08:30"
    assert due(calendar, "2026-10-09 17:00", 60) == "2026-10-10 08:30"


def test_a_night_belongs_to_the_day_on_which_it_begins() -> None:
    night = (read_shift("22:00-06:00"),)
    calendar = Calendar(SHANGHAI, (night,) * 7, {date(2026, 3, 4): ()})
    assert due(calendar, "2026-03-02 12:00", 120) == "2026-03-03 00:00"
    assert due(calendar, "2026-03-03 05:30", 60) == "2026-03-03 22:30"
    # The holiday takes the night that begins on it, and leaves the one that ends on it.
    assert due(calendar, "2026-03-04 05:30", 60) == "2026-03-05 22:30"


def test_shifts_that_touch_or_overlap_count_once() -> None:
    week = ((Shift(480, 720), Shift(600, 780), Shift(780, 840)),) * 7
    assert open_minutes(Calendar(SHANGHAI, week), at("2026-03-02"), at("2026-03-03")) == 360


def test_the_night_in_which_the_clocks_jump_has_an_hour_less_or_more() -> None:
    night = Calendar(BERLIN, ((read_shift("22:00-06:00"),),) * 7)
    for evening, minutes in (("2026-03-27", 480), ("2026-03-28", 420), ("2026-10-24", 540)):
        begin = at(f"{evening} 12:00", BERLIN)
        assert open_minutes(night, begin, begin + 86400) == minutes
    assert due(night, "2026-03-28 22:00", 420, BERLIN) == "2026-03-29 06:00"


def test_hours_that_the_clocks_skip_are_read_with_the_offset_from_before() -> None:
    week = ((read_shift("02:30-02:45"), read_shift("09:00-10:00")),) * 7
    assert due(Calendar(BERLIN, week), "2026-03-29 00:00", 5, BERLIN) == "2026-03-29 03:35"
    backwards = ((read_shift("02:30-03:00"), read_shift("09:00-10:00")),) * 7
    assert due(Calendar(BERLIN, backwards), "2026-03-29 00:00", 5, BERLIN) == "2026-03-29 09:05"


def test_which_day_it_is_depends_on_the_place() -> None:
    moment = at("2026-03-02 00:30")
    assert local_date(Calendar(SHANGHAI), moment) == date(2026, 3, 2)
    assert local_date(Calendar(BERLIN), moment) == date(2026, 3, 1)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("8-17", "not written as"),
        ("08:00-17:60", "not written as"),
        ("24:00-06:00", "begins between"),
        ("08:00-25:00", "ends after 24:00"),
        ("08:00-08:00", "no time at all"),
    ],
)
def test_hours_that_say_nothing_clear_are_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_shift(text)


@pytest.mark.parametrize(
    ("week", "other", "why"),
    [
        (((),) * 7, {}, "without an open hour"),
        ((DAY,) * 6, {}, "seven days"),
        (None, {date(2026, 10, 1): ()}, "always open has no other days"),
    ],
)
def test_a_calendar_by_which_nothing_would_be_due_is_refused_with_the_reason(
    week: tuple[tuple[Shift, ...], ...] | None, other: dict[date, tuple[Shift, ...]], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        Calendar(SHANGHAI, week, other)
