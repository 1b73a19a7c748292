"""Stand-ins for the Kafka clients, for tests of the runtime without a broker.

A test calls them as the runtime does and looks at what they were asked. Where the runtime takes a client of
confluent_kafka, hand over `as_producer(...)` or `as_membership(...)`: the same object under the other type.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from confluent_kafka import TIMESTAMP_CREATE_TIME, KafkaError, KafkaException, Message, Producer, TopicPartition

from schemas.topics import Topic
from topology.kafka import FlowSpec, NoSide, Side, StateStore
from topology.kafka.commits import Commits
from topology.kafka.epoch import Run
from topology.kafka.membership import Assignment, Membership, Positions
from topology.kafka.watchdog import Watchdog

__all__ = [
    "FakeConsumer",
    "FakeMembership",
    "FakeProducer",
    "as_membership",
    "as_producer",
    "assignment",
    "commits_on",
    "group_error",
    "message",
    "partition_end",
    "partition_error",
]


_WATCHDOG = Watchdog()


def message(
    topic: str, partition: int, offset: int, *, key: bytes | None, value: bytes | None, at_ms: int = 1_000
) -> Message:
    """A record as a consumer hands it out."""
    return Message(
        topic=topic, partition=partition, offset=offset, key=key, value=value, timestamp=(TIMESTAMP_CREATE_TIME, at_ms)
    )


def partition_end(topic: str, partition: int, offset: int) -> Message:
    """The news that a partition was read to its end."""
    return partition_error(topic, partition, offset, KafkaError._PARTITION_EOF)


def partition_error(topic: str, partition: int, offset: int, code: int) -> Message:
    """An error of one partition."""
    return Message(topic=topic, partition=partition, offset=offset, error=KafkaError(code))


def group_error(code: int, text: str = "trouble") -> Message:
    """An error that concerns no partition."""
    return Message(error=KafkaError(code, text))


def assignment(positions: Positions, *, partitions: int = 4, **fields: Any) -> Assignment:
    """What a group gave, with metadata that can be told from any other."""
    shards = tuple(sorted({shard for _topic, shard in positions}))
    given: dict[str, Any] = {"metadata": object(), "changelogs": dict.fromkeys(shards, (0, 0)), **fields}
    return Assignment(shards=shards, positions=positions, partitions=partitions, **given)


class FakeProducer:
    """Notes the calls in order; `failing` names the call that raises, and what. A commit waits while it is held up."""

    def __init__(self, failing: Mapping[str, Exception] | None = None) -> None:
        self.calls: list[str] = []
        self.produced: list[tuple[str, int, Any, bytes | None]] = []
        self.offsets: list[dict[tuple[str, int], int]] = []
        self.metadata: list[object] = []
        self.failing = dict(failing or {})
        self.committed = 0
        self.may_commit = threading.Event()
        self.may_commit.set()
        self.drain: Callable[[float], int] = lambda _timeout_seconds: 0

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.failing:
            raise self.failing[name]

    def begin_transaction(self) -> None:
        self._call("begin_transaction")

    def produce(self, topic: str, value: bytes | None, key: Any, partition: int) -> None:
        self._call("produce")
        self.produced.append((topic, partition, key, value))

    def send_offsets_to_transaction(self, offsets: list[TopicPartition], metadata: object, _timeout: float) -> None:
        self._call("send_offsets_to_transaction")
        self.offsets.append({(place.topic, place.partition): place.offset for place in offsets})
        self.metadata.append(metadata)

    def commit_transaction(self, _timeout: float) -> None:
        assert self.may_commit.wait(10)
        self._call("commit_transaction")
        self.committed += 1

    def poll(self, timeout: float) -> int:
        self._call("poll")
        return self.drain(timeout)

    def flush(self, _timeout: float) -> int:
        self._call("flush")
        return 1


def commits_on(
    producer: FakeProducer,
    run: Run,
    *,
    side: Side | None = None,
    changelog: Topic | None = None,
    store: StateStore | None = None,
) -> Commits:
    """The commits of a run on a fake producer."""
    return Commits(
        spec=FlowSpec(name="flow", inputs=(), changelog=changelog),
        producer=as_producer(producer),
        run=run,
        store=StateStore() if store is None else store,
        side=side or NoSide(),
        watchdog=_WATCHDOG,
    )


def as_producer(fake: FakeProducer) -> Producer:
    """The fake, where a producer is wanted."""
    return cast("Producer", fake)


class FakeMembership:
    """A membership whose polls hand out prepared batches, one each; `before_poll` looks on."""

    def __init__(self, given: Assignment | None, batches: Sequence[Sequence[Message]] = ()) -> None:
        self.assignment = given
        self.failure: Exception | None = None
        self.batches = [list(batch) for batch in batches]
        self.paused = False
        self.is_revoked = False
        self.is_overdue = False
        self.ends: dict[tuple[str, int], int | None] = {}
        self.before_poll: Callable[[], None] = lambda: None
        self.after_poll: Callable[[], None] = lambda: None

    def poll(self, limit: int, _timeout_seconds: float) -> list[Message]:
        self.before_poll()
        batch = self.batches.pop(0) if self.batches and not self.paused else []
        assert len(batch) <= limit
        self.after_poll()
        return batch

    def pause(self) -> None:
        self.paused = True

    def unpause(self) -> None:
        self.paused = False

    def release(self) -> None:
        self.is_revoked = False

    def stable_end(self, topic: str, partition: int) -> int | None:
        return self.ends.get((topic, partition))


def as_membership(fake: FakeMembership) -> Membership:
    """The fake, where a membership is wanted."""
    return cast("Membership", fake)


class FakeConsumer:
    """The clients of a `Membership`: one is the member, another answers for watermarks."""

    def __init__(
        self,
        *,
        committed: Positions | None = None,
        watermarks: Mapping[tuple[str, int], tuple[int, int]] | None = None,
        partitions: Mapping[str, int] | None = None,
        asked: list[str] | None = None,
    ) -> None:
        self.offsets = committed or {}
        self.watermarks = watermarks or {}
        self.partitions = partitions or {}
        self.asked = [] if asked is None else asked
        self.messages: list[Message] = []
        self.assigned: list[TopicPartition] | None = None
        self.generation = object()
        self.callbacks: dict[str, Callable[[FakeConsumer, list[TopicPartition]], None]] = {}
        self.commit_error: KafkaException | None = None

    def subscribe(self, _topics: list[str], **callbacks: Callable[[FakeConsumer, list[TopicPartition]], None]) -> None:
        self.callbacks = callbacks

    def give(self, *places: tuple[str, int]) -> None:
        """Let the group give these partitions."""
        self.callbacks["on_assign"](self, [TopicPartition(topic, partition) for topic, partition in places])

    def consume(self, count: int, _timeout: float) -> list[Message]:
        taken, self.messages = self.messages[:count], self.messages[count:]
        return taken

    def consumer_group_metadata(self) -> object:
        self.asked.append("metadata")
        return self.generation

    def committed(self, places: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        assert timeout > 0
        self.asked.append("committed")
        if self.commit_error is not None:
            raise self.commit_error
        return [
            TopicPartition(place.topic, place.partition, self.offsets.get((place.topic, place.partition), -1001))
            for place in places
        ]

    def get_watermark_offsets(self, place: TopicPartition, *, timeout: float, cached: bool) -> tuple[int, int]:
        assert timeout > 0
        assert not cached
        self.asked.append(f"watermark {place.topic}/{place.partition}")
        return self.watermarks.get((place.topic, place.partition), (0, 0))

    def list_topics(self, *, timeout: float) -> Any:
        assert timeout > 0
        topics = {
            name: type("TopicMetadata", (), {"partitions": dict.fromkeys(range(count))})
            for name, count in self.partitions.items()
        }
        return type("ClusterMetadata", (), {"topics": topics})

    def assign(self, places: list[TopicPartition]) -> None:
        self.assigned = list(places)

    def assignment(self) -> list[TopicPartition]:
        return self.assigned or []

    def pause(self, places: list[TopicPartition]) -> None:
        self.asked.append(f"pause {len(places)}")

    def resume(self, places: list[TopicPartition]) -> None:
        assert places == self.assigned

    def unassign(self) -> None:
        self.asked.append("unassign")
        self.assigned = None

    def close(self) -> None:
        self.asked.append("close")
