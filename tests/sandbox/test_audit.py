"""The audit finds each breach of a promise, and nothing in payments that ended as the network's books say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from sandbox.audit import Booked, Promise, audit, by_payment, ledger_of
from sandbox.card_network.booking import Hold, Kind, Status
from schemas.identifiers import MerchantId, PaymentIntentId, TransactionId
from schemas.payment import (
    CaptureMethod,
    PaymentIntent,
    PaymentIntentStatus,
    Transaction,
    TransactionStatus,
    TransactionType,
    VoidReason,
)
from schemas.times import Micros

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
        created_at=Micros(1),
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
        # The bank let go of the money without a word, and said so to the capture.
        (
            payment("canceled", AUTHORIZED, transaction(C, "capture", "failed", code="authorization_expired")),
            (booked(A, "authorization", hold="dropped"), booked(C, "capture", "declined")),
        ),
        # The hold has run out, and nobody needs to release it.
        (
            payment("canceled", AUTHORIZED, transaction(V, "void", "expired", void_reason=VoidReason.cancel)),
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
    declined = payment("requires_payment_method", transaction(A, "authorization", "declined"))
    assert broken(declined, held) == {Promise.held_for_nobody}
    assert broken(HELD, replace(held, amount_minor=400)) == {Promise.other_amount}
    assert broken(HELD) == {Promise.not_in_their_books}


def test_each_request_over_iso_8583_is_a_hold() -> None:
    twice = booked(A, "authorization", hold="held", requests=2, processor="isonet")
    assert broken(HELD, twice) == {Promise.held_twice}
    assert broken(HELD, replace(twice, processor="cardnet")) == set()


def test_the_ledger_is_read_as_the_network_gives_it() -> None:
    ledger = ledger_of(msgspec.json.encode(PAID_THERE))
    assert by_payment(ledger) == {"pi_1": list(PAID_THERE)}
