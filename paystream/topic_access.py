"""Reads a topic whole, and writes a few records to one: for commands, which no flow waits for.

What is written is acknowledged by all in-sync replicas before `write` returns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from schemas.codec import CodecError, Record, decode, encode, record_name
from schemas.topics import Topic

__all__ = ["LogUnavailable", "Placed", "partitions_of", "read_all", "write"]

_ASK_SECONDS = 10.0
_SILENT_SECONDS_MAX = 15.0
_BATCH = 10_000
_DELIVERY_SECONDS = 10.0


class LogUnavailable(Exception):
    """Kafka did not answer, or not in time. Of what was to be written some may have been, or may still be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A record with its key and where it lies. `record` None: a tombstone."""

    key: str
    partition: int
    record: Record | None


def partitions_of(bootstrap: str, topic: Topic) -> int:
    """How many partitions a topic has; raises LogUnavailable."""
    consumer = _consumer(bootstrap)
    try:
        return _partitions(consumer, topic)
    except KafkaException as error:
        raise LogUnavailable(str(error)) from error
    finally:
        consumer.close()


def read_all(bootstrap: str, topic: Topic, *, only: str) -> Iterator[Placed]:
    """The committed records of one kind, and tombstones, up to where the topic ends now; raises LogUnavailable."""
    consumer = _consumer(bootstrap)
    try:
        left = set(range(_partitions(consumer, topic)))
        consumer.assign([TopicPartition(topic.name, partition, OFFSET_BEGINNING) for partition in left])
        while left:
            messages = consumer.consume(1, _SILENT_SECONDS_MAX) + consumer.consume(_BATCH, 0)
            if not messages:
                raise LogUnavailable(f"{topic.name} could not be read to its end")
            for message in messages:
                if _is_end(message):
                    left.discard(message.partition() or 0)
                else:
                    yield from _placed(message, only)
    except KafkaException as error:
        raise LogUnavailable(str(error)) from error
    finally:
        consumer.close()


def write(bootstrap: str, topic: Topic, records: Iterable[tuple[str, Record]]) -> None:
    """Write records under their keys, each to the partition that its key belongs to; raises LogUnavailable."""
    failures: list[str] = []

    def delivered(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            failures.append(str(error))

    config: dict[str, Any] = {
        "bootstrap.servers": bootstrap,
        "client.id": "paystream-operator",
        "acks": "all",
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        "delivery.timeout.ms": int(_DELIVERY_SECONDS * 1000),
        "request.timeout.ms": 5_000,
        "log_level": 2,
        "error_cb": lambda _error: None,
    }
    producer = Producer(config)
    try:
        for key, record in records:
            producer.produce(topic.name, key=key, value=encode(record), on_delivery=delivered)
    except KafkaException as error:
        raise LogUnavailable(str(error)) from error
    if producer.flush(_DELIVERY_SECONDS + 1) or failures:
        raise LogUnavailable(failures[0] if failures else "no broker has acknowledged")


def _is_end(message: Message) -> bool:
    """Whether it is the news of a partition's end; raises KafkaException for any other error."""
    error = message.error()
    if error is not None and error.code() != KafkaError._PARTITION_EOF:
        raise KafkaException(error)
    return error is not None


def _placed(message: Message, only: str) -> Iterator[Placed]:
    key, value, partition = message.key(), message.value(), message.partition() or 0
    text = key.decode(errors="replace") if isinstance(key, bytes) else ""
    if value is None:
        yield Placed(key=text, partition=partition, record=None)
        return
    try:
        if record_name(value) == only:
            yield Placed(key=text, partition=partition, record=decode(value))
    except CodecError:
        return


def _partitions(consumer: Consumer, topic: Topic) -> int:
    known = consumer.list_topics(topic.name, timeout=_ASK_SECONDS).topics[topic.name]
    if known.error is not None:
        raise KafkaException(known.error)
    return len(known.partitions)


def _consumer(bootstrap: str) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            # The client insists on a group; nothing is ever committed and no group is joined.
            "group.id": "paystream-operator-unused",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "log_level": 2,
            "error_cb": lambda _error: None,
        }
    )
