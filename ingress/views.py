"""Records as the JSON that merchants see. Amounts are integer minor units, times are Unix seconds.

What the pipeline keeps for itself (routes, processor data, fingerprints, counters) does not show.
"""

from __future__ import annotations

from typing import Any

from schemas.payment import NextAction, PaymentError, PaymentIntent, Transaction
from schemas.times import Micros

__all__ = ["payment_intent", "status", "transaction"]

Json = dict[str, Any]


def payment_intent(intent: PaymentIntent, *, client_secret: str | None = None) -> Json:
    """A PaymentIntent, with its client secret where whoever asks has just made or changed it."""
    secret = {} if client_secret is None else {"client_secret": client_secret}
    return {
        "id": intent.id,
        "object": "payment_intent",
        "amount": intent.amount_minor,
        "currency": intent.currency,
        "status": intent.status,
        "capture_method": intent.capture_method,
        "amount_capturable": intent.amount_capturable_minor,
        "amount_received": intent.amount_received_minor,
        **secret,
        "sequence": intent.sequence,
        "created": _seconds(intent.created_at),
        "livemode": intent.livemode,
        "description": intent.description,
        "metadata": dict(intent.metadata),
        "next_action": _next_action(intent.next_action),
        "last_payment_error": _payment_error(intent.last_payment_error),
        "cancellation_reason": intent.cancellation_reason,
    }


def status(intent: PaymentIntent) -> Json:
    """A PaymentIntent with all its Transactions, in the order of their opening."""
    return {**payment_intent(intent), "transactions": [_transaction(one) for one in intent.transactions]}


def transaction(one: Transaction, *, of: PaymentIntent) -> Json:
    """A Transaction, with the PaymentIntent as it stands."""
    return {**_transaction(one), "payment_intent": payment_intent(of)}


def _transaction(one: Transaction) -> Json:
    return {
        "id": one.id,
        "object": "transaction",
        "type": one.type,
        "status": one.status,
        "amount": one.amount_minor,
        "currency": one.currency,
        "processor": one.processor,
        "processor_reference": one.processor_reference,
        "authorization": one.authorization_id,
        "code": one.code,
        "decline_code": one.decline_code,
        "next_action": _next_action(one.next_action),
        "created": _seconds(one.created_at),
        "completed": None if one.completed_at is None else _seconds(one.completed_at),
    }


def _next_action(action: NextAction | None) -> Json | None:
    return None if action is None else {"type": action.type, "url": action.url}


def _payment_error(error: PaymentError | None) -> Json | None:
    if error is None:
        return None
    return {"transaction": error.transaction_id, "code": error.code, "decline_code": error.decline_code}


def _seconds(at: Micros) -> int:
    return at // 1_000_000
