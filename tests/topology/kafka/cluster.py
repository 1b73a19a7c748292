"""A cluster of three brokers under test: who leads and coordinates what, and faults of its brokers.

Only looks and sends signals; the brokers are children of a stack, which starts again whatever ends.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from typing import Any, ParamSpec

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType

from tests.harness.stack import RunningStack, wait_for

__all__ = ["BROKERS", "Cluster"]

P = ParamSpec("P")

BROKERS = ("kafka-1", "kafka-2", "kafka-3")
_OFFSETS, _TRANSACTIONS = "__consumer_offsets", "__transaction_state"
_METADATA_TIMEOUT_SECONDS = 10.0


class Cluster:
    """The brokers of a stack that was started with `--brokers 3`."""

    def __init__(self, stack: RunningStack) -> None:
        self._stack = stack
        self._admin = AdminClient({"bootstrap.servers": stack.kafka, "log_level": 2})

    def warm_up(self) -> None:
        """Have Kafka make its internal topics, which takes three brokers many times as long as one."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "transactional.id": "warm-up", "log_level": 2})
        reader = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "warm-up", "log_level": 2})
        try:
            # One after the other: a producer is made ready once, and says no to a second time.
            of_transactions = partial(_succeeds, producer.init_transactions, 10.0)
            wait_for(of_transactions, what=_TRANSACTIONS, within_seconds=60.0)
            of_offsets = partial(_succeeds, reader.committed, [TopicPartition(_OFFSETS, 0)], timeout=10.0)
            wait_for(of_offsets, what=_OFFSETS, within_seconds=60.0)
        finally:
            reader.close()
            producer.close()
        self.wait_until_whole()

    @property
    def bootstrap(self) -> str:
        """Where clients find it."""
        return self._stack.kafka

    def leader(self, topic: str, partition: int) -> str:
        """The broker that leads a partition."""
        return f"kafka-{self._topics()[topic].partitions[partition].leader}"

    def group_coordinator(self, group: str) -> str:
        """The broker that leads the partition in which a group's offsets lie."""
        return self._coordinator(_OFFSETS, group)

    def transaction_coordinator(self, transactional_id: str) -> str:
        """The broker that leads the partition in which a producer's transactions are decided."""
        return self._coordinator(_TRANSACTIONS, transactional_id)

    def setting(self, topic: str, name: str) -> str:
        """A setting of a topic, as its brokers see it."""
        (future,) = self._admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
        return str(future.result(timeout=_METADATA_TIMEOUT_SECONDS)[name].value)

    def replicas(self, topic: str) -> set[int]:
        """How many replicas the partitions of a topic have."""
        return {len(one.replicas) for one in self._topics()[topic].partitions.values()}

    def kill(self, *names: str) -> dict[str, int]:
        """Kill -9; the pids that they had."""
        return {name: self._stack.kill(name) for name in names}

    def hold_down(self, *names: str) -> None:
        """Kill these brokers, and keep the processes that replace them from starting, until `go_on`."""
        for name, pid in self.kill(*names).items():
            self._stack.wait_for_restart(name, former_pid=pid)
            self.pause(name)

    def pause(self, name: str) -> None:
        """Stop a broker in the middle of whatever it does."""
        self._stack.kill(name, signal.SIGSTOP)

    def go_on(self, *names: str) -> None:
        """Let these continue; whoever was not stopped does not notice."""
        for name in names:
            self._stack.kill(name, signal.SIGCONT)

    def wait_until_whole(self, *, within_seconds: float = 60.0) -> None:
        """Wait until every partition has a leader and all its replicas are in sync."""
        wait_for(self._is_whole, what="a whole cluster", within_seconds=within_seconds)

    def _is_whole(self) -> bool:
        try:
            topics = self._topics().values()
        except KafkaException:
            return False
        partitions = [partition for topic in topics for partition in topic.partitions.values()]
        return all(one.leader > 0 and len(one.isrs) == len(one.replicas) for one in partitions)

    def _coordinator(self, topic: str, name: str) -> str:
        return self.leader(topic, _java_hash(name) % len(self._topics()[topic].partitions))

    def _topics(self) -> dict[str, Any]:
        return self._admin.list_topics(timeout=_METADATA_TIMEOUT_SECONDS).topics


def _succeeds(call: Callable[P, object], *args: P.args, **options: P.kwargs) -> bool:
    try:
        call(*args, **options)
    except KafkaException:
        return False
    return True


def _java_hash(text: str) -> int:
    """`String.hashCode` without its sign, by which Kafka chooses coordinators."""
    value = 0
    for character in text:
        value = (31 * value + ord(character)) & 0xFFFFFFFF
    return value & 0x7FFFFFFF
