"""Topics: missing ones are created, again and again without harm; what differs from the table is told. A real Kafka."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace

import pytest
from confluent_kafka.admin import AdminClient

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
    return [str(one) for one in drift(admin, topics, partitions=partitions, replication_factor=1)]


def test_creating_topics_twice_creates_them_once_and_as_the_table_says(admin: AdminClient, topics: list[Topic]) -> None:
    assert create_topics(admin, topics[:1], partitions=3, replication_factor=1) == [topics[0].name]
    assert create_topics(admin, topics, partitions=3, replication_factor=1) == [topics[1].name]
    assert create_topics(admin, topics, partitions=3, replication_factor=1) == []
    assert found(admin, topics) == []


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
