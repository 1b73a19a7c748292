"""What the values of a settlement file have to be, whatever its format. Pure."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

from schemas.money import CURRENCIES
from schemas.times import Micros, from_datetime

__all__ = ["Invalid", "currency", "days", "moment"]

_EPOCH = date(1970, 1, 1)
_FIRST_DATE, _LAST_DATE = date(2000, 1, 1), date(2100, 1, 1)
_FIRST_TIME, _LAST_TIME = (from_datetime(datetime(year, 1, 1, tzinfo=UTC)) for year in (2000, 2100))
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})")


class Invalid(Exception):
    """A value is not what it has to be. The text goes on from "line 7 …"."""


def currency(name: str, value: object) -> str:
    """A currency; raises Invalid."""
    if not isinstance(value, str) or value not in CURRENCIES:
        raise Invalid(f"has no {name} (ISO 4217, lower case)")
    return value


def days(value: object) -> int:
    """Days since the epoch; raises ValueError."""
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        raise ValueError
    day = date.fromisoformat(value)
    if not _FIRST_DATE <= day < _LAST_DATE:
        raise ValueError
    return (day - _EPOCH).days


def moment(value: object) -> Micros:
    """Microseconds since the epoch; raises Invalid."""
    if isinstance(value, str) and _TIME.fullmatch(value):
        try:
            at = from_datetime(datetime.fromisoformat(value))
        except ValueError:
            at = Micros(-1)
        if _FIRST_TIME <= at < _LAST_TIME:
            return at
    raise Invalid("has no valid time in `at` (RFC 3339)")
