"""The test clock (DESIGN section 3): by how much time is ahead for payments in test mode, shard by shard.

An advance is a `ClockOffset` in each partition of `payments.timers`. A flow that waits for time reads that topic and
hands each advance to `ShardClocks`, which keeps it as a record of the shard's changelog, under `clock-<shard>`; so it
commits with the epoch that read it, survives the process and goes with the shard. Whoever goes through the flow's
store passes over that key (`is_clock_key`). Decision 008 says which times are real and which are the test clock's.

What the test clock shows is a function of the wall clock's time and of when it was advanced, not of what a flow has
read so far: a moment before an advance is shown as it was then, in whichever order the two come in. Used by
`topology.reconciliation` and `topology.settlement`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from msgspec.structs import replace

from schemas.codec import encode
from schemas.processing import ClockOffset, ShardClock
from schemas.times import Micros
from topology.kafka import StateStore

__all__ = ["OFFSET_MICROS_MAX", "WALL", "NowOf", "PaymentClock", "ShardClocks", "is_clock_key"]

log = logging.getLogger("paystream.test_clock")

NowOf = Callable[[int | None], Micros]
"""This moment, by the test clock of a shard; None: by the wall clock."""

_PREFIX = "clock-"
_ADVANCES_KEPT = 200
# Since when the oldest of them counts, once others before it have been forgotten.
_FORGOTTEN = Micros(0)
# A hundred years: nothing waits for longer, and no moment goes beyond what a record can say.
OFFSET_MICROS_MAX = 100 * 366 * 86_400 * 1_000_000


@dataclass(frozen=True, slots=True)
class PaymentClock:
    """The clock that a payment's deadlines go by."""

    advances: tuple[ClockOffset, ...] = ()

    def now(self, real: Micros) -> Micros:
        """What it shows now, where the wall clock shows `real`; no less than before, whoever's clock is behind."""
        return Micros(real + self.advances[-1].offset_micros) if self.advances else real

    def shown_at(self, real: Micros) -> Micros:
        """What it showed, or would have, at a moment of the wall clock; later where older advances are forgotten."""
        for advance in reversed(self.advances):
            if advance.at <= real:
                return Micros(real + advance.offset_micros)
        return real

    def remembers(self, real: Micros) -> bool:
        """Whether it still knows what it showed at a moment; else `shown_at` says more with each advance."""
        is_cut = len(self.advances) > 1 and self.advances[0].at == _FORGOTTEN
        return not is_cut or real >= self.advances[1].at


WALL = PaymentClock()
"""The clock of payments in live mode: the wall clock."""


class ShardClocks:
    """The test clocks of the shards that a run of a flow holds.

    Where the test clock is not `allowed`, advances are ignored with a warning, those on record too.
    """

    def __init__(self, store: StateStore, *, allowed: bool) -> None:
        self._store = store
        self._allowed = allowed
        self._clocks: dict[int, PaymentClock] = {}

    def take(self, advance: ClockOffset, shard: int) -> bool:
        """An advance has come; whether time has moved. Changes the store, so it is called within an epoch."""
        if not self._allowed:
            log.warning("the test clock was advanced by %r, and is off here: ignored", advance.actor_id)
            return False
        known = self.of(shard, livemode=False).advances
        if not (known[-1].offset_micros if known else 0) < advance.offset_micros <= OFFSET_MICROS_MAX:
            return False
        # Whoever advanced it may have had a clock that was behind: what came later counts from later on.
        at = Micros(max(advance.at, known[-1].at)) if known else advance.at
        advances = (*known, replace(advance, at=at))
        if len(advances) > _ADVANCES_KEPT:
            advances = advances[-_ADVANCES_KEPT:]
            advances = (replace(advances[0], at=_FORGOTTEN), *advances[1:])
        self._clocks[shard] = PaymentClock(advances)
        self._store.put(_key(shard), partition=shard, value=encode(ShardClock(advances=advances)))
        log.warning(
            "shard %d: the test clock is %.0f s ahead, by %r", shard, advance.offset_micros / 1e6, advance.actor_id
        )
        return True

    def of(self, shard: int, *, livemode: bool) -> PaymentClock:
        """The clock of a payment of this shard."""
        if livemode or not self._allowed:
            return WALL
        clock = self._clocks.get(shard)
        if clock is None:
            known = self._store.load(_key(shard), ShardClock, partition=shard)
            clock = self._clocks[shard] = WALL if known is None else PaymentClock(known.advances)
        return clock

    def now_of(self, real: Micros) -> NowOf:
        """This moment by each clock, where the wall clock shows `real`."""
        return lambda shard: real if shard is None else self.of(shard, livemode=False).now(real)


def is_clock_key(key: str) -> bool:
    """Whether a key of a flow's store is that of a test clock. (That of a capture has a colon, after its processor.)"""
    return key.startswith(_PREFIX) and ":" not in key


def _key(shard: int) -> str:
    """No PaymentIntent and no capture has such a key."""
    return f"{_PREFIX}{shard}"
