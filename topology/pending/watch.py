"""What is awaited of one PaymentIntent: decides what an event, a moment or a look-up's answer does to it.

Writes `payments.timers` (a deadline, or a step of the ladder without a look-up), `payments.processor-results` (what a
look-up said) and `payments.captures` (what settlement has to know). A look-up changes nothing at the processor, so one
that a crash cut short is simply made again; it follows the commit all the same. Driven by `topology.reconciliation`,
with the state as it lies in the store.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from schemas.codec import encode
from schemas.identifiers import PaymentIntentId, TransactionId
from schemas.partitioner import partition as partition_of
from schemas.payment import PaymentEvent
from schemas.processing import (
    CallKind,
    InFlightCall,
    Outcome,
    Pending,
    ResultSource,
    Timer,
    TimerFired,
)
from schemas.times import Micros, later
from schemas.topics import CAPTURES, PROCESSOR_RESULTS, TIMERS
from topology.calls.engine import Order
from topology.kafka import AfterCommit, Output, Produce
from topology.pending.awaited import DOUBT_ALERT, LADDER, UNANSWERED_ALERT, Awaited, CapabilitiesOf, awaited
from topology.pending.captures import capture_in
from topology.pending.clocked import shown
from topology.pending.metrics import DOUBT_ALERTS, TIMERS_FIRED
from topology.pending.times import BEFORE_LADDER, NEVER, ReconciliationTimes
from topology.processors.port import Answer
from topology.settling.references import key_of
from topology.test_clock import PaymentClock

__all__ = ["Due", "LookedUp", "Watch", "in_doubt_since", "is_overdue", "lookup_order", "next_due"]

_ALERTS = (DOUBT_ALERT, UNANSWERED_ALERT)

_Name = tuple[str, TransactionId | None]


@dataclass(frozen=True, slots=True)
class Due:
    """A moment of this intent has come."""


@dataclass(frozen=True, slots=True)
class LookedUp:
    """A look-up has ended."""

    transaction_id: TransactionId
    answer: Answer


class Watch:
    """What is awaited of one PaymentIntent, while a batch of its inputs is decided.

    `now` is the wall clock's, `clock` the one that the payment's deadlines go by.
    """

    def __init__(
        self,
        key: PaymentIntentId,
        partition: int,
        stored: Pending | None,
        *,
        partitions: int,
        times: ReconciliationTimes,
        capabilities: CapabilitiesOf,
        now: Micros,
        livemode: bool,
        clock: PaymentClock,
    ) -> None:
        self.outputs: list[Output] = []
        self._key = key
        self._partition = partition
        self._partitions = partitions
        self._timers: dict[_Name, Timer] = {_name(timer): timer for timer in stored.timers} if stored else {}
        self._lookups = {lookup.transaction_id: lookup for lookup in stored.lookups} if stored else {}
        self._sequence = stored.sequence if stored else 0
        self._times = times
        self._capabilities = capabilities
        self._livemode = livemode
        self._clock = clock
        self._real_now = now
        # All that is kept here, and compared with, is of the payment's clock; what is told to others is of this one.
        self._now = clock.now(now)

    def pending(self) -> Pending | None:
        """The record to keep; None when nothing is awaited."""
        if not self._timers:
            return None
        return Pending(
            payment_intent_id=self._key,
            sequence=self._sequence,
            timers=tuple(self._timers.values()),
            lookups=tuple(self._lookups.values()),
            livemode=self._livemode,
        )

    def event(self, event: PaymentEvent) -> None:
        """The payment stands otherwise now: drop what has ended, set what is new, leave alone what runs."""
        if event.sequence <= self._sequence:
            return
        self._sequence = event.sequence
        if (capture := capture_in(event)) is not None:
            key = key_of(capture)
            partition = partition_of(key, self._partitions)
            self.outputs.append(Produce(CAPTURES.name, partition, key, encode(capture)))
        timers, lookups, self._timers, self._lookups = self._timers, self._lookups, {}, {}
        for wanted in awaited(shown(event, self._clock), times=self._times, capabilities=self._capabilities):
            name = _name(wanted.timer)
            running = timers.get(name)
            if running is not None and not wanted.restarts:
                self._timers[name] = running
                self._keep_lookup(wanted, lookups)
            elif not wanted.only_if_set:
                self._timers[name] = wanted.timer
                self._keep_lookup(wanted, lookups)
                if wanted.at_once:
                    self._first_step_now(wanted)

    def due(self) -> None:
        """Fire what has come due."""
        for timer in list(self._timers.values()):
            if self._is_due(timer):
                self._fire(timer)

    def looked_up(self, looked_up: LookedUp) -> None:
        """Write down what the look-up said, and take the next step if it came due meanwhile."""
        lookup = self._lookups.get(looked_up.transaction_id)
        if lookup is None or not lookup.in_flight:
            # Closed while it was asked; whatever the answer is, nobody waits for it.
            return
        self._lookups[lookup.transaction_id] = replace(lookup, in_flight=False)
        answer = looked_up.answer
        if answer.outcome is Outcome.not_sent:
            # One that could not be asked brought no answer, like one that was not answered.
            answer = replace(answer, outcome=Outcome.unknown)
        result = answer.result(self._key, lookup, kind=CallKind.lookup, source=ResultSource.lookup, at=self._real_now)
        self.outputs.append(Produce(PROCESSOR_RESULTS.name, self._partition, self._key, encode(result)))
        if result.outcome is Outcome.not_found and self._may_repeat(lookup):
            timer = self._timers[LADDER, lookup.transaction_id]
            # It has moved on already; the step that was looked up is the one before.
            self._write_timer(replace(timer, step=max(timer.step - 1, 0), due_at=self._now))
        self.due()

    def _keep_lookup(self, wanted: Awaited, before: dict[TransactionId, InFlightCall]) -> None:
        if wanted.lookup is not None:
            transaction_id = wanted.lookup.transaction_id
            self._lookups[transaction_id] = before.get(transaction_id, wanted.lookup)

    def _first_step_now(self, wanted: Awaited) -> None:
        if wanted.lookup is None:
            self._write_timer(wanted.timer)
            return
        lookup = self._lookups[wanted.lookup.transaction_id]
        earliest = self._now
        if lookup.first_sent_at is not None:
            # Anybody may come back from a challenge as often as they like; the processor is not asked as often.
            earliest = max(earliest, later(lookup.first_sent_at, seconds=self._times.returns_apart_seconds))
        if lookup.in_flight or earliest > self._now:
            # What is under way may find what is older than this return, so that is looked up too, before the ladder.
            self._timers[_name(wanted.timer)] = replace(wanted.timer, step=BEFORE_LADDER, due_at=earliest)
        else:
            self._look_up(lookup)

    def _is_due(self, timer: Timer) -> bool:
        if timer.due_at > self._now:
            return False
        lookup = _lookup_of(timer, self._lookups)
        return lookup is None or not lookup.in_flight

    def _fire(self, timer: Timer) -> None:
        name = _name(timer)
        lookup = _lookup_of(timer, self._lookups)
        if lookup is not None:
            self._look_up(lookup)
        else:
            self._write_timer(timer)
        if timer.name == LADDER:
            step = self._times.step_after(timer.step, since=timer.set_at, now=self._now)
            due_at = self._times.step_at(step, since=timer.set_at)
            self._timers[name] = replace(timer, step=step, due_at=due_at)
        else:
            # It stays, so that the next event does not set it anew, and ends with the state that it belongs to.
            self._timers[name] = replace(timer, due_at=NEVER)
        if timer.name in _ALERTS:
            DOUBT_ALERTS.inc()

    def _look_up(self, lookup: InFlightCall) -> None:
        asked = replace(lookup, in_flight=True, first_sent_at=self._now)
        self._lookups[lookup.transaction_id] = asked
        self.outputs.append(AfterCommit(lookup_order(self._key, self._partition, asked, self._times)))

    def _write_timer(self, timer: Timer) -> None:
        TIMERS_FIRED.labels(timer.name).inc()
        fired = TimerFired(
            payment_intent_id=self._key,
            transaction_id=timer.transaction_id,
            name=timer.name,
            step=timer.step,
            due_at=min(timer.due_at, self._now),
            # Events are written at this time: one that lies ahead would keep all that follow it there.
            at=self._real_now,
        )
        self.outputs.append(Produce(TIMERS.name, self._partition, self._key, encode(fired)))

    def _may_repeat(self, lookup: InFlightCall) -> bool:
        return lookup.call is CallKind.capture and CallKind.capture in self._capabilities(lookup.processor).deduplicates


def lookup_order(key: PaymentIntentId, partition: int, asked: InFlightCall, times: ReconciliationTimes) -> Order:
    """The call that a look-up under way stands for."""
    return Order(
        payment_intent_id=key,
        partition=partition,
        asked=asked,
        kind=CallKind.lookup,
        deadline_seconds=times.lookup_deadline_seconds,
    )


def next_due(pending: Pending) -> Micros | None:
    """When the next timer is due; one whose look-up is under way waits for its answer."""
    under_way = {lookup.transaction_id for lookup in pending.lookups if lookup.in_flight}
    dues = [t.due_at for t in pending.timers if not (t.name == LADDER and t.transaction_id in under_way)]
    first = min(dues, default=NEVER)
    return None if first >= NEVER else first


def in_doubt_since(pending: Pending) -> Micros | None:
    """Since when a Transaction of this payment has been in doubt; None where none is."""
    return min((timer.set_at for timer in pending.timers if timer.name == DOUBT_ALERT), default=None)


def is_overdue(pending: Pending) -> bool:
    """Whether a Transaction of this payment has been open beyond an alert."""
    return any(timer.name in _ALERTS and timer.due_at >= NEVER for timer in pending.timers)


def _name(timer: Timer) -> _Name:
    return timer.name, timer.transaction_id


def _lookup_of(timer: Timer, lookups: dict[TransactionId, InFlightCall]) -> InFlightCall | None:
    if timer.name != LADDER or timer.transaction_id is None:
        return None
    return lookups.get(timer.transaction_id)
