"""A driver for dataflows, without a broker: pipe in, read out, look into the store, advance the clock, crash.

The flow runs on Bytewax itself, on a source and a sink in memory; one `pipe` is one epoch. What it writes lies in
`log` as bytes, as in Kafka: keys, partitions, encoded records. `crash` throws the store away and restores it from the
changelog; `pipe(..., lost=True)` is a crash before the commit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection
from datetime import timedelta
from typing import Any

from bytewax.dataflow import Dataflow
from bytewax.inputs import DynamicSource, StatelessSourcePartition
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from bytewax.testing import run_main

from schemas.codec import Record, decode, encode
from schemas.partitioner import key_in
from schemas.partitioner import partition as partition_of
from schemas.payment import PaymentEvent, PaymentIntent
from schemas.settlement import Capture, SettlementLine
from schemas.times import Micros, later
from schemas.topics import Topic
from topology.kafka import (
    AfterCommit,
    Clock,
    FlowContext,
    FlowSpec,
    Injected,
    NoSide,
    Produce,
    Received,
    Side,
    StateStore,
)
from topology.kafka.items import EpochMark, Item, each
from topology.settling.references import key_of as key_of_reference

__all__ = ["Collect", "FakeClock", "FlowDriver", "OneEpoch", "key_of", "run_epoch"]


class FakeClock:
    """Time that passes only when told to."""

    def __init__(self, at: int = 1_790_000_000_000_000) -> None:
        self.at = Micros(at)

    def now(self) -> Micros:
        """This moment."""
        return self.at

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.at = later(self.at, seconds=seconds)


def key_of(record: Record) -> str:
    """The key under which a record of the co-partitioned topics travels."""
    if isinstance(record, PaymentIntent):
        return record.id
    if isinstance(record, PaymentEvent):
        return record.payment_intent.id
    if isinstance(record, Capture | SettlementLine):
        return key_of_reference(record)
    key = getattr(record, "payment_intent_id", None)
    assert isinstance(key, str)
    return key


class FlowDriver:
    """One flow, driven by hand."""

    def __init__(
        self,
        spec: FlowSpec,
        build: Callable[[FlowContext], Dataflow],
        *,
        side: Side | None = None,
        clock: FakeClock | None = None,
        partitions: int = 4,
    ) -> None:
        self.spec = spec
        self.clock = clock or FakeClock()
        self.side: Side = side or NoSide()
        self.store = StateStore()
        self.log: dict[str, list[tuple[int, str, bytes | None]]] = defaultdict(list)
        self.effects: list[object] = []
        self._build = build
        self._partitions = partitions
        self._read_up_to: dict[str, int] = defaultdict(int)
        self._offsets: dict[str, int] = defaultdict(int)
        self.side.restored(self.store, tuple(range(partitions)))

    def pipe(self, topic: Topic, *records: Record, lost: bool = False) -> None:
        """Run one epoch on these records; `lost`: the process dies before it commits."""
        self._run([self._received(topic, key_of(record), record) for record in records], lost=lost)

    def pipe_to(self, topic: Topic, shard: int, *records: Record, lost: bool = False) -> None:
        """The same with records that are addressed to a shard, and are about no payment."""
        key = key_in(shard, self._partitions, prefix=f"clock-{shard}-")
        self._run([self._received(topic, key, record) for record in records], lost=lost)

    def advance(self, seconds: float, *, lost: bool = False) -> None:
        """Let time pass, and run one epoch on what the flow's side then brings."""
        self.clock.advance(seconds)
        self.settle(lost=lost)

    def settle(self, *, lost: bool = False) -> None:
        """Run one epoch on what the flow's side brings."""
        self._run([], lost=lost)

    def read(self, topic: Topic) -> list[Any]:
        """The records written to a topic since the last read."""
        written = self.log[topic.name][self._read_up_to[topic.name] :]
        self._read_up_to[topic.name] += len(written)
        return [None if value is None else decode(value) for _partition, _key, value in written]

    def state(self, key: str) -> Any:
        """The record that the store holds under a key, or None."""
        stored = self.store.get(key)
        return None if stored is None else decode(stored)

    def crash(self, *, shards: Collection[int] | None = None) -> None:
        """End the process and start another, of all shards or of these: memory is gone, the changelog is not."""
        held = range(self._partitions) if shards is None else shards
        self.side.close()
        self.store = StateStore()
        if self.spec.changelog is not None:
            for partition, key, value in self.log[self.spec.changelog.name]:
                if partition in held:
                    self.store.restore(key, value)
        self.side.restored(self.store, tuple(held))

    def _received(self, topic: Topic, key: str, record: Record) -> Item:
        raw = encode(record)
        shard = partition_of(key, self._partitions)
        offset = self._offsets[topic.name]
        self._offsets[topic.name] += 1
        return key, Received(key, topic.name, shard, offset, decode(raw), raw)

    def _run(self, items: list[Item], *, lost: bool) -> None:
        self.side.work(0)
        items = items + [(key, Injected(key, shard, value)) for key, shard, value in self.side.drain(1_000)]
        written = run_epoch(
            self._build, items, store=self.store, side=self.side, partitions=self._partitions, clock=self.clock
        )
        if lost:
            self.crash()
            return
        for item in written:
            if isinstance(item, Produce):
                key = item.key.decode() if isinstance(item.key, bytes) else item.key or ""
                self.log[item.topic].append((item.partition, key, item.value))
        for key, shard, value in self.store.take_changes():
            assert self.spec.changelog is not None
            self.log[self.spec.changelog.name].append((shard, key, value))
        effects = [item.effect for item in written if isinstance(item, AfterCommit)]
        self.effects.extend(effects)
        self.side.committed(effects)


def run_epoch(
    build: Callable[[FlowContext], Dataflow],
    items: list[Item],
    *,
    store: StateStore,
    side: Side,
    partitions: int,
    clock: Clock,
) -> list[object]:
    """Run a flow on Bytewax for one epoch of these items, and hear what it wrote."""
    written: list[object] = []
    context = FlowContext(
        source=OneEpoch([*items, ("", EpochMark())]),
        sink=Collect(written),
        store=store,
        side=side,
        partitions=partitions,
        clock=clock,
    )
    run_main(build(context), epoch_interval=timedelta(days=-1))
    return written


class OneEpoch(DynamicSource[Item]):
    """Hands out one batch and ends."""

    def __init__(self, items: list[Item]) -> None:
        self._items = items

    def build(self, _step_id: str, _worker_index: int, _worker_count: int) -> StatelessSourcePartition[Item]:
        return _OneEpochPartition(self._items)


class _OneEpochPartition(StatelessSourcePartition[Item]):
    def __init__(self, items: list[Item]) -> None:
        self._items: list[Item] | None = items

    def next_batch(self) -> list[Item]:
        if self._items is None:
            raise StopIteration
        items, self._items = self._items, None
        return items


class Collect(FixedPartitionedSink[object, None]):
    """Keeps what the flow wrote."""

    def __init__(self, written: list[object]) -> None:
        self._written = written

    def list_parts(self) -> list[str]:
        return ["log"]

    def part_fn(self, _item_key: str) -> int:
        return 0

    def build_part(self, _step_id: str, _for_part: str, _resume: None) -> StatefulSinkPartition[object, None]:
        return _CollectPart(self._written)


class _CollectPart(StatefulSinkPartition[object, None]):
    def __init__(self, written: list[object]) -> None:
        self._written = written

    def write_batch(self, values: list[object]) -> None:
        self._written.extend(each(values))

    def snapshot(self) -> None:
        return None
