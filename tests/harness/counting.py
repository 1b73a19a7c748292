"""Drives the counting flow as processes on a real Kafka, and checks that every input was applied exactly once.

Makes topics of its own, starts members of the flow (`tests.harness.counting_flow`, or `faulty_flow` where one is to
kill or pause itself at a chosen step), sends inputs, reads the committed outputs. Needs only a bootstrap address.
"""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from sandbox.stack.process import spawn
from schemas.codec import decode, encode
from schemas.identifiers import PaymentIntentId
from schemas.partitioner import partition as partition_of
from schemas.processing import InFlight, TimerFired
from schemas.times import Micros
from schemas.topics import DEAD_LETTERS
from tests.harness.counting_flow import changelog_topic, counting_spec, input_topic, output_topic
from tests.harness.member import Member
from topology.kafka.admin import create_topics

__all__ = ["Counting", "Member", "given"]

REPOSITORY = Path(__file__).parents[2]
_KEYS = 40


def given(key: str, name: str) -> TimerFired:
    """An input of the counting flow; the output repeats its name."""
    return TimerFired(payment_intent_id=PaymentIntentId(key), name=name, due_at=Micros(1), at=Micros(1))


class Counting:
    """One counting flow: its topics, its members, what was sent, and what came out."""

    def __init__(self, bootstrap: str, directory: Path, *, replicas: int = 1, partitions: int = 4) -> None:
        self.bootstrap = bootstrap
        # Brokers may be broken on purpose: that is worth no line for each attempt, and no minute of waiting.
        self._common: dict[str, Any] = {"bootstrap.servers": bootstrap, "log_level": 2, "socket.timeout.ms": 5_000}
        self.prefix = f"t{uuid.uuid4().hex[:8]}"
        self.spec = counting_spec(self.prefix)
        self.partitions = partitions
        self.members: list[Member] = []
        self.sent: dict[str, list[str]] = defaultdict(list)
        self.counted: dict[str, list[tuple[int, str]]] = defaultdict(list)
        self.environment: dict[str, str] = {}
        """What members that are started from now on have in their environment, beside this process's own."""
        self._directory = directory
        self._random = random.Random(0)
        self._keys = [f"pi_{number:032x}" for number in range(_KEYS)]
        topics = [input_topic(self.prefix), output_topic(self.prefix), changelog_topic(self.prefix), DEAD_LETTERS]
        create_topics(self.admin(), topics, partitions=partitions, replication_factor=replicas)
        self._producer = Producer(
            {**self._common, "enable.idempotence": True, "linger.ms": 0, "request.timeout.ms": 5_000}
        )
        self._outputs = self.consumer(output_topic(self.prefix).name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for member in self.members:
            member.kill()
        self._outputs.close()
        self._producer.close()
        if kind is not None:
            for member in self.members:
                print(f"--- {member.instance} ({member.process.returncode}):\n{member.output[-4000:]}")

    def admin(self) -> AdminClient:
        """A client for topics and groups."""
        return AdminClient(self._common)

    def consumer(self, topic: str, *, ends: bool = False) -> Consumer:
        """A committed reader of all partitions of a topic from their start; `ends`: it also tells of their ends."""
        consumer = Consumer(
            {
                **self._common,
                "group.id": f"{self.prefix}-reader",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": ends,
                "auto.offset.reset": "error",
                "fetch.wait.max.ms": 10,
            }
        )
        consumer.assign([TopicPartition(topic, number, 0) for number in range(self.partitions)])
        return consumer

    def start(self, instance: str = "0", *, fault: str | None = None) -> Member:
        """Start a member; `fault` is what `faulty_flow` takes: STEP:TRANSACTION:SIGNAL:DELAY_MS."""
        log = self._directory / f"{self.prefix}-{len(self.members)}.log"
        begin = partial(self._begin, instance, log)
        member = Member(instance=instance, process=begin(fault), log=log, begin=begin, fault=fault)
        self.members.append(member)
        return member

    def _begin(self, instance: str, log: Path, fault: str | None) -> subprocess.Popen[bytes]:
        module = "tests.harness.counting_flow" if fault is None else "tests.harness.faulty_flow"
        command = [sys.executable, "-m", module, self.bootstrap, self.prefix, instance]
        return spawn(
            command if fault is None else [*command, fault],
            environment=self.environment,
            log=log,
            directory=REPOSITORY,
            account=None,
            orphan_signal=signal.SIGKILL,
        )

    def send(self, count: int) -> None:
        """Send inputs for keys chosen at random; they are in the log when this returns."""
        self.send_to(*(self._random.choice(self._keys) for _ in range(count)))

    def send_to(self, *keys: str) -> None:
        """Send an input for each of these keys; they are in the log, in this order, when this returns."""
        for key in keys:
            name = f"{key[-4:]}-{len(self.sent[key])}"
            self.sent[key].append(name)
            self._producer.produce(
                input_topic(self.prefix).name,
                key=key,
                value=encode(given(key, name)),
                partition=partition_of(key, self.partitions),
            )
            self._producer.poll(0)
        assert self._producer.flush(60.0) == 0

    @contextlib.contextmanager
    def feeding(self, per_second: int) -> Iterator[None]:
        """Send inputs all the while."""
        ended = threading.Event()

        def feed() -> None:
            while not ended.wait(0.02):
                self.send(max(1, per_second // 50))

        thread = threading.Thread(target=feed, name="feed")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    @property
    def sent_count(self) -> int:
        """How many inputs were sent."""
        return sum(len(names) for names in self.sent.values())

    @property
    def counted_count(self) -> int:
        """How many committed outputs were read."""
        return sum(len(outputs) for outputs in self.counted.values())

    def read(self, timeout_seconds: float = 0.1) -> int:
        """Take the committed outputs that are there, waiting only for the first; how many came."""
        messages = self._outputs.consume(1, timeout_seconds)
        messages += self._outputs.consume(10_000, 0)
        before = self.counted_count
        for message in messages:
            key, value = message.key(), message.value()
            if message.error() is None:
                assert isinstance(key, bytes)
                assert value is not None
                output = decode(value)
                assert isinstance(output, TimerFired)
                self.counted[key.decode()].append((output.step, output.name))
        return self.counted_count - before

    def wait_until(self, condition: Callable[[], bool], *, what: str, within_seconds: float = 60.0) -> None:
        """Read outputs until the condition holds; members that ended themselves are started again."""
        deadline = time.monotonic() + within_seconds
        while not condition():
            for member in self.members:
                member.keep()
            assert time.monotonic() < deadline, f"{what} did not come within {within_seconds} s"
            self.read()

    def wait_for_more(self, count: int = 1, *, within_seconds: float = 60.0) -> None:
        """Wait for that many committed outputs beyond those that are there now."""
        while self.read(0):
            pass
        wanted = self.counted_count + count
        self.wait_until(
            lambda: self.counted_count >= wanted, what=f"{count} more outputs", within_seconds=within_seconds
        )

    def check(self, *, within_seconds: float = 60.0) -> None:
        """Every input was applied once and in order: the outputs of each key are numbered through."""
        self.wait_until(
            lambda: self.counted_count >= self.sent_count,
            what=f"output {self.sent_count} ({self.counted_count} at first)",
            within_seconds=within_seconds,
        )
        for key in self._keys:
            assert self.counted[key] == list(enumerate(self.sent[key], start=1)), key

    def check_stop(self) -> None:
        """No member runs: what came out is what was committed, no more and no less."""
        committed = sum(self.committed().values())
        self.wait_until(lambda: self.counted_count >= committed, what=f"output {committed}")
        assert self.counted_count == committed

    def check_at_rest(self) -> None:
        """No member runs, and all was counted: offsets and changelog say the same as the outputs."""
        assert all(member.process.poll() is not None for member in self.members)
        self.check()
        assert len(self._read_all(output_topic(self.prefix).name)) == self.sent_count
        inputs: dict[int, int] = defaultdict(int)
        for key, names in self.sent.items():
            inputs[partition_of(key, self.partitions)] += len(names)
        committed = self.committed()
        assert {number: committed.get(number, 0) for number in range(self.partitions)} == {
            number: inputs[number] for number in range(self.partitions)
        }
        assert self.state() == {key: len(names) for key, names in self.sent.items() if names}

    def committed(self) -> dict[int, int]:
        """The committed offset of each input partition that has one."""
        reader = Consumer({**self._common, "group.id": self.spec.name})
        try:
            name = input_topic(self.prefix).name
            asked = [TopicPartition(name, number) for number in range(self.partitions)]
            return {p.partition: p.offset for p in reader.committed(asked, timeout=20.0) if p.offset >= 0}
        finally:
            reader.close()

    def state(self) -> dict[str, int]:
        """The number that the changelog holds for each key."""
        numbers: dict[str, int] = {}
        for key, value in self._read_all(changelog_topic(self.prefix).name):
            record = decode(value)
            assert isinstance(record, InFlight)
            numbers[key] = record.sequence
        return numbers

    def _read_all(self, topic: str) -> list[tuple[str, bytes]]:
        """Every committed record of a topic, from its start to its end."""
        records: list[tuple[str, bytes]] = []
        reader = self.consumer(topic, ends=True)
        try:
            ended: set[int | None] = set()
            while len(ended) < self.partitions:
                for message in reader.consume(1000, 0.1):
                    key, value = message.key(), message.value()
                    if message.error() is not None:
                        ended.add(message.partition())
                    else:
                        assert isinstance(key, bytes)
                        assert value is not None
                        records.append((key.decode(), value))
        finally:
            reader.close()
        return records
