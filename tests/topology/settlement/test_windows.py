"""To which window a capture belongs, and until when its line may come: cut-offs, time zones, weekends, holidays."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.times import Micros, from_datetime, to_datetime
from topology.settling.open_windows import OpenWindows
from topology.settling.windows import Calendar, Calendars

MIDNIGHT = Calendar()
BERLIN = Calendar(cut_off=time(22, 0), zone=ZoneInfo("Europe/Berlin"))
NEW_YORK = Calendar(cut_off=time(17, 0), zone=ZoneInfo("America/New_York"))
SKIPPED = Calendar(cut_off=time(2, 30), zone=ZoneInfo("America/New_York"))
HOLIDAYS = Calendar(holidays=frozenset({date(2026, 12, 25), date(2026, 12, 28)}))


def utc(text: str) -> Micros:
    return from_datetime(datetime.fromisoformat(text).replace(tzinfo=UTC))


# name, calendar, captured, settlement date, the window's end, the end of the grace; all UTC
ROWS = (
    ("on a Monday", MIDNIGHT, "2026-11-16 15:00", "2026-11-16", "2026-11-17 00:00", "2026-11-20 00:00"),
    (
        "in the last microsecond",
        MIDNIGHT,
        "2026-11-16 23:59:59.999999",
        "2026-11-16",
        "2026-11-17 00:00",
        "2026-11-20 00:00",
    ),
    (
        "at the cut-off: the next window",
        MIDNIGHT,
        "2026-11-17 00:00",
        "2026-11-17",
        "2026-11-18 00:00",
        "2026-11-21 00:00",
    ),
    (
        "on a Wednesday: the grace ends with Monday",
        MIDNIGHT,
        "2026-11-18 09:00",
        "2026-11-18",
        "2026-11-19 00:00",
        "2026-11-24 00:00",
    ),
    (
        "on a Friday: Monday, Tuesday, Wednesday",
        MIDNIGHT,
        "2026-11-20 09:00",
        "2026-11-20",
        "2026-11-21 00:00",
        "2026-11-26 00:00",
    ),
    ("on a Saturday", MIDNIGHT, "2026-11-21 09:00", "2026-11-21", "2026-11-22 00:00", "2026-11-26 00:00"),
    ("on a Sunday", MIDNIGHT, "2026-11-22 09:00", "2026-11-22", "2026-11-23 00:00", "2026-11-26 00:00"),
    (
        "holidays are no business days",
        HOLIDAYS,
        "2026-12-23 09:00",
        "2026-12-23",
        "2026-12-24 00:00",
        "2026-12-31 00:00",
    ),
    ("before the cut-off in Berlin", BERLIN, "2026-11-16 20:59", "2026-11-16", "2026-11-16 21:00", "2026-11-19 21:00"),
    ("after the cut-off in Berlin", BERLIN, "2026-11-16 21:00", "2026-11-17", "2026-11-17 21:00", "2026-11-20 21:00"),
    (
        "Friday night in Berlin is Saturday's",
        BERLIN,
        "2026-11-20 21:30",
        "2026-11-21",
        "2026-11-21 21:00",
        "2026-11-25 21:00",
    ),
    (
        "the same hour is earlier in summer",
        BERLIN,
        "2026-07-06 20:00",
        "2026-07-07",
        "2026-07-07 20:00",
        "2026-07-10 20:00",
    ),
    # The clocks go forward on 29 March, back on 25 October 2026 (Berlin), 8 March and 1 November (New York).
    ("a window of 23 hours", BERLIN, "2026-03-28 22:00", "2026-03-29", "2026-03-29 20:00", "2026-04-01 20:00"),
    ("a window of 25 hours", BERLIN, "2026-10-24 20:00", "2026-10-25", "2026-10-25 21:00", "2026-10-28 21:00"),
    ("a grace across the change", NEW_YORK, "2026-03-05 12:00", "2026-03-05", "2026-03-05 22:00", "2026-03-10 21:00"),
    (
        "a cut-off that the clocks skip",
        SKIPPED,
        "2026-03-08 07:00",
        "2026-03-08",
        "2026-03-08 07:30",
        "2026-03-11 06:30",
    ),
    ("another day there than here", NEW_YORK, "2026-11-17 02:00", "2026-11-17", "2026-11-17 22:00", "2026-11-20 22:00"),
)


@pytest.mark.parametrize(
    ("calendar", "captured", "settles_on", "ends", "due"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_a_capture_belongs_to_a_window(calendar: Calendar, captured: str, settles_on: str, ends: str, due: str) -> None:
    window = calendar.window(utc(captured))
    assert window.settlement_date == date.fromisoformat(settles_on)
    assert (window.ends_at, window.due_at) == (utc(ends), utc(due))


@given(
    moment=st.datetimes(datetime(2020, 1, 1), datetime(2099, 1, 1)),  # noqa: DTZ001
    hour=st.integers(0, 23),
    zone=st.sampled_from(
        ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"]
    ),
)
def test_windows_are_without_gap_and_overlap(moment: datetime, hour: int, zone: str) -> None:
    calendar = Calendar(cut_off=time(hour, 30), zone=ZoneInfo(zone))
    at = from_datetime(moment.replace(tzinfo=UTC))
    window = calendar.window(at)
    assert window.ends_at > at
    assert calendar.window(Micros(window.ends_at - 1)) == window
    after = calendar.window(window.ends_at)
    assert after.settlement_date > window.settlement_date
    assert to_datetime(after.ends_at) - to_datetime(window.ends_at) <= timedelta(hours=25)
    assert window.due_at >= window.ends_at + timedelta(days=3) // timedelta(microseconds=1) - 3_600_000_000


def test_each_processor_has_its_calendar() -> None:
    calendars = Calendars(by_processor={"nypay": NEW_YORK})
    at = utc("2026-11-16 23:00")
    assert calendars.window("nypay", at).settlement_date == date(2026, 11, 17)
    assert calendars.window("cardnet", at).settlement_date == date(2026, 11, 16)


def test_a_grace_of_no_days_ends_with_the_window() -> None:
    window = Calendar(grace_business_days=0).window(utc("2026-11-21 09:00"))
    assert window.due_at == window.ends_at


class TestOpenWindows:
    def test_what_is_due_comes_once_earliest_window_first(self) -> None:
        windows = OpenWindows()
        windows.add("b", due_at=Micros(20), captured_at=Micros(2))
        windows.add("a", due_at=Micros(10), captured_at=Micros(1))
        windows.add("c", due_at=Micros(30), captured_at=Micros(3))
        assert windows.take_due(Micros(9), 10) == []
        assert windows.take_due(Micros(20), 1) == ["a"]
        assert windows.take_due(Micros(20), 10) == ["b"]
        assert windows.take_due(Micros(20), 10) == []
        assert len(windows) == 3, "those that are asked about wait still"
        assert windows.oldest_at() == 3

    def test_what_was_matched_is_not_due(self) -> None:
        windows = OpenWindows()
        windows.add("a", due_at=Micros(10), captured_at=Micros(1))
        windows.remove("a", due_at=Micros(10))
        windows.remove("a", due_at=Micros(10))
        assert windows.take_due(Micros(20), 10) == []
        assert (len(windows), windows.oldest_at()) == (0, None)

    def test_a_large_window_comes_in_parts(self) -> None:
        windows = OpenWindows()
        for number in range(5):
            windows.add(str(number), due_at=Micros(10), captured_at=Micros(1))
        taken = windows.take_due(Micros(10), 3)
        assert len(taken) == 3
        assert sorted(taken + windows.take_due(Micros(10), 3)) == ["0", "1", "2", "3", "4"]
