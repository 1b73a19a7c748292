"""The settlement flow: what was captured beside what the processors' files say of it.

Reads `payments.captures`, `payments.settlement-lines` and, for advances of the test clock, `payments.timers`; writes
`payments.settlements` (what became of each), `payments.processor-results` (a capture in doubt that a line decides) and,
as its changelog, `payments.open-captures`, in one transaction per epoch. It changes no payment: that the fold does.
Driven by `topology.kafka`; the rules are in `topology.settling`.
"""

from __future__ import annotations

from collections.abc import Iterator

from bytewax.dataflow import Dataflow

from schemas.codec import encode
from schemas.partitioner import partition as partition_of
from schemas.processing import ClockOffset, TimerFired
from schemas.settlement import Capture, OpenCapture, SettlementLine
from schemas.times import Micros
from schemas.topics import CAPTURES, OPEN_CAPTURES, PROCESSOR_RESULTS, SETTLEMENT_LINES, SETTLEMENTS, TIMERS
from topology import kafka
from topology.kafka import (
    AfterCommit,
    Clock,
    FlowContext,
    FlowSpec,
    Input,
    Output,
    Produce,
    Received,
    check_partitions,
)
from topology.kafka.dead_letters import dead_letter
from topology.settling.findings import Judged, Question
from topology.settling.judge import ReadModelJudge
from topology.settling.matching import Due, Given, Matched, match
from topology.settling.metrics import RESULTS_WRITTEN, SETTLEMENTS_WRITTEN
from topology.settling.references import key_of, key_of_settlement
from topology.settling.side import SettlementSide
from topology.settling.windows import Calendar, Calendars

__all__ = ["FLOW", "Calendar", "Calendars", "ReadModelJudge", "SettlementSide", "build"]

FLOW = FlowSpec(
    name="settlement",
    inputs=(CAPTURES, SETTLEMENT_LINES, TIMERS),
    changelog=OPEN_CAPTURES,
    # Kept for a shorter time than the others, and of it only advances of the test clock are news here.
    skippable=(TIMERS,),
)

# The years 1970 to 2099: a moment beyond them has been taken from no clock, and no calendar has a window for it.
_FIRST, _LAST = 0, 4_102_444_800_000_000


def build(context: FlowContext) -> Dataflow:
    """The flow as a diagram: captures, lines, ends of windows and judgements → open_captures → log."""
    side = context.side
    assert isinstance(side, SettlementSide)
    check_partitions(context, side.partitions)
    flow = Dataflow("settlement")
    inputs = kafka.inputs(flow, context)
    matching = Matching(side, context.clock)
    settlements = kafka.stateful("open_captures", inputs, context, state=OpenCapture, decide=matching.decide)
    kafka.output(settlements, context)
    return flow


class Matching:
    """Decides what comes in under one reference on what waits there."""

    def __init__(self, side: SettlementSide, clock: Clock) -> None:
        self._side = side
        self._clock = clock

    def decide(
        self, key: str, partition: int, stored: OpenCapture | None, inputs: list[Input]
    ) -> tuple[OpenCapture | None, list[Output]]:
        """Decide each input in turn, and keep what waits then."""
        at, kept, outputs = self._clock.now(), stored, list[Output]()
        calendars = self._side.calendars
        for given in inputs:
            if isinstance(given.value, ClockOffset):
                self._side.clocks.take(given.value, partition)
            if isinstance(given.value, ClockOffset | TimerFired):
                # Of `payments.timers` only the advances of the test clock are news here.
                continue
            if isinstance(given, Received) and (cause := _why_not(key, given)) is not None:
                outputs.append(dead_letter(given, cause, flow=FLOW.name, at=at))
                continue
            test_clock = self._side.clocks.of(partition, livemode=False)
            matched = match(kept, _value_of(given), at=at, calendars=calendars, test_clock=test_clock)
            kept = matched.kept
            outputs.extend(self._outputs(key, partition, matched))
        self._side.watch(key, partition, stored, kept)
        return kept, outputs

    def _outputs(self, key: str, partition: int, matched: Matched) -> Iterator[Output]:
        for settlement in matched.settlements:
            SETTLEMENTS_WRITTEN.labels(settlement.processor, settlement.outcome).inc()
            yield self._produce(SETTLEMENTS.name, key_of_settlement(settlement), encode(settlement))
        if matched.result is not None:
            RESULTS_WRITTEN.inc()
            yield self._produce(PROCESSOR_RESULTS.name, matched.result.payment_intent_id, encode(matched.result))
        if matched.asked is not None:
            assert matched.kept is not None
            due_at = matched.kept.due_at
            yield AfterCommit(Question(key=key, partition=partition, asked=matched.asked, due_at=due_at))

    def _produce(self, topic: str, key: str, value: bytes) -> Produce:
        """A record under a key of its own: it lies on another partition than what it came from."""
        return Produce(topic, partition_of(key, self._side.partitions), key, value)


def _why_not(key: str, given: Received) -> str | None:
    """Why a record is set aside that no correct writer has written."""
    record = given.value
    assert isinstance(record, Capture | SettlementLine)
    if key_of(record) != key:
        return "key_mismatch"
    if isinstance(record, Capture) and not _is_moment(record.at):
        return "invalid_capture"
    return None


def _is_moment(at: Micros) -> bool:
    return _FIRST <= at < _LAST


def _value_of(given: Input) -> Given:
    assert isinstance(given.value, Capture | SettlementLine | Due | Judged)
    return given.value
