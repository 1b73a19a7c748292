"""`match`: what waits under a reference and what comes in under it make settlements. Pure: no clock, no I/O.

A capture waits for its line, a line for its capture or, where none waits, for the word of the read model; one of them
is settled by the other, and both are forgotten. A capture in doubt is decided by its line: that becomes a result for
the fold, and the line waits for what the fold makes of it. A line of another kind than capture is kept and not judged.
What the end of a window asks is asked of the read model too: a line that named the processor's reference only, or that
was there before the capture was known here, has been matched by it. The window of a capture in test mode is one of the
test clock, by which the simulated network settles too; everything that is written bears real times.

Driven by `topology.settlement`, which writes the settlements and results and has the questions asked once they stand.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from schemas.identifiers import PaymentIntentId, TransactionId
from schemas.payment import TransactionStatus, TransactionType
from schemas.processing import CallKind, Outcome, ProcessorResult, ResultSource
from schemas.settlement import Capture, OpenCapture, Settlement, SettlementLine, SettlementOutcome
from schemas.times import Micros, later
from sinks.postgres import Asked, FoundTransaction
from topology.settling.findings import Judged, about_capture, about_line
from topology.settling.references import reference_of, settlement_id_of
from topology.settling.windows import Calendars
from topology.test_clock import WALL, PaymentClock

__all__ = ["FURTHER_LINES_MAX", "WHOLE_KIND", "Due", "Given", "Matched", "match"]

WHOLE_KIND = "capture"
"""The kind of line that is matched."""

FURTHER_LINES_MAX = 32
"""So many lines wait behind the first. A file that names one reference again and again must not make a record that
grows without end; a line beyond that is settled twice, whatever the first one comes to."""

_ON_ITS_WAY_SECONDS = 86_400.0
_EXPECTED = (TransactionStatus.succeeded, TransactionStatus.pending)


@dataclass(frozen=True, slots=True)
class Due:
    """The window of the capture that waits here has ended by that moment of its clock, if it is the one that waits
    still."""

    at: Micros


Given = Capture | SettlementLine | Due | Judged


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """What is to be kept under the reference (None: nothing), written, and asked of the read model after that."""

    kept: OpenCapture | None
    settlements: tuple[Settlement, ...] = ()
    result: ProcessorResult | None = None
    asked: Asked | None = None


def match(
    kept: OpenCapture | None, given: Given, *, at: Micros, calendars: Calendars, test_clock: PaymentClock = WALL
) -> Matched:
    """Decide one input on what waits under its reference. `at` is the moment of the decision, by the wall clock."""
    match given:
        case Capture():
            return _capture(kept, given, at, _due_at(given, calendars, test_clock))
        case SettlementLine():
            return _line(kept, given, at)
        case Due():
            return _due(kept, given, calendars, test_clock)
        case Judged():
            return _judged(kept, given, at)


def _due_at(capture: Capture, calendars: Calendars, test_clock: PaymentClock) -> Micros:
    """When its window ends, by its own clock."""
    clock = WALL if capture.livemode else test_clock
    return calendars.window(capture.processor, clock.shown_at(capture.at)).due_at


def _capture(kept: OpenCapture | None, capture: Capture, at: Micros, due_at: Micros) -> Matched:
    if capture.status not in _EXPECTED:
        return _came_to_nothing(kept)
    known = None if kept is None else kept.capture
    if known is not None and known.status is TransactionStatus.succeeded:
        # It stays captured, whatever is said again.
        return Matched(kept=kept)
    if kept is None or kept.line is None:
        return Matched(kept=OpenCapture(capture=capture, due_at=due_at))
    if capture.status is TransactionStatus.pending:
        waiting = replace(kept, capture=capture, due_at=due_at)
        return _decided_by(kept.line, waiting, capture.payment_intent_id, capture.transaction_id, at)
    settlements = [_settled(kept.line, capture, at)]
    settlements += [_of(line, SettlementOutcome.settled_twice, capture, at) for line in kept.further_lines]
    return Matched(kept=None, settlements=tuple(settlements))


def _came_to_nothing(kept: OpenCapture | None) -> Matched:
    """No line is expected any more. One that is there already is judged by what the read model has in the end."""
    if kept is None or kept.line is None:
        return Matched(kept=None)
    return Matched(kept=replace(kept, capture=None, due_at=kept.line.at), asked=about_line(kept.line))


def _line(kept: OpenCapture | None, line: SettlementLine, at: Micros) -> Matched:
    capture = None if kept is None else kept.capture
    if line.kind != WHOLE_KIND:
        return Matched(kept=kept, settlements=(_of(line, SettlementOutcome.unmatched_kind, capture, at),))
    if kept is None:
        return Matched(kept=OpenCapture(line=line, due_at=line.at), asked=about_line(line))
    if kept.line is not None:
        return _further(kept, line, at)
    assert capture is not None
    if capture.status is TransactionStatus.succeeded:
        return Matched(kept=None, settlements=(_settled(line, capture, at),))
    return _decided_by(line, replace(kept, line=line), capture.payment_intent_id, capture.transaction_id, at)


def _further(kept: OpenCapture, line: SettlementLine, at: Micros) -> Matched:
    assert kept.line is not None
    if any(_is_same(line, other) for other in (kept.line, *kept.further_lines)):
        return Matched(kept=kept)
    if len(kept.further_lines) >= FURTHER_LINES_MAX:
        return Matched(kept=kept, settlements=(_of(line, SettlementOutcome.settled_twice, kept.capture, at),))
    return Matched(kept=replace(kept, further_lines=(*kept.further_lines, line)))


def _due(kept: OpenCapture | None, due: Due, calendars: Calendars, test_clock: PaymentClock) -> Matched:
    if kept is None or kept.capture is None or kept.line is not None or kept.due_at > due.at:
        return Matched(kept=kept)
    capture = kept.capture
    if not capture.livemode and test_clock.remembers(capture.at):
        due_at = _due_at(capture, calendars, test_clock)
        if due_at > due.at:
            # It was read before an advance that had been made before it.
            return Matched(kept=replace(kept, due_at=due_at))
    return Matched(kept=kept, asked=about_capture(capture))


def _judged(kept: OpenCapture | None, judged: Judged, at: Micros) -> Matched:
    """What the read model says, if what asked is still there as it was."""
    if kept is None:
        return Matched(kept=None)
    if judged.asked.settlement_id is None:
        return _judged_capture(kept, judged, at)
    if kept.line is None or settlement_id_of(kept.line) != judged.asked.settlement_id:
        return Matched(kept=kept)
    if judged.finding.line_is_judged:
        return _next_line(kept)
    found = judged.finding.transaction
    if found is not None and found.captured_minor is None and _is_open_capture(found):
        return _decided_by(kept.line, kept, found.payment_intent_id, found.id, at)
    if found is not None and _is_on_its_way(found, kept.line, at):
        return Matched(kept=kept, asked=about_line(kept.line))
    return _next_line(kept, _judgement(kept.line, found, at))


def _judged_capture(kept: OpenCapture, judged: Judged, at: Micros) -> Matched:
    capture, found = kept.capture, judged.finding.transaction
    if capture is None or kept.line is not None or kept.due_at != judged.due_at:
        # Its line has come meanwhile, or it has been captured after all, and has a window of its own.
        return Matched(kept=kept)
    if found is not None and (found.is_settled or (found.captured_minor is None and not found.is_open)):
        # Settled by a line that did not come by here, or come to nothing: no line is missing.
        return Matched(kept=None)
    missing = Settlement(
        payment_intent_id=capture.payment_intent_id,
        transaction_id=capture.transaction_id,
        processor=capture.processor,
        processor_reference=capture.processor_reference,
        outcome=SettlementOutcome.missing_at_processor,
        at=at,
        capture_amount_minor=capture.amount_minor,
        capture_currency=capture.currency,
        reference=capture.transaction_id,
    )
    return Matched(kept=None, settlements=(missing,))


def _judgement(line: SettlementLine, found: FoundTransaction | None, at: Micros) -> Settlement:
    """What a line comes to that no capture waits for."""
    if found is None:
        return _of(line, SettlementOutcome.missing_here, None, at)
    if found.captured_minor is None:
        outcome = SettlementOutcome.settled_not_captured
    elif found.is_settled:
        outcome = SettlementOutcome.settled_twice
    else:
        outcome = _compared(line, amount_minor=found.captured_minor, currency=found.currency)
    amount_minor = found.amount_minor if found.captured_minor is None else found.captured_minor
    return replace(
        _of(line, outcome, None, at),
        payment_intent_id=found.payment_intent_id,
        transaction_id=found.id,
        capture_amount_minor=amount_minor,
        capture_currency=found.currency,
    )


def _next_line(kept: OpenCapture, *settlements: Settlement) -> Matched:
    """The first line has been judged, by what the read model knows better than what waits here: the next one's turn."""
    if not kept.further_lines:
        return Matched(kept=None, settlements=settlements)
    line, *further = kept.further_lines
    waiting = OpenCapture(line=line, due_at=line.at, further_lines=tuple(further))
    return Matched(kept=waiting, settlements=settlements, asked=about_line(line))


def _decided_by(
    line: SettlementLine,
    waiting: OpenCapture,
    payment_intent_id: PaymentIntentId,
    transaction_id: TransactionId,
    at: Micros,
) -> Matched:
    """The customer was charged: so the capture did take place. What the fold makes of it comes back as a capture.

    The read model is asked as well, and again until it knows an end: of a capture that was closed meanwhile nothing
    would come back. Said twice the result changes nothing.
    """
    result = ProcessorResult(
        payment_intent_id=payment_intent_id,
        transaction_id=transaction_id,
        processor=line.processor,
        call=CallKind.capture,
        outcome=Outcome.approved,
        source=ResultSource.settlement,
        at=at,
        amount_minor=line.gross_minor,
        currency=line.currency,
        processor_reference=line.processor_reference,
        evidence=f"settlement file {line.file_sequence} ({line.file_hash.hex()}), line {line.line_number}",
    )
    return Matched(kept=waiting, result=result, asked=about_line(line))


def _settled(line: SettlementLine, capture: Capture, at: Micros) -> Settlement:
    outcome = _compared(line, amount_minor=capture.amount_minor, currency=capture.currency)
    return _of(line, outcome, capture, at)


def _compared(line: SettlementLine, *, amount_minor: int, currency: str) -> SettlementOutcome:
    if line.currency != currency:
        return SettlementOutcome.currency
    return SettlementOutcome.settled if line.gross_minor == amount_minor else SettlementOutcome.amount


def _of(line: SettlementLine, outcome: SettlementOutcome, capture: Capture | None, at: Micros) -> Settlement:
    """The settlement that a line becomes, beside the capture where one is known."""
    return Settlement(
        payment_intent_id=None if capture is None else capture.payment_intent_id,
        transaction_id=None if capture is None else capture.transaction_id,
        processor=line.processor,
        processor_reference=line.processor_reference,
        outcome=outcome,
        settlement_date=line.settlement_date,
        line=line,
        at=at,
        capture_amount_minor=None if capture is None else capture.amount_minor,
        capture_currency=None if capture is None else capture.currency,
        reference=reference_of(line),
    )


def _is_same(line: SettlementLine, other: SettlementLine) -> bool:
    return line.file_hash == other.file_hash and line.line_number == other.line_number


def _is_on_its_way(found: FoundTransaction, line: SettlementLine, at: Micros) -> bool:
    """Whether a capture that the read model knows is still to come by here, from a reconciliation that is behind it.

    Settled without it, a second line would find it waiting, and settle it again. One that has not come for a day was
    made before captures were told of.
    """
    has_been_here = found.is_settled or found.was_missed or found.id != line.reference
    return found.is_captured and not has_been_here and at < later(line.at, seconds=_ON_ITS_WAY_SECONDS)


def _is_open_capture(found: FoundTransaction) -> bool:
    return found.is_open and found.type is TransactionType.capture
