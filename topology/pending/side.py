"""Joins time and look-ups to the reconciliation flow: brings in who is due, makes the look-ups that have committed.

All methods are called by the dataflow's thread (`topology.kafka.Side`). After a restore the store is gone through bit
by bit while the flow runs already: it may hold millions of payments that wait for nothing but their abandonment.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from schemas.identifiers import PaymentIntentId
from schemas.partitioner import partition as partition_of
from schemas.processing import CallKind, Pending
from topology.calls.engine import CallEngine, Engine, FinishedCall, Order
from topology.kafka import Clock, StateStore, WallClock
from topology.pending.metrics import IN_DOUBT, LOOKUPS_WAITING, OLDEST_DOUBT_SECONDS, OVERDUE_DOUBTS
from topology.pending.schedule import ClockedSchedule
from topology.pending.times import ReconciliationTimes
from topology.pending.watch import Due, LookedUp, in_doubt_since, is_overdue, lookup_order, next_due
from topology.processors.port import Capabilities, Processor, boot_seconds
from topology.test_clock import ShardClocks, is_clock_key

__all__ = ["ReconciliationSide"]

_GONE_THROUGH_AT_ONCE = 500
# Of a processor that is not configured here, or has not said yet what it promises. It is asked nothing, and what is in
# doubt there stays in doubt. What is to be awaited is derived anew with each event, so with its first answer at last.
_UNKNOWN = Capabilities(lookup=True)


class ReconciliationSide:
    """The side of the reconciliation flow (`topology.kafka.Side`). `partitions` is that of the topics.

    `test_clock`: whether the clock of payments in test mode may be advanced (`clocks`).
    """

    def __init__(
        self,
        processors: Sequence[Processor],
        times: ReconciliationTimes,
        *,
        partitions: int,
        lookups_max: int = 100,
        clock: Clock | None = None,
        engine: Engine | None = None,
        boot_seconds: Callable[[], float] = boot_seconds,
        test_clock: bool = False,
    ) -> None:
        self.times = times
        self._processors = {processor.name: processor for processor in processors}
        self.partitions = partitions
        self._lookups_max = lookups_max
        self._clock: Clock = clock or WallClock()
        self._engine: Engine = engine or CallEngine(processors, boot_seconds=boot_seconds, name="reconciliation")
        self._test_clock = test_clock
        self._begin(StateStore())

    def capabilities(self, processor: str) -> Capabilities:
        """What a processor promises."""
        configured = self._processors.get(processor)
        promised = None if configured is None else configured.capabilities
        return _UNKNOWN if promised is None else promised

    def watch(self, key: str, shard: int, pending: Pending | None) -> None:
        """This is what the flow waits for now, of this intent."""
        if key in self._not_gone_through:
            # The store has it still as it was restored: what is to be looked up anew is what was cut short then.
            self._go_through(key)
        self._watch(key, shard, pending)

    def _watch(self, key: str, shard: int, pending: Pending | None) -> None:
        if pending is None:
            for livemode in (False, True):
                self._dues.set(key, None, shard=shard, livemode=livemode)
                self._doubts.set(key, None, shard=shard, livemode=livemode)
            self._overdue.discard(key)
            return
        self._dues.set(key, next_due(pending), shard=shard, livemode=pending.livemode)
        self._doubts.set(key, in_doubt_since(pending), shard=shard, livemode=pending.livemode)
        if is_overdue(pending):
            self._overdue.add(key)
        else:
            self._overdue.discard(key)

    def restored(self, store: StateStore, shards: tuple[int, ...]) -> None:
        """Begin to go through the store."""
        self._begin(store)
        self._not_gone_through.update(key for key, _value in store.items() if not is_clock_key(key))
        self._engine.start()

    def drain(self, limit: int) -> list[tuple[str, int, object]]:
        """Look-ups that have ended, then whoever is due."""
        if self._stopping:
            return []
        for _ in range(min(_GONE_THROUGH_AT_ONCE, len(self._not_gone_through))):
            self._go_through(self._not_gone_through.pop())
        drained: list[tuple[str, int, object]] = []
        for finished in self._engine.take(limit):
            self._running[finished.order.asked.processor] -= 1
            drained.append(_looked_up(finished))
        self._submit()
        due = self._dues.take_due(self.clocks.now_of(self._clock.now()), limit - len(drained))
        drained.extend((key, partition_of(key, self.partitions), Due()) for key in due)
        self._report()
        return drained

    def is_full(self) -> bool:
        """Never: what waits is state that the flow keeps anyway."""
        return False

    def committed(self, effects: list[object]) -> None:
        """These look-ups stand in the changelog: make them."""
        for effect in effects:
            assert isinstance(effect, Order)
            self._wait(effect)
        if not self._stopping:
            self._submit()

    def work(self, seconds: float | None, until: Future[None] | None = None) -> None:
        """Go on with the look-ups."""
        self._engine.work(seconds, until)

    def stop(self) -> None:
        """Nothing more comes in. Look-ups under way are made again by whoever takes over."""
        self._stopping = True

    def leave(self) -> None:
        """The same."""
        self.stop()

    def idle(self) -> bool:
        """Always: a look-up leaves nothing behind."""
        return True

    def close(self) -> None:
        """Abandon all look-ups."""
        self._engine.close()

    def _begin(self, store: StateStore) -> None:
        """Know nothing but what is in the store."""
        self._store = store
        self.clocks = ShardClocks(store, allowed=self._test_clock)
        self._dues, self._doubts = ClockedSchedule(), ClockedSchedule()
        self._overdue: set[str] = set()
        self._waiting: defaultdict[str, deque[Order]] = defaultdict(deque)
        self._running: Counter[str] = Counter()
        self._not_gone_through: set[str] = set()
        self._stopping = False

    def _go_through(self, key: str) -> None:
        """A key of the restored store: when it is due, and which look-ups were cut short."""
        self._not_gone_through.discard(key)
        partition = partition_of(key, self.partitions)
        pending = self._store.load(key, Pending, partition=partition)
        if pending is None:
            return
        self._watch(key, partition, pending)
        for lookup in pending.lookups:
            if lookup.in_flight:
                self._wait(lookup_order(PaymentIntentId(key), partition, lookup, self.times))

    def _wait(self, order: Order) -> None:
        self._waiting[order.asked.processor].append(order)

    def _submit(self) -> None:
        """As many look-ups as each processor may be asked at once, if it has said what it promises."""
        for processor, waiting in self._waiting.items():
            configured = self._processors.get(processor)
            if configured is not None and configured.capabilities is None:
                continue
            while waiting and self._running[processor] < self._lookups_max:
                self._running[processor] += 1
                self._engine.submit([waiting.popleft()])

    def _report(self) -> None:
        IN_DOUBT.set(len(self._doubts))
        OVERDUE_DOUBTS.set(len(self._overdue))
        LOOKUPS_WAITING.set(sum(len(waiting) for waiting in self._waiting.values()))
        OLDEST_DOUBT_SECONDS.set(self._doubts.oldest_seconds(self.clocks.now_of(self._clock.now())))


def _looked_up(finished: FinishedCall) -> tuple[str, int, object]:
    order = finished.order
    assert order.kind is CallKind.lookup
    return order.payment_intent_id, order.partition, LookedUp(order.asked.transaction_id, finished.answer)
