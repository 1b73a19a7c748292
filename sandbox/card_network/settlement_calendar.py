"""Which captures a settlement date covers: a calendar day, or what came between two cut-offs.

Reads and writes nothing; `settlement_api` asks. Without a cut-off the date is the day in UTC, weekends too. With one, a
date covers what was captured after the cut-off of the working day before and before its own, so that Friday evening and
the weekend are in Monday's file and Saturday's file is empty.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

__all__ = ["SettlementCalendar"]

_SATURDAY = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementCalendar:
    """`cut_off` is a time of day in `zone`."""

    cut_off: time | None = None
    zone: tzinfo = UTC

    @classmethod
    def parse(cls, cut_off: str | None, zone: str) -> "SettlementCalendar":
        """From HH:MM and the name of a time zone; raises ValueError."""
        try:
            return cls(cut_off=time.fromisoformat(cut_off) if cut_off is not None else None, zone=ZoneInfo(zone))
        except KeyError:  # a ZoneInfoNotFoundError
            raise ValueError(f"no time zone {zone}") from None

    def span(self, settlement_date: date) -> tuple[int, int]:
        """From when until before when, in microseconds since 1970; as long as nothing for a date without a file."""
        if self.cut_off is None:
            begin = datetime(settlement_date.year, settlement_date.month, settlement_date.day, tzinfo=UTC)
            return _micros(begin), _micros(begin + timedelta(days=1))
        until = datetime.combine(settlement_date, self.cut_off, self.zone)
        if settlement_date.weekday() >= _SATURDAY:
            return _micros(until), _micros(until)
        before = settlement_date - timedelta(days=3 if settlement_date.weekday() == 0 else 1)
        return _micros(datetime.combine(before, self.cut_off, self.zone)), _micros(until)


def _micros(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000
