"""`paystream flow payments` as several processes: they share the shards, come, die, stand still and are doubled.

Real processes on a Kafka of their own; a `Customer` in this one drives payments through them, event by event.
"""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from sandbox.stack import Part
from sandbox.stack.process import spawn
from schemas.codec import decode
from schemas.payment import PaymentIntent, PaymentIntentStatus, TransactionStatus
from schemas.topics import ALL, DEAD_LETTERS, EVENTS, INTENTS
from tests.harness.counting import REPOSITORY
from tests.harness.member import Member
from tests.harness.stack import start_stack, wait_for
from tests.integration.customer import ATTEMPTS, EVENTS_EACH, PARTITIONS, Customer, read_all
from topology.kafka.admin import create_topics


class Flow:
    """Processes of the payments flow, by instance; whatever still runs is killed at the end."""

    def __init__(self, bootstrap: str, directory: Path) -> None:
        self._bootstrap = bootstrap
        self._directory = directory
        self.members: list[Member] = []

    def start(self, instance: str) -> Member:
        """One more process."""
        log = self._directory / f"{len(self.members)}.log"
        environment = {
            "PAYSTREAM_KAFKA_BOOTSTRAP": self._bootstrap,
            "PAYSTREAM_INSTANCE": instance,
            "PAYSTREAM_HTTP_PORT": str(free_port()),
        }
        process = spawn(
            [sys.executable, "-m", "paystream", "flow", "payments"],
            environment=environment,
            log=log,
            directory=REPOSITORY,
            account=None,
            orphan_signal=signal.SIGKILL,
        )
        self.members.append(Member(instance=instance, process=process, log=log))
        return self.members[-1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def bootstrap() -> Iterator[str]:
    with start_stack(parts=frozenset({Part.KAFKA})) as stack:
        create_topics(AdminClient({"bootstrap.servers": stack.kafka}), ALL, partitions=PARTITIONS, replication_factor=1)
        yield stack.kafka


@pytest.fixture
def flow(bootstrap: str, tmp_path: Path) -> Iterator[Flow]:
    made = Flow(bootstrap, tmp_path)
    try:
        yield made
    finally:
        for member in made.members:
            member.kill()
            print(f"--- {member.instance} ({member.process.returncode}):\n{member.output[-3000:]}")


def share(*members: Member) -> None:
    """Wait until these hold all shards between them, each at least one and none twice."""

    def shared() -> bool:
        held = [member.shards or () for member in members]
        return all(held) and sorted(shard for shards in held for shard in shards) == list(range(PARTITIONS))

    wait_for(shared, what="a share for each", within_seconds=90.0)


def more(customer: Customer, count: int = 50) -> None:
    """Wait for so many events more."""
    wanted = customer.events_seen + count
    wait_for(lambda: customer.events_seen >= wanted, what=f"{count} events more", within_seconds=90.0)


@pytest.mark.timeout(600)
def test_whatever_becomes_of_its_processes_every_command_is_carried_out_once(bootstrap: str, flow: Flow) -> None:
    customer = Customer(bootstrap)
    customer.start()
    try:
        first, second = flow.start("0"), flow.start("1")
        share(first, second)
        more(customer)
        third = flow.start("2")
        share(first, second, third)
        more(customer)
        # One is killed while another stands still for longer than its session: all comes to the third.
        second.kill()
        first.signal(signal.SIGSTOP)
        share(third)
        more(customer)
        first.signal(signal.SIGCONT)
        share(first, third)
        more(customer)
        twin = flow.start("2")
        wait_for(
            lambda: any("fenced by its own name" in one.output for one in (third, twin)),
            what="the fencing of a twin",
            within_seconds=90.0,
        )
        more(customer)
        twin.stop()
        more(customer)
    finally:
        customer.opens_no_more()
    customer.finish(within_seconds=120.0)
    third.stop()
    first.stop()
    check(bootstrap, customer)


def check(bootstrap: str, customer: Customer) -> None:
    """Each payment has all its events once and in order, and state, offsets and dead letters say the same."""
    assert len(customer.opened) > 100
    stored = read_all(bootstrap, EVENTS)
    assert len(stored) == len(customer.opened) * EVENTS_EACH
    for intent in customer.opened:
        events = customer.histories[intent]
        assert [event.sequence for event in events] == list(range(1, EVENTS_EACH + 1)), intent
        last = events[-1].payment_intent
        assert last.status is PaymentIntentStatus.canceled
        assert [one.status for one in last.transactions] == [TransactionStatus.declined] * ATTEMPTS
    state = {key: decode(value) for key, value in read_all(bootstrap, INTENTS) if value is not None}
    intents = {key: record for key, record in state.items() if isinstance(record, PaymentIntent)}
    assert intents == {intent: customer.histories[intent][-1].payment_intent for intent in customer.opened}
    asking = Consumer({"bootstrap.servers": bootstrap, "group.id": "payments"})
    places = [TopicPartition(topic, shard) for topic, shard in customer.written]
    committed = {(place.topic, place.partition): place.offset for place in asking.committed(places, timeout=20.0)}
    asking.close()
    assert committed == dict(customer.written)
    assert read_all(bootstrap, DEAD_LETTERS) == []
