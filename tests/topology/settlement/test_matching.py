"""What captures and lines come to, row by row."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from schemas.payment import TransactionStatus, TransactionType
from schemas.processing import Outcome, ResultSource
from tests.topology.domain.script import Payment, result
from tests.topology.settlement.script import INTENT, TRANSACTION, Reference
from topology.settling.matching import FURTHER_LINES_MAX


@dataclass(frozen=True)
class Row:
    """`comes_to` are the outcomes in their order; `waits` what is still there then."""

    name: str
    steps: tuple[str, ...]
    comes_to: tuple[str, ...] = ()
    waits: str = "nothing"
    decides: int = 0
    """How often the fold is told that the capture took place."""
    asks: int = 0
    """How many questions to the read model are still without an answer."""


ROWS = (
    Row("a capture waits for its line", ("captured",), waits="succeeded"),
    Row("a line settles the capture that waits", ("captured", "line"), ("settled",)),
    Row("a capture settles the line that waits", ("line", "captured"), ("settled",), asks=1),
    Row("another amount", ("captured", "line 900"), ("amount",)),
    Row("another currency", ("captured", "line eur"), ("currency",)),
    Row("another currency and amount", ("captured", "line 900 eur"), ("currency",)),
    Row("another amount, the line first", ("line 900", "captured"), ("amount",), asks=1),
    Row("said again of a capture", ("captured", "captured"), waits="succeeded"),
    Row("in doubt said of a capture that is known", ("captured", "in doubt"), waits="succeeded"),
    Row("in doubt, then captured, then settled", ("in doubt", "captured", "line"), ("settled",)),
    # What the end of a window asks
    Row("a window that ends asks first", ("captured", "window ends"), waits="succeeded", asks=1),
    Row("no line in time", ("captured", "window ends", "known: captured"), ("missing_at_processor",)),
    Row("no line of a doubt in time", ("in doubt", "window ends", "known: in doubt"), ("missing_at_processor",)),
    Row(
        "no line, and the read model has lost it",
        ("captured", "window ends", "known: nothing"),
        ("missing_at_processor",),
    ),
    Row("settled by a line that named another reference", ("captured", "window ends", "known: settled")),
    Row("the doubt came to nothing elsewhere", ("in doubt", "window ends", "known: failed")),
    Row(
        "the line comes while the window's end is asked about",
        ("captured", "window ends", "line"),
        ("settled",),
        asks=1,
    ),
    Row(
        "an answer that comes after the line",
        ("captured", "window ends", "line", "known: captured"),
        ("settled",),
    ),
    Row(
        "a doubt that is captured while the window's end is asked about has a new window",
        ("in doubt", "window ends", "captured", "known: captured"),
        waits="succeeded",
    ),
    Row("a window that ends of what is settled", ("captured", "line", "window ends"), ("settled",)),
    Row(
        "a window does not end while a line waits",
        ("in doubt", "line", "window ends"),
        waits="pending, 1 lines",
        decides=1,
        asks=1,
    ),
    # Lines that meet no capture
    Row("a line waits for the read model", ("line",), waits="1 lines", asks=1),
    Row("no transaction of any date", ("line", "known: nothing"), ("missing_here",)),
    Row("a line after missing_at_processor", ("line", "known: missed"), ("settled",)),
    Row("a late line of another amount", ("line 1200", "known: missed"), ("amount",)),
    Row("a late line in another currency", ("line eur", "known: missed"), ("currency",)),
    Row("settled twice", ("captured", "line", "line", "known: settled"), ("settled", "settled_twice")),
    Row("settled although the capture failed", ("line", "known: failed"), ("settled_not_captured",)),
    Row("settled although voided", ("line", "known: voided"), ("settled_not_captured",)),
    Row("the same line again, judged", ("captured", "line", "line again", "known: judged"), ("settled",)),
    Row("the same line again, waiting", ("line", "line again", "known: nothing"), ("missing_here",)),
    Row(
        "missing here, and then late, and missing still",
        ("captured", "window ends", "known: captured", "line", "known: missed"),
        ("missing_at_processor", "settled"),
    ),
    # A capture that the read model knows, and that has not come by here
    Row("it is on its way", ("line", "known: captured"), waits="1 lines", asks=1),
    Row("it comes", ("line", "known: captured", "captured"), ("settled",), asks=1),
    Row("it does not come", ("line", "known: captured", "known: captured a day later"), ("settled",)),
    Row("none will come of what another call found", ("line", "known: found captured"), ("settled",)),
    Row("under another reference it never will", ("line", "known: elsewhere"), ("settled",)),
    Row(
        "a second line does not settle it again",
        ("line", "known: captured", "captured", "line", "known: captured", "known: settled"),
        ("settled", "settled_twice"),
    ),
    # Doubt
    Row("a line decides a doubt", ("in doubt", "line"), waits="pending, 1 lines", decides=1, asks=1),
    Row("a doubt decided by a line", ("in doubt", "line", "captured"), ("settled",), decides=1, asks=1),
    Row("over another amount", ("in doubt", "line 900", "captured"), ("amount",), decides=1, asks=1),
    Row("the line first", ("line", "in doubt", "captured"), ("settled",), decides=1, asks=2),
    Row(
        "told again for as long as it is in doubt",
        ("in doubt", "line", "known: in doubt", "known: in doubt"),
        waits="pending, 1 lines",
        decides=3,
        asks=1,
    ),
    Row(
        "the read model knows first, and waits for the capture",
        ("in doubt", "line", "known: captured", "captured"),
        ("settled",),
        decides=1,
        asks=1,
    ),
    Row("a doubt that only the read model knows of", ("line", "known: in doubt"), waits="1 lines", decides=1, asks=1),
    Row("a doubt that came to nothing without a line", ("in doubt", "failed")),
    Row(
        "a doubt that came to nothing, and was settled",
        ("in doubt", "line", "failed", "known: failed"),
        ("settled_not_captured",),
        decides=1,
        asks=1,
    ),
    Row("nothing was awaited of what failed", ("failed",)),
    # Several lines under one reference
    Row("two lines before their capture", ("line", "line", "captured"), ("settled", "settled_twice"), asks=1),
    Row("two lines of nothing", ("line", "line", "known: nothing", "known: nothing"), ("missing_here", "missing_here")),
    Row(
        "two lines, one after the other",
        ("line", "line", "known: missed", "known: settled"),
        ("settled", "settled_twice"),
    ),
    # Other kinds
    Row("a fee", ("line fee",), ("unmatched_kind",)),
    Row("a refund of a capture that waits", ("captured", "line refund"), ("unmatched_kind",), waits="succeeded"),
    Row("a chargeback after the settlement", ("captured", "line", "line chargeback"), ("settled", "unmatched_kind")),
    Row("a fee while a line waits", ("line", "line fee"), ("unmatched_kind",), waits="1 lines", asks=1),
    Row("judged when nothing waits any more", ("line", "captured", "known: nothing"), ("settled",)),
)


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_what_it_comes_to(row: Row) -> None:
    reference = Reference().tell(*row.steps)
    assert tuple(reference.outcomes()) == row.comes_to
    assert reference.waiting() == row.waits
    assert (len(reference.results), len(reference.asked)) == (row.decides, row.asks)


def test_every_outcome_has_a_row() -> None:
    from schemas.settlement import SettlementOutcome

    assert {outcome for row in ROWS for outcome in row.comes_to} == set(SettlementOutcome)


def test_a_settlement_has_what_both_sides_say() -> None:
    (settlement,) = Reference().tell("captured", "line 900").settlements
    assert (settlement.payment_intent_id, settlement.transaction_id) == (INTENT, TRANSACTION)
    assert settlement.line is not None
    assert (settlement.line.gross_minor, settlement.capture_amount_minor, settlement.capture_currency) == (
        900,
        1_000,
        "usd",
    )
    assert (settlement.settlement_date, settlement.reference) == (settlement.line.settlement_date, TRANSACTION)


def test_a_late_line_has_what_the_read_model_knows() -> None:
    (settlement,) = Reference().tell("line", "known: failed").settlements
    assert (settlement.payment_intent_id, settlement.transaction_id, settlement.capture_amount_minor) == (
        INTENT,
        TRANSACTION,
        1_000,
    )


def test_a_reference_that_is_named_without_end_keeps_a_bounded_record() -> None:
    reference = Reference().tell(*["line"] * (FURTHER_LINES_MAX + 3))
    assert reference.waiting() == f"{FURTHER_LINES_MAX + 1} lines"
    assert reference.outcomes() == ["settled_twice", "settled_twice"]


def test_the_result_of_a_line_closes_the_doubt_in_the_fold() -> None:
    payment = Payment(route=("a",)).tell("attempt", "authorization: approved", "capture: unknown")
    doubtful = payment.latest("capture")
    assert doubtful.status is TransactionStatus.pending
    (told,) = Reference().tell("in doubt", "line").results
    assert (told.outcome, told.source, told.processor_reference) == (Outcome.approved, ResultSource.settlement, "cn_1")
    assert told.evidence is not None
    assert "line 1" in told.evidence
    payment.give(
        result(doubtful, told.outcome, source=told.source, amount_minor=told.amount_minor, currency=told.currency)
    )
    assert payment.intent.status == "succeeded"
    assert payment.latest("capture").type is TransactionType.capture
    assert payment.latest("capture").status is TransactionStatus.succeeded
