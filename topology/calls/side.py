"""Joins the calls to the processing flow: what comes back goes into the flow, what has committed goes out as calls.

All methods are called by the dataflow's thread (`topology.kafka.Side`). After a restore every entry that was in flight
is in doubt: where the processor deduplicates that kind of call it queues for the same call under the same key, else it
is unknown; while the processor has not said which, the entry rests. On a clean stop nothing leaves any more: what never
left goes back to waiting, what has left is awaited. So it is when the group takes the shards away, but then all members
of the flow stand still: calls that the next owner repeats under the same key are not awaited.
"""

from __future__ import annotations

import random
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from schemas.identifiers import PaymentIntentId, TransactionId
from schemas.partitioner import partition as partition_of
from schemas.processing import InFlight, InFlightCall, Outcome
from schemas.times import Micros
from topology.calls.engine import CallEngine, Engine, FinishedCall, Order
from topology.calls.entries import Answered, Desk, Turn, TurnedAway
from topology.calls.in_flight import is_patient
from topology.calls.metrics import IN_DOUBT_RESTORED, WAITING
from topology.calls.numbering import ShardNumbers, is_numbering
from topology.calls.slots import ProcessorLimits, Slots, Verdict, Waiter
from topology.kafka import StateStore
from topology.processors.port import Answer, Capabilities, Cause, Processor, boot_seconds

__all__ = ["ProcessingConfig", "ProcessingSide"]

# So that input is not stopped and started for each capture that ends.
_FULL_UNTIL = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessingConfig:
    """How processors are called. `limits` by processor's name, `default_limits` for all others.

    A call leaves within `send_before_seconds` of its announcement or not at all; an authorization whose command is
    older than `authorization_age_seconds_max` is not sent. A clean stop, and a member that has to give up its shards,
    wait for what has left up to the longest deadline, and `stop_wait_seconds_max` at most.

    No more events are read, of whatever processor, while `patient_max` captures and voids wait for one that is
    configured: each takes some memory, and none is turned away.
    """

    limits: Mapping[str, ProcessorLimits] = field(default_factory=dict)
    default_limits: ProcessorLimits = field(default_factory=ProcessorLimits)
    send_before_seconds: float = 5.0
    authorization_age_seconds_max: float = 300.0
    stop_wait_seconds_max: float = 15.0
    patient_max: int = 100_000


class ProcessingSide:
    """The side of the processing flow (`topology.kafka.Side`). `partitions` is that of the topics."""

    def __init__(
        self,
        processors: Sequence[Processor],
        config: ProcessingConfig,
        *,
        partitions: int,
        engine: Engine | None = None,
        boot_seconds: Callable[[], float] = boot_seconds,
        chance: random.Random | None = None,
    ) -> None:
        self._processors = processors
        self._by_name = {processor.name: processor for processor in processors}
        self._promised: dict[str, Capabilities] = {}
        self._limits = {each.name: config.limits.get(each.name, config.default_limits) for each in processors}
        self._config = config
        self.partitions = partitions
        self._engine: Engine = engine or CallEngine(processors, boot_seconds=boot_seconds, name="processing")
        self._boot_seconds = boot_seconds
        self._chance = chance
        self._brought: deque[tuple[str, int, object]] = deque()
        self._undecided: defaultdict[str, list[tuple[PaymentIntentId, InFlightCall]]] = defaultdict(list)
        self._stop_until: float | None = None
        self._is_leaving = False
        self._is_full = False
        self._unrepeatable: set[TransactionId] = set()
        self._numbers = ShardNumbers(StateStore(), shards=partitions)
        self.desk = self._new_desk()

    def restored(self, store: StateStore, shards: tuple[int, ...]) -> None:
        """Every entry in the store is one of an earlier life: who was never called waits, the others are in doubt."""
        WAITING.clear()
        self._numbers = ShardNumbers(store, shards=self.partitions)
        self._numbers.check(shards)
        self.desk = self._new_desk()
        self._brought.clear()
        self._undecided.clear()
        self._stop_until = None
        self._is_leaving = False
        self._is_full = False
        self._unrepeatable.clear()
        self._engine.start()
        self._learn()
        for key in [key for key, _stored in store.items() if not is_numbering(key)]:
            record = store.load(key, InFlight, partition=partition_of(key, self.partitions))
            assert record is not None
            for call in record.calls:
                if call.in_flight:
                    IN_DOUBT_RESTORED.labels(call.processor, call.call).inc()
                self._restore(PaymentIntentId(key), call)

    def drain(self, limit: int) -> list[tuple[str, int, object]]:
        """Ended calls, then whose turn has come."""
        self._learn()
        drained = [self._brought.popleft() for _ in range(min(limit, len(self._brought)))]
        for finished in self._engine.take(limit - len(drained)):
            self._unrepeatable.discard(finished.order.asked.transaction_id)
            drained.append(self._answered(finished))
        if len(drained) < limit:
            drained.extend(_turn(verdict) for verdict in self.desk.slots.verdicts(limit - len(drained)))
        self.desk.slots.report()
        return drained

    def is_full(self) -> bool:
        """Whether too many captures and voids wait; from then on until some fewer do."""
        share = _FULL_UNTIL if self._is_full else 1.0
        self._is_full = self.desk.slots.patient >= share * self._config.patient_max
        return self._is_full

    def committed(self, effects: list[object]) -> None:
        """The entries of these calls stand: now they may leave, or must not any more if a stop has begun."""
        orders = [effect for effect in effects if isinstance(effect, Order)]
        assert len(orders) == len(effects)
        if self._stop_until is None:
            self._unrepeatable.update(order.asked.transaction_id for order in orders if not self._is_repeatable(order))
            self._engine.submit(orders)
            return
        stopping = Answer(outcome=Outcome.not_sent, code=Cause.stopping)
        self._brought.extend(self._answered(FinishedCall(order, stopping)) for order in orders)

    def work(self, seconds: float | None, until: Future[None] | None = None) -> None:
        """Go on with the calls."""
        self._engine.work(seconds, until)

    def stop(self) -> None:
        """Nothing leaves from here on; what has left is awaited."""
        deadlines = [limits.deadline_seconds for limits in self._limits.values()]
        wait_seconds = min(max(deadlines, default=0.0), self._config.stop_wait_seconds_max)
        self._stop_until = self._boot_seconds() + wait_seconds
        self.desk.slots.stop()
        self._engine.hold_back(Cause.stopping)

    def leave(self) -> None:
        """The same, but what the next owner repeats under the same key is left to it."""
        self._is_leaving = True
        self.stop()

    def idle(self) -> bool:
        """Whether every call (that matters) has ended and been handed out, or has been awaited for long enough."""
        assert self._stop_until is not None
        awaited = len(self._unrepeatable) if self._is_leaving else self.desk.slots.taken
        return (awaited == 0 and not self._brought) or self._boot_seconds() >= self._stop_until

    def close(self) -> None:
        """Abandon all calls: what they were is in the changelog."""
        self._engine.close()

    def _new_desk(self) -> Desk:
        return Desk(
            slots=Slots(self._limits, declared=self._promised, boot_seconds=self._boot_seconds, chance=self._chance),
            prepare=self._prepare,
            capabilities=self._promised,
            boot_seconds=self._boot_seconds,
            send_before_seconds=self._config.send_before_seconds,
            authorization_age_seconds_max=self._config.authorization_age_seconds_max,
        )

    def _is_repeatable(self, order: Order) -> bool:
        return order.kind in self._promised[order.asked.processor].deduplicates

    def _prepare(self, call: InFlightCall, shard: int, now: Micros) -> Mapping[str, str]:
        return self._by_name[call.processor].prepare(call, self._numbers.lease(shard, now))

    def _learn(self) -> None:
        """Note what processors have said since: from now on they are called, and what rested until then is decided."""
        for processor in self._processors:
            name, promised = processor.name, processor.capabilities
            if name in self._promised or promised is None:
                continue
            self._promised[name] = promised
            for key, call in self._undecided.pop(name, ()):
                self.desk.slots.unpark(name, call.transaction_id)
                self._restore(key, call)

    def _restore(self, key: PaymentIntentId, call: InFlightCall) -> None:
        if call.in_flight and call.processor in self._limits and call.processor not in self._promised:
            self.desk.slots.park(call.processor, call.transaction_id)
            self._undecided[call.processor].append((key, call))
            return
        partition = partition_of(key, self.partitions)
        patient = is_patient(call) and not call.in_flight
        cause = None if patient else self._why_not_again(call)
        if cause is None:
            waiter = Waiter(key, partition, call.transaction_id, patient, restored=call.in_flight)
            self.desk.slots.restore(call.processor, waiter)
        else:
            self._brought.append((key, partition, TurnedAway(call.transaction_id, cause)))

    def _answered(self, finished: FinishedCall) -> tuple[str, int, object]:
        """What has ended. Its slot is free already: whose turn it is now need not wait until this is decided."""
        order, answer = finished.order, finished.answer
        self.desk.slots.release(order.asked.processor, order.asked.transaction_id, answer)
        return order.payment_intent_id, order.partition, Answered(order.asked.transaction_id, answer)

    def _why_not_again(self, call: InFlightCall) -> Cause | None:
        if call.processor not in self._limits:
            return Cause.processor_not_configured
        if call.in_flight and call.call not in self._promised[call.processor].deduplicates:
            return Cause.restarted
        return None


def _turn(verdict: Verdict) -> tuple[str, int, object]:
    waiter = verdict.waiter
    value: Turn | TurnedAway
    if verdict.cause is None:
        value = Turn(verdict.processor, waiter.transaction_id, waiter.restored)
    else:
        value = TurnedAway(waiter.transaction_id, verdict.cause)
    return waiter.payment_intent_id, waiter.partition, value
