"""How ingress comes to know the merchants: on a consumer that hands out prepared messages, and on a real broker."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from ingress import merchants
from ingress.merchants import KafkaMerchants
from schemas.codec import encode
from schemas.identifiers import MerchantId
from schemas.operations import Forgotten, Merchant
from schemas.times import Micros
from tests.harness.kafka_fakes import message, partition_end, partition_error

pytestmark = pytest.mark.anyio

TOPIC = "merchants"


def merchant(name: str, *, disabled: bool = False) -> Merchant:
    return Merchant(id=MerchantId(f"mer_{name}"), name=name, disabled=disabled, updated_at=Micros(1))


def word(one: Merchant, *, partition: int = 0) -> Message:
    return message(TOPIC, partition, 0, key=one.id.encode(), value=encode(one))


class PreparedConsumer:
    """Hands out batches, one for each poll, and after them nothing; an exception is raised instead."""

    def __init__(self, *batches: Sequence[Message] | Exception) -> None:
        self.batches = list(batches)
        self.rest: list[Message] = []
        self.assigned: list[list[TopicPartition]] = []

    def list_topics(self, topic: str, *, timeout: float) -> Any:
        assert timeout > 0
        metadata = type("TopicMetadata", (), {"partitions": {0: None, 1: None}, "error": None})
        return type("ClusterMetadata", (), {"topics": {topic: metadata}})

    def assign(self, places: list[TopicPartition]) -> None:
        self.assigned.append(places)

    def poll(self, _timeout: float) -> Message | None:
        if not self.batches:
            time.sleep(0.001)
            return None
        batch = self.batches.pop(0)
        if isinstance(batch, Exception):
            raise batch
        first, *self.rest = batch
        return first

    def consume(self, _limit: int, _timeout: float) -> list[Message]:
        rest, self.rest = self.rest, []
        return rest

    def close(self) -> None:
        """Nothing to close."""


async def until(condition: Callable[[], object], *, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        await asyncio.sleep(0.005)


def on(consumer: PreparedConsumer, monkeypatch: pytest.MonkeyPatch) -> KafkaMerchants:
    monkeypatch.setattr(merchants, "Consumer", lambda _config: consumer)
    return KafkaMerchants(bootstrap="", client_id="test", on_fatal=pytest.fail)


async def test_they_are_known_once_every_partition_was_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = PreparedConsumer([word(merchant("a")), word(merchant("a", disabled=True)), partition_end(TOPIC, 0, 2)])
    known = on(consumer, monkeypatch)
    known.start()
    try:
        await until(lambda: not consumer.batches)
        await asyncio.sleep(0.05)
        assert not known.ready
        consumer.batches.append([word(merchant("b"), partition=1), partition_end(TOPIC, 1, 1)])
        await until(lambda: known.ready)
        assert known.find(MerchantId("mer_a")) == merchant("a", disabled=True)
        assert known.find(MerchantId("mer_b")) == merchant("b")
        consumer.batches.append([word(merchant("b", disabled=True)), message(TOPIC, 0, 3, key=b"mer_a", value=None)])
        await until(lambda: known.find(MerchantId("mer_b")) == merchant("b", disabled=True))
        assert known.find(MerchantId("mer_a")) is None
    finally:
        await known.stop()


async def test_what_is_known_stays_while_it_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = [partition_end(TOPIC, 0, 2), partition_end(TOPIC, 1, 0)]
    consumer = PreparedConsumer([word(merchant("a")), word(merchant("a", disabled=True)), *ends])
    known = on(consumer, monkeypatch)
    monkeypatch.setattr(merchants, "_RETRY_SECONDS", 0.0)
    known.start()
    try:
        await until(lambda: known.ready)
        consumer.batches += [KafkaException(KafkaError(KafkaError._TRANSPORT)), [word(merchant("a"))]]
        await until(lambda: len(consumer.assigned) == 2 and not consumer.batches)
        await asyncio.sleep(0.05)
        assert known.find(MerchantId("mer_a")) == merchant("a", disabled=True), "not as it once was"
        consumer.batches.append([word(merchant("a", disabled=True)), word(merchant("c")), *ends])
        await until(lambda: known.find(MerchantId("mer_c")))
        assert known.find(MerchantId("mer_a")) == merchant("a", disabled=True)
    finally:
        await known.stop()


async def test_what_is_no_word_about_a_merchant_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = [
        message(TOPIC, 0, 1, key=b"mer_a", value=b"\xde\xad"),
        message(TOPIC, 0, 2, key=b"mer_a", value=encode(Forgotten(up_to=Micros(1)))),
        message(TOPIC, 0, 3, key=b"mer_b", value=encode(merchant("a", disabled=True))),
        partition_error(TOPIC, 0, 0, KafkaError._TRANSPORT),
    ]
    ends = [partition_end(TOPIC, 0, 4), partition_end(TOPIC, 1, 0)]
    known = on(PreparedConsumer([word(merchant("a")), *odd, *ends]), monkeypatch)
    known.start()
    try:
        await until(lambda: known.ready)
        assert known.find(MerchantId("mer_a")) == merchant("a")
        assert known.find(MerchantId("mer_b")) is None
    finally:
        await known.stop()


async def test_on_a_real_broker(kafka_bootstrap: str) -> None:
    topic = f"merchants-{uuid.uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    for made in admin.create_topics([NewTopic(topic, 4, 1, config={"cleanup.policy": "compact"})]).values():
        made.result()
    producer = Producer({"bootstrap.servers": kafka_bootstrap, "partitioner": "murmur2_random"})

    def put(one: Merchant) -> None:
        producer.produce(topic, key=one.id, value=encode(one))
        assert producer.flush(10) == 0

    for name in "abcdef":
        put(merchant(name))
    known = KafkaMerchants(bootstrap=kafka_bootstrap, client_id="test", on_fatal=pytest.fail, topic=topic)
    known.start()
    try:
        await until(lambda: known.ready)
        assert [name for name in "abcdefg" if known.find(MerchantId(f"mer_{name}"))] == list("abcdef")
        put(merchant("c", disabled=True))
        await until(lambda: known.find(MerchantId("mer_c")) == merchant("c", disabled=True))
    finally:
        await known.stop()
