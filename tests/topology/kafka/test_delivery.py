"""A record that a broker will not take: the transaction it belongs to does not stand, and the run ends."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.topics import Topic
from topology.kafka import FlowSpec, KafkaConfig, NoSide, Produce, StartOffsets, StateStore
from topology.kafka.admin import create_topics
from topology.kafka.commits import Commits
from topology.kafka.epoch import Run
from topology.kafka.fence import fence
from topology.kafka.membership import Membership
from topology.kafka.watchdog import Watchdog

# More than a topic takes by default, also when it is compressed, and less than the producer lets go.
TOO_LARGE = random.Random(0).randbytes(2 * 1024 * 1024)


class Written:
    """Commits on a real producer, by a member of a real group."""

    def __init__(self, bootstrap: str) -> None:
        name = f"t{uuid.uuid4().hex[:8]}"
        self.input = Topic(name=f"{name}.inputs", key="intent", records=(), retention_ms=3_600_000)
        self.output = Topic(name=f"{name}.outputs", key="intent", records=(), retention_ms=3_600_000)
        topics = [self.input, self.output]
        create_topics(AdminClient({"bootstrap.servers": bootstrap}), topics, partitions=1, replication_factor=1)
        self.bootstrap = bootstrap
        self.spec = FlowSpec(name=name, inputs=(self.input,), changelog=None)
        config = KafkaConfig(bootstrap=bootstrap)
        self.producer = fence(self.spec, config, instance="0", stopping=lambda: False)
        self.membership = Membership(self.spec, config, instance="0", start=StartOffsets())
        while self.membership.assignment is None:
            self.membership.serve(0.1)
        self.run = Run(self.membership.assignment)

    def commit(self, *values: bytes) -> Exception | None:
        """One epoch, in which an input was read and these were written; why it failed, if it did."""
        self.run.positions[self.input.name, 0] += 1
        commits = Commits(
            spec=self.spec,
            producer=self.producer,
            run=self.run,
            store=StateStore(),
            side=NoSide(),
            watchdog=Watchdog(),
        )
        commits.begin([Produce(self.output.name, 0, "k", value) for value in values], [])
        commits.close()
        return self.run.failure

    def stands(self) -> tuple[list[bytes | None], int]:
        """The committed records, and the committed offset (negative: none)."""
        reader = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": self.spec.name,
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
            }
        )
        reader.assign([TopicPartition(self.output.name, 0, 0)])
        values: list[bytes | None] = []
        while (message := reader.consume(1, 20.0)[0]).error() is None:
            values.append(message.value())
        (at,) = reader.committed([TopicPartition(self.input.name, 0)], timeout=20.0)
        reader.close()
        return values, at.offset

    def close(self) -> None:
        """Leave the group."""
        self.membership.close()
        self.producer.purge()


@pytest.fixture
def written(kafka_bootstrap: str) -> Iterator[Written]:
    made = Written(kafka_bootstrap)
    yield made
    made.close()


def test_what_cannot_be_delivered_takes_its_whole_epoch_with_it(written: Written) -> None:
    assert written.commit(b"first") is None
    failure = written.commit(b"with it", TOO_LARGE)
    assert isinstance(failure, KafkaException)
    assert not written.run.may_commit
    # The next life of this process aborts what was left open, so that a committed reader gets past it.
    fence(written.spec, KafkaConfig(bootstrap=written.bootstrap), instance="0", stopping=lambda: False)
    assert written.stands() == ([b"first"], 1)
