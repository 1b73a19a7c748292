"""The audit finds each breach of a promise, and nothing in payments that ended as the network's books say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from sandbox.audit import NOT_SENT, Booked, Promise, audit, by_payment, doubted_in, ledger_of, resolved_in
from sandbox.card_network.booking import Hold, Kind, Status
from schemas.identifiers import EventId, MerchantId, PaymentIntentId, TransactionId
from schemas.payment import (
    Actor,
    ActorType,
    CaptureMethod,
    PaymentEvent,
    PaymentIntent,
    PaymentIntentStatus,
    Transaction,
    TransactionStatus,
    TransactionType,
    VoidReason,
)
from schemas.times import Micros, from_datetime
from topology.processors import Cause

NOW = datetime(2026, 1, 2, tzinfo=UTC)
A, C, V = (TransactionId(f"tx_{letter}") for letter in "acv")


def transaction(id_: TransactionId, kind: str, status: str, **more: Any) -> Transaction:
    of = None if kind == "authorization" else A
    return Transaction(
        id=id_,
        type=TransactionType(kind),
        status=TransactionStatus(status),
        amount_minor=more.pop("amount_minor", 1_000),
        currency="usd",
        processor="cardnet",
        authorization_id=of,
        created_at=from_datetime(NOW),
        **more,
    )


def payment(status: str, *transactions: Transaction, received: int = 0, capturable: int = 0) -> PaymentIntent:
    return PaymentIntent(
        id=PaymentIntentId("pi_1"),
        merchant_id=MerchantId("mer_a"),
        livemode=False,
        status=PaymentIntentStatus(status),
        amount_minor=1_000,
        currency="usd",
        capture_method=CaptureMethod.automatic,
        amount_received_minor=received,
        amount_capturable_minor=capturable,
        fingerprint=b"",
        sequence=1,
        created_at=Micros(1),
        updated_at=Micros(1),
        transactions=transactions,
    )


def booked(id_: str, kind: str, status: str = "approved", hold: str | None = None, **more: Any) -> Booked:
    return Booked(
        reference=id_,
        payment_intent="pi_1",
        type=Kind(kind),
        status=Status(status),
        amount_minor=more.pop("amount_minor", 1_000),
        currency="usd",
        at=NOW,
        requests=more.pop("requests", 1),
        processor=more.pop("processor", "cardnet"),
        hold=None if hold is None else Hold(hold),
        **more,
    )


AUTHORIZED = transaction(A, "authorization", "succeeded")
CAPTURED = transaction(C, "capture", "succeeded")
PAID = payment("succeeded", AUTHORIZED, CAPTURED, received=1_000)
PAID_THERE = (booked(A, "authorization", hold="captured"), booked(C, "capture"))
HELD = payment("requires_capture", AUTHORIZED, capturable=1_000)
IN_DOUBT = (
    transaction(A, "authorization", "failed", code="outcome_unknown"),
    transaction(V, "void", "succeeded", void_reason=VoidReason.doubt),
)
DECLINED = transaction(A, "authorization", "declined", code="card_declined")
VOIDED_THERE = (booked(A, "authorization", hold="voided"), booked(V, "void"))


def broken(intent: PaymentIntent, *bookings: Booked, now: datetime = NOW, **more: Any) -> set[Promise]:
    return {one.promise for one in audit(intent, bookings, now=now, **more)}


@pytest.mark.parametrize(
    ("intent", "bookings"),
    [
        (PAID, PAID_THERE),
        (HELD, (booked(A, "authorization", hold="held"),)),
        (payment("requires_payment_method"), ()),
        (payment("requires_payment_method", *IN_DOUBT), VOIDED_THERE),
        # It never came: all that the network has is the void, over no amount.
        (payment("requires_payment_method", *IN_DOUBT), (booked(V, "void", amount_minor=None),)),
        # Never sent, and so in nobody's books.
        (payment("requires_payment_method", transaction(A, "authorization", "failed", code="no_connection")), ()),
        (payment("requires_payment_method", DECLINED), (booked(A, "authorization", "declined", hold="none"),)),
        (
            payment(
                "requires_payment_method",
                transaction(A, "authorization", "declined", code="amount_not_approved"),
                transaction(V, "void", "succeeded", void_reason=VoidReason.amount_not_approved),
            ),
            (booked(A, "authorization", hold="voided", amount_minor=500), booked(V, "void", amount_minor=500)),
        ),
        # There is nothing to void, says the network, for it had declined.
        (
            payment(
                "requires_payment_method", IN_DOUBT[0], transaction(V, "void", "failed", code="invalid_transaction")
            ),
            (booked(A, "authorization", "declined", hold="none"), booked(V, "void", "declined")),
        ),
        # A challenge that was canceled, and one that nobody passed.
        (
            payment(
                "canceled",
                transaction(A, "authorization", "canceled", code="canceled"),
                transaction(V, "void", "succeeded", void_reason=VoidReason.cancel),
            ),
            (booked(A, "authorization", "declined", hold="voided"), booked(V, "void")),
        ),
        (
            payment(
                "requires_payment_method",
                transaction(A, "authorization", "expired", code="challenge_timeout"),
                transaction(V, "void", "succeeded", void_reason=VoidReason.challenge_timeout),
            ),
            (booked(A, "authorization", "declined", hold="voided"), booked(V, "void")),
        ),
        # The bank let go of the money without a word, and said so to the capture.
        (
            payment("canceled", AUTHORIZED, transaction(C, "capture", "failed", code="authorization_expired")),
            (booked(A, "authorization", hold="dropped"), booked(C, "capture", "declined")),
        ),
        # The hold has run out, and nobody needs to release it.
        (
            payment("canceled", AUTHORIZED, transaction(V, "void", "expired", code="hold_ended")),
            (booked(A, "authorization", hold="held", capture_before=NOW - timedelta(days=1)),),
        ),
    ],
)
def test_what_ended_as_the_books_say_breaks_nothing(intent: PaymentIntent, bookings: tuple[Booked, ...]) -> None:
    assert list(audit(intent, bookings, now=NOW)) == []


def test_a_second_capture_is_a_double_charge() -> None:
    assert Promise.charged_twice in broken(PAID, *PAID_THERE, booked("tx_other", "capture"))


def test_what_is_under_way_is_undecided() -> None:
    pending = transaction(C, "capture", "pending")
    assert broken(payment("processing", AUTHORIZED, pending), booked(A, "authorization", hold="captured")) == {
        Promise.undecided
    }
    challenged = payment("requires_action", transaction(A, "authorization", "requires_action"))
    assert broken(challenged) == {Promise.undecided}


def test_a_failure_wants_the_networks_word() -> None:
    failed = transaction(C, "capture", "failed", code="timed_out")
    intent = payment("requires_payment_method", AUTHORIZED, failed)
    gone = booked(A, "authorization", hold="dropped")
    assert broken(intent, gone) == {Promise.failed_without_evidence}
    assert broken(intent, gone, booked(C, "capture", "declined")) == set()
    assert broken(intent, gone, resolved={C}) == set()


def test_lost_requests_are_no_evidence() -> None:
    """The books know as little of what was lost on its way as of what was never sent."""
    lost = [
        payment("requires_payment_method", IN_DOUBT[0]),
        payment("requires_payment_method", DECLINED),
        payment("requires_payment_method", transaction(A, "authorization", "declined", code="declined")),
        payment("canceled", transaction(A, "authorization", "canceled", code="canceled")),
        payment("requires_payment_method", transaction(A, "authorization", "expired", code="challenge_timeout")),
    ]
    assert [broken(intent) for intent in lost] == [{Promise.failed_without_evidence}] * len(lost)
    held = booked(A, "authorization", hold="dropped")
    ended = [
        payment("canceled", AUTHORIZED, transaction(C, "capture", "declined", code="card_declined")),
        payment("canceled", AUTHORIZED, transaction(V, "void", "canceled", code="canceled")),
    ]
    assert [broken(intent, held) for intent in ended] == [{Promise.failed_without_evidence}] * len(ended)


def test_what_was_ever_in_doubt_was_not_unsent() -> None:
    unsent = payment("requires_payment_method", transaction(A, "authorization", "failed", code="no_connection"))
    assert broken(unsent) == set()
    assert broken(unsent, doubted={A}) == {Promise.failed_without_evidence}
    assert broken(unsent, booked(A, "authorization", "declined", hold="none")) == {Promise.failed_without_evidence}


def test_the_codes_of_what_was_not_sent_are_those_of_the_port() -> None:
    learnt_nothing = {"restarted", "timed_out", "connection_broken", "unknown_code", "outcome_unknown"}
    assert not NOT_SENT & learnt_nothing
    assert set(Cause) >= NOT_SENT - {"not_sent", "payment_method_unusable"}


def test_an_approval_over_another_amount_is_declined_by_its_void() -> None:
    other = transaction(A, "authorization", "declined", code="amount_not_approved")
    void = transaction(V, "void", "succeeded", void_reason=VoidReason.amount_not_approved)
    over_half, voided = booked(A, "authorization", hold="voided", amount_minor=500), booked(V, "void", amount_minor=500)
    intent = payment("requires_payment_method", other, void)
    assert broken(payment("requires_payment_method", other), over_half) == {Promise.failed_without_evidence}
    assert broken(intent, replace(over_half, amount_minor=1_000), voided) == {Promise.failed_without_evidence}


def test_the_end_of_the_longest_hold_is_evidence_once_it_has_come() -> None:
    ended = payment("requires_payment_method", transaction(A, "authorization", "expired", code="hold_ended"))
    assert broken(ended, now=NOW + timedelta(days=6)) == {Promise.failed_without_evidence}
    assert broken(ended, now=NOW + timedelta(days=8)) == set()
    void = transaction(V, "void", "expired", code="hold_ended", void_reason=VoidReason.doubt)
    in_doubt = payment("requires_payment_method", IN_DOUBT[0], void)
    assert broken(in_doubt, now=NOW + timedelta(days=6)) == {Promise.failed_without_evidence}
    assert broken(in_doubt, now=NOW + timedelta(days=8)) == set()


def test_the_events_say_who_decided_and_what_was_in_doubt() -> None:
    def event(intent: PaymentIntent, actor: ActorType) -> PaymentEvent:
        return PaymentEvent(
            id=EventId("evt_1"),
            sequence=1,
            type="transaction.completed",
            at=Micros(1),
            cause="",
            actor=Actor(type=actor, id="ada"),
            payment_intent=intent,
            transaction=intent.transactions[-1],
        )

    events = [
        event(payment("processing", AUTHORIZED, transaction(C, "capture", "pending")), ActorType.processor),
        event(PAID, ActorType.operator),
    ]
    assert doubted_in(events) == {C}
    assert resolved_in(events[:1]) == set()
    assert resolved_in(events) == {C}


def test_an_authorization_in_doubt_wants_its_void_in_the_books() -> None:
    intent = payment("requires_payment_method", *IN_DOUBT)
    assert broken(intent) == {Promise.failed_without_evidence, Promise.not_in_their_books}
    alone = payment("requires_payment_method", IN_DOUBT[0])
    assert broken(alone, booked(A, "authorization", "declined", hold="none")) == {Promise.failed_without_evidence}
    assert Promise.failed_without_evidence in broken(alone, booked(A, "authorization", hold="held"))


def test_what_succeeded_is_in_their_books_over_the_same_amount() -> None:
    assert broken(PAID, PAID_THERE[0]) == {Promise.other_amount, Promise.not_in_their_books}
    assert broken(PAID, PAID_THERE[0], booked(C, "capture", amount_minor=900)) == {Promise.other_amount}
    assert broken(PAID, PAID_THERE[0], booked(C, "void")) == {Promise.other_amount, Promise.not_in_their_books}


def test_what_they_booked_is_in_ours() -> None:
    assert broken(payment("requires_payment_method"), booked("tx_x", "void")) == {Promise.not_in_ours}


def test_a_hold_is_for_somebody() -> None:
    held = booked(A, "authorization", hold="held")
    declined = payment("requires_payment_method", DECLINED)
    assert broken(declined, held) == {Promise.held_for_nobody, Promise.failed_without_evidence}
    assert broken(HELD, replace(held, amount_minor=400)) == {Promise.other_amount}
    assert broken(HELD) == {Promise.not_in_their_books}


def test_each_request_over_iso_8583_is_a_hold() -> None:
    twice = booked(A, "authorization", hold="held", requests=2, processor="isonet")
    assert broken(HELD, twice) == {Promise.held_twice}
    assert broken(HELD, replace(twice, processor="cardnet")) == set()


def test_the_ledger_is_read_as_the_network_gives_it() -> None:
    ledger = ledger_of(msgspec.json.encode(PAID_THERE))
    assert by_payment(ledger) == {"pi_1": list(PAID_THERE)}
