"""A topic is read to its end: what was committed, all of it, and what comes until there is enough."""

from __future__ import annotations

import threading
import time
import uuid

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from bench.committed import committed
from bench.processing.supply import asked
from schemas.topics import Topic
from topology.kafka.admin import create_topics

PARTITIONS = 2


@pytest.fixture
def topic(kafka_bootstrap: str) -> Topic:
    topic = Topic(name=f"bench-{uuid.uuid4().hex}", key="none", records=(), retention_ms=3_600_000)
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    create_topics(admin, [topic], partitions=PARTITIONS, replication_factor=1)
    return topic


def write(bootstrap: str, topic: Topic, numbers: range, *, abort: bool = False) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": uuid.uuid4().hex})
    producer.init_transactions(30)
    producer.begin_transaction()
    for number, event in enumerate(asked(numbers)):
        producer.produce(topic.name, event.value, event.key, number % PARTITIONS)
    producer.flush(30)
    if abort:
        producer.abort_transaction(30)
    else:
        producer.commit_transaction(30)


def read(bootstrap: str, topic: Topic, *, at_least: int = 0, within_seconds: float = 30.0) -> list[float]:
    wanted = {"at_least": at_least, "within_seconds": within_seconds}
    return [at for at, _record in committed(bootstrap, topic, partitions=PARTITIONS, **wanted)]  # type: ignore[arg-type]


def test_what_was_committed_is_read_with_its_times(kafka_bootstrap: str, topic: Topic) -> None:
    began = time.time()
    write(kafka_bootstrap, topic, range(50))
    write(kafka_bootstrap, topic, range(50, 60), abort=True)
    write(kafka_bootstrap, topic, range(60, 65))
    times = read(kafka_bootstrap, topic)
    assert len(times) == 55
    assert all(began - 1 <= at <= time.time() + 1 for at in times)


def test_an_empty_topic_ends_at_once(kafka_bootstrap: str, topic: Topic) -> None:
    assert read(kafka_bootstrap, topic) == []


def test_it_goes_on_until_there_are_enough(kafka_bootstrap: str, topic: Topic) -> None:
    write(kafka_bootstrap, topic, range(5))
    later = threading.Timer(2.0, write, (kafka_bootstrap, topic, range(5, 8)))
    later.start()
    assert len(read(kafka_bootstrap, topic, at_least=8)) == 8
    later.join()
    assert len(read(kafka_bootstrap, topic, at_least=9, within_seconds=1.0)) == 8
