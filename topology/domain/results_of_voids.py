"""What the result of a void, or of its look-up, means."""

from __future__ import annotations

from msgspec.structs import replace

from schemas.payment import PaymentIntent, Transaction, TransactionStatus, TransactionType, VoidReason
from schemas.processing import AuthorizationState, Outcome, ProcessorResult
from topology.domain.decision import Decision, refused
from topology.domain.findings import AMOUNT_NOT_APPROVED, Finding, noted, nothing_decided, with_facts
from topology.domain.intents import authorization_of, is_compensating, is_open
from topology.domain.refusals import Refusal
from topology.domain.results_of_captures import found_captured_minor
from topology.domain.transitions import CANCELLATION_AFTER_VOID, On

__all__ = ["read_void"]


def read_void(intent: PaymentIntent, void: Transaction, result: ProcessorResult) -> Finding | Decision:
    """Name the result of a void."""
    if not is_open(void):
        return _closed(void, result)
    compensating = is_compensating(void)
    match result.outcome:
        case Outcome.approved:
            on = _which(void, On.compensated, On.voided_for_good, On.voided_by_us)
            return Finding(on=on, transaction=replace(with_facts(void, result), code=None, decline_code=None))
        case Outcome.declined:
            return _failed(intent, void, result)
        case Outcome.unknown | Outcome.not_found:
            unknown = On.compensation_unknown if compensating else On.outcome_unknown
            return nothing_decided(void, result, unknown)
        case _:
            # Not sent is no result of a void: processing keeps it waiting and tries again.
            return refused(Refusal.unexpected_result)


def _which(void: Transaction, compensating: On, for_good: On, by_us: On) -> On:
    if is_compensating(void):
        return compensating
    return for_good if void.void_reason in CANCELLATION_AFTER_VOID else by_us


def _closed(void: Transaction, result: ProcessorResult) -> Finding | Decision:
    done = void.status is TransactionStatus.succeeded
    match result.outcome:
        case Outcome.approved:
            said = done or void.status is TransactionStatus.expired
        case Outcome.declined:
            # What was voided is gone: a processor that says so of a repeat agrees.
            said = not done or result.authorization_state is AuthorizationState.gone
        case _:
            said = True
    return refused(Refusal.nothing_new) if said else Finding(on=On.contradicted, transaction=void)


def _failed(intent: PaymentIntent, void: Transaction, result: ProcessorResult) -> Finding | Decision:
    state = result.authorization_state
    known = replace(with_facts(void, result), code=result.code or "void_failed", decline_code=result.decline_code)
    if state is AuthorizationState.gone:
        return Finding(
            on=_which(void, On.compensation_lost, On.void_lost_for_good, On.void_lost_by_us), transaction=known
        )
    authorization = authorization_of(intent, void)
    if state is AuthorizationState.captured:
        if is_compensating(void):
            return Finding(on=On.compensation_found_captured, transaction=known)
        received = found_captured_minor(_captured_minor(intent, authorization), result)
        return Finding(on=On.void_found_captured, transaction=known, amount_received_minor=received)
    if is_compensating(void):
        # It goes on until it is acknowledged: what stands here is nothing that anybody may use.
        if void.status is TransactionStatus.created:
            return Finding(on=On.compensation_unknown, transaction=known)
        return noted(void, known)
    if state is None and is_open(authorization):
        # A refusal that does not say what it found is no evidence about an authorization in doubt.
        if void.status is TransactionStatus.created:
            return Finding(on=On.outcome_unknown, transaction=known)
        return noted(void, known)
    if authorization.code == AMOUNT_NOT_APPROVED:
        return Finding(on=On.void_failed_amount, transaction=known)
    if void.void_reason is VoidReason.expiry:
        return Finding(on=On.void_failed_expired, transaction=known)
    return Finding(on=On.void_failed, transaction=known)


def _captured_minor(intent: PaymentIntent, authorization: Transaction) -> int:
    """The amount of the latest capture that was asked for, else all that was authorized."""
    for transaction in reversed(intent.transactions):
        if transaction.type is TransactionType.capture and transaction.authorization_id == authorization.id:
            return transaction.amount_minor
    return authorization.amount_minor
