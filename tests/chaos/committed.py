"""Topics as a committed reader sees them, from outside: used by `collect` and `collect_settlement`."""

from __future__ import annotations

import time
from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from schemas.topics import Topic

__all__ = ["messages_of", "offset_of", "partition_of", "value_of"]

_WAIT_SECONDS = 30.0
# It waits so long at the end of a topic, where there is not as much as it asks for.
_PAUSE_SECONDS = 0.1


def messages_of(bootstrap: str, topic: Topic) -> Iterator[Message]:
    """A topic from its beginning to where a committed reader can come to now."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "checker-unused",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            # The end of a partition is told once the broker has answered that there is nothing more.
            "fetch.wait.max.ms": 20,
        }
    )
    deadline = time.monotonic() + _WAIT_SECONDS
    try:
        partitions = sorted(consumer.list_topics(topic.name, timeout=_WAIT_SECONDS).topics[topic.name].partitions)
        consumer.assign([TopicPartition(topic.name, partition, 0) for partition in partitions])
        unfinished = set(partitions)
        while unfinished:
            messages = consumer.consume(1_000, _PAUSE_SECONDS)
            for message in messages:
                error = message.error()
                if error is None:
                    yield message
                elif error.code() == error._PARTITION_EOF:
                    unfinished.discard(partition_of(message))
                else:
                    raise KafkaException(error)
            if time.monotonic() > deadline:
                raise TimeoutError(f"{topic.name} could not be read to its end: {sorted(unfinished)}")
    finally:
        consumer.close()


def partition_of(message: Message) -> int:
    """Where it lies."""
    partition = message.partition()
    assert partition is not None
    return partition


def offset_of(message: Message) -> int:
    """Its place there."""
    offset = message.offset()
    assert offset is not None
    return offset


def value_of(message: Message) -> bytes:
    """Its content; there must be one."""
    value = message.value()
    assert isinstance(value, bytes)
    return value
