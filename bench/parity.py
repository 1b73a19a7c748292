"""Whether two systems said the same: their events and replies, read from two brokers and held against each other.

Events are compared by PaymentIntent in the order of the log, replies by command; every field counts. Reads
`payments.events` and `payments.replies` (`read_committed`). Driven by the bench before it compares any speed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from schemas.codec import Record, decode
from schemas.commands import CommandReply
from schemas.payment import PaymentEvent
from schemas.topics import EVENTS, REPLIES

__all__ = ["Said", "differences", "said"]

Said = Mapping[tuple[str, str, int], Sequence[Record]]
"""By (topic, PaymentIntent or command, partition): what was said, in order."""

_BATCH = 10_000


def said(bootstrap: str, *, partitions: int) -> Said:
    """All events and replies that a broker holds."""
    found: defaultdict[tuple[str, str, int], list[Record]] = defaultdict(list)
    for topic in (EVENTS.name, REPLIES.name):
        for partition, record in _records(bootstrap, topic, partitions):
            assert isinstance(record, PaymentEvent | CommandReply)
            key = record.payment_intent.id if isinstance(record, PaymentEvent) else record.command_id
            found[topic, key, partition].append(record)
    return found


def differences(ours: Said, theirs: Said) -> list[str]:
    """Where the two differ, one line each; empty where both said the same, record by record and field by field."""
    found: list[str] = []
    for key in sorted(ours.keys() | theirs.keys()):
        pairs = zip_longest(ours.get(key, ()), theirs.get(key, ()))
        for number, (mine, other) in enumerate(pairs):
            if mine == other:
                continue
            where = f"{key[0]}/{key[2]} {key[1]} record {number}"
            found.append(f"{where}: {_difference(mine, other)}")
    return found


def _difference(mine: Record | None, other: Record | None) -> str:
    if mine is None or other is None:
        return "only theirs" if mine is None else "only ours"
    if type(mine) is not type(other):
        return f"{type(mine).__name__}, theirs {type(other).__name__}"
    unlike = [name for name in mine.__struct_fields__ if getattr(mine, name) != getattr(other, name)]
    return ", ".join(f"{name} is {getattr(mine, name)!r}, theirs {getattr(other, name)!r}" for name in unlike)


def _records(bootstrap: str, topic: str, partitions: int) -> Iterator[tuple[int, Record]]:
    """Every committed record of a topic with its partition, up to the ends as they are found."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bench-parity",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
        }
    )
    try:
        consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
        ended: set[int | None] = set()
        while len(ended) < partitions:
            for message in consumer.consume(_BATCH, 0.2):
                number, value = message.partition(), message.value()
                if (error := message.error()) is not None:
                    if error.code() != KafkaError._PARTITION_EOF:
                        raise KafkaException(error)
                    ended.add(number)
                    continue
                assert number is not None
                assert value is not None
                yield number, decode(value)
    finally:
        consumer.close()
