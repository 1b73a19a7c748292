"""The reconciliation flow: watches over what is open, and looks up at the processors what is in doubt.

Reads `payments.events` and, for advances of the test clock, `payments.timers`; writes `payments.timers` (deadlines and
steps of the ladder), `payments.processor-results` (what look-ups said), `payments.captures` (for settlement) and, as
its changelog, `payments.pending`, in one transaction per epoch. It decides nothing about a payment: that the fold does,
with what stands in the log. Driven by `topology.kafka`; the rules are in `topology.pending`.
"""

from __future__ import annotations

from bytewax.dataflow import Dataflow

from schemas.identifiers import PaymentIntentId
from schemas.payment import PaymentEvent
from schemas.processing import ClockOffset, Pending, TimerFired
from schemas.topics import EVENTS, PENDING, TIMERS
from topology import kafka
from topology.kafka import Clock, FlowContext, FlowSpec, Input, Output, check_partitions
from topology.pending.side import ReconciliationSide
from topology.pending.times import ReconciliationTimes
from topology.pending.watch import Due, LookedUp, Watch

__all__ = ["FLOW", "ReconciliationSide", "ReconciliationTimes", "build"]

FLOW = FlowSpec(
    name="reconciliation",
    inputs=(EVENTS, TIMERS),
    changelog=PENDING,
    # Kept for a shorter time than the events, and of it only advances of the test clock are news here.
    skippable=(TIMERS,),
)


def build(context: FlowContext) -> Dataflow:
    """The flow as a diagram: events, moments and look-ups → pending → log. Its side: ReconciliationSide."""
    side = context.side
    assert isinstance(side, ReconciliationSide)
    check_partitions(context, side.partitions)
    flow = Dataflow("reconciliation")
    inputs = kafka.inputs(flow, context)
    waiting = Waiting(side, context.clock)
    findings = kafka.stateful("pending", inputs, context, state=Pending, decide=waiting.decide)
    kafka.output(findings, context)
    return flow


class Waiting:
    """Decides what comes in for one PaymentIntent on what is awaited of it."""

    def __init__(self, side: ReconciliationSide, clock: Clock) -> None:
        self._side = side
        self._clock = clock

    def decide(
        self, key: str, partition: int, stored: Pending | None, inputs: list[Input]
    ) -> tuple[Pending | None, list[Output]]:
        """Decide each input in turn, keep what is awaited, and say when it is due."""
        inputs = [given for given in inputs if self._is_about_a_payment(given, partition)]
        if not inputs:
            return stored, []
        livemode = _livemode(stored, inputs)
        watch = Watch(
            PaymentIntentId(key),
            partition,
            stored,
            partitions=self._side.partitions,
            times=self._side.times,
            capabilities=self._side.capabilities,
            now=self._clock.now(),
            livemode=livemode,
            clock=self._side.clocks.of(partition, livemode=livemode),
        )
        for given in inputs:
            _decide(watch, given.value)
        pending = watch.pending()
        self._side.watch(key, partition, pending)
        return pending, watch.outputs

    def _is_about_a_payment(self, given: Input, partition: int) -> bool:
        """Of `payments.timers` only the advances of the test clock are news here; all else there is this flow's own."""
        if isinstance(given.value, ClockOffset):
            self._side.clocks.take(given.value, partition)
        return not isinstance(given.value, ClockOffset | TimerFired)


def _livemode(stored: Pending | None, inputs: list[Input]) -> bool:
    """The payment's mode, which its events tell; what was kept before it was kept too is taken for live mode's."""
    told = next((given.value for given in reversed(inputs) if isinstance(given.value, PaymentEvent)), None)
    if told is not None:
        return told.payment_intent.livemode
    return stored is None or stored.livemode


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
