"""The source of every flow: polls the group, decodes, and hands out one batch per epoch.

While an epoch is being committed the next one is gathered, until it is full: what comes faster than it can be committed
one by one is committed together, and what comes alone need not wait for others.

What cannot be decoded, or lies on a partition that its key does not belong to, becomes a dead letter on the way round
the flow; the shard goes on. The wall clock may be set back at any time, so neither the epoch (see `runner`) nor the
next call depends on it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from bytewax.inputs import DynamicSource, StatelessSourcePartition
from confluent_kafka import Message

from schemas.codec import CodecError, decode
from schemas.partitioner import partition as partition_of
from schemas.times import Micros, later
from topology.kafka.commits import Commits
from topology.kafka.dead_letters import dead_letter
from topology.kafka.epoch import Run, RunEnded
from topology.kafka.failures import failure_of
from topology.kafka.flow import Clock, FlowSpec, Side
from topology.kafka.items import EpochMark, Injected, Item, Received
from topology.kafka.membership import Membership, Positions
from topology.kafka.metrics import INPUT_HELD, INPUTS
from topology.kafka.store import UnreadableState

__all__ = ["GroupSource"]

log = logging.getLogger("paystream.kafka")

_BATCH = 1_000
# Also how long what the side brings may have to wait.
_WAIT_SECONDS = 0.004
_REST_CHECK_SECONDS = 1.0
_QUIET_SECONDS = 10.0
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_MARK = ("", EpochMark())


class GroupSource(DynamicSource[Item]):
    """The input topics of a flow, as far as the group assigned them to this process, and the flow's own side."""

    def __init__(
        self,
        *,
        spec: FlowSpec,
        membership: Membership,
        run: Run,
        commits: Commits,
        side: Side,
        clock: Clock,
        stopping: Callable[[], bool],
    ) -> None:
        self._flow = spec.name
        self._follows_ends = spec.follows_ends
        self._records = {topic.name: topic.records for topic in spec.inputs}
        self._rest_checked_at = self._drained_at = clock.now()
        self._quiet_since = time.monotonic()
        self._is_full = False
        self._membership = membership
        self._run = run
        self._commits = commits
        self._side = side
        self._clock = clock
        self._stopping = stopping

    def positions(self) -> Positions:
        """The next offset of each input partition, after all that was handed out."""
        return self._run.positions

    def reached_end(self) -> dict[tuple[str, int], tuple[int, Micros]]:
        """The offset at which each partition's end was last reached, and when; renewed while it rests there.

        Only for a flow that follows ends.
        """
        return self._run.ends

    def record_times(self) -> dict[tuple[str, int], Micros]:
        """When the last record of each partition that was handed out had been appended, by Kafka's timestamp."""
        return self._run.record_times

    def may_commit(self) -> bool:
        """Whether this run still holds its partitions and nothing has failed."""
        return self._run.may_commit

    def restart(self, reason: Exception) -> None:
        """End this run without committing; the next one asks for the start offsets again."""
        self._run.fail(RunEnded(reason))

    def build(self, _step_id: str, _worker_index: int, worker_count: int) -> StatelessSourcePartition[Item]:
        """One partition: a process runs a single worker."""
        assert worker_count == 1
        return _GroupPartition(self)

    def next_batch(self) -> list[Item]:
        """The inputs of the next epoch; empty when there are none. Raises StopIteration when the run is over."""
        run = self._run
        if not run.stopping:
            self._stop_if_asked()
        self._commits.settle(within_seconds=None if run.stopping else 0)
        if not run.may_commit:
            raise StopIteration
        injected = self._drain()
        if not run.stopping:
            self._hold_input()
        if run.stopping and ((not injected and self._side.idle()) or self._membership.is_overdue):
            raise StopIteration
        received, is_epoch = self._poll(injected)
        if not run.may_commit:
            raise StopIteration
        batch = received + injected
        if batch:
            INPUTS.labels(self._flow).inc(len(batch))
        if batch or is_epoch:
            batch.append(_MARK)
        return batch

    def _stop_if_asked(self) -> None:
        """Begin a clean stop of this run, of the process or because the group takes the shards away."""
        run, membership = self._run, self._membership
        if membership.is_revoked:
            run.stopping = True
            self._side.leave()
        elif self._stopping():
            run.stopping = True
            membership.pause()
            self._side.stop()

    def _hold_input(self) -> None:
        """Read nothing more while the side is full. The group is served all the same."""
        is_full = self._side.is_full()
        if is_full == self._is_full:
            return
        self._is_full = is_full
        INPUT_HELD.labels(self._flow).set(is_full)
        if is_full:
            log.warning("%s reads nothing more, for too much waits", self._flow)
            self._membership.pause()
        else:
            log.info("%s reads on", self._flow)
            self._membership.unpause()

    def _drain(self) -> list[Item]:
        """What the side brings. Raises StopIteration when it cannot read its state."""
        try:
            return [(key, Injected(key, partition, value)) for key, partition, value in self._side.drain(_BATCH)]
        except UnreadableState as error:
            self._run.fail(error)
            raise StopIteration from error

    def _poll(self, injected: list[Item]) -> tuple[list[Item], bool]:
        """What has come, and whether there is something to commit although nothing came.

        As long as it could not be committed anyway, more is added to it and to what the side has brought.
        """
        commits = self._commits
        # Whoever waits for input would not see that a commit has been made.
        is_idle = not injected and commits.settle(within_seconds=0)
        drained_at = self._drained_at
        wait_until = time.monotonic() + (_WAIT_SECONDS if is_idle else 0)
        self._side.work(_WAIT_SECONDS if is_idle else 0)
        if is_idle:
            injected += self._drain()
        messages = self._consume(_BATCH, 0 if injected else max(0.0, wait_until - time.monotonic()))
        if len(messages) < _BATCH and not commits.settle(within_seconds=0):
            while self._is_held() and not commits.settle(within_seconds=_WAIT_SECONDS):
                if len(injected) < _BATCH:
                    injected += self._drain()
            messages += self._consume(_BATCH - len(messages), 0)
        if self._membership.failure is not None:
            self._run.fail(self._membership.failure)
            return [], False
        if not self._is_held():
            # What was just taken from the consumer is another owner's by now, or will be read again.
            self._run.left_group = True
            return [], False
        if self._membership.is_revoked:
            # No position has moved: the next owner reads them.
            messages = []
        batch: list[Item] = []
        news_of_ends = self._take(messages, batch, since=drained_at)
        if batch:
            self._quiet_since = time.monotonic()
            return batch, True
        return batch, (self._follows_ends and (news_of_ends or self._renew_ends())) or self._is_to_be_saved()

    def _consume(self, limit: int, wait_seconds: float) -> list[Message]:
        """Messages of the consumer. With fewer than asked for, its queue was empty at some time after this began."""
        began = self._clock.now()
        messages = self._membership.poll(limit, wait_seconds)
        if len(messages) < limit:
            self._drained_at = began
        return messages

    def _is_held(self) -> bool:
        return self._membership.failure is None and self._membership.assignment is self._run.assignment

    def _is_to_be_saved(self) -> bool:
        """Whether input has been quiet for a while and ended behind the committed offsets, without a record."""
        if self._run.positions == self._run.committed or time.monotonic() < self._quiet_since + _QUIET_SECONDS:
            return False
        self._quiet_since = time.monotonic()
        return True

    def _renew_ends(self) -> bool:
        """Once a second, ask the broker whether the partitions that were read to their end still rest there.

        To hear nothing is no proof: the broker may be out of reach.
        """
        now = self._clock.now()
        if now < later(self._rest_checked_at, seconds=_REST_CHECK_SECONDS):
            return False
        self._rest_checked_at = now
        resting = {place: end for place, (end, _at) in self._run.ends.items() if end >= self._run.positions[place]}
        for place, end in resting.items():
            if self._membership.stable_end(*place) == end:
                self._run.ends[place] = (end, now)
        return any(self._run.ends[place][1] == now for place in resting)

    def _take(self, messages: list[Message], batch: list[Item], *, since: Micros) -> bool:
        """Add what messages are to the batch; whether there was the news of a partition's end among them.

        They came to this process after `since`.
        """
        news_of_ends = False
        run = self._run
        for message in messages:
            if message.error() is not None:
                news_of_ends |= self._take_news(message, since=since)
                continue
            topic, partition, offset = message.topic(), message.partition(), message.offset()
            assert topic is not None
            assert partition is not None
            assert offset is not None
            batch.append(self._read(message, topic, partition, offset))
            run.positions[topic, partition] = offset + 1
            run.record_times[topic, partition] = Micros(message.timestamp()[1] * 1000)
        return news_of_ends

    def _take_news(self, message: Message, *, since: Micros) -> bool:
        """Take in what is no record; whether it is the news of a partition's end.

        The news may have lain here while the process stood still. Only that it came after `since` is certain.
        """
        failure = failure_of(message)
        if failure is not None:
            self._run.fail(failure)
            return False
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        if topic is None or partition is None or offset is None:
            # About the group, and no reason to end the run.
            return False
        self._run.ends[topic, partition] = (offset, since)
        # Between the last record and the end are markers and aborted records. A position that stayed before them
        # would be out of range, as if input were lost, once the topic's retention has taken them.
        self._run.positions[topic, partition] = max(offset, self._run.positions[topic, partition])
        return True

    def _read(self, message: Message, topic: str, partition: int, offset: int) -> Item:
        """One record, decoded; or its dead letter."""
        key, value = message.key(), message.value()
        try:
            text = key.decode() if isinstance(key, bytes) else None
        except UnicodeDecodeError:
            text = None
        if text is None or value is None:
            return self._dead(message, "no_key" if text is None else "no_value", "")
        if partition_of(text, self._run.assignment.partitions) != partition:
            return self._dead(message, "wrong_partition", "the key belongs to another partition")
        try:
            record = decode(value)
        except CodecError as error:
            return self._dead(message, error.cause, error.detail)
        if type(record).__name__ not in self._records[topic]:
            # Also so that whoever may write to one topic cannot speak as the writers of another.
            return self._dead(message, "wrong_record", type(record).__name__)
        return text, Received(text, topic, partition, offset, record, value)

    def _dead(self, message: Message, cause: str, detail: str) -> Item:
        return "", dead_letter(message, cause, detail=detail, flow=self._flow, at=self._clock.now())


class _GroupPartition(StatelessSourcePartition[Item]):
    """What Bytewax polls."""

    def __init__(self, source: GroupSource) -> None:
        self._source = source

    def next_batch(self) -> list[Item]:
        return self._source.next_batch()

    def next_awake(self) -> datetime:
        """Always due: the wait for input is in the poll, and a wall clock set back must not stop the flow."""
        return _LONG_AGO
