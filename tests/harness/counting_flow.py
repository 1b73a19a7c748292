"""A flow that counts, to test the Kafka runtime with: each input of a key gets the next number of that key.

Reads `TimerFired` from its input topic and writes one `TimerFired` each to its output topic, whose `step` is the
number and whose `name` is the input's, with `InFlight.sequence` as the state. An input applied twice or never shows
as a gap or a repeat. Run as a process: `python -m tests.harness.counting_flow BOOTSTRAP PREFIX INSTANCE`.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys

from bytewax.dataflow import Dataflow
from msgspec.structs import replace

from schemas.codec import encode
from schemas.identifiers import PaymentIntentId
from schemas.partitioner import partition as partition_of
from schemas.processing import InFlight, TimerFired
from schemas.times import Micros
from schemas.topics import Topic
from topology import kafka
from topology.kafka import FlowContext, FlowSpec, FlowStatus, Input, KafkaConfig, NoSide, Output, Produce, StateStore

__all__ = [
    "KAFKA_SETTINGS",
    "TICK",
    "build_counting",
    "changelog_topic",
    "counting_spec",
    "input_topic",
    "output_topic",
]

TICK = "tick"
"""The name of an input that came from the flow's own side."""

KAFKA_SETTINGS = "COUNTING_FLOW_KAFKA"
"""Settings of the Kafka clients, as JSON, in the environment of a process."""


def input_topic(prefix: str) -> Topic:
    """What the flow reads."""
    return Topic(name=f"{prefix}.inputs", key="intent", records=("TimerFired",), retention_ms=3_600_000)


def output_topic(prefix: str) -> Topic:
    """What the flow writes."""
    return Topic(name=f"{prefix}.outputs", key="intent", records=("TimerFired",), retention_ms=3_600_000)


def changelog_topic(prefix: str) -> Topic:
    """Where its state lies."""
    return Topic(name=f"{prefix}.changelog", key="intent", records=("InFlight",), retention_ms=None)


def counting_spec(prefix: str) -> FlowSpec:
    """The flow, under a name of its own for each test."""
    return FlowSpec(name=f"{prefix}-counting", inputs=(input_topic(prefix),), changelog=changelog_topic(prefix))


class Ticks(NoSide):
    """Brings an input of its own, for some key that is known, each time that it is asked: as an answer would come."""

    def __init__(self) -> None:
        self.asked = 0
        self.partitions = 0
        self._store = StateStore()

    def restored(self, store: StateStore, shards: tuple[int, ...]) -> None:
        """Other shards, or the same ones as the log has them."""
        self._store = store

    def drain(self, limit: int) -> list[tuple[str, int, object]]:
        """A tick, once there is a key."""
        key = next((key for key, _value in self._store.items()), None)
        if not self.asked or key is None:
            return []
        self.asked -= 1
        tick = TimerFired(payment_intent_id=PaymentIntentId(key), name=TICK, due_at=Micros(1), at=Micros(1))
        return [(key, partition_of(key, self.partitions), tick)]


class Counter:
    """Counts the inputs of one key."""

    def __init__(self, output: str) -> None:
        self._output = output

    def decide(
        self, key: str, partition: int, state: InFlight | None, inputs: list[Input]
    ) -> tuple[InFlight | None, list[Output]]:
        """An output for each input, numbered through."""
        number = 0 if state is None else state.sequence
        outputs: list[Output] = []
        for given in inputs:
            assert isinstance(given.value, TimerFired)
            number += 1
            outputs.append(Produce(self._output, partition, key, encode(replace(given.value, step=number))))
        return InFlight(payment_intent_id=PaymentIntentId(key), sequence=number, calls=()), outputs


def build_counting(context: FlowContext, prefix: str) -> Dataflow:
    """inputs → count → log."""
    if isinstance(context.side, Ticks):
        context.side.partitions = context.partitions
    flow = Dataflow("counting")
    inputs = kafka.inputs(flow, context)
    counter = Counter(output_topic(prefix).name)
    counted = kafka.stateful("count", inputs, context, state=InFlight, decide=counter.decide)
    kafka.output(counted, context)
    return flow


def main(bootstrap: str, prefix: str, instance: str) -> None:
    """Run one process of the flow until SIGTERM; SIGUSR1 asks for a tick."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    stopped: list[int] = []
    ticks = Ticks()

    def tick(_number: int, _frame: object) -> None:
        ticks.asked += 1

    signal.signal(signal.SIGTERM, lambda number, _frame: stopped.append(number))
    signal.signal(signal.SIGUSR1, tick)
    kafka.run_flow(
        counting_spec(prefix),
        lambda context: build_counting(context, prefix),
        config=KafkaConfig(bootstrap=bootstrap, extra=json.loads(os.environ.get(KAFKA_SETTINGS, "{}"))),
        instance=instance,
        side=ticks,
        stopping=lambda: bool(stopped),
        status=FlowStatus(),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
