"""Time as data: microseconds since the epoch, UTC, as Avro's `timestamp-micros` has it.

Nothing in here reads a clock; whoever does passes the result on as an argument.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NewType

__all__ = ["Micros", "from_datetime", "later", "to_datetime", "to_rfc3339"]

Micros = NewType("Micros", int)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def from_datetime(moment: datetime) -> Micros:
    """Microseconds since the epoch of an aware datetime; a naive one raises TypeError.

    >>> from_datetime(datetime(2026, 1, 1, tzinfo=UTC))
    1767225600000000
    """
    return Micros((moment - _EPOCH) // _MICROSECOND)


def to_datetime(at: Micros) -> datetime:
    """The aware datetime (UTC) of a moment, exact to the microsecond."""
    return _EPOCH + timedelta(microseconds=at)


def to_rfc3339(at: Micros) -> str:
    """The moment as RFC 3339 text in UTC.

    >>> to_rfc3339(Micros(1767225600000000))
    '2026-01-01T00:00:00.000000Z'
    """
    return to_datetime(at).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def later(at: Micros, *, seconds: float) -> Micros:
    """The moment that many seconds after `at` (before it, where negative)."""
    return Micros(at + round(seconds * 1_000_000))
