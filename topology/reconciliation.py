"""The reconciliation flow: watches over what is open, and looks up at the processors what is in doubt.

Reads `payments.events`; writes `payments.timers` (deadlines and steps of the ladder), `payments.processor-results`
(what look-ups said) and, as its changelog, `payments.pending`, in one transaction per epoch. It decides nothing about a
payment: that the fold does, with what stands in the log. Driven by `topology.kafka`; the rules are in
`topology.pending`.
"""

from __future__ import annotations

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic

from schemas.codec import decode, encode
from schemas.identifiers import PaymentIntentId
from schemas.payment import PaymentEvent
from schemas.processing import Pending
from schemas.topics import EVENTS, PENDING
from topology import kafka
from topology.kafka import FlowContext, FlowSpec, Input, Output, check_partitions
from topology.pending.side import ReconciliationSide
from topology.pending.times import ReconciliationTimes
from topology.pending.watch import Due, LookedUp, Watch

__all__ = ["FLOW", "ReconciliationSide", "ReconciliationTimes", "build"]

FLOW = FlowSpec(name="reconciliation", inputs=(EVENTS,), changelog=PENDING)


def build(context: FlowContext) -> Dataflow:
    """The flow as a diagram: events, moments and look-ups → pending → timers, results. Its side: ReconciliationSide."""
    side = context.side
    assert isinstance(side, ReconciliationSide)
    check_partitions(context, side.partitions)
    flow = Dataflow("reconciliation")
    inputs = kafka.inputs(flow, context)
    findings = op.stateful_batch("pending", inputs, lambda _state: PendingLogic(context, side))
    kafka.output(flow, findings, context)
    return flow


class PendingLogic(StatefulBatchLogic[Input, Output, None]):
    """Decides one epoch's inputs of one PaymentIntent; what it waits for rests in the store between epochs."""

    def __init__(self, context: FlowContext, side: ReconciliationSide) -> None:
        self._store = context.store
        self._clock = context.clock
        self._side = side

    def on_batch(self, values: list[Input]) -> tuple[list[Output], bool]:
        """Decide each input in turn, keep what is awaited, and say when it is due."""
        key, partition = PaymentIntentId(values[0].key), values[0].partition
        before = self._load(key)
        watch = Watch(
            key,
            partition,
            before,
            times=self._side.times,
            capabilities=self._side.capabilities,
            now=self._clock.now(),
        )
        for given in values:
            _decide(watch, given.value)
        after = watch.pending()
        if after != before:
            self._store.put(key, partition=partition, value=None if after is None else encode(after))
        self._side.watch(key, after)
        return watch.outputs, self.DISCARD

    def snapshot(self) -> None:
        """Bytewax's recovery is off: the changelog is the state."""

    def _load(self, key: str) -> Pending | None:
        stored = self._store.get(key)
        if stored is None:
            return None
        pending = decode(stored)
        assert isinstance(pending, Pending)
        return pending


def _decide(watch: Watch, given: object) -> None:
    match given:
        case PaymentEvent():
            watch.event(given)
        case Due():
            watch.due()
        case LookedUp():
            watch.looked_up(given)
        case _:
            raise AssertionError(f"not an input of this flow: {type(given).__name__}")
