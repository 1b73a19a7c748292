"""What the result of a capture, or of its look-up, means."""

from __future__ import annotations

from msgspec.structs import replace

from schemas.payment import CaptureMethod, PaymentIntent, Transaction, TransactionStatus
from schemas.processing import AuthorizationState, Outcome, ProcessorResult
from topology.domain.decision import Decision, refused
from topology.domain.findings import Finding, nothing_decided, with_facts
from topology.domain.intents import is_open
from topology.domain.refusals import Refusal
from topology.domain.transitions import On

__all__ = ["AMOUNT_DIFFERS", "found_captured_minor", "read_capture"]

AMOUNT_DIFFERS = "amount_differs"
"""Code of a capture that the processor booked over another amount or currency than asked for; settlement tells more."""


def read_capture(intent: PaymentIntent, capture: Transaction, result: ProcessorResult) -> Finding | Decision:
    """Name the result of a capture."""
    if not is_open(capture):
        return _closed(capture, result)
    match result.outcome:
        case Outcome.approved:
            return _captured(capture, result)
        case Outcome.declined:
            return _failed(intent, capture, result)
        case Outcome.unknown | Outcome.not_found:
            return nothing_decided(capture, result, On.outcome_unknown)
        case _:
            # Not sent is no result of a capture: processing keeps it waiting and tries again.
            return refused(Refusal.unexpected_result)


def _closed(capture: Transaction, result: ProcessorResult) -> Finding | Decision:
    said = {
        Outcome.approved: capture.status is TransactionStatus.succeeded,
        Outcome.declined: capture.status is not TransactionStatus.succeeded,
    }.get(result.outcome, True)
    return refused(Refusal.nothing_new) if said else Finding(on=On.contradicted, transaction=capture)


def _captured(capture: Transaction, result: ProcessorResult) -> Finding:
    received, code = capture.amount_minor, None
    if result.currency not in (None, capture.currency):
        code = AMOUNT_DIFFERS
    elif result.amount_minor not in (None, capture.amount_minor):
        # Never more than was asked for is counted as received; what was charged in truth is for settlement to tell.
        received, code = min(received, max(result.amount_minor or 0, 0)), AMOUNT_DIFFERS
    captured = replace(with_facts(capture, result), code=code)
    return Finding(on=On.captured, transaction=captured, amount_received_minor=received)


def _failed(intent: PaymentIntent, capture: Transaction, result: ProcessorResult) -> Finding:
    failed = replace(
        with_facts(capture, result), code=result.code or "capture_failed", decline_code=result.decline_code
    )
    if result.authorization_state is AuthorizationState.captured:
        received = found_captured_minor(capture.amount_minor, result)
        return Finding(on=On.capture_found_captured, transaction=failed, amount_received_minor=received)
    manual = intent.capture_method is CaptureMethod.manual
    if result.authorization_state is AuthorizationState.gone:
        return Finding(on=On.capture_lost_manual if manual else On.capture_lost_automatic, transaction=failed)
    # Standing, or not said: the next call for this authorization will tell.
    return Finding(on=On.capture_failed_manual if manual else On.capture_failed_automatic, transaction=failed)


def found_captured_minor(expected_minor: int, result: ProcessorResult) -> int:
    """What was received where a processor says that the authorization has been captured: at most what we know of."""
    return expected_minor if result.amount_minor is None else max(0, min(expected_minor, result.amount_minor))
