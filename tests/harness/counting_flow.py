"""A flow that counts, to test the Kafka runtime with: each input of a key gets the next number of that key.

Reads `TimerFired` from its input topic and writes one `TimerFired` each to its output topic, whose `step` is the
number and whose `name` is the input's, with `InFlight.sequence` as the state. An input applied twice or never shows
as a gap or a repeat. Run as a process: `python -m tests.harness.counting_flow BOOTSTRAP PREFIX INSTANCE`.
"""

from __future__ import annotations

import logging
import signal
import sys
from dataclasses import replace

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic

from schemas.codec import decode, encode
from schemas.identifiers import PaymentIntentId
from schemas.processing import InFlight, TimerFired
from schemas.topics import Topic
from topology import kafka
from topology.kafka import FlowContext, FlowSpec, FlowStatus, Input, KafkaConfig, NoSide, Output, Produce, Received

__all__ = ["build_counting", "changelog_topic", "counting_spec", "input_topic", "output_topic"]


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


class CountingLogic(StatefulBatchLogic[Input, Output, None]):
    """Counts the inputs of one key."""

    def __init__(self, context: FlowContext, output: str) -> None:
        self._store = context.store
        self._output = output

    def on_batch(self, values: list[Input]) -> tuple[list[Output], bool]:
        key, partition = values[0].key, values[0].partition
        stored = self._store.get(key)
        state = decode(stored) if stored else InFlight(payment_intent_id=PaymentIntentId(key), sequence=0, calls=())
        assert isinstance(state, InFlight)
        outputs: list[Output] = []
        for given in values:
            assert isinstance(given, Received)
            assert isinstance(given.value, TimerFired)
            state = replace(state, sequence=state.sequence + 1)
            outputs.append(Produce(self._output, partition, key, encode(replace(given.value, step=state.sequence))))
        self._store.put(key, partition=partition, value=encode(state))
        return outputs, self.DISCARD

    def snapshot(self) -> None:
        return None


def build_counting(context: FlowContext, prefix: str) -> Dataflow:
    """inputs → count → log."""
    flow = Dataflow("counting")
    inputs = kafka.inputs(flow, context)
    counted = op.stateful_batch("count", inputs, lambda _state: CountingLogic(context, output_topic(prefix).name))
    kafka.output(flow, counted, context)
    return flow


def main(bootstrap: str, prefix: str, instance: str) -> None:
    """Run one process of the flow until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stopped.append(number))
    kafka.run_flow(
        counting_spec(prefix),
        lambda context: build_counting(context, prefix),
        config=KafkaConfig(bootstrap=bootstrap),
        instance=instance,
        side=NoSide(),
        stopping=lambda: bool(stopped),
        status=FlowStatus(),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
