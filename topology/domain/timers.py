"""What a timer means for the payment as it stands: its name in the table, or that it is stale.

A timer names the Transaction that it is about, so that it can be told from one that was overtaken. The abandonment
timer names the latest authorization at the time it was set (none: None): any attempt since makes it stale, however
short it was, without a duration being known here.
"""

from __future__ import annotations

from msgspec.structs import replace

from schemas.payment import PaymentIntent, PaymentIntentStatus, Transaction, TransactionStatus, TransactionType
from schemas.processing import TimerFired
from topology.domain.decision import Decision, refused
from topology.domain.findings import Finding
from topology.domain.intents import (
    find,
    is_compensating,
    is_open,
    last_authorization,
    resolving_void,
    voids_of,
)
from topology.domain.refusals import Refusal
from topology.domain.transitions import CANCELLATION_AFTER_VOID, On

__all__ = ["HOLD_ENDED", "TIMERS", "read_timer"]

HOLD_ENDED = "hold_ended"
TIMERS = (
    "abandonment",
    "challenge_timeout",
    "authorization_expiry",
    "ladder",
    "doubt_alert",
    "unanswered_alert",
    HOLD_ENDED,
)


def read_timer(intent: PaymentIntent, timer: TimerFired) -> Finding | Decision:
    """Name a timer that fired."""
    if timer.name not in TIMERS:
        return refused(Refusal.unknown_timer)
    if timer.name == "abandonment":
        latest = last_authorization(intent)
        if timer.transaction_id != (None if latest is None else latest.id):
            return refused(Refusal.timer_is_stale)
        return Finding(on=On.abandoned)
    transaction = None if timer.transaction_id is None else find(intent, timer.transaction_id)
    if transaction is None:
        return refused(Refusal.unknown_transaction)
    finding = _READERS[timer.name](intent, transaction, timer)
    return refused(Refusal.timer_is_stale) if finding is None else finding


def _challenge_timeout(intent: PaymentIntent, transaction: Transaction, _timer: TimerFired) -> Finding | None:
    if transaction.status is not TransactionStatus.requires_action:
        return None
    return Finding(on=On.challenge_timed_out, transaction=transaction)


def _authorization_expiry(intent: PaymentIntent, transaction: Transaction, timer: TimerFired) -> Finding | None:
    if transaction is not last_authorization(intent) or transaction.capture_before is None:
        return None
    if timer.due_at < transaction.capture_before:
        return None
    return Finding(on=On.authorization_expired, transaction=transaction)


def _ladder(intent: PaymentIntent, transaction: Transaction, _timer: TimerFired) -> Finding | None:
    if transaction.status is not TransactionStatus.pending:
        return None
    if transaction.type is TransactionType.authorization:
        # An authorization is never asked for again; the void of one is, under the void's own name.
        if resolving_void(intent, transaction.id) is not None:
            return None
        return Finding(on=On.doubt_step, transaction=transaction)
    on = On.compensation_repeat_step if is_compensating(transaction) else On.repeat_step
    return Finding(on=on, transaction=replace(transaction, repeats=transaction.repeats + 1))


def _doubt_alert(_intent: PaymentIntent, transaction: Transaction, _timer: TimerFired) -> Finding | None:
    doubtful = transaction.status is TransactionStatus.pending
    if not doubtful and not (is_compensating(transaction) and is_open(transaction)):
        return None
    return Finding(on=On.noted, transaction=transaction)


def _unanswered_alert(_intent: PaymentIntent, transaction: Transaction, _timer: TimerFired) -> Finding | None:
    if transaction.status is not TransactionStatus.created:
        return None
    return Finding(on=On.noted, transaction=transaction)


def _hold_ended(intent: PaymentIntent, transaction: Transaction, _timer: TimerFired) -> Finding | None:
    """Evidence that an authorization does not stand: whatever it held is released by now."""
    if transaction.type is not TransactionType.authorization:
        return None
    void = resolving_void(intent, transaction.id)
    if void is not None:
        for_good = void.void_reason in CANCELLATION_AFTER_VOID
        return Finding(on=On.void_lapsed_for_good if for_good else On.void_lapsed_by_us, transaction=_ended(void))
    if transaction.status is TransactionStatus.pending and intent.status is PaymentIntentStatus.processing:
        return Finding(on=On.hold_ended, transaction=_ended(transaction))
    for compensating in voids_of(intent, transaction.id):
        if is_compensating(compensating) and is_open(compensating):
            return Finding(on=On.compensation_lapsed, transaction=_ended(compensating))
    return None


def _ended(transaction: Transaction) -> Transaction:
    return replace(transaction, code=HOLD_ENDED)


_READERS = {
    "challenge_timeout": _challenge_timeout,
    "authorization_expiry": _authorization_expiry,
    "ladder": _ladder,
    "doubt_alert": _doubt_alert,
    "unanswered_alert": _unanswered_alert,
    HOLD_ENDED: _hold_ended,
}
