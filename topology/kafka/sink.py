"""The sink of every flow: one Kafka transaction per epoch for the whole process.

In it are the epoch's messages, the last state of each changed key, and the position of *every* input partition of all
shards, sent under the metadata of the generation that read them. An empty list of offsets would not be fenced at all;
metadata fetched at commit time would let a rejoined member commit its old work.
"""

from __future__ import annotations

import time
from typing import Any

from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from confluent_kafka import KafkaException, Producer, TopicPartition

from topology.kafka.epoch import Run
from topology.kafka.flow import FlowSpec, Side
from topology.kafka.items import AfterCommit, Produce, each
from topology.kafka.metrics import COMMITTED, EPOCH_SECONDS
from topology.kafka.store import StateStore
from topology.kafka.watchdog import Watchdog

__all__ = ["TransactionSink"]

_COMMIT_TIMEOUT_SECONDS = 3.0
_COMMIT_LIMIT_SECONDS = 4.0
_ONLY_PART = "log"


class TransactionSink(FixedPartitionedSink[object, None]):
    """Writes what the flow decided, epoch by epoch, all of it or nothing."""

    def __init__(
        self,
        *,
        spec: FlowSpec,
        producer: Producer,
        run: Run,
        store: StateStore,
        side: Side,
        watchdog: Watchdog,
    ) -> None:
        self._watchdog = watchdog
        self._spec = spec
        self._producer = producer
        self._run = run
        self._store = store
        self._side = side

    def list_parts(self) -> list[str]:
        """One part: there is one transaction per process."""
        return [_ONLY_PART]

    def part_fn(self, _item_key: str) -> int:
        """Always that part. The number is an index into the *sorted* part names."""
        return 0

    def build_part(self, _step_id: str, _for_part: str, _resume_state: None) -> StatefulSinkPartition[object, None]:
        """The part, one for the whole run."""
        return _TransactionPart(self)

    def commit(self, messages: list[Produce], effects: list[object]) -> None:
        """Commit one epoch; on any error the run has failed and nothing of the epoch stands."""
        if not self._run.may_commit:
            return
        started = time.perf_counter()
        try:
            with self._watchdog.watching("the commit of an epoch", limit_seconds=_COMMIT_LIMIT_SECONDS):
                self._commit(messages)
        except (KafkaException, BufferError) as error:
            self._run.fail(error)
            return
        self._run.committed = dict(self._run.positions)
        EPOCH_SECONDS.labels(self._spec.name).observe(time.perf_counter() - started)
        COMMITTED.labels(self._spec.name).inc()
        self._side.committed(effects)

    def _commit(self, messages: list[Produce]) -> None:
        producer = self._producer
        producer.begin_transaction()
        for message in messages:
            self._produce(message.topic, message.partition, message.key, message.value)
        if self._spec.changelog is not None:
            changelog = self._spec.changelog.name
            for key, partition, value in self._store.take_changes():
                self._produce(changelog, partition, key, value)
        offsets = [TopicPartition(topic, shard, offset) for (topic, shard), offset in self._run.positions.items()]
        assert offsets, "a process without shards has nothing to commit, and nothing that would fence it"
        producer.send_offsets_to_transaction(offsets, self._run.assignment.metadata, _COMMIT_TIMEOUT_SECONDS)
        producer.commit_transaction(_COMMIT_TIMEOUT_SECONDS)

    def _produce(self, topic: str, partition: int, key: str | bytes | None, value: bytes | None) -> None:
        while True:
            try:
                self._producer.produce(topic, key=key, value=value, partition=partition)
            except BufferError:
                # The local queue is full: let it drain. The transaction's own time-out bounds this.
                if self._producer.poll(0.1) == 0 and self._producer.flush(_COMMIT_TIMEOUT_SECONDS):
                    raise
            else:
                return


class _TransactionPart(StatefulSinkPartition[object, None]):
    """Collects an epoch and commits it when it closes.

    `snapshot()` is called at the close of each epoch in which something was written; the source's mark sees to that.
    Never in `close()`: it also runs when an exception unwinds.
    """

    def __init__(self, sink: TransactionSink) -> None:
        self._sink = sink
        self._messages: list[Produce] = []
        self._effects: list[object] = []

    def write_batch(self, values: list[Any]) -> None:
        for value in each(values):
            if isinstance(value, Produce):
                self._messages.append(value)
            elif isinstance(value, AfterCommit):
                self._effects.append(value.effect)

    def snapshot(self) -> None:
        messages, effects = self._messages, self._effects
        self._messages, self._effects = [], []
        self._sink.commit(messages, effects)
