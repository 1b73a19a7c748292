"""What must hold of every decision and of every state, whatever comes in (DESIGN section 5)."""

from __future__ import annotations

import os
from collections import Counter

from hypothesis import HealthCheck, settings
from msgspec.structs import replace

from schemas.commands import Authorize, CreatePaymentIntent, PaymentCommand, ResolveTransaction
from schemas.identifiers import event_id
from schemas.payment import (
    PaymentEvent,
    PaymentIntent,
    PaymentIntentStatus,
    Transaction,
    TransactionStatus,
    TransactionType,
    VoidReason,
)
from schemas.processing import Outcome, ProcessorResult, TimerFired
from topology.domain import Decision, EventType, Refusal, is_open, unresolved
from topology.domain.findings import AMOUNT_NOT_APPROVED
from topology.domain.intents import find
from topology.domain.transitions import TRANSACTION_MOVES

Given = PaymentCommand | ProcessorResult | TimerFired
TERMINAL = (PaymentIntentStatus.succeeded, PaymentIntentStatus.canceled)
WAITING = (PaymentIntentStatus.processing, PaymentIntentStatus.requires_action)
FACTOR = int(os.environ.get("PAYSTREAM_TEST_EXAMPLES", "1"))
EVIDENCE = (Outcome.approved, Outcome.declined, Outcome.not_sent)


def profile(*, examples: int, steps: int) -> settings:
    """How much is tried: PAYSTREAM_TEST_EXAMPLES multiplies the examples for a longer run."""

    return settings(
        max_examples=examples * FACTOR,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def check(before: PaymentIntent | None, given: Given, decision: Decision) -> None:
    """Check one decision and every state that it went through."""
    assert decision.refusal is not Refusal.not_awaited, given
    if decision.refusal is not None or decision.dead_letter is not None or decision.replayed:
        assert not decision.events, "a refusal changes nothing"
    if isinstance(given, PaymentCommand) and given.merchant_disabled:
        begun = isinstance(given.body, CreatePaymentIntent | Authorize) and decision.events
        assert not begun, "a disabled merchant begins nothing"
    state = before
    for event in decision.events:
        _check_event(state, event, given)
        state = event.payment_intent
    if before is None or state is None:
        return
    left = before.status is PaymentIntentStatus.processing and state.status is not PaymentIntentStatus.processing
    awaited = tuple((t.reply_to, t.id) for t in before.transactions if t.reply_to is not None) if left else ()
    assert decision.left_processing == awaited
    assert len(unresolved(state)) == (state.status in WAITING)


def _check_event(before: PaymentIntent | None, event: PaymentEvent, given: Given) -> None:
    after = event.payment_intent
    assert event.sequence == after.sequence == (0 if before is None else before.sequence) + 1
    assert event.id == event_id(payment_intent_id=after.id, sequence=after.sequence)
    assert event.at == after.updated_at
    assert event.at >= given.at
    if before is not None:
        assert event.at >= before.updated_at
        assert before.status not in TERMINAL or after.status is before.status, "a terminal status absorbs"
        _check_transactions(before, event, given)
    _check_state(after)


def _check_transactions(before: PaymentIntent, event: PaymentEvent, given: Given) -> None:
    after, told = event.payment_intent, event.transaction
    known = {t.id: t for t in before.transactions}
    opened = [t for t in after.transactions if t.id not in known]
    assert [t.id for t in after.transactions[: len(known)]] == list(known)
    assert len(opened) == (event.type == EventType.transaction_created)
    if told is None:
        assert before.transactions == after.transactions
        return
    assert find(after, told.id) == told
    assert opened in ([], [told])
    for transaction in after.transactions[: len(known)]:
        was = known[transaction.id]
        if transaction.id != told.id:
            assert replace(was, reply_to=transaction.reply_to) == transaction
            continue
        assert transaction.status is was.status or transaction.status in TRANSACTION_MOVES[was.status]
        assert (event.type == EventType.transaction_completed) == (is_open(was) and not is_open(transaction))
        if not is_open(was):
            facts = replace(
                was, processor_reference=transaction.processor_reference, processor_data=transaction.processor_data
            )
            assert facts == transaction, "a closed Transaction stays as it is"
        elif transaction.status is TransactionStatus.failed:
            assert _is_evidence(given), f"doubt became failed by {given}"


def _is_evidence(given: Given) -> bool:
    if isinstance(given, ProcessorResult):
        return given.outcome in EVIDENCE
    return isinstance(given, PaymentCommand) and isinstance(given.body, ResolveTransaction)


def _check_state(intent: PaymentIntent) -> None:
    status = intent.status
    assert len(unresolved(intent)) <= 1, "at most one unresolved Transaction"
    of: dict[TransactionType, list[Transaction]] = {kind: [] for kind in TransactionType}
    for transaction in intent.transactions:
        of[transaction.type].append(transaction)
    proven = [t for t in of[TransactionType.authorization] if t.status is TransactionStatus.succeeded]
    authorized = max((t.amount_minor for t in proven), default=0)
    # Approved over another amount counts as declined; should it be found captured, the customer has paid all the same.
    held = [t for t in of[TransactionType.authorization] if t in proven or t.code == AMOUNT_NOT_APPROVED]
    assert 0 <= intent.amount_received_minor <= max((t.amount_minor for t in held), default=0) <= intent.amount_minor
    assert 0 <= intent.amount_capturable_minor <= authorized
    captured = [t for t in of[TransactionType.capture] if t.status is TransactionStatus.succeeded]
    assert len(captured) <= 1, "at most one capture"
    for capture in of[TransactionType.capture]:
        assert capture.authorization_id in {t.id for t in proven}, "a capture needs a proven authorization"
        assert 0 < capture.amount_minor <= authorized, "never more is captured than authorized"
    amounts = {t.id: t.amount_minor for t in of[TransactionType.authorization]}
    for void in of[TransactionType.void]:
        assert void.authorization_id is not None
        assert void.amount_minor == amounts[void.authorization_id], "a void releases all"
    assert (intent.amount_received_minor == 0) or status is PaymentIntentStatus.succeeded
    assert intent.amount_capturable_minor == 0 or status in (WAITING[0], PaymentIntentStatus.requires_capture)
    assert (intent.amount_capturable_minor > 0) or status is not PaymentIntentStatus.requires_capture
    assert (intent.cancellation_reason is not None) == (status is PaymentIntentStatus.canceled)
    assert (intent.next_action is not None) == (status is PaymentIntentStatus.requires_action)
    canceling = any(t.void_reason is VoidReason.cancel and is_open(t) for t in intent.transactions)
    assert intent.cancel_requested == canceling
    assert status is PaymentIntentStatus.processing or all(t.reply_to is None for t in intent.transactions)
    assert max(Counter(t.id for t in intent.transactions).values(), default=1) == 1
    for transaction in intent.transactions:
        assert (transaction.completed_at is None) == is_open(transaction)
        assert not transaction.route or transaction.processor not in transaction.route
