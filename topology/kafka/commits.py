"""Commits a flow's epochs: one Kafka transaction for each, for the whole process, beside the fold of the next one.

In it are the epoch's messages, the last state of each changed key, and the position of *every* input partition of all
shards, sent under the metadata of the generation that read them. An empty list of offsets would not be fenced at all;
metadata fetched at commit time would let a rejoined member commit its old work.

What an epoch has to say is handed to the client by the dataflow's thread; the broker's answers are awaited by a thread
of its own, one commit at a time. All that follows a commit happens in the dataflow's thread again, once it settles.
"""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from confluent_kafka import KafkaException, Producer, TopicPartition

from topology.kafka.epoch import Run
from topology.kafka.flow import FlowSpec, Side
from topology.kafka.items import Produce
from topology.kafka.membership import Positions
from topology.kafka.metrics import COMMITTED, EPOCH_SECONDS
from topology.kafka.store import StateStore
from topology.kafka.watchdog import Watchdog

__all__ = ["Commits"]

_COMMIT_TIMEOUT_SECONDS = 3.0
_COMMIT_LIMIT_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class _Pending:
    """A commit under way: the positions in it, and what is to be done when it has been made."""

    answered: Future[None]
    positions: Positions
    effects: list[object]
    began: float


class Commits:
    """The commits of one run. Called by the dataflow's thread only."""

    def __init__(
        self, *, spec: FlowSpec, producer: Producer, run: Run, store: StateStore, side: Side, watchdog: Watchdog
    ) -> None:
        self._spec = spec
        self._producer = producer
        self._run = run
        self._store = store
        self._side = side
        self._watchdog = watchdog
        self._pending: _Pending | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="commit")

    def begin(self, messages: list[Produce], effects: list[object]) -> None:
        """Begin the commit of an epoch, after the one before; on any error the run has failed and nothing stands."""
        self.settle()
        if not self._run.may_commit:
            return
        positions = dict(self._run.positions)
        assert positions, "a process without shards has nothing to commit, and nothing that would fence it"
        began = time.perf_counter()
        try:
            self._hand_over(messages)
        except (KafkaException, BufferError) as error:
            self._run.fail(error)
            return
        self._pending = _Pending(self._thread.submit(self._commit, positions), positions, effects, began)

    def settle(self, *, within_seconds: float | None = None) -> bool:
        """Do what follows the commit under way, once it is decided; whether none is under way (any more).

        Waits so long for it, without a limit for as long as it takes.
        """
        pending = self._pending
        if pending is None:
            return True
        if not self._await(pending.answered, within_seconds):
            return False
        self._pending = None
        try:
            pending.answered.result()
        except (KafkaException, BufferError) as error:
            self._run.fail(error)
            return True
        self._run.committed = pending.positions
        EPOCH_SECONDS.labels(self._spec.name).observe(time.perf_counter() - pending.began)
        COMMITTED.labels(self._spec.name).inc()
        self._side.committed(pending.effects)
        return True

    def _await(self, answered: Future[None], within_seconds: float | None) -> bool:
        """Wait for the broker's answer so long at most; the time is the side's, as far as it uses it."""
        if answered.done() or within_seconds == 0:
            return answered.done()
        began = time.monotonic()
        self._side.work(within_seconds, answered)
        left = None if within_seconds is None else max(0.0, began + within_seconds - time.monotonic())
        return bool(wait((answered,), left).done)

    def close(self) -> None:
        """Await what is under way; nothing more is begun."""
        self.settle()
        self._thread.shutdown()

    def _hand_over(self, messages: list[Produce]) -> None:
        self._producer.begin_transaction()
        for message in messages:
            self._produce(message.topic, message.value, message.key, message.partition)
        if self._spec.changelog is not None:
            changelog = self._spec.changelog.name
            for key, partition, value in self._store.take_changes():
                self._produce(changelog, value, key, partition)

    def _produce(self, topic: str, value: bytes | None, key: str | bytes | None, partition: int) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, partition)
            except BufferError:
                # The local queue is full: let it drain. The transaction's own time-out bounds this.
                if self._producer.poll(0.1) == 0 and self._producer.flush(_COMMIT_TIMEOUT_SECONDS):
                    raise
            else:
                return

    def _commit(self, positions: Positions) -> None:
        """In the thread of its own. Raises KafkaException."""
        producer = self._producer
        offsets = [TopicPartition(topic, shard, offset) for (topic, shard), offset in positions.items()]
        with self._watchdog.watching("the commit of an epoch", limit_seconds=_COMMIT_LIMIT_SECONDS):
            producer.send_offsets_to_transaction(offsets, self._run.assignment.metadata, _COMMIT_TIMEOUT_SECONDS)
            producer.commit_transaction(_COMMIT_TIMEOUT_SECONDS)
