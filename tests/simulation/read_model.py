"""The read model as ingress sees it: behind the log by as much as chance will, and honest about how far it has come."""

from __future__ import annotations

from typing import NamedTuple

from schemas.identifiers import PaymentIntentId
from schemas.partitioner import partition
from schemas.payment import PaymentEvent, PaymentIntent
from schemas.times import Micros, later
from schemas.topics import EVENTS
from tests.simulation.log import SimulatedLog
from tests.simulation.process import SkewedClock

__all__ = ["READ_MODEL_SLACK_SECONDS", "Found", "ReadModel"]

READ_MODEL_SLACK_SECONDS = 12.0
"""Longer than any epoch is open."""


class Found(NamedTuple):
    """A PaymentIntent, or its absence as of the watermark: all events appended up to then had been read."""

    intent: PaymentIntent | None
    watermark: Micros


class ReadModel:
    """The latest state of each PaymentIntent whose events have been read."""

    def __init__(self, log: SimulatedLog, clock: SkewedClock) -> None:
        self._log = log
        self._clock = clock
        self._intents: dict[PaymentIntentId, PaymentIntent] = {}
        self._positions = [0] * log.partitions
        self._watermarks = [Micros(0)] * log.partitions

    def go_on(self, shard: int, count: int | None = None) -> None:
        """Read so many more events of a partition; None: all that there are."""
        events, start = self._log.entries(EVENTS, shard), self._positions[shard]
        end = len(events) if count is None else min(start + count, len(events))
        watermark = self._watermarks[shard]
        for entry in events[start:end]:
            assert isinstance(entry.value, PaymentEvent)
            known, intent = self._intents.get(entry.value.payment_intent.id), entry.value.payment_intent
            if known is None or known.sequence < intent.sequence:
                self._intents[intent.id] = intent
            watermark = max(watermark, later(entry.at, seconds=-0.001))
        if end == len(events):
            # What a transaction wrote that is still open may be older than now.
            watermark = max(watermark, later(self._clock.now(), seconds=-READ_MODEL_SLACK_SECONDS))
        self._positions[shard], self._watermarks[shard] = end, watermark

    def look_up(self, intent: PaymentIntentId, *, at: Micros) -> Found:
        """What it knows now; `at`: the clock of who asks, which no watermark is beyond."""
        watermark = self._watermarks[partition(intent, self._log.partitions)]
        return Found(self._intents.get(intent), min(watermark, at))

    def look_up_as_of(self, intent: PaymentIntentId, watermark: Micros) -> Found | None:
        """The same once it has come to this watermark; None where it cannot come as far now."""
        shard = partition(intent, self._log.partitions)
        if self._watermarks[shard] < watermark:
            self.go_on(shard)
        return None if self._watermarks[shard] < watermark else Found(self._intents.get(intent), watermark)
