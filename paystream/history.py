"""What changed from one event of a payment to the next, and what of a payment may be shown to an operator. Pure.

Only what is named here is shown: no payment method, no fingerprint, no address of a challenge, and of a card what
everyone may know. Driven by `paystream.reconcile`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import asdict

from schemas.money import Money
from schemas.payment import PaymentEvent, PaymentIntent, Transaction
from schemas.times import Micros, to_rfc3339
from sinks.postgres.mismatches import Mismatch
from sinks.postgres.operators import OpenTransaction, Payment

__all__ = ["Step", "describe", "describe_mismatch", "describe_open", "money", "steps"]

Json = dict[str, Any]

_INTENT_FIELDS = (
    "status",
    "amount_capturable_minor",
    "amount_received_minor",
    "cancellation_reason",
    "cancel_requested",
)
_TRANSACTION_FIELDS = (
    "status",
    "processor",
    "amount_minor",
    "void_reason",
    "processor_reference",
    "code",
    "decline_code",
    "challenge_returned",
    "capture_before",
    "lookups_not_found",
    "lookups_unanswered",
    "repeats",
)
_TIMES = frozenset({"capture_before"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One event: `changes` are sentences such as `status: processing → succeeded`, `evidence` is why it is believed."""

    sequence: int
    at: Micros
    type: str
    actor: str
    cause: str
    changes: tuple[str, ...]
    evidence: str | None


def steps(history: Sequence[PaymentEvent]) -> Iterator[Step]:
    """The history as a list of changes."""
    before: PaymentIntent | None = None
    for event in history:
        yield Step(
            sequence=event.sequence,
            at=event.at,
            type=event.type,
            actor=f"{event.actor.type} {event.actor.id}",
            cause=event.cause,
            changes=tuple(_changes(before, event)),
            evidence=event.evidence,
        )
        before = event.payment_intent


def _changes(before: PaymentIntent | None, event: PaymentEvent) -> Iterator[str]:
    """What is otherwise than before: of the payment, then of the Transaction that the event is about."""
    yield from _differences(before, event.payment_intent, _INTENT_FIELDS, "")
    told = event.transaction
    if told is not None:
        known = next((one for one in before.transactions if one.id == told.id), None) if before else None
        yield from _differences(known, told, _TRANSACTION_FIELDS, f"{told.type} {told.id} ")


def _differences(
    before: PaymentIntent | Transaction | None,
    after: PaymentIntent | Transaction,
    fields: Sequence[str],
    subject: str,
) -> Iterator[str]:
    for field in fields:
        was, now = getattr(before, field, None), getattr(after, field)
        if was == now or (before is None and not now):
            continue
        shown = _shown(field, now) if before is None else f"{_shown(field, was)} → {_shown(field, now)}"
        yield f"{subject}{field.removesuffix('_minor')}: {shown}"


def _shown(field: str, value: object) -> str:
    if value is None:
        return "none"
    if field in _TIMES:
        assert isinstance(value, int)
        return to_rfc3339(Micros(value))
    return str(value)


def money(amount_minor: int, currency: str) -> str:
    """An amount as people read it."""
    return str(Money(amount_minor=amount_minor, currency=currency))


def describe(payment: Payment) -> Json:
    """A payment with its history as JSON; amounts are minor units, times RFC 3339."""
    intent = payment.intent
    return {
        "payment_intent": {
            "id": intent.id,
            "merchant": intent.merchant_id,
            "livemode": intent.livemode,
            "status": intent.status,
            "amount_minor": intent.amount_minor,
            "currency": intent.currency,
            "capture_method": intent.capture_method,
            "amount_capturable_minor": intent.amount_capturable_minor,
            "amount_received_minor": intent.amount_received_minor,
            "description": intent.description,
            "metadata": dict(intent.metadata),
            "cancellation_reason": intent.cancellation_reason,
            "sequence": intent.sequence,
            "created_at": to_rfc3339(intent.created_at),
            "updated_at": to_rfc3339(intent.updated_at),
        },
        "transactions": [_describe_transaction(one) for one in intent.transactions],
        "history": [
            {
                "sequence": step.sequence,
                "at": to_rfc3339(step.at),
                "type": step.type,
                "actor": step.actor,
                "cause": step.cause,
                "changes": list(step.changes),
                "evidence": step.evidence,
            }
            for step in steps(payment.history)
        ],
        "mismatches": [describe_mismatch(one) for one in payment.mismatches],
    }


def _describe_transaction(one: Transaction) -> Json:
    return {
        "id": one.id,
        "type": one.type,
        "status": one.status,
        "amount_minor": one.amount_minor,
        "currency": one.currency,
        "processor": one.processor,
        "route": list(one.route),
        "card": None if one.card is None else asdict(one.card),
        "authorization": one.authorization_id,
        "void_reason": one.void_reason,
        "processor_reference": one.processor_reference,
        "processor_data": dict(one.processor_data),
        "code": one.code,
        "decline_code": one.decline_code,
        "capture_before": _time(one.capture_before),
        "lookups_not_found": one.lookups_not_found,
        "lookups_unanswered": one.lookups_unanswered,
        "repeats": one.repeats,
        "created_at": to_rfc3339(one.created_at),
        "completed_at": _time(one.completed_at),
    }


def describe_open(one: OpenTransaction) -> Json:
    """A Transaction without an outcome, as JSON."""
    return {
        "payment_intent": one.payment_intent_id,
        "transaction": one.transaction_id,
        "type": one.type,
        "status": one.status,
        "void_reason": one.void_reason,
        "merchant": one.merchant_id,
        "livemode": one.livemode,
        "payment_status": one.payment_status,
        "processor": one.processor,
        "amount_minor": one.amount_minor,
        "currency": one.currency,
        "created_at": to_rfc3339(one.created_at),
        "pending_since": _time(one.pending_since),
        "lookups_not_found": one.lookups_not_found,
        "lookups_unanswered": one.lookups_unanswered,
        "repeats": one.repeats,
    }


def describe_mismatch(one: Mismatch) -> Json:
    """A mismatch as JSON."""
    return {
        "id": one.id,
        "outcome": one.outcome,
        "processor": one.processor,
        "processor_reference": one.processor_reference,
        "reference": one.reference,
        "payment_intent": one.payment_intent_id,
        "transaction": one.transaction_id,
        "settlement_date": one.settlement_date,
        "at": to_rfc3339(one.at),
        "capture_amount_minor": one.capture_amount_minor,
        "capture_currency": one.capture_currency,
        "line_amount_minor": one.line_amount_minor,
        "line_currency": one.line_currency,
        "file_sequence": one.file_sequence,
        "line_number": one.line_number,
        "booked_at": _time(one.booked_at),
        "resolved_at": _time(one.resolved_at),
        "resolved_by": one.resolved_by,
        "evidence": one.evidence,
    }


def _time(at: Micros | None) -> str | None:
    return None if at is None else to_rfc3339(at)
