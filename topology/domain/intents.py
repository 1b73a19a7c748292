"""Questions asked of a PaymentIntent: which Transaction is meant, which one is open, which one decides."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.identifiers import TransactionId
from schemas.payment import (
    PaymentIntent,
    PaymentIntentStatus,
    Transaction,
    TransactionStatus,
    TransactionType,
    VoidReason,
)

__all__ = [
    "authorization_of",
    "authorization_standing",
    "find",
    "forgettable",
    "is_compensating",
    "is_open",
    "last_authorization",
    "resolving_void",
    "unresolved",
    "voids_of",
]

# Tuples, for membership then compares by identity first and hashes nothing.
_OPEN = (TransactionStatus.created, TransactionStatus.pending, TransactionStatus.requires_action)
_FINAL = (PaymentIntentStatus.succeeded, PaymentIntentStatus.canceled)


def find(intent: PaymentIntent, transaction_id: TransactionId) -> Transaction | None:
    """The Transaction of this id; the newest are asked for most."""
    for transaction in reversed(intent.transactions):
        if transaction.id == transaction_id:
            return transaction
    return None


def is_open(transaction: Transaction) -> bool:
    """Whether the Transaction has not been closed."""
    return transaction.status in _OPEN


def is_compensating(transaction: Transaction) -> bool:
    """Whether it is a void that only takes back what should not have been approved, and moves nothing here."""
    return transaction.void_reason is VoidReason.late_approval


def voids_of(intent: PaymentIntent, authorization_id: TransactionId) -> Iterator[Transaction]:
    """Every void of this authorization."""
    return (
        transaction
        for transaction in intent.transactions
        if transaction.type is TransactionType.void and transaction.authorization_id == authorization_id
    )


def resolving_void(intent: PaymentIntent, authorization_id: TransactionId) -> Transaction | None:
    """The open void of this authorization that decides where the payment goes, if there is one."""
    for void in voids_of(intent, authorization_id):
        if is_open(void) and not is_compensating(void):
            return void
    return None


def authorization_of(intent: PaymentIntent, transaction: Transaction) -> Transaction:
    """The authorization that a capture or a void is about."""
    assert transaction.authorization_id is not None, transaction.id
    authorization = find(intent, transaction.authorization_id)
    assert authorization is not None, transaction.authorization_id
    return authorization


def last_authorization(intent: PaymentIntent) -> Transaction | None:
    """The latest attempt to pay."""
    for transaction in reversed(intent.transactions):
        if transaction.type is TransactionType.authorization:
            return transaction
    return None


def authorization_standing(intent: PaymentIntent) -> Transaction:
    """The approved authorization of an intent that is `requires_capture`: the latest attempt."""
    authorization = last_authorization(intent)
    assert authorization is not None, intent.id
    return authorization


def unresolved(intent: PaymentIntent) -> tuple[Transaction, ...]:
    """What is open and counts: no compensating void, and no void whose authorization is open and counts already."""
    counted = [t for t in intent.transactions if is_open(t) and not is_compensating(t)]
    open_ids = {t.id for t in counted}
    return tuple(t for t in counted if t.type is not TransactionType.void or t.authorization_id not in open_ids)


def forgettable(intent: PaymentIntent) -> bool:
    """Whether nothing can come of this intent any more: final, and no Transaction open."""
    return intent.status in _FINAL and not any(is_open(transaction) for transaction in intent.transactions)
