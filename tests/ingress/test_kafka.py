"""The Kafka side of ingress against real brokers: what was surely not sent, replies, the ends of partitions."""

from __future__ import annotations

import asyncio
import signal
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from msgspec.structs import replace

from ingress.asked import cancellation
from ingress.event_log import KafkaEventLog
from ingress.keys import Principal
from ingress.log import KafkaCommandLog, Written
from ingress.metrics import Metrics
from ingress.ports import Clock, Delivery, NotHandedOver, SystemClock
from ingress.replies import KafkaReplies
from sandbox.stack import Part
from schemas.codec import decode, encode
from schemas.commands import CommandReply, PaymentCommand
from schemas.identifiers import CommandId
from schemas.partitioner import partition
from schemas.times import later
from schemas.topics import COMMANDS
from tests.harness.stack import RunningStack, start_stack
from tests.ingress.fakes import MERCHANT, NOW, PARTITIONS, FakeClock, an_intent

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Topics:
    """Topics of one test."""

    bootstrap: str
    commands: str
    replies: str
    events: str


def make_topics(bootstrap: str) -> Topics:
    mark = uuid.uuid4().hex
    topics = Topics(bootstrap, f"commands-{mark}", f"replies-{mark}", f"events-{mark}")
    admin = AdminClient({"bootstrap.servers": bootstrap})
    names = (topics.commands, topics.replies, topics.events)
    stamped = {"message.timestamp.type": COMMANDS.config()["message.timestamp.type"]}
    for made in admin.create_topics([NewTopic(name, PARTITIONS, 1, config=stamped) for name in names]).values():
        made.result()
    return topics


@pytest.fixture
def topics(kafka_bootstrap: str) -> Topics:
    return make_topics(kafka_bootstrap)


@asynccontextmanager
async def command_log(topics: Topics, *, clock: Clock | None = None, **changes: Any) -> AsyncIterator[KafkaCommandLog]:
    failures: list[str] = []
    log = KafkaCommandLog(
        bootstrap=topics.bootstrap,
        client_id="test",
        metrics=Metrics(),
        clock=clock or SystemClock(),
        on_fatal=failures.append,
        topic=topics.commands,
        **changes,
    )
    log.start()
    try:
        yield log
    finally:
        await log.stop()
    assert not failures


def reply_topic(topics: Topics) -> KafkaReplies:
    return KafkaReplies(
        bootstrap=topics.bootstrap, client_id="test", metrics=Metrics(), on_fatal=pytest.fail, topic=topics.replies
    )


def event_log(topics: Topics) -> KafkaEventLog:
    return KafkaEventLog(bootstrap=topics.bootstrap, client_id="test", on_fatal=pytest.fail, topic=topics.events)


async def until(condition: Callable[[], object], *, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        await asyncio.sleep(0.01)


async def until_ends(events: KafkaEventLog, ends: dict[int, int]) -> None:
    """A partition whose leader has just been chosen may not answer at first."""
    deadline = time.monotonic() + 10
    while await events.ends(ends.keys()) != ends:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


def a_command(key: str = "a key") -> PaymentCommand:
    principal = Principal(merchant_id=MERCHANT, key_id="key_1")
    return cancellation(principal, key, an_intent(key).id).command(at=NOW, reply_partition=0)


def a_reply(command_id: str) -> CommandReply:
    return CommandReply(command_id=CommandId(command_id), payment_intent_id=an_intent().id, sequence=1)


async def test_commands_lie_on_the_partition_of_their_intent(topics: Topics) -> None:
    commands = [a_command(f"key {number}") for number in range(20)]
    async with command_log(topics) as log:
        with pytest.raises(NotHandedOver):
            log.send(commands[0])
        await until(log.connected)
        outcomes = await asyncio.gather(*(log.send(command) for command in commands))
    assert set(outcomes) == {Delivery.delivered}
    found = await asyncio.to_thread(_read_all, topics.bootstrap, topics.commands, len(commands))
    assert {command.id for _, command in found} == {command.id for command in commands}
    assert all(number == partition(command.payment_intent_id, PARTITIONS) for number, command in found)


@pytest.mark.parametrize("ahead_seconds", [-400.0, 0.0, 400.0])
async def test_a_clock_that_is_off_shows_in_the_deliveries(topics: Topics, ahead_seconds: float) -> None:
    clock = FakeClock(later(SystemClock().now(), seconds=ahead_seconds))
    async with command_log(topics, clock=clock) as log:
        await until(log.connected)
        assert log.clock_ahead_seconds() == 0
        await asyncio.gather(*(log.send(a_command(f"key {number}")) for number in range(20)))
        assert log.clock_ahead_seconds() == pytest.approx(ahead_seconds, abs=10)


def _read_all(bootstrap: str, topic: str, count: int) -> list[tuple[int, PaymentCommand]]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "test", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    found: list[tuple[int, PaymentCommand]] = []
    while len(found) < count:
        message = consumer.poll(10)
        assert message is not None, f"only {len(found)} of {count} came"
        command = decode(message.value() or b"")
        assert isinstance(command, PaymentCommand)
        found.append((message.partition() or 0, command))
    consumer.close()
    return found


async def test_replies_are_heard_from_the_end_of_one_partition(topics: Topics) -> None:
    producer = Producer({"bootstrap.servers": topics.bootstrap, "linger.ms": 0})

    def reply(number: int, command_id: str) -> None:
        producer.produce(topics.replies, key=command_id, value=encode(a_reply(command_id)), partition=number)

    for number in range(PARTITIONS):
        reply(number, "cmd_before")
    producer.flush()
    replies = reply_topic(topics)
    before, ours, twice = (replies.expect(CommandId(f"cmd_{name}"), wait=True) for name in ("before", "ours", "ours"))
    replies.start()
    try:
        await until(lambda: replies.partition is not None)
        number = -1 if replies.partition is None else replies.partition
        assert number in range(PARTITIONS)
        producer.produce(topics.replies, value=b"garbage", partition=number)
        reply(number, "cmd_nobody")
        reply(number, "cmd_ours")
        producer.flush()
        heard = await asyncio.wait_for(asyncio.gather(ours.first, twice.first), 10)
        assert [(one.command_id, one.replayed) for one in heard] == [("cmd_ours", False), ("cmd_ours", True)]
        assert not ours.left_processing.done()
        second = replace(a_reply("cmd_ours"), left_processing=True)
        producer.produce(topics.replies, value=encode(second), partition=number)
        producer.flush()
        assert (await asyncio.wait_for(ours.left_processing, 10)).left_processing
        assert not before.first.done()
    finally:
        await replies.stop()


async def test_the_end_is_the_high_watermark_even_before_a_transaction_is_decided(topics: Topics) -> None:
    events = event_log(topics)
    events.start()
    try:
        await until(lambda: events.partitions)
        assert events.partitions == PARTITIONS
        await until_ends(events, {0: 0, 3: 0})
        producer = Producer({"bootstrap.servers": topics.bootstrap, "transactional.id": topics.events})
        await asyncio.to_thread(producer.init_transactions, 10)
        producer.begin_transaction()
        producer.produce(topics.events, b"one", partition=3)
        await asyncio.to_thread(producer.flush, 10)
        assert await events.ends({0, 3}) == {0: 0, 3: 1}
        await asyncio.to_thread(producer.commit_transaction, 10)
        await until_ends(events, {3: 2})
        assert await events.ends({PARTITIONS}) == {PARTITIONS: None}
    finally:
        await events.stop()


async def test_a_broker_that_was_never_there() -> None:
    topics = Topics("127.0.0.1:1", "commands", "replies", "events")
    replies = reply_topic(topics)
    events = event_log(topics)
    replies.start()
    events.start()
    async with command_log(topics) as log:
        await asyncio.sleep(0.5)
        assert not log.connected()
        assert replies.partition is None
        assert events.partitions is None
        with pytest.raises(NotHandedOver):
            log.send(a_command())
    await asyncio.gather(replies.stop(), events.stop())


@pytest.mark.parametrize(
    ("before", "after", "proven"),
    [
        (Written({0: 1, 1: 2}), Written({0: 1, 1: 2}), True),
        (Written({0: 1, 1: 2}), Written({0: 9, 1: 2}), True),
        (Written({}), Written({1: 0}), True),
        (Written({1: 2}, age_ms=5), Written({1: 2}, age_ms=9), True),
        (Written({1: 2}), Written({1: 3}), False),
        (Written({}), Written({1: 1}), False),
        (Written({1: 2}), Written({}), False),
        (Written({1: 2}, age_ms=5), Written({1: 2}, age_ms=4), False),
    ],
)
def test_what_proves_that_nothing_was_sent(before: Written, after: Written, proven: bool) -> None:
    assert before.none_until(after, partition=1) is proven


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    """One broker that a test may break; the supervisor starts it again."""
    with start_stack(parts=frozenset({Part.KAFKA})) as stack:
        yield stack


class TestBrokerThatBreaks:
    """One broker of its own, stopped and killed."""

    async def test_a_broker_that_took_it_and_says_nothing_is_doubt(self, stack: RunningStack) -> None:
        topics = make_topics(stack.kafka)
        async with command_log(topics, delivery_timeout_seconds=1.0) as log:
            await until(log.connected)
            assert await log.send(a_command("warm")) is Delivery.delivered
            stack.kill("kafka", signal.SIGSTOP)
            try:
                assert await log.send(a_command("doubt")) is Delivery.in_doubt
            finally:
                stack.kill("kafka", signal.SIGCONT)
        found = await asyncio.to_thread(_read_all, topics.bootstrap, topics.commands, 2)
        assert len(found) == 2, "it was in the log after all, which is why it was no 503"

    async def test_a_broker_that_stalls_does_not_say_where_a_partition_ends_and_does_so_afterwards(
        self, stack: RunningStack
    ) -> None:
        topics = make_topics(stack.kafka)
        events = event_log(topics)
        events.start()
        try:
            await until(lambda: events.partitions)
            await until_ends(events, dict.fromkeys(range(PARTITIONS), 0))
            stack.kill("kafka", signal.SIGSTOP)
            try:
                stalled = [await events.ends(range(PARTITIONS)) for _ in range(3)]
            finally:
                await asyncio.sleep(3.0)  # long enough for the broker to be taken for dead
                stack.kill("kafka", signal.SIGCONT)
            assert stalled == [dict.fromkeys(range(PARTITIONS))] * 3
            await until_ends(events, dict.fromkeys(range(PARTITIONS), 0))
        finally:
            await events.stop()

    async def test_a_broker_that_is_gone(self, stack: RunningStack) -> None:
        topics = make_topics(stack.kafka)
        events = event_log(topics)
        replies = reply_topic(topics)
        events.start()
        replies.start()
        async with command_log(topics, delivery_timeout_seconds=1.0, linger_seconds=0.5) as log:
            await until(lambda: log.connected() and events.partitions and replies.partition is not None)
            assert await log.send(a_command("warm")) is Delivery.delivered
            await asyncio.sleep(0.6)  # statistics that know of it
            queued = log.send(a_command("queued"))
            pid = stack.kill("kafka")
            assert await queued is Delivery.never_sent, "it lay in the queue when the broker went"
            assert not log.connected()
            with pytest.raises(NotHandedOver):
                log.send(a_command("refused"))
            assert await events.ends({1}) == {1: None}
            await asyncio.to_thread(stack.wait_for_restart, "kafka", former_pid=pid, within_seconds=60)
            await until(lambda: log.connected() and replies.partition is not None, seconds=60)
            outcomes = [await log.send(a_command("again"))]
            while outcomes[-1] is Delivery.never_sent and len(outcomes) < 60:
                outcomes.append(await log.send(a_command("again")))
            assert outcomes[-1] is Delivery.delivered
            await self._hears(replies, topics)
            await until_ends(events, {1: 0})
        await asyncio.gather(replies.stop(), events.stop())
        found = await asyncio.to_thread(_read_all, topics.bootstrap, topics.commands, 2)
        assert {command.id for _, command in found} == {a_command("warm").id, a_command("again").id}

    async def _hears(self, replies: KafkaReplies, topics: Topics) -> None:
        producer = Producer({"bootstrap.servers": topics.bootstrap})
        waiter = replies.expect(CommandId("cmd_after"), wait=False)
        producer.produce(topics.replies, value=encode(a_reply("cmd_after")), partition=replies.partition or 0)
        await asyncio.to_thread(producer.flush, 10)
        assert (await asyncio.wait_for(waiter.first, 10)).command_id == "cmd_after"
