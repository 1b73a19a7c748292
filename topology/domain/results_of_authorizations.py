"""What the result of an authorization, or of its look-up, means."""

from __future__ import annotations

from msgspec.structs import replace

from schemas.payment import CaptureMethod, NextAction, PaymentIntent, Transaction, TransactionStatus
from schemas.processing import Outcome, ProcessorResult
from schemas.times import Micros, later
from topology.domain.decision import Decision, refused
from topology.domain.findings import (
    AMOUNT_NOT_APPROVED,
    APPROVED_THEN_VOIDED,
    NOT_SENT_FOR_GOOD,
    Finding,
    noted,
    nothing_decided,
    with_facts,
)
from topology.domain.intents import is_compensating, is_open, resolving_void, voids_of
from topology.domain.refusals import Refusal
from topology.domain.transitions import On

__all__ = ["HOLD_SECONDS", "foreign_result", "read_authorization"]

HOLD_SECONDS = 7 * 24 * 3600
"""How long an authorization can be captured where the processor does not say."""

_NOT_FOUND_MAX = 2
_DECIDES_NOTHING = (Outcome.unknown, Outcome.not_found, Outcome.challenge)


def read_authorization(
    intent: PaymentIntent, authorization: Transaction, result: ProcessorResult, at: Micros
) -> Finding | Decision:
    """Name the result of an authorization."""
    if not is_open(authorization):
        return _closed(intent, authorization, result)
    if resolving_void(intent, authorization.id) is not None:
        return _while_voided(authorization, result)
    match result.outcome:
        case Outcome.approved:
            return _approved(intent, authorization, result, at)
        case Outcome.declined:
            declined = _with_code(authorization, result, result.code or "declined")
            return Finding(on=On.authorization_declined, transaction=declined)
        case Outcome.challenge:
            return _challenge(authorization, result)
        case Outcome.not_sent:
            return _not_sent(authorization, result)
        case Outcome.unknown | Outcome.not_found:
            return _in_doubt(authorization, result)


def _with_code(authorization: Transaction, result: ProcessorResult, code: str | None) -> Transaction:
    return replace(with_facts(authorization, result), code=code, decline_code=result.decline_code)


def _as_asked(authorization: Transaction, result: ProcessorResult) -> bool:
    return result.amount_minor in (None, authorization.amount_minor) and result.currency in (
        None,
        authorization.currency,
    )


def _approved(
    intent: PaymentIntent, authorization: Transaction, result: ProcessorResult, at: Micros
) -> Finding | Decision:
    if not _as_asked(authorization, result):
        other = _with_code(authorization, result, AMOUNT_NOT_APPROVED)
        return Finding(on=On.amount_not_approved, transaction=other)
    capture_before = result.capture_before or later(at, seconds=HOLD_SECONDS)
    approved = replace(with_facts(authorization, result), capture_before=capture_before)
    manual = intent.capture_method is CaptureMethod.manual
    return Finding(on=On.authorized_manual if manual else On.authorized_automatic, transaction=approved)


def _challenge(authorization: Transaction, result: ProcessorResult) -> Finding | Decision:
    known = with_facts(authorization, result)
    if authorization.status is TransactionStatus.requires_action:
        # The look-up after a return says that the challenge is still open: the next return asks again.
        if known is authorization and not authorization.challenge_returned:
            return refused(Refusal.challenge_open)
        return noted(authorization, replace(known, challenge_returned=False))
    if result.challenge_url is None:
        return noted(authorization, known)
    action = NextAction(type="redirect_to_url", url=result.challenge_url)
    return Finding(on=On.challenge_needed, transaction=replace(known, next_action=action))


def _not_sent(authorization: Transaction, result: ProcessorResult) -> Finding | Decision:
    if authorization.status is not TransactionStatus.created:
        # It had been called before: that a repeat was not sent says nothing about the first call.
        return refused(Refusal.unexpected_result)
    if result.code in NOT_SENT_FOR_GOOD or not authorization.route:
        failed = _with_code(authorization, result, result.code or "not_sent")
        return Finding(on=On.not_sent_for_good, transaction=failed)
    rerouted = replace(
        authorization,
        processor=authorization.route[0],
        route=authorization.route[1:],
        processor_reference=None,
        processor_data={},
    )
    return Finding(on=On.not_sent_rerouted, transaction=rerouted)


def _in_doubt(authorization: Transaction, result: ProcessorResult) -> Finding | Decision:
    finding = nothing_decided(authorization, result, On.outcome_unknown)
    if (
        isinstance(finding, Finding)
        and result.outcome is Outcome.not_found
        and authorization.status is TransactionStatus.pending
        and finding.transaction is not None
        and finding.transaction.lookups_not_found >= _NOT_FOUND_MAX
    ):
        return Finding(on=On.not_found_twice, transaction=finding.transaction)
    return finding


def _while_voided(authorization: Transaction, result: ProcessorResult) -> Finding | Decision:
    """The void decides; what the authorization's result says is kept for its end, an approval before all else."""
    known = with_facts(authorization, result)
    if result.outcome is Outcome.approved:
        code = APPROVED_THEN_VOIDED if _as_asked(authorization, result) else AMOUNT_NOT_APPROVED
        return noted(authorization, replace(known, code=code, capture_before=result.capture_before))
    if result.outcome is Outcome.declined and authorization.code is None:
        return noted(authorization, _with_code(authorization, result, result.code or "declined"))
    return noted(authorization, known)


def _closed(intent: PaymentIntent, authorization: Transaction, result: ProcessorResult) -> Finding | Decision:
    if result.outcome in _DECIDES_NOTHING:
        return refused(Refusal.nothing_new)
    same_hold = authorization.processor_reference is None or result.processor_reference in (
        None,
        authorization.processor_reference,
    )
    approved = authorization.status is TransactionStatus.succeeded
    if result.outcome is Outcome.approved:
        if approved:
            said = same_hold and _as_asked(authorization, result)
            return refused(Refusal.nothing_new) if said else Finding(on=On.contradicted, transaction=authorization)
        if same_hold and (_approval_known(authorization) or _compensated(intent, authorization, result.processor)):
            return refused(Refusal.nothing_new)
        return Finding(on=On.late_approval, transaction=with_facts(authorization, result))
    # Declined, or never sent: only an approval that is on record is contradicted by that.
    if approved or _approval_known(authorization):
        return Finding(on=On.contradicted, transaction=authorization)
    return refused(Refusal.nothing_new)


def _approval_known(authorization: Transaction) -> bool:
    return authorization.code in (APPROVED_THEN_VOIDED, AMOUNT_NOT_APPROVED)


def _compensated(intent: PaymentIntent, authorization: Transaction, processor: str) -> bool:
    return any(is_compensating(void) and void.processor == processor for void in voids_of(intent, authorization.id))


def foreign_result(intent: PaymentIntent, authorization: Transaction, result: ProcessorResult) -> Finding | Decision:
    """The result of a processor that was failed over from: its approval is a hold that nobody wants."""
    if result.outcome is not Outcome.approved or _compensated(intent, authorization, result.processor):
        return refused(Refusal.other_processor)
    return Finding(on=On.late_approval, transaction=authorization, processor=result.processor)
