"""Reads a topic to its end, whatever came of it: what was committed, and when each message was appended."""

from __future__ import annotations

import time
from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaError, TopicPartition

from schemas.codec import Record, decode
from schemas.topics import Topic

__all__ = ["committed"]

_BATCH = 10_000


def committed(
    bootstrap: str, topic: Topic, *, partitions: int, at_least: int = 0, within_seconds: float = 60.0
) -> Iterator[tuple[float, Record]]:
    """Each record with the Unix time of its append, up to the end of every partition, and on until there are so many.

    Ends early where there are not so many after `within_seconds`; raises SystemExit where no end is met by then.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            # The client insists on a group; nothing is ever committed and no group is joined.
            "group.id": "bench-unused",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "log_level": 2,
        }
    )
    consumer.assign([TopicPartition(topic.name, number, 0) for number in range(partitions)])
    left, found = set(range(partitions)), 0
    until = time.monotonic() + within_seconds
    try:
        while left or (found < at_least and time.monotonic() < until):
            if left and time.monotonic() > until:
                raise SystemExit(f"{topic.name} could not be read to its end")
            for message in consumer.consume(_BATCH, 0.5):
                error = message.error()
                if error is None:
                    found += 1
                    yield message.timestamp()[1] / 1_000, decode(message.value() or b"")
                elif error.code() == KafkaError._PARTITION_EOF:
                    left.discard(message.partition() or 0)
    finally:
        consumer.close()
