"""The restore: it reads a changelog past its high watermark, and so waits for every transaction that is undecided."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.codec import encode
from schemas.identifiers import PaymentIntentId
from schemas.processing import InFlight
from schemas.topics import Topic
from tests.harness.counting import given
from tests.harness.kafka_fakes import assignment, message, partition_end, partition_error
from tests.harness.stack import wait_for
from topology.kafka import FlowSpec, KafkaConfig, OffsetsExpired, StartOffsets, StateStore
from topology.kafka.admin import create_topics
from topology.kafka.clients import high_watermark_consumer, transactional_producer
from topology.kafka.membership import Assignment, Membership
from topology.kafka.restore import _apply, restore
from topology.kafka.store import UnreadableState

LOG = Topic(name="log", key="intent", records=("InFlight",), retention_ms=None)


def state(number: int) -> bytes:
    return encode(InFlight(payment_intent_id=PaymentIntentId("pi_a"), sequence=number, calls=()))


ONE, TWO = state(1), state(2)
UNKNOWN_SCHEMA = b"\x00\x00\x00\x27\x0f" + ONE[5:]


class Applied:
    """What a restore takes from messages."""

    def __init__(self, behind: dict[int, int], *messages: Message) -> None:
        self.store, self.behind, self.unreadable = StateStore("log"), behind, dict[str, UnreadableState]()
        for one in messages:
            _apply(one, self.store, behind, LOG, self.unreadable)


def test_restored_records_are_the_last_value_of_each_key() -> None:
    applied = Applied(
        {0: 4, 1: 9},
        message("log", 0, 0, key=b"a", value=ONE),
        message("log", 1, 0, key=b"b", value=ONE),
        message("log", 0, 1, key=b"a", value=TWO),
        message("log", 1, 1, key=b"b", value=None),
    )
    assert dict(applied.store.items()) == {"a": TWO}
    assert applied.behind == {0: 4, 1: 9}
    assert not applied.unreadable


def test_a_partition_is_restored_by_the_record_before_its_high_watermark() -> None:
    assert Applied({0: 2, 1: 2}, message("log", 0, 1, key=b"a", value=ONE)).behind == {1: 2}


def test_or_by_the_news_of_its_end_because_markers_occupy_offsets() -> None:
    assert Applied({0: 2}, partition_end("log", 0, 1)).behind == {0: 2}
    assert Applied({0: 2}, partition_end("log", 0, 2), partition_end("log", 0, 5)).behind == {}


def test_an_error_ends_the_restore() -> None:
    with pytest.raises(KafkaException):
        Applied({0: 2}, partition_error("log", 0, 0, KafkaError._AUTO_OFFSET_RESET))


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (b"pi_a", UNKNOWN_SCHEMA, "key 'pi_a', is no state of this flow: unknown_schema_id: 9999"),
        (b"pi_a", b"garbage", "key 'pi_a', is no state of this flow: not_framed: 7 bytes without the header"),
        (b"pi_a", encode(given("pi_a", "x")), "key 'pi_a', is no state of this flow: wrong_record: TimerFired"),
        (b"\xff", ONE, r"key '\\xff', is no state of this flow: no_key"),
        (None, ONE, "key '', is no state of this flow: no_key"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_place(key: bytes | None, value: bytes, reason: str) -> None:
    applied = Applied({0: 9}, message("log", 0, 7, key=key, value=value))
    assert [str(error) for error in applied.unreadable.values()] == [f"log/0 at offset 7, {reason}"]


@pytest.mark.parametrize("mended", [ONE, None])
def test_what_cannot_be_read_is_mended_by_a_later_record_of_its_key(mended: bytes | None) -> None:
    applied = Applied(
        {0: 9}, message("log", 0, 7, key=b"a", value=b"garbage"), message("log", 0, 8, key=b"a", value=mended)
    )
    assert not applied.unreadable
    assert dict(applied.store.items()) == ({} if mended is None else {"a": ONE})


@dataclass
class Changelog:
    """A flow's topics on a real Kafka, with writers of any name."""

    bootstrap: str
    name: str = field(default_factory=lambda: f"t{uuid.uuid4().hex[:8]}")
    closers: list[Callable[[], object]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.config = KafkaConfig(bootstrap=self.bootstrap)
        self.topic = Topic(name=f"{self.name}.log", key="intent", records=("InFlight",), retention_ms=None)
        self.input = Topic(name=f"{self.name}.inputs", key="intent", records=(), retention_ms=3_600_000)
        self.spec = FlowSpec(name=self.name, inputs=(self.input,), changelog=self.topic)
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        create_topics(admin, [self.topic, self.input], partitions=2, replication_factor=1)
        self.watcher = high_watermark_consumer(self.config, flow=self.name)
        self.closers.append(self.watcher.close)

    def writer(self, instance: str) -> Producer:
        """A transactional producer, as a process of the flow has it."""
        producer = transactional_producer(self.config, flow=self.name, instance=instance)
        self.closers.append(producer.close)
        producer.init_transactions(20.0)
        return producer

    def write(self, producer: Producer, key: str, value: bytes) -> None:
        """Write into the open transaction; the record is in the log when this returns."""
        producer.produce(self.topic.name, key=key, value=value, partition=0)
        assert producer.flush(20.0) == 0

    def end(self, consumer: Consumer, topic: Topic | None = None) -> int:
        """The end of partition 0 as a client sees it. A broker may not know yet that it leads a new topic."""
        place = TopicPartition((topic or self.topic).name, 0)
        deadline = time.monotonic() + 20.0
        while True:
            try:
                return consumer.get_watermark_offsets(place, timeout=20.0, cached=False)[1]
            except KafkaException:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def given(self, *, unread: frozenset[int] = frozenset()) -> Assignment:
        """An assignment of both shards as it is now."""
        ends = {0: (0, self.end(self.watcher)), 1: (0, 0)}
        return assignment({(self.input.name, 0): 0, (self.input.name, 1): 0}, changelogs=ends, unread=unread)

    def restored(self, given: Assignment) -> dict[str, bytes]:
        """The keys of a restore."""
        store = restore(self.spec, given, config=self.config, keep_membership=lambda: True)
        assert store is not None
        return dict(store.items())


@pytest.fixture
def changelog(kafka_bootstrap: str) -> Iterator[Changelog]:
    made = Changelog(kafka_bootstrap)
    yield made
    for close in made.closers:
        close()


@dataclass
class Later:
    """Something that runs in a thread until it has a result."""

    work: Callable[[], object]
    results: list[object] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=lambda: self.results.append(self.work()))
        self.thread.start()

    def result(self) -> object:
        self.thread.join(20.0)
        assert self.results, "it has not ended"
        return self.results[0]


@pytest.mark.parametrize("outcome", ["commit", "abort"])
def test_a_restore_waits_until_another_producers_transaction_is_decided(changelog: Changelog, outcome: str) -> None:
    first, second = changelog.writer("0"), changelog.writer("1")
    first.begin_transaction()
    changelog.write(first, "a", ONE)
    first.commit_transaction(20.0)
    second.begin_transaction()
    changelog.write(second, "a", TWO)
    given = changelog.given()
    restoring = Later(lambda: changelog.restored(given))
    time.sleep(0.5)
    assert not restoring.results
    if outcome == "commit":
        second.commit_transaction(20.0)
    else:
        second.abort_transaction(20.0)
    assert restoring.result() == {"a": TWO if outcome == "commit" else ONE}


def test_the_high_watermark_counts_what_a_committed_reader_cannot_see_yet(changelog: Changelog) -> None:
    committed_reader = Consumer(
        {"bootstrap.servers": changelog.bootstrap, "group.id": "unused", "isolation.level": "read_committed"}
    )
    changelog.closers.append(committed_reader.close)
    writer = changelog.writer("0")
    writer.begin_transaction()
    changelog.write(writer, "a", ONE)
    assert changelog.end(changelog.watcher) == 1
    assert changelog.end(committed_reader) == 0
    writer.commit_transaction(20.0)
    wait_for(lambda: changelog.end(committed_reader) == 2, what="the marker", within_seconds=10.0)
    assert changelog.end(changelog.watcher) == 2


def test_a_restore_that_lost_its_membership_has_no_result(changelog: Changelog) -> None:
    writer = changelog.writer("0")
    writer.begin_transaction()
    changelog.write(writer, "a", ONE)
    given, answers = changelog.given(), iter([True, True, False])
    lost = restore(changelog.spec, given, config=changelog.config, keep_membership=lambda: next(answers))
    assert lost is None
    writer.abort_transaction(20.0)


def test_state_without_offsets_is_refused_but_aborted_state_is_none(changelog: Changelog) -> None:
    writer = changelog.writer("0")
    writer.begin_transaction()
    changelog.write(writer, "a", TWO)
    writer.abort_transaction(20.0)
    assert changelog.end(changelog.watcher) > 0
    assert changelog.restored(changelog.given(unread=frozenset({0, 1}))) == {}
    writer.begin_transaction()
    changelog.write(writer, "a", ONE)
    writer.commit_transaction(20.0)
    with pytest.raises(OffsetsExpired, match="shard 0 has state but no committed offsets"):
        changelog.restored(changelog.given(unread=frozenset({0, 1})))
    assert changelog.restored(changelog.given(unread=frozenset({1}))) == {"a": ONE}


def test_a_changelog_that_cannot_be_read_is_refused_until_it_is_mended(changelog: Changelog) -> None:
    writer = changelog.writer("0")
    writer.begin_transaction()
    changelog.write(writer, "a", UNKNOWN_SCHEMA)
    changelog.write(writer, "b", ONE)
    writer.commit_transaction(20.0)
    with pytest.raises(UnreadableState, match=r"\.log/0 at offset 0, key 'a', is no state of this flow: unknown_"):
        changelog.restored(changelog.given())
    writer.begin_transaction()
    changelog.write(writer, "a", TWO)
    writer.commit_transaction(20.0)
    assert changelog.restored(changelog.given()) == {"a": TWO, "b": ONE}


def test_an_empty_changelog_is_restored_at_once(changelog: Changelog) -> None:
    assert changelog.restored(changelog.given(unread=frozenset({0, 1}))) == {}


def test_a_join_waits_for_pending_offsets_and_only_then_takes_the_end_of_the_changelog(changelog: Changelog) -> None:
    former, group = (
        changelog.writer("0"),
        Consumer({"bootstrap.servers": changelog.bootstrap, "group.id": changelog.name}),
    )
    changelog.closers.append(group.close)
    former.begin_transaction()
    offsets = [TopicPartition(changelog.input.name, 0, 5)]
    former.send_offsets_to_transaction(offsets, group.consumer_group_metadata(), 20.0)
    membership = Membership(changelog.spec, changelog.config, instance="1", start=StartOffsets())
    changelog.closers.append(membership.close)

    def join() -> Assignment:
        deadline = time.monotonic() + 20.0
        while membership.assignment is None and time.monotonic() < deadline:
            membership.serve(0.05)
        assert membership.assignment is not None
        return membership.assignment

    joining = Later(join)
    time.sleep(1.5)
    assert not joining.results
    changelog.write(former, "a", ONE)
    former.commit_transaction(20.0)
    given = joining.result()
    assert isinstance(given, Assignment)
    assert given.positions == {(changelog.input.name, 0): 5, (changelog.input.name, 1): 0}
    assert given.changelogs[0][1] >= 1
    assert given.unread == {1}
    assert changelog.restored(given) == {"a": ONE}
