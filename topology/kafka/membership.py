"""A process's place in its flow's consumer group: which shards it holds, under which generation, from which offsets.

Shards are partition numbers; one shard is the same number in every input topic (`range` assignor, equal partition
counts, checked at each assignment). The order in `_assigned` is what makes a takeover safe: keep the group metadata of
this generation; read the committed offsets, which waits while a transaction of the former owner is pending on them;
and only then take the end of each changelog.

The group takes all shards away whenever its members change, and gives them anew once every member has given its own up.
A flow that has something to finish keeps them until `release`: under the old generation, which stands at the broker as
long as this member has not joined again, it may still commit. To have nothing assigned is not yet to be unassigned:
librdkafka stays where it waits for the latter, sends heartbeats, and goes on only then (2.16.0, `rdkafka_cgrp.c`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaException, Message, TopicPartition

from schemas.topics import Topic
from topology.kafka.clients import KafkaConfig, high_watermark_consumer, member_consumer
from topology.kafka.failures import NotCoPartitioned, OffsetsExpired, failure_of, is_fatal, unknown_topics
from topology.kafka.flow import FlowSpec
from topology.kafka.watchdog import ending_without_python

__all__ = ["Assignment", "Membership", "Positions", "StartOffsets"]

log = logging.getLogger("paystream.kafka")

Positions = dict[tuple[str, int], int]
_METADATA_TIMEOUT_SECONDS = 20.0
_STABLE_END_TIMEOUT_SECONDS = 0.5
# Of the time that a group gives its members to rejoin, `max.poll.interval.ms`.
_FINISH_SHARE_MAX = 0.5
# With all brokers away it takes a second or two.
_CLOSE_LIMIT_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What one generation of the group gave this process.

    `metadata` proves the generation to the broker in every commit. `changelogs` has the first offset and the high
    watermark of each shard's changelog, taken after `positions` were read. `unread` are the shards without committed
    offsets: they start at 0, if the restore finds no state.
    """

    shards: tuple[int, ...]
    positions: Positions
    metadata: Any
    changelogs: dict[int, tuple[int, int]]
    partitions: int
    unread: frozenset[int] = frozenset()


class StartOffsets:
    """Where a shard starts: at the group's committed offsets. A flow whose sink keeps offsets itself replaces this."""

    def load(self, consumer: Consumer, partitions: list[TopicPartition]) -> Positions:
        """The committed offset of each partition; absent where there is none."""
        found = consumer.committed(partitions, timeout=_METADATA_TIMEOUT_SECONDS)
        for partition in found:
            if partition.error:
                raise KafkaException(partition.error)
        return {(p.topic, p.partition): p.offset for p in found if p.offset != OFFSET_INVALID}


class Membership:
    """One member of a flow's group. `assignment` is None while the process holds no generation."""

    def __init__(self, spec: FlowSpec, config: KafkaConfig, *, instance: str, start: StartOffsets) -> None:
        self._spec = spec
        self._start = start
        self._watermarks = high_watermark_consumer(config, flow=spec.name)
        self._consumer = member_consumer(config, group=spec.name, instance=instance)
        self.assignment: Assignment | None = None
        self.failure: Exception | None = None
        self._is_closing = False
        self._is_read = False
        self._revoked_at: float | None = None
        self._finish_seconds_max = config.max_poll_interval_ms / 1_000 * _FINISH_SHARE_MAX
        self._consumer.subscribe(
            [topic.name for topic in spec.inputs],
            on_assign=self._assigned,
            on_revoke=self._revoked,
            on_lost=self._lost,
        )

    def poll(self, limit: int, timeout_seconds: float) -> list[Message]:
        """Serve the group and take what has come: waits for a first message only, never to fill the batch."""
        messages = self._consumer.consume(1, timeout_seconds)
        if messages and limit > 1:
            messages += self._consumer.consume(limit - 1, 0)
        for message in messages:
            # It is said once, and what came with the loss of the shards is looked at by nobody.
            if is_fatal(message):
                self.failure = failure_of(message)
        return messages

    def serve(self, timeout_seconds: float) -> None:
        """Serve the group while nothing is being read. Raises what ends this membership."""
        for message in self.poll(1, timeout_seconds):
            assert message.error() is not None, "a record came that nobody asked for"
            failure = failure_of(message)
            if failure is not None:
                raise failure
        if self.failure is not None:
            raise self.failure

    def resume(self) -> None:
        """Let input flow, from the offsets of the assignment: the shards are restored."""
        assert self.assignment is not None
        self._is_read = True
        places = [TopicPartition(topic, shard, offset) for (topic, shard), offset in self.assignment.positions.items()]
        self._consumer.assign(places)
        # What was paused under an earlier assignment is so still.
        self._consumer.resume(places)

    def pause(self) -> None:
        """Stop input; polling goes on, to stay in the group."""
        if not self.is_revoked:
            self._consumer.pause(self._held())

    def unpause(self) -> None:
        """Let input flow again, from where it was paused."""
        if not self.is_revoked:
            self._consumer.resume(self._held())

    @property
    def is_revoked(self) -> bool:
        """Whether the group waits for this member to `release` its shards. No input comes any more."""
        return self._revoked_at is not None

    @property
    def is_overdue(self) -> bool:
        """Whether it has waited for so long that the shards must be given up, whatever is not finished."""
        return self._revoked_at is not None and time.monotonic() >= self._revoked_at + self._finish_seconds_max

    def release(self) -> None:
        """What was read is committed, or will not be: give up the shards if the group waits for that."""
        self._is_read = False
        if self._revoked_at is None:
            return
        log.info("%s gives its shards up after %.2f s", self._spec.name, time.monotonic() - self._revoked_at)
        self._revoked_at = self.assignment = None
        self._consumer.unassign()

    def stable_end(self, topic: str, partition: int) -> int | None:
        """The offset that a committed read of a partition can come to, asked of the broker; None without an answer."""
        try:
            _low, end = self._consumer.get_watermark_offsets(
                TopicPartition(topic, partition), timeout=_STABLE_END_TIMEOUT_SECONDS, cached=False
            )
        except KafkaException:
            return None
        return end

    def close(self) -> None:
        """Leave: a static member keeps its place until its session ends."""
        self._is_closing = True
        # A consumer that still waits to be unassigned does not close.
        self.release()
        with ending_without_python(limit_seconds=_CLOSE_LIMIT_SECONDS):
            self._consumer.close()
            self._watermarks.close()

    def _held(self) -> list[TopicPartition]:
        return list(self._consumer.assignment())

    def _revoked(self, consumer: Consumer, _partitions: list[TopicPartition]) -> None:
        if not (self._spec.finishes_before_leaving and self._is_read) or self._is_closing:
            self.assignment = None
            return
        self._revoked_at = time.monotonic()
        try:
            # So that this callback does not end in being unassigned, as it does by default.
            consumer.assign([])
        except KafkaException as error:
            self.failure = error

    def _lost(self, _consumer: Consumer, _partitions: list[TopicPartition]) -> None:
        """The group went on without this member: whatever it would still commit is refused."""
        self.assignment = None

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if self._is_closing:
            # Nobody wants it any more, and every further call would be one more that may not come back.
            return
        # An exception must not unwind through librdkafka's callback: the loop that polls finds it here.
        try:
            self.assignment = self._accept(consumer, partitions)
        except Exception as error:  # noqa: BLE001
            self.failure = error
            self.assignment = None
            # A callback that assigns nothing is taken to want everything, from wherever.
            consumer.assign([])

    def _accept(self, consumer: Consumer, partitions: list[TopicPartition]) -> Assignment:
        metadata = consumer.consumer_group_metadata()
        count = self._partition_count(consumer)
        shards = _shards(self._spec.inputs, partitions)
        committed = self._start.load(consumer, partitions) if partitions else {}
        changelogs = {shard: self._changelog(shard) for shard in shards}
        positions: Positions = {}
        unread = {shard for shard in shards if not any(place in committed for place in self._places(shard))}
        for shard in shards:
            positions |= self._positions(shard, committed, is_unread=shard in unread)
        # Nothing is fetched before `resume`. (Assigned and paused, it would take up to a second to get going again.)
        consumer.assign([])
        log.info("%s holds shards %s", self._spec.name, list(shards))
        return Assignment(
            shards=shards,
            positions=positions,
            metadata=metadata,
            changelogs=changelogs,
            partitions=count,
            unread=frozenset(unread),
        )

    def _places(self, shard: int) -> list[tuple[str, int]]:
        return [(topic.name, shard) for topic in self._spec.inputs]

    def _positions(self, shard: int, committed: Positions, *, is_unread: bool) -> Positions:
        """Where the shard goes on. No commit on any input means a first start, if the restore finds no state either.

        The changelog's high watermark cannot tell: a first epoch that was aborted also moves it. No commit on some of
        them means that the flow reads these as of this version, for every commit has all: each from where it begins.
        So are inputs of which the flow can do without what retention has taken meanwhile.
        """
        skippable = {topic.name for topic in self._spec.skippable}
        positions: Positions = {}
        for place in self._places(shard):
            topic = place[0]
            if place in committed and topic not in skippable:
                positions[place] = committed[place]
                continue
            low, _high = self._watermark(*place)
            if is_unread and low and topic not in skippable:
                raise OffsetsExpired(f"{self._spec.name}: {topic}/{shard} begins at {low} and was never read")
            if place in committed and committed[place] < low:
                log.warning("%s passes over %s/%d up to %d", self._spec.name, topic, shard, low)
            positions[place] = max(low, committed.get(place, low))
        return positions

    def _changelog(self, shard: int) -> tuple[int, int]:
        if self._spec.changelog is None:
            return 0, 0
        return self._watermark(self._spec.changelog.name, shard)

    def _watermark(self, topic: str, partition: int) -> tuple[int, int]:
        """The first offset and the high watermark, asked of the broker; raises KafkaException."""
        return self._watermarks.get_watermark_offsets(
            TopicPartition(topic, partition), timeout=_METADATA_TIMEOUT_SECONDS, cached=False
        )

    def _partition_count(self, consumer: Consumer) -> int:
        known = consumer.list_topics(timeout=_METADATA_TIMEOUT_SECONDS).topics
        names = [topic.name for topic in self._spec.inputs]
        if self._spec.changelog is not None:
            names.append(self._spec.changelog.name)
        counts = {name: len(known[name].partitions) if name in known else 0 for name in names}
        if 0 in counts.values():
            raise unknown_topics([name for name, count in counts.items() if not count])
        if len(set(counts.values())) != 1:
            raise NotCoPartitioned(f"{self._spec.name}: partition counts differ: {counts}")
        return counts[names[0]]


def _shards(inputs: Iterable[Topic], partitions: list[TopicPartition]) -> tuple[int, ...]:
    """The shard numbers of an assignment, the same in every input topic."""
    by_topic = {topic.name: sorted(p.partition for p in partitions if p.topic == topic.name) for topic in inputs}
    shards = next(iter(by_topic.values()))
    if any(by_topic.values()) and not all(by_topic.values()):
        raise unknown_topics([name for name, held in by_topic.items() if not held])
    if any(held != shards for held in by_topic.values()):
        raise NotCoPartitioned(f"shards differ by topic: {by_topic}")
    return tuple(shards)
