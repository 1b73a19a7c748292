"""Reads that are never older than what anybody was told: the read index of DESIGN.md section 3.

A PaymentIntent to which nothing more can happen is answered at once. For any other, a final one included where it may
still get a compensating void, and for an intent that is not there, the end of its partition of events is taken after
the read has come in (one round trip for all reads that wait at that moment), and the answer waits until the read model
has come that far. Progress and row come from one statement, so a row read with enough progress is the state as of that
end or later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from ingress.metrics import Metrics
from ingress.patience import Patience
from ingress.ports import EventLog, Reading, ReadModel
from ingress.problems import Problem
from ingress.rounds import Rounds
from schemas.identifiers import PaymentIntentId
from schemas.partitioner import partition
from schemas.payment import PaymentIntent, PaymentIntentStatus, TransactionStatus, TransactionType
from sinks.postgres.errors import ReadModelUnavailable

__all__ = ["READ_TIMEOUT_SECONDS", "ReadIndex", "is_settled"]

READ_TIMEOUT_SECONDS = 10.0
_POLL_SECONDS_MIN = 0.005
_POLL_SECONDS_MAX = 0.05
_RETRY_SECONDS = 0.1
_PAYING = frozenset({TransactionType.authorization, TransactionType.capture})


@dataclass(slots=True)
class _Progress:
    """How far the read model has come in one partition, and who waits for it to come further."""

    came_to: int = 0
    waiters: list[tuple[int, PaymentIntentId, asyncio.Future[None]]] = field(default_factory=list)
    polling: asyncio.Task[None] | None = None


class ReadIndex:
    """Reads PaymentIntents from the read model, none older than the log was when the read came in."""

    def __init__(self, *, read_model: ReadModel, events: EventLog, metrics: Metrics, patience: Patience) -> None:
        self._read_model = read_model
        self._events = events
        self._metrics = metrics
        self._patience = patience
        self._ends: Rounds[int, int | None] = Rounds(self._ask_ends)
        # A silent broker is waited for: in rounds of its own, so that nobody else's read lasts as long.
        self._late_ends: Rounds[int, int | None] = Rounds(self._ask_ends)
        self._silent: set[int] = set()
        self._progress: dict[int, _Progress] = {}

    async def current(
        self, payment_intent_id: PaymentIntentId, *, timeout_seconds: float = READ_TIMEOUT_SECONDS
    ) -> PaymentIntent | None:
        """The PaymentIntent as it stands, or None where there is none; raises the 503 Problem past the deadline."""
        partitions = self._events.partitions
        if partitions is None:
            raise Problem.unavailable("not_ready", "The log has not been reached yet.")
        try:
            async with self._patience.within(timeout_seconds):
                return await self._current(payment_intent_id, partition(payment_intent_id, partitions))
        except TimeoutError:
            self._metrics.reads_behind.inc()
            raise Problem.read_model_behind() from None

    async def _current(self, payment_intent_id: PaymentIntentId, number: int) -> PaymentIntent | None:
        reading = await self._read(payment_intent_id, number)
        if reading.intent is not None and is_settled(reading.intent):
            return reading.intent
        end = await self._end(number)
        while reading.next_offset < end:
            await self._wait_for(payment_intent_id, number, end)
            reading = await self._read(payment_intent_id, number)
        return reading.intent

    async def _read(self, payment_intent_id: PaymentIntentId, number: int) -> Reading:
        """Ask the read model, again and again where it cannot be reached, until the caller's deadline."""
        while True:
            try:
                reading = await self._read_model.read(payment_intent_id, partition=number)
            except ReadModelUnavailable:
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                self._advance(number, reading.next_offset)
                return reading

    async def _end(self, number: int) -> int:
        while True:
            rounds = self._late_ends if number in self._silent else self._ends
            end = await rounds.get(number)
            if end is not None:
                return end
            await asyncio.sleep(_RETRY_SECONDS)

    async def _ask_ends(self, numbers: Collection[int]) -> Mapping[int, int | None]:
        ends = await self._events.ends(numbers)
        for number, end in ends.items():
            if end is None:
                self._silent.add(number)
            else:
                self._silent.discard(number)
        return ends

    async def _wait_for(self, payment_intent_id: PaymentIntentId, number: int, end: int) -> None:
        """Wait until the read model has come to the end; all who wait on a partition share one poll."""
        progress = self._progress.setdefault(number, _Progress())
        if progress.came_to >= end:
            # A replica may be behind what another one has shown.
            await asyncio.sleep(_POLL_SECONDS_MIN)
            return
        waiter = (end, payment_intent_id, asyncio.get_running_loop().create_future())
        progress.waiters.append(waiter)
        if progress.polling is None:
            progress.polling = asyncio.create_task(self._poll(number, progress), name=f"read-index-{number}")
        try:
            await waiter[2]
        finally:
            if waiter in progress.waiters:
                progress.waiters.remove(waiter)

    async def _poll(self, number: int, progress: _Progress) -> None:
        delay = _POLL_SECONDS_MIN
        try:
            while progress.waiters:
                await asyncio.sleep(delay)
                delay = min(delay * 1.5, _POLL_SECONDS_MAX)
                if progress.waiters:
                    await self._read(progress.waiters[0][1], number)
        except Exception as error:  # noqa: BLE001 - it is raised again, to each who waits
            for _, _, future in progress.waiters:
                if not future.done():
                    future.set_exception(error)
        finally:
            progress.polling = None

    def _advance(self, number: int, next_offset: int) -> None:
        progress = self._progress.setdefault(number, _Progress())
        progress.came_to = max(progress.came_to, next_offset)
        for waiter in [waiter for waiter in progress.waiters if waiter[0] <= progress.came_to]:
            progress.waiters.remove(waiter)
            if not waiter[2].done():
                waiter[2].set_result(None)


def is_settled(intent: PaymentIntent) -> bool:
    """Whether no row can be newer: paid without a detour, or canceled before anything was asked of a processor.

    What was voided, declined or has expired may still be approved late; that opens a compensating void, which shows.
    Where every Transaction has succeeded, only a processor that takes its own word back adds to `sequence`.
    """
    if intent.status is PaymentIntentStatus.canceled:
        return not intent.transactions
    return intent.status is PaymentIntentStatus.succeeded and all(
        one.type in _PAYING and one.status is TransactionStatus.succeeded
        for one in intent.transactions
        # What the processor's file says is shown beside the payment, and changes nothing in it.
        if one.type is not TransactionType.settlement
    )
