"""DE 7, 11 and 37 of a call: by these the host knows it again, so they are given once, and are on record. Pure.

The shards share out the trace numbers (STAN, DE 11) 000001 to 999999; shard s of N has the s-th slice. Within a slice
they go round, and DE 7 (without a year: so for a year) tells apart what stands under the same one. DE 37 is base 36:
two characters of shard, ten of how many numbers it had given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from schemas.times import Micros, to_datetime
from topology.processors.port import Lease

__all__ = ["SHARDS_MAX", "TRACE_NUMBERS", "Trace", "trace_in", "trace_of", "transmission_time"]

TRACE_NUMBERS: Final = 999_999
SHARDS_MAX: Final = 36 * 36

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_NAMES: Final = ("de7", "de11", "de37")


class Trace(NamedTuple):
    """What a call is known by: transmission time (MMDDhhmmss, UTC), trace number, retrieval reference."""

    de7: str
    de11: str
    de37: str

    def as_data(self) -> dict[str, str]:
        """As it stands in a call's `processor_data`."""
        return dict(zip(_NAMES, self, strict=True))


def trace_of(lease: Lease) -> Trace:
    """The next numbers of a shard."""
    if lease.shards > SHARDS_MAX:
        raise ValueError(f"more than {SHARDS_MAX} shards cannot be told apart in DE 37")
    slice_size = TRACE_NUMBERS // lease.shards
    ordinal, at = lease.take(cycle=slice_size)
    return Trace(
        de7=transmission_time(at),
        de11=f"{lease.shard * slice_size + ordinal % slice_size + 1:06}",
        de37=_base36(lease.shard, 2) + _base36(ordinal, 10),
    )


def trace_in(data: Mapping[str, str], *, prefix: str = "") -> Trace | None:
    """The numbers that are on record under these names; None where they are not all there."""
    de7, de11, de37 = (data.get(prefix + name) for name in _NAMES)
    return None if de7 is None or de11 is None or de37 is None else Trace(de7, de11, de37)


def transmission_time(at: Micros) -> str:
    """DE 7 at a moment: MMDDhhmmss, UTC."""
    return to_datetime(at).strftime("%m%d%H%M%S")


def _base36(number: int, length: int) -> str:
    digits = ""
    for _ in range(length):
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    assert number == 0
    return digits
