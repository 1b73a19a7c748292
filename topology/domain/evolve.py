"""The fold itself: a state and a change make the next state, one event further.

`evolve` is pure and knows how everything that the PaymentIntent says follows from the status and the Transaction that
changed: amounts, `next_action`, `cancel_requested`, and the second reply that ends with `processing`. `Recorder` lines
up the events of one decision.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from schemas.commands import CreatePaymentIntent, PaymentCommand
from schemas.identifiers import CommandId, TransactionId, event_id, opened_transaction_id
from schemas.payment import (
    Actor,
    PaymentError,
    PaymentEvent,
    PaymentIntent,
    PaymentIntentStatus,
    ReplyTo,
    Transaction,
    TransactionStatus,
    TransactionType,
    VoidReason,
)
from schemas.times import Micros
from topology.domain.event_types import EventType

__all__ = ["Change", "Recorder", "evolve", "open_payment_intent", "open_transaction"]

_OPENS_OR_CLOSES = (EventType.transaction_created, EventType.transaction_completed)


class Change(Struct, frozen=True, kw_only=True):
    """One step: what happened, the status after it, and the Transaction concerned as it is after it."""

    type: EventType
    at: Micros
    status: PaymentIntentStatus
    transaction: Transaction | None = None
    amount_received_minor: int | None = None
    error: PaymentError | None = None
    cancellation_reason: str | None = None
    canceled_by: CommandId | None = None


def open_payment_intent(
    command: PaymentCommand, body: CreatePaymentIntent, *, status: PaymentIntentStatus
) -> PaymentIntent:
    """The first state of a PaymentIntent."""
    return PaymentIntent(
        id=command.payment_intent_id,
        merchant_id=command.merchant_id,
        livemode=command.livemode,
        status=status,
        amount_minor=body.amount_minor,
        currency=body.currency,
        capture_method=body.capture_method,
        description=body.description,
        metadata=body.metadata,
        fingerprint=body.fingerprint,
        sequence=1,
        created_at=command.at,
        updated_at=command.at,
    )


def open_transaction(
    intent: PaymentIntent,
    *,
    kind: TransactionType,
    authorization: Transaction,
    at: Micros,
    amount_minor: int | None = None,
    processor: str | None = None,
    reason: VoidReason | None = None,
) -> Transaction:
    """The capture or void of an authorization that the fold itself opens with its next event."""
    return Transaction(
        id=opened_transaction_id(payment_intent_id=intent.id, sequence=intent.sequence + 1),
        type=kind,
        status=TransactionStatus.created,
        amount_minor=authorization.amount_minor if amount_minor is None else amount_minor,
        currency=authorization.currency,
        processor=authorization.processor if processor is None else processor,
        authorization_id=authorization.id,
        void_reason=reason,
        created_at=at,
    )


def evolve(intent: PaymentIntent, change: Change) -> PaymentIntent:
    """The state after the change; `sequence` rises by one."""
    status, transaction = change.status, change.transaction
    transactions = intent.transactions
    if transaction is not None:
        if change.type is EventType.transaction_created:
            transactions = (*transactions, transaction)
        else:
            transactions = tuple(transaction if t.id == transaction.id else t for t in transactions)
    left = intent.status is PaymentIntentStatus.processing and status is not PaymentIntentStatus.processing
    if left and any(t.reply_to is not None for t in transactions):
        transactions = tuple(t if t.reply_to is None else replace(t, reply_to=None) for t in transactions)

    error = intent.last_payment_error if change.error is None else change.error
    cancel_requested = intent.cancel_requested
    next_action = None
    if transaction is not None:
        if transaction.void_reason is VoidReason.cancel and change.type in _OPENS_OR_CLOSES:
            cancel_requested = change.type is EventType.transaction_created
        elif transaction.type is TransactionType.authorization and change.type is EventType.transaction_created:
            error = None
        if status is PaymentIntentStatus.requires_action:
            next_action = transaction.next_action if _asks(transaction) else intent.next_action

    return replace(
        intent,
        status=status,
        amount_capturable_minor=_capturable(intent, change),
        amount_received_minor=(
            intent.amount_received_minor if change.amount_received_minor is None else change.amount_received_minor
        ),
        sequence=intent.sequence + 1,
        updated_at=change.at,
        next_action=next_action,
        last_payment_error=error,
        cancellation_reason=change.cancellation_reason or intent.cancellation_reason,
        canceled_by=change.canceled_by or intent.canceled_by,
        cancel_requested=cancel_requested,
        transactions=transactions,
    )


def _asks(transaction: Transaction) -> bool:
    return transaction.status is TransactionStatus.requires_action


def _capturable(intent: PaymentIntent, change: Change) -> int:
    """What is authorized and not yet captured: from the approval until a capture or the end of a void."""
    if change.status not in (PaymentIntentStatus.processing, PaymentIntentStatus.requires_capture):
        return 0
    transaction = change.transaction
    if (
        transaction is not None
        and change.type is EventType.transaction_completed
        and transaction.type is TransactionType.authorization
        and transaction.status is TransactionStatus.succeeded
    ):
        return transaction.amount_minor
    return intent.amount_capturable_minor


class Recorder:
    """Lines up the events of one decision, each with the state after it."""

    __slots__ = ("_actor", "_evidence", "at", "cause", "events", "intent", "left_processing")

    def __init__(
        self, intent: PaymentIntent, *, at: Micros, cause: str, actor: Actor, evidence: str | None = None
    ) -> None:
        self.intent = intent
        # Inputs come in the order of the log, whatever their clocks say: time never runs backwards in a payment.
        self.at = max(at, intent.updated_at)
        self.events: list[PaymentEvent] = []
        self.left_processing: tuple[tuple[ReplyTo, TransactionId], ...] = ()
        self.cause = cause
        self._actor = actor
        self._evidence = evidence

    def first(self, type_: EventType) -> None:
        """Record the event with which the PaymentIntent came to be."""
        self._record(type_, None)

    def record(self, change: Change) -> None:
        """Record one more event."""
        before, transaction = self.intent, change.transaction
        self.intent = evolve(before, change)
        if before.status is PaymentIntentStatus.processing and change.status is not PaymentIntentStatus.processing:
            self.left_processing = tuple((t.reply_to, t.id) for t in before.transactions if t.reply_to is not None)
            if transaction is not None and transaction.reply_to is not None:
                transaction = replace(transaction, reply_to=None)
        self._record(change.type, transaction)

    def _record(self, type_: EventType, transaction: Transaction | None) -> None:
        intent = self.intent
        self.events.append(
            PaymentEvent(
                id=event_id(payment_intent_id=intent.id, sequence=intent.sequence),
                sequence=intent.sequence,
                type=type_,
                at=self.at,
                cause=self.cause,
                actor=self._actor,
                payment_intent=intent,
                transaction=transaction,
                evidence=self._evidence,
            )
        )
