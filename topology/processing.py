"""The processing flow: asks card processors for what the payments' events ask for, and writes down what they said.

Reads `payments.events`; writes `payments.processor-results` and, as its changelog, `payments.in-flight`, in one
transaction per epoch. A call leaves only after its in-flight entry has committed; its answer comes back through the
side and commits together with the end of the entry. Driven by `topology.kafka`; the rules are in `topology.calls`.
"""

from __future__ import annotations

from bytewax.dataflow import Dataflow

from schemas.identifiers import PaymentIntentId
from schemas.payment import PaymentEvent
from schemas.processing import InFlight
from schemas.topics import EVENTS, IN_FLIGHT
from topology import kafka
from topology.calls.entries import Answered, Desk, Entries, Turn, TurnedAway
from topology.calls.side import ProcessingConfig, ProcessingSide
from topology.kafka import Clock, FlowContext, FlowSpec, Input, Output, check_partitions

__all__ = ["FLOW", "ProcessingConfig", "ProcessingSide", "build"]

# A call that has left and whose answer nobody takes is in doubt, and its payment fails.
FLOW = FlowSpec(name="processing", inputs=(EVENTS,), changelog=IN_FLIGHT, finishes_before_leaving=True)


def build(context: FlowContext) -> Dataflow:
    """The flow as a diagram: events and answers → calls → results. The context's side is a ProcessingSide."""
    assert isinstance(context.side, ProcessingSide)
    calls = Calls(context.side.desk, context.clock)
    check_partitions(context, context.side.partitions)
    flow = Dataflow("processing")
    inputs = kafka.inputs(flow, context)
    results = kafka.stateful("calls", inputs, context, state=InFlight, decide=calls.decide)
    kafka.output(results, context)
    return flow


class Calls:
    """Decides what comes in for one PaymentIntent on its in-flight entries."""

    def __init__(self, desk: Desk, clock: Clock) -> None:
        self._desk = desk
        self._clock = clock

    def decide(
        self, key: str, partition: int, stored: InFlight | None, inputs: list[Input]
    ) -> tuple[InFlight | None, list[Output]]:
        """Decide each input in turn; what is left of the entries is kept."""
        entries = Entries(PaymentIntentId(key), partition, stored, desk=self._desk, now=self._clock.now())
        for given in inputs:
            _decide(entries, given.value)
        return entries.in_flight(), entries.outputs


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
