"""The floor: seven bare transactional hops, the least that a payment to `succeeded` can take on this Kafka.

payments, processing, processing, payments, processing, processing, payments: each reads what the one before it
committed and commits what it makes of it together with its offset. A bare hop is exactly that and nothing else: a
`read_committed` poll, one message produced, the offset sent, the transaction committed.
"""

from __future__ import annotations

import time
import uuid

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.topics import Topic
from topology.kafka.admin import create_topics

__all__ = ["HOPS", "measure_hops"]

HOPS = 7
_WARM_UP = 10


class _Hop:
    """One step of the chain: from its topic to the next."""

    def __init__(self, bootstrap: str, source: str, target: str) -> None:
        self.source = source
        self.target = target
        self.consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": source,
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 50,
            }
        )
        self.consumer.assign([TopicPartition(source, 0, 0)])
        self.producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": source, "linger.ms": 0})
        self.producer.init_transactions(30)

    def pass_on(self) -> None:
        """Wait for one message and commit it to the next topic."""
        message = None
        while message is None:
            message = self.consumer.poll(1.0)
        value, offset = message.value(), message.offset()
        assert message.error() is None
        assert offset is not None
        self.producer.begin_transaction()
        self.producer.produce(self.target, value=value, partition=0)
        self.producer.send_offsets_to_transaction(
            [TopicPartition(self.source, 0, offset + 1)], self.consumer.consumer_group_metadata(), 10
        )
        self.producer.commit_transaction(10)


def measure_hops(bootstrap: str, *, rounds: int) -> list[float]:
    """Seconds from the append of a message to its read, committed, seven hops later; one value a round."""
    prefix = f"bench-{uuid.uuid4().hex[:8]}"
    topics = [
        Topic(name=f"{prefix}.{number}", key="none", records=(), retention_ms=3_600_000) for number in range(HOPS + 1)
    ]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    create_topics(admin, topics, partitions=1, replication_factor=1)
    hops = [_Hop(bootstrap, topics[number].name, topics[number + 1].name) for number in range(HOPS)]
    first = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0})
    last = Consumer({"bootstrap.servers": bootstrap, "group.id": prefix, "isolation.level": "read_committed"})
    last.assign([TopicPartition(topics[-1].name, 0, 0)])
    seconds = []
    for _ in range(rounds + _WARM_UP):
        started = time.perf_counter()
        first.produce(topics[0].name, value=b"x" * 500, partition=0)
        first.flush(10)
        for hop in hops:
            hop.pass_on()
        message = None
        while message is None:
            message = last.poll(1.0)
        seconds.append(time.perf_counter() - started)
    for hop in hops:
        hop.consumer.close()
    last.close()
    for future in admin.delete_topics([topic.name for topic in topics]).values():
        future.result()
    return seconds[_WARM_UP:]
