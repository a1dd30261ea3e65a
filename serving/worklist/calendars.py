"""Working time: when a case is due that may wait for so many minutes, and only open ones count.

::

    arrival 17:10 ──20──> 17:30 ~~~ closed ~~~ 08:00 ──100──> 09:40 due        120 minutes

A calendar says when a reading pool reads, by the wall clock of its time zone. Moments are seconds
since 1970 in UTC, minutes are real ones: of a shift from 22:00 to 06:00 there are 420 in the night
in which the clocks go forward. A time of day that the clocks skip is read with the offset from
before, one that comes twice is the first (PEP 495, fold 0).

The due time is computed once, from the arrival, so a clock that is set back later moves nothing.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, tzinfo

DAY_MINUTES = 1440
_HOURS = re.compile(r"(\d\d):([0-5]\d)-(\d\d):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class Shift:
    """Open hours, in minutes of the wall clock from the midnight with which their day begins.

    They belong to the day on which they begin; an end above 1440 lies in the next one.
    """

    begin_minute: int
    end_minute: int

    def __post_init__(self) -> None:
        if not 0 <= self.begin_minute < DAY_MINUTES:
            raise ValueError("a shift begins between 00:00 and 23:59")
        if not self.begin_minute < self.end_minute <= self.begin_minute + DAY_MINUTES:
            raise ValueError("a shift lasts at least a minute and at most a day")


ALL_DAY = Shift(0, DAY_MINUTES)


@dataclass(frozen=True, slots=True)
class Calendar:
    """When a pool reads.

    Attributes
    ----------
    week
        Shifts of Monday, Tuesday, ...; None: always open.
    other_days
        Dates on which the week does not count: their own shifts, none where it is closed.
    """

    zone: tzinfo
    week: tuple[tuple[Shift, ...], ...] | None = None
    other_days: Mapping[date, tuple[Shift, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.week is None:
            if self.other_days:
                raise ValueError("a calendar that is always open has no other days")
        elif len(self.week) != 7:
            raise ValueError("a week has seven days")
        elif not any(self.week):
            raise ValueError("a week without an open hour: no case would ever be due")

    def shifts_on(self, day: date) -> tuple[Shift, ...]:
        """Return the shifts that begin on a day."""
        if self.week is None:
            return (ALL_DAY,)
        return self.other_days.get(day, self.week[day.weekday()])


def read_shift(text: str) -> Shift:
    """Read ``08:00-17:30``; an end that is not after its beginning lies in the next day.

    Raises
    ------
    ValueError
        It is no such text, or leaves open whether no time or a whole day is meant.
    """
    found = _HOURS.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not written as 08:00-17:30")
    begin_hour, begin_minute, end_hour, end_minute = map(int, found.groups())
    begin, end = begin_hour * 60 + begin_minute, end_hour * 60 + end_minute
    if end > DAY_MINUTES:
        raise ValueError(
            f"{text!r} ends after 24:00; write the time of the next day, as 22:00-06:00"
        )
    if begin == end:
        raise ValueError(f"{text!r} is no time at all; a whole day is 00:00-24:00")
    return Shift(begin, end if end > begin else end + DAY_MINUTES)


def due_at(calendar: Calendar, arrived_at: float, minutes: float) -> float:
    """Return the first moment by which so many open minutes (> 0) have passed since an arrival.

    A shorter wait, or an earlier arrival, is never due later.
    """
    left_s = minutes * 60
    for begin, end in _open_from(calendar, arrived_at):
        if left_s <= end - begin:
            return begin + left_s
        left_s -= end - begin
    raise AssertionError("a calendar has no end")


def open_minutes(calendar: Calendar, begin: float, end: float) -> float:
    """Return how many open minutes lie between two moments; negative if the second is earlier."""
    if end < begin:
        return -open_minutes(calendar, end, begin)
    open_s = 0.0
    for opens, closes in _open_from(calendar, begin):
        if opens >= end:
            break
        open_s += min(closes, end) - opens
    return open_s / 60


def local_date(calendar: Calendar, at: float) -> date:
    """Return which day it is at a moment where a pool reads."""
    return datetime.fromtimestamp(at, calendar.zone).date()


def _open_from(calendar: Calendar, at: float) -> Iterator[tuple[float, float]]:
    """Yield open times from a moment on, in order; some touch, none overlap."""
    if calendar.week is None:
        yield at, math.inf
        return
    # Two days back: a shift may last into the next day, and the clocks may skip a whole one.
    day = local_date(calendar, at) - timedelta(days=2)
    until = at
    while True:
        for begin, end in _moments(calendar, day, calendar.shifts_on(day)):
            if end > max(begin, until):
                yield max(begin, until), end
                until = end
        day += timedelta(days=1)


def _moments(
    calendar: Calendar, day: date, shifts: Sequence[Shift]
) -> Sequence[tuple[float, float]]:
    midnight = datetime.combine(day, time.min, calendar.zone)

    def moment(minute: int) -> float:
        return (midnight + timedelta(minutes=minute)).timestamp()

    return sorted((moment(shift.begin_minute), moment(shift.end_minute)) for shift in shifts)
