"""Which call may leave when: one bounded number of slots, one queue and one circuit for each processor.

Used by the processing flow's logic and side, both on the dataflow's thread, so there is nothing to lock. It lives in
memory only: what holds a slot or waits is on record in the in-flight entries, from which a restore fills it again.

Whoever waits is *patient* or not. A capture or a void that was never sent is patient: it waits as long as it takes.
An authorization is not (the customer waits, and another processor may take it), nor is a call that may have been
executed before (reconciliation must hear that it is in doubt): when the circuit is open they are turned away. The
circuit of a processor that has not said what it promises counts as open.

An entry that no processor's lane may have, because its processor is not configured, or because it depends on what that
promises, is *parked*: counted, and nothing else.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from enum import Enum
from itertools import count
from typing import NamedTuple

from schemas.identifiers import PaymentIntentId, TransactionId
from schemas.processing import Outcome
from topology.calls.circuit import Backoff, Circuit
from topology.calls.metrics import CIRCUIT_OPEN, IN_FLIGHT, WAITING
from topology.processors.port import Answer, Cause

__all__ = ["Place", "ProcessorLimits", "Slots", "Verdict", "Waiter"]


_CIRCUIT = Backoff(seconds_min=1.0, seconds_max=30.0)
_RETRY = Backoff(seconds_min=0.5, seconds_max=60.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorLimits:
    """How hard one processor may be called.

    `in_flight_max` calls at once; `waiting_max` authorizations wait for a slot, more are not sent at once. After
    `circuit_failures_max` calls in a row without an answer the circuit opens, for `circuit` seconds; a capture or void
    that could not be sent is tried again after `retry` seconds.
    """

    in_flight_max: int = 2_000
    waiting_max: int = 10_000
    deadline_seconds: float = 10.0
    circuit_failures_max: int = 50
    circuit: Backoff = _CIRCUIT
    retry: Backoff = _RETRY


class Place(Enum):
    """Where a call that was admitted is now."""

    slot = "slot"
    queue = "queue"


class Waiter(NamedTuple):
    """An entry that waits, by what the flow needs to find it again. `restored`: it was in flight in an earlier life."""

    payment_intent_id: PaymentIntentId
    partition: int
    transaction_id: TransactionId
    patient: bool
    restored: bool = False


class Verdict(NamedTuple):
    """What became of a waiter: its turn has come and it holds a slot (no cause), or it is turned away."""

    processor: str
    waiter: Waiter
    cause: Cause | None


class Slots:
    """The slots of all processors. `declared` grows by those that say what they promise."""

    def __init__(
        self,
        limits: dict[str, ProcessorLimits],
        *,
        declared: Container[str],
        boot_seconds: Callable[[], float],
        chance: random.Random | None = None,
    ) -> None:
        self._chance = chance or random.SystemRandom()
        self._seconds = boot_seconds
        self._lanes = {name: _Lane(name, each, declared, self._chance) for name, each in limits.items()}
        self._parked: defaultdict[str, set[TransactionId]] = defaultdict(set)
        self._stopping = False

    @property
    def taken(self) -> int:
        """How many calls hold a slot."""
        return sum(len(lane.holders) for lane in self._lanes.values())

    @property
    def patient(self) -> int:
        """How many wait for as long as it takes, of those that can have a turn in this process."""
        return sum(lane.waiting_patiently for lane in self._lanes.values())

    def stop(self) -> None:
        """Nothing gets a slot any more."""
        self._stopping = True

    def limits(self, processor: str) -> ProcessorLimits:
        """The limits of a processor; those of one that is not configured matter to nobody."""
        lane = self._lanes.get(processor)
        return ProcessorLimits() if lane is None else lane.limits

    def admit(self, processor: str, waiter: Waiter) -> Place | Cause:
        """A new call: it takes a slot, or waits, or (if not patient) may do neither, and why."""
        lane = self._lanes.get(processor)
        if lane is None:
            if not waiter.patient:
                return Cause.processor_not_configured
            self.park(processor, waiter.transaction_id)
            return Place.queue
        if self._stopping:
            return Place.queue
        now = self._seconds()
        if lane.nobody_waits and lane.free and lane.is_callable(now):
            lane.take(waiter.transaction_id)
            return Place.slot
        if not waiter.patient:
            if not lane.is_callable(now):
                return Cause.circuit_open
            if len(lane.impatient) >= lane.limits.waiting_max:
                return Cause.too_many_waiting
        lane.queue(waiter)
        return Place.queue

    def restore(self, processor: str, waiter: Waiter) -> None:
        """An entry of an earlier life queues, whatever the number of those that wait."""
        lane = self._lanes.get(processor)
        if lane is None:
            self.park(processor, waiter.transaction_id)
        else:
            lane.queue(waiter)

    def park(self, processor: str, transaction_id: TransactionId) -> None:
        """An entry waits outside of any lane."""
        self._parked[processor].add(transaction_id)

    def unpark(self, processor: str, transaction_id: TransactionId) -> None:
        """It does so no longer, if it did."""
        self._parked[processor].discard(transaction_id)

    def retry(self, processor: str, waiter: Waiter) -> None:
        """A capture or void that was not sent: it waits again, longer each time."""
        lane = self._lanes.get(processor)
        if lane is not None:
            lane.retry(waiter, self._seconds())

    def verdicts(self, limit: int) -> list[Verdict]:
        """Whose turn has come, and who is turned away. Every processor in turn, so that none takes all of the limit."""
        if self._stopping:
            return []
        now = self._seconds()
        verdicts: list[Verdict] = []
        lanes = list(self._lanes.values())
        for lane in lanes:
            lane.wake(now)
            verdicts.extend(lane.verdicts(now, max(1, limit // len(lanes))))
        return verdicts

    def release(self, processor: str, transaction_id: TransactionId, answer: Answer | None) -> None:
        """A call has ended with this answer, or its slot was not used (None)."""
        lane = self._lanes.get(processor)
        if lane is not None:
            lane.release(transaction_id, answer, self._seconds())

    def report(self) -> None:
        """Set the gauges."""
        for name, lane in self._lanes.items():
            IN_FLIGHT.labels(name).set(len(lane.holders))
            WAITING.labels(name).set(lane.waiting + len(self._parked[name]))
            CIRCUIT_OPEN.labels(name).set(lane.is_held_back)
        for name in self._parked.keys() - self._lanes.keys():
            WAITING.labels(name).set(len(self._parked[name]))


class _Lane:
    """One processor."""

    def __init__(self, name: str, limits: ProcessorLimits, declared: Container[str], chance: random.Random) -> None:
        self.name = name
        self.limits = limits
        self._declared = declared
        self.holders: set[TransactionId] = set()
        self.patient: deque[Waiter] = deque()
        self.impatient: deque[Waiter] = deque()
        self.circuit = Circuit(failures_max=limits.circuit_failures_max, backoff=limits.circuit, chance=chance)
        self._resting: list[tuple[float, int, Waiter]] = []
        self._attempts: Counter[TransactionId] = Counter()
        self._order = count()
        self._chance = chance

    @property
    def free(self) -> bool:
        return len(self.holders) < self.limits.in_flight_max

    def is_callable(self, now: float) -> bool:
        """Whether a call may leave now."""
        return self.name in self._declared and self.circuit.allows(now)

    @property
    def is_held_back(self) -> bool:
        return self.name not in self._declared or self.circuit.is_open

    @property
    def nobody_waits(self) -> bool:
        return not self.patient and not self.impatient

    @property
    def waiting_patiently(self) -> int:
        return len(self.patient) + len(self._resting)

    @property
    def waiting(self) -> int:
        return self.waiting_patiently + len(self.impatient)

    def take(self, transaction_id: TransactionId) -> None:
        self.holders.add(transaction_id)
        self.circuit.started(transaction_id)

    def queue(self, waiter: Waiter) -> None:
        (self.patient if waiter.patient else self.impatient).append(waiter)

    def retry(self, waiter: Waiter, now: float) -> None:
        wait = self.limits.retry.seconds(self._attempts[waiter.transaction_id], self._chance)
        self._attempts[waiter.transaction_id] += 1
        heapq.heappush(self._resting, (now + wait, next(self._order), waiter))

    def wake(self, now: float) -> None:
        """Those whose rest is over queue up again."""
        while self._resting and self._resting[0][0] <= now:
            self.queue(heapq.heappop(self._resting)[2])

    def verdicts(self, now: float, limit: int) -> Iterable[Verdict]:
        """Captures and voids first: they end payments that others wait for."""
        for _ in range(limit):
            if self.nobody_waits:
                return
            if not self.is_callable(now):
                yield from self._turn_away(limit)
                return
            if not self.free:
                return
            waiter = (self.patient or self.impatient).popleft()
            self.take(waiter.transaction_id)
            yield Verdict(self.name, waiter, None)

    def _turn_away(self, limit: int) -> Iterable[Verdict]:
        for _ in range(min(limit, len(self.impatient))):
            yield Verdict(self.name, self.impatient.popleft(), Cause.circuit_open)

    def release(self, transaction_id: TransactionId, answer: Answer | None, now: float) -> None:
        self.holders.discard(transaction_id)
        held_back = answer is None or answer.outcome is Outcome.not_sent
        if answer is not None and answer.shows_illness:
            self.circuit.failed(transaction_id, now)
        elif held_back:
            self.circuit.neither(transaction_id)
        else:
            self.circuit.answered()
        if answer is None or not held_back:
            del self._attempts[transaction_id]
