"""Where partitions end while one of three brokers is silent: on a client in memory, and on three brokers."""

from __future__ import annotations

import asyncio
import signal
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from ingress import event_log
from ingress.event_log import KafkaEventLog
from sandbox.stack import Part
from tests.harness.stack import RunningStack, start_stack

pytestmark = pytest.mark.anyio

LEADERS = {0: 1, 1: 2, 2: 3, 3: 1}
END = 7
TIME_OUT_SECONDS = 0.1


@dataclass
class FakeConsumer:
    """A client of three brokers: like librdkafka it gives no answer at all where one leader is silent."""

    leaders: dict[int, int] = field(default_factory=lambda: dict(LEADERS))
    silent: set[int] = field(default_factory=set)
    says_who_leads: bool = True
    error: int = KafkaError._TIMED_OUT
    broken: dict[int, int] = field(default_factory=dict)
    """Partitions of which the answer is an error."""
    asked: list[set[int]] = field(default_factory=list)

    def list_topics(self, topic: str, *, timeout: float) -> Any:
        if not self.says_who_leads:
            time.sleep(timeout)
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        partitions = {number: SimpleNamespace(leader=leader) for number, leader in self.leaders.items()}
        return SimpleNamespace(topics={topic: SimpleNamespace(error=None, partitions=partitions)})

    def offsets_for_times(self, asked: list[TopicPartition], *, timeout: float) -> list[TopicPartition]:
        numbers = {one.partition for one in asked}
        self.asked.append(numbers)
        if any(self.leaders[number] in self.silent for number in numbers):
            time.sleep(timeout)
            raise KafkaException(KafkaError(self.error))
        for number in numbers & self.broken.keys():
            raise KafkaException(KafkaError(self.broken[number]))
        return [TopicPartition(one.topic, one.partition, END) for one in asked]

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def consumer(monkeypatch: pytest.MonkeyPatch) -> FakeConsumer:
    consumer = FakeConsumer()
    monkeypatch.setattr(event_log, "Consumer", lambda _config: consumer)
    monkeypatch.setattr(event_log, "_ENDS_SECONDS", TIME_OUT_SECONDS)
    return consumer


async def started(bootstrap: str = "nowhere", topic: str = "events") -> KafkaEventLog:
    events = KafkaEventLog(bootstrap=bootstrap, client_id="test", on_fatal=pytest.fail, topic=topic)
    events.start()
    deadline = time.monotonic() + 60
    while events.partitions is None:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    return events


@pytest.fixture
async def events(consumer: FakeConsumer) -> AsyncIterator[KafkaEventLog]:
    events = await started()
    yield events
    await events.stop()


async def test_one_question_serves_all_while_all_answer(consumer: FakeConsumer, events: KafkaEventLog) -> None:
    assert await events.ends(range(4)) == dict.fromkeys(range(4), END)
    assert consumer.asked == [{0, 1, 2, 3}]


@pytest.mark.parametrize("error", [KafkaError._TIMED_OUT, KafkaError._TIMED_OUT_QUEUE, KafkaError._TRANSPORT])
async def test_a_silent_broker_keeps_only_its_own_partitions_from_their_readers(
    consumer: FakeConsumer, events: KafkaEventLog, error: int
) -> None:
    consumer.silent, consumer.error = {3}, error
    assert await events.ends(range(4)) == {0: END, 1: END, 2: None, 3: END}
    assert await events.ends({0, 1, 3}) == {0: END, 1: END, 3: END}
    consumer.silent.clear()
    assert await events.ends(range(4)) == dict.fromkeys(range(4), END)


async def test_who_asks_again_waits_for_one_time_out(consumer: FakeConsumer, events: KafkaEventLog) -> None:
    consumer.silent = {2, 3}
    await events.ends(range(4))
    consumer.asked.clear()
    assert await events.ends(range(4)) == {0: END, 1: None, 2: None, 3: END}
    assert sorted(map(sorted, consumer.asked)) == [[0, 3], [1], [2]], "nobody asked for all of them"


async def test_leaders_that_have_moved_are_known_the_next_time(consumer: FakeConsumer, events: KafkaEventLog) -> None:
    consumer.leaders = {0: 1, 1: 2, 2: 3, 3: 3}
    consumer.silent = {3}
    assert await events.ends(range(4)) == {0: None, 1: END, 2: None, 3: None}, "0 went with 3"
    assert await events.ends(range(4)) == {0: END, 1: END, 2: None, 3: None}


async def test_leaders_that_nobody_tells_are_those_of_before(consumer: FakeConsumer, events: KafkaEventLog) -> None:
    consumer.silent, consumer.says_who_leads = {3}, False
    for _ in range(2):
        assert await events.ends(range(4)) == {0: END, 1: END, 2: None, 3: END}


async def test_an_answer_that_is_an_error_of_one_is_no_silence_of_its_broker(
    consumer: FakeConsumer, events: KafkaEventLog
) -> None:
    consumer.broken = {3: KafkaError.LEADER_NOT_AVAILABLE}
    assert await events.ends(range(4)) == {0: END, 1: END, 2: END, 3: None}


async def test_where_no_broker_is_up_nobody_asks_again(consumer: FakeConsumer, events: KafkaEventLog) -> None:
    consumer.silent, consumer.error = {1, 2, 3}, KafkaError._ALL_BROKERS_DOWN
    assert await events.ends(range(4)) == dict.fromkeys(range(4))
    assert consumer.asked == [{0, 1, 2, 3}]


async def test_more_silent_brokers_than_threads_cost_no_more_time_and_hide_nobody(consumer: FakeConsumer) -> None:
    consumer.leaders = {number: number for number in range(60)}
    consumer.silent = set(range(59))
    events = await started()
    for _ in range(100):
        began = time.monotonic()
        ends = await events.ends(range(60))
        assert time.monotonic() - began < 20 * TIME_OUT_SECONDS, "one after the other would take 59"
        if ends[59] is not None:
            break
    assert ends == {**dict.fromkeys(range(59)), 59: END}
    assert (await events.ends(range(60)))[59] == END, "from now on it is asked first"
    await events.stop()


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    """Three brokers."""
    with start_stack(parts=frozenset({Part.KAFKA}), arguments=("--brokers", "3")) as stack:
        yield stack


async def test_of_three_brokers_one_stands_still(stack: RunningStack) -> None:
    topic = f"events-{uuid.uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": stack.kafka})
    # One replica each, so that leadership stays where it is.
    admin.create_topics([NewTopic(topic, 6, 1)])[topic].result()
    events = await started(stack.kafka, topic)
    leaders = {number: one.leader for number, one in admin.list_topics(topic).topics[topic].partitions.items()}
    healthy = dict.fromkeys(range(6), 0)
    deadline = time.monotonic() + 30
    while await events.ends(range(6)) != healthy:
        assert time.monotonic() < deadline
    sick = leaders[0]
    stack.kill(f"kafka-{sick}", signal.SIGSTOP)
    try:
        deadline = time.monotonic() + 30
        expected = {number: None if leader == sick else 0 for number, leader in leaders.items()}
        while await events.ends(range(6)) != expected:
            assert time.monotonic() < deadline
    finally:
        stack.kill(f"kafka-{sick}", signal.SIGCONT)
    deadline = time.monotonic() + 30
    while await events.ends(range(6)) != healthy:
        assert time.monotonic() < deadline
    await events.stop()
