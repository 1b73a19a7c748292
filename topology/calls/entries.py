"""The processor calls of one PaymentIntent: decides what an event, a turn, an answer does to its in-flight entries.

The one rule: a call leaves only after its entry has been committed as *in flight*, so a call is never made here but
handed to the side as an effect that follows the commit. An entry that is *waiting* was never called. Driven by
`topology.processing` with the state as it lies in the store; writes `payments.processor-results`.

    event ──▶ waiting ──turn──▶ in flight ──answer──▶ result, and the entry ends
       └──────(a slot is free)──▶ ▲   │
                 waiting ◀── not sent, of a capture or void that was never called
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from msgspec import Struct
from msgspec.structs import replace

from schemas.codec import encode
from schemas.identifiers import PaymentIntentId, TransactionId
from schemas.payment import PaymentEvent
from schemas.processing import InFlight, InFlightCall, Outcome
from schemas.times import Micros
from schemas.topics import PROCESSOR_RESULTS
from topology.calls.engine import Order
from topology.calls.in_flight import (
    call_asked_for,
    is_expired,
    is_patient,
    may_have_been_called,
    may_repeat,
    result_of,
)
from topology.calls.slots import Place, Slots, Waiter
from topology.domain import EventType
from topology.kafka import AfterCommit, Output, Produce
from topology.processors.port import Answer, Capabilities, Cause

__all__ = ["Answered", "Desk", "Entries", "Turn", "TurnedAway"]


class Turn(Struct, frozen=True):
    """The entry's turn has come, and it holds a slot. `restored`: it was found in flight in a restore."""

    processor: str
    transaction_id: TransactionId
    restored: bool = False


class TurnedAway(Struct, frozen=True):
    """The entry cannot be called now and shall not wait: it was found in flight in a restore, or is not patient."""

    transaction_id: TransactionId
    cause: Cause


class Answered(Struct, frozen=True):
    """A call that this process made has ended, and holds no slot any more."""

    transaction_id: TransactionId
    answer: Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What is the same for all intents: who may call, what the processors promise, how late is too late.

    `prepare` says what a call of that shard has to have on record before it leaves, at this moment.
    """

    slots: Slots
    prepare: Callable[[InFlightCall, int, Micros], Mapping[str, str]]
    capabilities: Mapping[str, Capabilities]
    boot_seconds: Callable[[], float]
    send_before_seconds: float
    authorization_age_seconds_max: float


class Entries:
    """The entries of one PaymentIntent while a batch of its inputs is decided."""

    def __init__(
        self, key: PaymentIntentId, partition: int, stored: InFlight | None, *, desk: Desk, now: Micros
    ) -> None:
        self.outputs: list[Output] = []
        self._key = key
        self._partition = partition
        self._calls = {call.transaction_id: call for call in stored.calls} if stored else {}
        self._sequence = stored.sequence if stored else 0
        self._desk = desk
        self._slots = desk.slots
        self._now = now

    def in_flight(self) -> InFlight | None:
        """The record to keep; None when there is nothing to remember."""
        if not self._calls:
            return None
        calls = tuple(self._calls.values())
        return InFlight(payment_intent_id=self._key, sequence=self._sequence, calls=calls)

    def event(self, event: PaymentEvent) -> None:
        """Something happened to the payment: it may ask for a call, or end the need for one."""
        if event.sequence <= self._sequence:
            return
        self._sequence = event.sequence
        if event.type == EventType.transaction_completed and event.transaction is not None:
            self._drop_if_waiting(event.transaction.id)
        call = call_asked_for(event)
        # A repeat of what waits or is under way already asks for nothing new.
        if call is not None and call.transaction_id not in self._calls:
            self._admit(call)

    def turn(self, turn: Turn) -> None:
        """A slot is the entry's: call, unless it is too late by now."""
        call = self._calls.get(turn.transaction_id)
        if call is None or (call.in_flight and not turn.restored):
            # Closed while it waited. (In flight from this life it cannot be; then the slot is not this turn's.)
            if call is None:
                self._slots.release(turn.processor, turn.transaction_id, None)
            return
        call = replace(call, restored=call.restored or call.in_flight)
        cause = self._why_not(call)
        if cause is None:
            self._announce(call)
        else:
            self._slots.release(turn.processor, turn.transaction_id, None)
            self._end_without_call(call, cause)

    def turned_away(self, away: TurnedAway) -> None:
        """The entry ends without a call: not sent, or unknown where it may have been called before."""
        call = self._calls.get(away.transaction_id)
        if call is not None:
            self._end_without_call(replace(call, restored=call.restored or call.in_flight), away.cause)

    def answered(self, answered: Answered) -> None:
        """A call ended: its result, or back to waiting where it provably never left and must not be lost."""
        answer = answered.answer
        call = self._calls.get(answered.transaction_id)
        if call is None:
            return
        if answer.outcome is not Outcome.not_sent:
            self._end(call, answer)
        elif answer.code == Cause.stopping:
            # A restored entry stays in flight: what its first call did is as unknown as before.
            if not call.restored:
                self._wait(call)
        elif is_patient(call):
            self._wait(call)
            self._slots.retry(call.processor, self._waiter(call))
        else:
            self._end(call, answer)

    def _admit(self, call: InFlightCall) -> None:
        cause = self._why_not(call)
        if cause is not None:
            self._end_without_call(call, cause)
            return
        place = self._slots.admit(call.processor, self._waiter(call))
        if place is Place.slot:
            self._announce(call)
        elif place is Place.queue:
            self._calls[call.transaction_id] = call
        else:
            self._end_without_call(call, place)

    def _why_not(self, call: InFlightCall) -> Cause | None:
        """Why a call cannot be made any more."""
        if is_expired(call, now=self._now, age_seconds_max=self._desk.authorization_age_seconds_max):
            return Cause.expired_before_send
        if may_have_been_called(call):
            capabilities = self._desk.capabilities.get(call.processor)
            # None: it cannot be called at all, for it is not configured, or has not said what it promises.
            if capabilities is not None and not may_repeat(call, capabilities, now=self._now):
                return Cause.deduplication_ended
        return None

    def _announce(self, call: InFlightCall) -> None:
        """In flight from here on; the call follows the commit, if that comes soon enough."""
        prepared = self._desk.prepare(call, self._partition, self._now)
        announced = replace(
            call,
            in_flight=True,
            first_sent_at=call.first_sent_at or self._now,
            processor_data={**call.processor_data, **prepared} if prepared else call.processor_data,
        )
        self._calls[call.transaction_id] = announced
        order = Order(
            payment_intent_id=self._key,
            partition=self._partition,
            asked=announced,
            kind=call.call,
            deadline_seconds=self._slots.limits(call.processor).deadline_seconds,
            send_before=self._desk.boot_seconds() + self._desk.send_before_seconds,
        )
        self.outputs.append(AfterCommit(order))

    def _wait(self, call: InFlightCall) -> None:
        """Back to waiting: this process announced it and never called."""
        first_sent_at = call.first_sent_at if call.repeat else None
        self._calls[call.transaction_id] = replace(call, in_flight=False, first_sent_at=first_sent_at)

    def _waiter(self, call: InFlightCall) -> Waiter:
        return Waiter(self._key, self._partition, call.transaction_id, is_patient(call))

    def _drop_if_waiting(self, transaction_id: TransactionId) -> None:
        call = self._calls.get(transaction_id)
        if call is not None and not call.in_flight:
            del self._calls[transaction_id]
            self._slots.unpark(call.processor, transaction_id)

    def _end_without_call(self, call: InFlightCall, cause: Cause) -> None:
        self._end(call, Answer(outcome=Outcome.not_sent, code=cause))

    def _end(self, call: InFlightCall, answer: Answer) -> None:
        """The result and the end of the entry, in one transaction."""
        self._calls.pop(call.transaction_id, None)
        result = result_of(self._key, call, answer, at=self._now)
        self.outputs.append(Produce(PROCESSOR_RESULTS.name, self._partition, self._key, encode(result)))
