"""Topics: missing ones are created, again and again without harm; what differs from the table is told. A real Kafka."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from schemas.topics import Topic
from topology.kafka.admin import create_topics, drift


@pytest.fixture
def admin(kafka_bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": kafka_bootstrap})


@pytest.fixture
def topics() -> list[Topic]:
    prefix = f"t{uuid.uuid4().hex[:8]}"
    return [
        Topic(name=f"{prefix}.kept", key="intent", records=(), retention_ms=3_600_000),
        Topic(name=f"{prefix}.compacted", key="intent", records=(), retention_ms=None),
    ]


def found(admin: AdminClient, topics: Sequence[Topic], *, partitions: int = 3) -> list[str]:
    shape = {"partitions": partitions, "replication_factor": 1}
    return [str(one) for one in drift(admin, topics, **shape, patience_seconds=1.0)]


def test_creating_topics_twice_creates_them_once_and_as_the_table_says(admin: AdminClient, topics: list[Topic]) -> None:
    assert create_topics(admin, topics[:1], partitions=3, replication_factor=1) == [topics[0].name]
    assert create_topics(admin, topics, partitions=3, replication_factor=1) == [topics[1].name]
    assert create_topics(admin, topics, partitions=3, replication_factor=1) == []
    assert found(admin, topics) == []


def test_a_broker_that_is_lost_in_between_is_asked_again(admin: AdminClient, topics: list[Topic]) -> None:
    real, lost = admin.create_topics, [KafkaError._DESTROY_BROKER]

    def create(*given: Any, **named: Any) -> Any:
        if lost:
            raise KafkaException(KafkaError(lost.pop()))
        return real(*given, **named)

    with mock.patch.object(AdminClient, "create_topics", lambda _self, *given, **named: create(*given, **named)):
        assert create_topics(admin, topics, partitions=3, replication_factor=1) == [topic.name for topic in topics]


def test_a_missing_topic_is_told(admin: AdminClient, topics: list[Topic]) -> None:
    create_topics(admin, topics[:1], partitions=3, replication_factor=1)
    assert found(admin, topics) == [f"{topics[1].name}: topic is absent, expected present"]


def test_another_number_of_partitions_is_told_and_not_mended(admin: AdminClient, topics: list[Topic]) -> None:
    create_topics(admin, topics, partitions=3, replication_factor=1)
    assert create_topics(admin, topics, partitions=4, replication_factor=1) == []
    assert found(admin, topics, partitions=4) == sorted(
        f"{topic.name}: partitions is 3, expected 4" for topic in topics
    )


def test_another_setting_is_told(admin: AdminClient, topics: list[Topic]) -> None:
    create_topics(admin, topics, partitions=3, replication_factor=1)
    changed = [replace(topics[0], retention_ms=1_000), topics[1]]
    assert found(admin, changed) == [f"{topics[0].name}: retention.ms is 3600000, expected 1000"]


def test_the_broker_dates_records_whatever_their_producer_says(
    admin: AdminClient, topics: list[Topic], kafka_bootstrap: str
) -> None:
    create_topics(admin, topics, partitions=1, replication_factor=1)
    claimed_ms = (1, 4_102_444_800_000)
    before_ms = time.time() * 1000
    producer = Producer({"bootstrap.servers": kafka_bootstrap, "linger.ms": 0, "enable.idempotence": True})
    for topic in topics:
        for at_ms in claimed_ms:
            producer.produce(topic.name, key="k", value=b"v", timestamp=at_ms)
            assert producer.flush(20) == 0
    consumer = Consumer({"bootstrap.servers": kafka_bootstrap, "group.id": topics[0].name})
    consumer.assign([TopicPartition(topic.name, 0, 0) for topic in topics])
    stamps = [message.timestamp() for message in consumer.consume(4, 20)]
    consumer.close()
    assert [kind for kind, _at_ms in stamps] == [TIMESTAMP_LOG_APPEND_TIME] * 4
    assert all(before_ms - 1_000 < at_ms < time.time() * 1000 + 1_000 for _kind, at_ms in stamps)


def test_a_topic_that_takes_its_producers_time_is_told(admin: AdminClient, topics: list[Topic]) -> None:
    topic = topics[0]
    created = NewTopic(topic.name, num_partitions=3, replication_factor=1, config={"retention.ms": "3600000"})
    admin.create_topics([created])[topic.name].result()
    assert found(admin, [topic]) == [f"{topic.name}: message.timestamp.type is CreateTime, expected LogAppendTime"]


def test_a_broker_that_has_not_heard_of_a_new_topic_is_asked_again(admin: AdminClient, topics: list[Topic]) -> None:
    create_topics(admin, topics, partitions=3, replication_factor=1)
    describe, listed = admin.describe_configs, admin.list_topics
    unheard = [KafkaError.UNKNOWN_TOPIC_OR_PART]
    unlisted = [topics[0].name]

    def describe_configs(_self: AdminClient, resources: list[Any]) -> dict[Any, Any]:
        if not unheard:
            return dict(describe(resources))
        failed: Future[Any] = Future()
        failed.set_exception(KafkaException(KafkaError(unheard.pop())))
        return dict.fromkeys(resources, failed)

    def list_topics(_self: AdminClient, **named: Any) -> Any:
        found = listed(**named)
        if unlisted:
            del found.topics[unlisted.pop()]
        return found

    with (
        mock.patch.object(AdminClient, "describe_configs", describe_configs),
        mock.patch.object(AdminClient, "list_topics", list_topics),
    ):
        assert drift(admin, topics, partitions=3, replication_factor=1) == []
    assert (unheard, unlisted) == ([], [])
