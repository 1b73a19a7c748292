from datetime import UTC, date, datetime

import pytest

from sandbox.card_network.settlement_calendar import SettlementCalendar


def moments(calendar: SettlementCalendar, settlement_date: date) -> tuple[str, str]:
    begin, end = (datetime.fromtimestamp(micros // 1_000_000, UTC) for micros in calendar.span(settlement_date))
    return f"{begin:%a %d %H:%M}", f"{end:%a %d %H:%M}"


def test_without_a_cut_off_a_date_is_a_day_in_utc() -> None:
    assert moments(SettlementCalendar(), date(2026, 10, 24)) == ("Sat 24 00:00", "Sun 25 00:00")


@pytest.mark.parametrize(
    ("settlement_date", "span"),
    [
        (date(2026, 10, 22), ("Wed 21 15:00", "Thu 22 15:00")),
        (date(2026, 10, 23), ("Thu 22 15:00", "Fri 23 15:00")),
        # Nothing on Saturday and Sunday; Monday has the whole weekend. Summer time ends in it.
        (date(2026, 10, 24), ("Sat 24 15:00", "Sat 24 15:00")),
        (date(2026, 10, 25), ("Sun 25 16:00", "Sun 25 16:00")),
        (date(2026, 10, 26), ("Fri 23 15:00", "Mon 26 16:00")),
    ],
)
def test_with_one_a_date_ends_at_its_cut_off(settlement_date: date, span: tuple[str, str]) -> None:
    assert moments(SettlementCalendar.parse("17:00", "Europe/Berlin"), settlement_date) == span
