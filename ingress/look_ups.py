"""Look-ups in the read model before a create, and for what the fold has forgotten (DESIGN.md section 5).

Concurrent look-ups share a query. What is learnt is a PaymentIntent or its absence, together with the watermark of its
partition: all events up to that record time are in the read model.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import NamedTuple

from ingress.patience import Patience
from ingress.ports import Clock, EventLog, ReadModel
from ingress.problems import Problem
from ingress.rounds import Rounds
from schemas.identifiers import PaymentIntentId
from schemas.partitioner import partition
from schemas.payment import PaymentIntent
from schemas.times import Micros
from sinks.postgres.errors import ReadModelUnavailable

__all__ = ["Found", "LookUps"]

_LOOK_UP_TIMEOUT_SECONDS = 2.0
_WATERMARK_TIMEOUT_SECONDS = 10.0
_POLL_SECONDS = 0.05


class Found(NamedTuple):
    """A PaymentIntent, or its absence as of the watermark."""

    intent: PaymentIntent | None
    watermark: Micros


class LookUps:
    """Looks PaymentIntents up, many with one query."""

    def __init__(self, *, read_model: ReadModel, events: EventLog, clock: Clock, patience: Patience) -> None:
        self._read_model = read_model
        self._events = events
        self._clock = clock
        self._patience = patience
        self._rounds: Rounds[PaymentIntentId, Found] = Rounds(self._ask)

    async def find(self, payment_intent_id: PaymentIntentId) -> Found:
        """What the read model knows now; raises the 503 Problem where it cannot be asked."""
        if self._events.partitions is None:
            raise Problem.unavailable("not_ready", "The log has not been reached yet.")
        try:
            async with asyncio.timeout(_LOOK_UP_TIMEOUT_SECONDS):
                return await self._rounds.get(payment_intent_id)
        except (ReadModelUnavailable, TimeoutError):
            raise Problem.read_model_behind() from None

    async def find_as_of(self, payment_intent_id: PaymentIntentId, watermark: Micros) -> PaymentIntent | None:
        """The PaymentIntent once the read model has come to the watermark; raises the 503 Problem after 10 s."""
        try:
            async with self._patience.within(_WATERMARK_TIMEOUT_SECONDS):
                while True:
                    found = await self.find(payment_intent_id)
                    if found.watermark >= watermark:
                        return found.intent
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise Problem.read_model_behind() from None

    async def _ask(self, ids: Collection[PaymentIntentId]) -> Mapping[PaymentIntentId, Found]:
        partitions = self._events.partitions
        assert partitions is not None, "a look-up is put only once the partitions are known"
        answer = await self._read_model.look_up(list(ids), at=self._clock.now())
        # A partition without a watermark was never read.
        watermarks = {one: answer.watermarks.get(partition(one, partitions), Micros(0)) for one in ids}
        return {one: Found(answer.intents.get(one), watermarks[one]) for one in ids}
