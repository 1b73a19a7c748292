"""What a command means for the payment as it stands: a flat ladder of refusals, else its name in the table.

Reads the intent and the command, nothing else; the interpreter drives it.
"""

from __future__ import annotations

from msgspec.structs import replace

from schemas.commands import (
    Authorize,
    CancelPaymentIntent,
    CapturePayment,
    CreatePaymentIntent,
    PaymentCommand,
    ResolveTransaction,
    ReturnFromChallenge,
    VoidPayment,
)
from schemas.identifiers import TransactionId
from schemas.payment import (
    PaymentIntent,
    PaymentIntentStatus,
    ReplyTo,
    Transaction,
    TransactionStatus,
    TransactionType,
    VoidReason,
)
from schemas.processing import CallKind, Outcome, ProcessorResult, ResultSource
from schemas.times import Micros
from topology.domain.decision import Decision, refused
from topology.domain.findings import Finding
from topology.domain.intents import authorization_standing, find, is_open, last_authorization
from topology.domain.refusals import Refusal
from topology.domain.transitions import REFUSED, TABLE, On

__all__ = ["TRANSACTIONS_MAX", "VOIDS_ASKED_FOR_MAX", "read_command", "read_create", "resolution"]

TRANSACTIONS_MAX = 100
"""With so many Transactions an intent takes no further attempt and no further capture."""

VOIDS_ASKED_FOR_MAX = TRANSACTIONS_MAX + 20
"""With so many not even a further void of an authorization that a processor keeps refusing to void; its expiry comes
all the same. A void that resolves an open authorization is never refused for its number."""


def read_create(
    intent: PaymentIntent | None, command: PaymentCommand, body: CreatePaymentIntent, forgotten_up_to: Micros | None
) -> Finding | Decision:
    """Create: the first command of an intent, or the same again.

    That nothing was done can be said only where it is sure that the intent was not forgotten, so that comes first.
    """
    if intent is not None:
        if body.fingerprint != intent.fingerprint:
            return refused(Refusal.idempotency_mismatch)
        return Decision(replayed=True)
    if forgotten_up_to is not None and body.absent_at < forgotten_up_to:
        return refused(Refusal.read_model_behind)
    if command.merchant_disabled:
        return refused(Refusal.merchant_disabled)
    if body.amount_minor <= 0:
        return refused(Refusal.amount_not_positive)
    return Finding(on=On.create)


def read_command(intent: PaymentIntent, command: PaymentCommand, at: Micros) -> Finding | Decision:
    """Any command on an intent that is known, but create and resolve."""
    body = command.body
    match body:
        case Authorize():
            return replayed(intent, body.transaction_id, body.fingerprint) or _attempt(intent, command, body, at)
        case CapturePayment():
            return replayed(intent, body.transaction_id, body.fingerprint) or _capture(intent, command, body, at)
        case VoidPayment() | CancelPaymentIntent():
            return replayed(intent, body.transaction_id, body.fingerprint) or _void(intent, command, body, at)
        case ReturnFromChallenge():
            return _challenge_return(intent, body)
        case _:
            raise AssertionError(f"{type(body).__name__} is read elsewhere")


def replayed(intent: PaymentIntent, transaction_id: TransactionId, fingerprint: bytes) -> Decision | None:
    """The answer to a command whose Transaction exists: the same request again, or another under its key."""
    known = find(intent, transaction_id)
    if known is None:
        return None
    if known.fingerprint != fingerprint:
        return refused(Refusal.idempotency_mismatch)
    return Decision(transaction_id=transaction_id, replayed=True)


def _attempt(intent: PaymentIntent, command: PaymentCommand, body: Authorize, at: Micros) -> Finding | Decision:
    if command.merchant_disabled:
        return refused(Refusal.merchant_disabled)
    refusal = REFUSED.get((intent.status, On.attempt))
    if refusal is not None:
        return refused(refusal)
    if len(intent.transactions) >= TRANSACTIONS_MAX:
        return refused(Refusal.too_many_transactions)
    if not body.route:
        return refused(Refusal.no_route)
    opening = Transaction(
        id=body.transaction_id,
        type=TransactionType.authorization,
        status=TransactionStatus.created,
        amount_minor=intent.amount_minor,
        currency=intent.currency,
        processor=body.route[0],
        route=body.route[1:],
        payment_method=body.payment_method,
        card=body.card,
        command_at=command.at,
        fingerprint=body.fingerprint,
        reply_to=_reply_to(command),
        created_at=at,
    )
    return Finding(on=On.attempt, opening=opening)


def _capture(intent: PaymentIntent, command: PaymentCommand, body: CapturePayment, at: Micros) -> Finding | Decision:
    refusal = REFUSED.get((intent.status, On.capture))
    if refusal is not None:
        return refused(refusal)
    if len(intent.transactions) >= TRANSACTIONS_MAX:
        return refused(Refusal.too_many_transactions)
    amount_minor = intent.amount_capturable_minor if body.amount_minor is None else body.amount_minor
    if amount_minor <= 0:
        return refused(Refusal.amount_not_positive)
    if amount_minor > intent.amount_capturable_minor:
        return refused(Refusal.amount_exceeds_capturable)
    opening = _follow_up(intent, command, body.transaction_id, body.fingerprint, at, amount_minor=amount_minor)
    return Finding(on=On.capture, opening=opening)


def _void(
    intent: PaymentIntent, command: PaymentCommand, body: VoidPayment | CancelPaymentIntent, at: Micros
) -> Finding | Decision:
    on, reason = (
        (On.void, VoidReason.requested) if isinstance(body, VoidPayment) else (On.cancel, VoidReason.cancel)
    )  # fmt: skip
    refusal = REFUSED.get((intent.status, on))
    if refusal is not None:
        return refused(refusal)
    if intent.canceled_by == command.id:
        return Decision(replayed=True)
    if TABLE[intent.status, on].opens is None:
        return Finding(on=on)
    if intent.status is PaymentIntentStatus.requires_capture and len(intent.transactions) >= VOIDS_ASKED_FOR_MAX:
        return refused(Refusal.too_many_transactions)
    opening = _follow_up(intent, command, body.transaction_id, body.fingerprint, at, reason=reason)
    return Finding(on=on, opening=opening)


def _follow_up(
    intent: PaymentIntent,
    command: PaymentCommand,
    transaction_id: TransactionId,
    fingerprint: bytes,
    at: Micros,
    *,
    amount_minor: int | None = None,
    reason: VoidReason | None = None,
) -> Transaction:
    """The capture (of an amount) or the void (for a reason) of the latest authorization that a command opens."""
    authorization = authorization_standing(intent)
    return Transaction(
        id=transaction_id,
        type=TransactionType.capture if reason is None else TransactionType.void,
        status=TransactionStatus.created,
        amount_minor=authorization.amount_minor if amount_minor is None else amount_minor,
        currency=authorization.currency,
        processor=authorization.processor,
        authorization_id=authorization.id,
        void_reason=reason,
        command_at=command.at,
        fingerprint=fingerprint,
        reply_to=_reply_to(command),
        created_at=at,
    )


def _reply_to(command: PaymentCommand) -> ReplyTo | None:
    if not command.wait or command.reply_partition is None:
        return None
    return ReplyTo(partition=command.reply_partition, command_id=command.id)


def _challenge_return(intent: PaymentIntent, body: ReturnFromChallenge) -> Finding | Decision:
    if body.transaction_id is not None and find(intent, body.transaction_id) is None:
        return refused(Refusal.unknown_transaction)
    refusal = REFUSED.get((intent.status, On.challenge_return))
    if refusal is not None:
        return refused(refusal)
    challenged = last_authorization(intent)
    assert challenged is not None, intent.id
    if body.transaction_id not in (None, challenged.id):
        return refused(Refusal.no_open_challenge)
    if challenged.challenge_returned:
        # At most one return is open: its look-up is under way and answers this one too.
        return Decision(transaction_id=challenged.id, replayed=True)
    return Finding(on=On.challenge_return, transaction=replace(challenged, challenge_returned=True))


def resolution(intent: PaymentIntent, command: PaymentCommand, body: ResolveTransaction) -> ProcessorResult | Decision:
    """A person's word as the result that it stands for; only doubt is resolved, and only by evidence."""
    transaction = find(intent, body.transaction_id)
    if transaction is None:
        return refused(Refusal.unknown_transaction)
    if body.outcome not in (Outcome.approved, Outcome.declined):
        return refused(Refusal.outcome_is_no_evidence)
    # A void that is called again does no harm, so one that never left may be resolved too; anything else may not.
    pending = transaction.status is TransactionStatus.pending
    if not pending and not (transaction.type is TransactionType.void and is_open(transaction)):
        return refused(Refusal.not_in_doubt)
    return ProcessorResult(
        payment_intent_id=intent.id,
        transaction_id=transaction.id,
        processor=transaction.processor,
        call=CallKind.lookup,
        outcome=body.outcome,
        source=ResultSource.operator,
        at=command.at,
        code=None if body.outcome is Outcome.approved else "resolved_by_operator",
        authorization_state=body.authorization_state,
        actor_id=command.actor.id,
        evidence=body.evidence,
    )
