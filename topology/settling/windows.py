"""Settlement windows: to which settlement date a capture belongs, and until when its line may come.

A window lies between two cut-offs of a processor, in that processor's time zone, and has the date on which it ends;
one that ends at midnight has the date that ends with it. Its lines may come until a number of business days have gone
by since. Pure: the moment is an argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from schemas.times import Micros, from_datetime, to_datetime

__all__ = ["Calendar", "Calendars", "Window"]

_DAY = timedelta(days=1)
_SATURDAY = 5
_HOLIDAYS_IN_A_ROW_MAX = 366


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The captures of one settlement date: all before `ends_at`, and not before the end of the window before."""

    settlement_date: date
    ends_at: Micros
    due_at: Micros
    """When the grace ends: a line that has not come by then is missing."""


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """When a processor settles. `holidays` are the weekdays on which it does not; weekends are none of its days."""

    cut_off: time = time(0, 0)
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    holidays: frozenset[date] = frozenset()
    grace_business_days: int = 3

    def __post_init__(self) -> None:
        if len(self.holidays) > _HOLIDAYS_IN_A_ROW_MAX and self.grace_business_days:
            raise ValueError("a calendar of so many holidays is none")

    def window(self, at: Micros) -> Window:
        """The window that a moment belongs to; that of a cut-off itself is the one which begins then."""
        day = to_datetime(at).astimezone(self.zone).date()
        # The cut-off of a local date may lie on either side of a moment of that date, and next to a change of the
        # clocks two dates' cut-offs are not 24 hours apart.
        while self._cut_off_of(day) > at:
            day -= _DAY
        while self._cut_off_of(day) <= at:
            day += _DAY
        return _window(self, day)

    def is_business_day(self, day: date) -> bool:
        """Whether the processor settles on that date."""
        return day.weekday() < _SATURDAY and day not in self.holidays

    def settlement_date_ending(self, day: date) -> date:
        """The settlement date of the window that ends at the cut-off of a local date."""
        return day - _DAY if self.cut_off == time(0, 0) else day

    def _cut_off_of(self, day: date) -> Micros:
        # A local time that the clocks skip, or show twice, is taken by the offset before the change (PEP 495, fold 0).
        local = datetime.combine(day, self.cut_off, tzinfo=self.zone)
        return from_datetime(local.astimezone(UTC))


@lru_cache(maxsize=4_096)
def _window(calendar: Calendar, day: date) -> Window:
    """The window that ends at the cut-off of a local date; as few as there are days, and asked for of each capture."""
    due, left = day, calendar.grace_business_days
    while left:
        due += _DAY
        left -= calendar.is_business_day(calendar.settlement_date_ending(due))
    return Window(
        settlement_date=calendar.settlement_date_ending(day),
        ends_at=calendar._cut_off_of(day),
        due_at=calendar._cut_off_of(due),
    )


@dataclass(frozen=True, kw_only=True)
class Calendars:
    """The calendar of each processor; `default` for one that is not named."""

    by_processor: Mapping[str, Calendar] = field(default_factory=dict)
    default: Calendar = field(default_factory=Calendar)

    def window(self, processor: str, at: Micros) -> Window:
        """The window of a capture at a processor."""
        return self.by_processor.get(processor, self.default).window(at)
