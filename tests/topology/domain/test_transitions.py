"""The transition table: whole, consistent, and drawn in the documentation."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from schemas.payment import PaymentIntentStatus, TransactionStatus, TransactionType, VoidReason
from topology.domain import EventType, Refusal
from topology.domain.diagram import document
from topology.domain.transitions import (
    ANYWHERE,
    AUTHORIZATION_AFTER_VOID,
    CANCELLATION_AFTER_VOID,
    REFUSED,
    ROWS,
    TABLE,
    TRANSACTION_MOVES,
    On,
)

DOCUMENT = Path(__file__).parents[3] / "docs" / "payment-states.md"
FINAL = {status for status, moves in TRANSACTION_MOVES.items() if not moves}
TERMINAL = {PaymentIntentStatus.succeeded, PaymentIntentStatus.canceled}


def test_every_pair_of_status_and_input_is_in_the_table_or_refused_by_name() -> None:
    pairs = {(status, on) for status in (None, *PaymentIntentStatus) for on in On}
    assert set(TABLE) | set(REFUSED) == pairs
    assert not set(TABLE) & set(REFUSED)
    assert set(REFUSED.values()) <= set(Refusal)


def test_no_pair_has_two_rows() -> None:
    assert [pair for pair, rows in Counter((row.source, row.on) for row in ROWS).items() if rows > 1] == []
    assert {row.on for row in ANYWHERE}.isdisjoint({row.on for row in ROWS})


def test_every_input_does_something_somewhere() -> None:
    assert {on for _, on in TABLE} == set(On)


def test_a_terminal_status_is_never_left() -> None:
    assert all(row.target is row.source for row in TABLE.values() if row.source in TERMINAL)


def test_what_holds_anywhere_moves_nothing() -> None:
    anywhere = {row.on for row in ANYWHERE}
    assert all(row.target is row.source for row in TABLE.values() if row.on in anywhere)


def test_processing_waits_for_a_transaction_and_nothing_else_does() -> None:
    # What leads into `processing` opens a Transaction; what leaves it closes one, or asks the customer.
    for row in ROWS:
        if row.target is PaymentIntentStatus.processing and row.source is not PaymentIntentStatus.processing:
            assert row.opens is not None, row
        if row.source is PaymentIntentStatus.processing and row.target is not row.source:
            assert row.becomes in FINAL | {TransactionStatus.requires_action}, row


def test_a_transaction_completes_exactly_when_it_takes_a_final_status() -> None:
    for row in (*ROWS, *ANYWHERE):
        assert (row.event is EventType.transaction_completed) == (row.becomes in FINAL), row


def test_every_reason_of_a_void_but_one_leads_somewhere() -> None:
    opened = {row.reason for row in (*ROWS, *ANYWHERE) if row.opens is TransactionType.void}
    assert opened == set(VoidReason)
    assert VoidReason.late_approval not in CANCELLATION_AFTER_VOID
    assert VoidReason.late_approval not in AUTHORIZATION_AFTER_VOID


def test_doubt_becomes_failed_only_by_what_proves_it() -> None:
    failing = {row.on for row in (*ROWS, *ANYWHERE) if row.becomes is TransactionStatus.failed}
    words = ("not sent, for good", "capture failed", "void failed")
    assert all(any(word in on for word in words) for on in failing), failing


def test_the_documentation_shows_the_table_as_it_is() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), (
        "python -m topology.domain.diagram > docs/payment-states.md"
    )
