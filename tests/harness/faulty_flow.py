"""The counting flow in a process that kills or pauses itself at a chosen step of a chosen transaction.

    python -m tests.harness.faulty_flow BOOTSTRAP PREFIX INSTANCE STEP:TRANSACTION:SIGNAL:DELAY_MS

A kill from outside rarely falls between two calls of a commit; this one always does. TRANSACTION counts from 1 in each
run; a later one is taken if that one lacks the step. Before it signals itself, what was produced is delivered, so that
the broker has as much as it can have.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from unittest import mock

from confluent_kafka import Producer, TopicPartition

from tests.harness import counting_flow
from topology.kafka import runner
from topology.kafka.clients import KafkaConfig
from topology.kafka.fence import fence
from topology.kafka.flow import FlowSpec

__all__ = ["Fault", "Step"]

_FLUSH_SECONDS = 10.0


class Step(StrEnum):
    """Where in a transaction the fault lies."""

    before_begin = "before_begin"
    before_produce = "before_produce"
    between_produces = "between_produces"
    before_offsets = "before_offsets"
    before_commit = "before_commit"
    during_commit = "during_commit"
    after_commit = "after_commit"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens, and when; `delay_ms` is for `during_commit`."""

    step: Step
    transaction: int
    number: signal.Signals = signal.SIGKILL
    delay_ms: float = 0.0

    def __str__(self) -> str:
        return f"{self.step}:{self.transaction}:{self.number.name}:{self.delay_ms}"

    @classmethod
    def parse(cls, text: str) -> Fault:
        """The inverse of `str`."""
        step, transaction, number, delay_ms = text.split(":")
        return cls(
            step=Step(step), transaction=int(transaction), number=signal.Signals[number], delay_ms=float(delay_ms)
        )


class FaultyProducer:
    """A producer that signals its own process when its step comes, once in the life of the process."""

    def __init__(self, producer: Producer, fault: Fault, done: threading.Event) -> None:
        self._producer = producer
        self._fault = fault
        self._done = done
        self._transactions = 0
        self._produced = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def begin_transaction(self) -> None:
        """As the producer has it."""
        self._transactions += 1
        self._produced = 0
        self._reach(Step.before_begin)
        self._producer.begin_transaction()

    def produce(self, *arguments: Any) -> None:
        """As the producer has it."""
        if self._produced == 0:
            self._reach(Step.before_produce)
        elif self._produced == 1:
            self._reach(Step.between_produces)
        self._produced += 1
        self._producer.produce(*arguments)

    def send_offsets_to_transaction(self, offsets: list[TopicPartition], metadata: object, timeout: float) -> None:
        """As the producer has it."""
        self._reach(Step.before_offsets)
        self._producer.send_offsets_to_transaction(offsets, metadata, timeout)

    def commit_transaction(self, timeout: float) -> None:
        """As the producer has it."""
        self._reach(Step.before_commit)
        if self._is_due(Step.during_commit):
            self._done.set()
            threading.Thread(target=self._signal_later, daemon=True).start()
        self._producer.commit_transaction(timeout)
        self._reach(Step.after_commit)

    def _is_due(self, step: Step) -> bool:
        return not self._done.is_set() and self._fault.step is step and self._transactions >= self._fault.transaction

    def _reach(self, step: Step) -> None:
        if self._is_due(step):
            self._done.set()
            if step is not Step.after_commit and self._produced:
                self._producer.flush(_FLUSH_SECONDS)
            os.kill(os.getpid(), self._fault.number)

    def _signal_later(self) -> None:
        time.sleep(self._fault.delay_ms / 1000)
        os.kill(os.getpid(), self._fault.number)


def main(bootstrap: str, prefix: str, instance: str, fault: str) -> None:
    """Run one process of the counting flow until its fault, or SIGTERM."""
    done = threading.Event()

    def make(spec: FlowSpec, config: KafkaConfig, *, instance: str, stopping: Callable[[], bool]) -> FaultyProducer:
        return FaultyProducer(fence(spec, config, instance=instance, stopping=stopping), Fault.parse(fault), done)

    with mock.patch.object(runner, "fence", make):
        counting_flow.main(bootstrap, prefix, instance)


if __name__ == "__main__":
    main(*sys.argv[1:])
