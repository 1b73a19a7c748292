"""The processing flow: asks card processors for what the payments' events ask for, and writes down what they said.

Reads `payments.events`; writes `payments.processor-results` and, as its changelog, `payments.in-flight`, in one
transaction per epoch. A call leaves only after its in-flight entry has committed; its answer comes back through the
side and commits together with the end of the entry. Driven by `topology.kafka`; the rules are in `topology.calls`.
"""

from __future__ import annotations

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic

from schemas.codec import decode, encode
from schemas.identifiers import PaymentIntentId
from schemas.payment import PaymentEvent
from schemas.processing import InFlight
from schemas.topics import EVENTS, IN_FLIGHT
from topology import kafka
from topology.calls.entries import Answered, Desk, Entries, Turn, TurnedAway
from topology.calls.side import ProcessingConfig, ProcessingSide
from topology.kafka import FlowContext, FlowSpec, Input, Output, check_partitions

__all__ = ["FLOW", "ProcessingConfig", "ProcessingSide", "build"]

FLOW = FlowSpec(name="processing", inputs=(EVENTS,), changelog=IN_FLIGHT)


def build(context: FlowContext) -> Dataflow:
    """The flow as a diagram: events and answers → calls → results. The context's side is a ProcessingSide."""
    assert isinstance(context.side, ProcessingSide)
    desk = context.side.desk
    check_partitions(context, context.side.partitions)
    flow = Dataflow("processing")
    inputs = kafka.inputs(flow, context)
    results = op.stateful_batch("calls", inputs, lambda _state: CallsLogic(context, desk))
    kafka.output(flow, results, context)
    return flow


class CallsLogic(StatefulBatchLogic[Input, Output, None]):
    """Decides one epoch's inputs of one PaymentIntent; its entries rest in the store between epochs."""

    def __init__(self, context: FlowContext, desk: Desk) -> None:
        self._store = context.store
        self._clock = context.clock
        self._desk = desk

    def on_batch(self, values: list[Input]) -> tuple[list[Output], bool]:
        """Decide each input in turn and keep what is left of the entries."""
        key, partition = PaymentIntentId(values[0].key), values[0].partition
        before = self._load(key)
        entries = Entries(key, partition, before, desk=self._desk, now=self._clock.now())
        for given in values:
            _decide(entries, given.value)
        after = entries.in_flight()
        if after != before:
            self._store.put(key, partition=partition, value=None if after is None else encode(after))
        return entries.outputs, self.DISCARD

    def snapshot(self) -> None:
        """Bytewax's recovery is off: the changelog is the state."""

    def _load(self, key: str) -> InFlight | None:
        stored = self._store.get(key)
        if stored is None:
            return None
        in_flight = decode(stored)
        assert isinstance(in_flight, InFlight)
        return in_flight


def _decide(entries: Entries, given: object) -> None:
    match given:
        case PaymentEvent():
            entries.event(given)
        case Turn():
            entries.turn(given)
        case TurnedAway():
            entries.turned_away(given)
        case Answered():
            entries.answered(given)
        case _:
            raise AssertionError(f"not an input of this flow: {type(given).__name__}")
