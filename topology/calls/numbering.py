"""Numbers for calls whose processor knows them by number (ISO 8583): given once each, whoever owns the shard.

A number commits with the in-flight entry that carries it, and so does the record of how far the shard has come, in the
flow's changelog under a key that no PaymentIntent has. What was taken in an epoch that never committed was carried by
no call, and is given again. Driven by `topology.calls.side` on the dataflow's thread.

The time in a number never goes back, so one jump of a clock into the future stays in all numbers until the true time
has come there. No number is given twice for that, but a processor may take offence: the metrics and the log tell of it.
"""

from __future__ import annotations

import logging

from schemas.processing import Numbering
from schemas.times import Micros, later
from topology.calls.metrics import NUMBERS_AHEAD_SECONDS
from topology.kafka import StateStore
from topology.processors.port import Lease, Number

__all__ = ["ShardNumbers", "is_numbering"]

_PREFIX = "numbers-"
_SECOND_MICROS = 1_000_000
_AHEAD_SECONDS_MAX = 300.0
"""A clock may be set back by this much, and a busy shard run ahead by a few seconds, before anybody is told."""

_logger = logging.getLogger(__name__)


def is_numbering(key: str) -> bool:
    """Whether a key of the changelog is that of a shard's numbering, and of no PaymentIntent."""
    return key.startswith(_PREFIX)


class ShardNumbers:
    """The numberings of all shards of one run of the flow. `shards` is the number of partitions, for life."""

    def __init__(self, store: StateStore, *, shards: int) -> None:
        self._store = store
        self._shards = shards
        self._told_of: set[int] = set()
        NUMBERS_AHEAD_SECONDS.clear()

    def check(self, owned: tuple[int, ...]) -> None:
        """Read the records of these shards once; raises UnreadableState, where a step of the flow could not."""
        for shard in owned:
            self._store.load(_key(shard), Numbering, partition=shard)

    def lease(self, shard: int, now: Micros) -> Lease:
        """The numbers of a shard, at this moment."""
        return _ShardLease(self, self._store, shard, self._shards, now)

    def note(self, shard: int, ahead_seconds: float) -> None:
        """By how much the number just given is ahead of the clock; told once, as long as it lasts."""
        NUMBERS_AHEAD_SECONDS.labels(str(shard)).set(max(0.0, ahead_seconds))
        if ahead_seconds <= _AHEAD_SECONDS_MAX:
            self._told_of.discard(shard)
        elif shard not in self._told_of:
            self._told_of.add(shard)
            _logger.error(
                "the calls of shard %d are numbered %.0f s ahead of the clock, which was ahead once or is behind now",
                shard,
                ahead_seconds,
            )


class _ShardLease:
    """`topology.processors.port.Lease`."""

    __slots__ = ("_now", "_numbers", "_store", "shard", "shards")

    def __init__(self, numbers: ShardNumbers, store: StateStore, shard: int, shards: int, now: Micros) -> None:
        self._numbers = numbers
        self._store = store
        self._now = now
        self.shard = shard
        self.shards = shards

    def take(self, *, cycle: int) -> Number:
        """The next number of the shard."""
        key = _key(self.shard)
        known = self._store.load(key, Numbering, partition=self.shard)
        taken = _next(known, self._now, cycle=cycle)
        self._store.save(key, Numbering(given=taken.ordinal + 1, last_at=taken.at), partition=self.shard)
        self._numbers.note(self.shard, (taken.at - self._now) / _SECOND_MICROS)
        return taken


def _next(known: Numbering | None, now: Micros, *, cycle: int) -> Number:
    """The number after what is known. Within one second lie the ordinals between two multiples of `cycle`."""
    second = Micros(now - now % _SECOND_MICROS)
    if known is None:
        return Number(0, second)
    if second > known.last_at:
        return Number(known.given, second)
    # The clock stands in the second of the number before, or was set back.
    begins_again = known.given % cycle == 0
    return Number(known.given, later(known.last_at, seconds=1) if begins_again else known.last_at)


def _key(shard: int) -> str:
    return f"{_PREFIX}{shard}"
