"""What the processors' settlement files say, and how it compares with what was captured."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from schemas.identifiers import PaymentIntentId, TransactionId
from schemas.payment import TransactionStatus
from schemas.times import Micros

__all__ = [
    "Capture",
    "MismatchResolved",
    "OpenCapture",
    "Settlement",
    "SettlementFile",
    "SettlementLine",
    "SettlementOutcome",
]


class SettlementOutcome(StrEnum):
    """What a settlement comes to: settled, a mismatch by name, or a line of a kind that is kept and not judged."""

    settled = "settled"
    missing_at_processor = "missing_at_processor"
    missing_here = "missing_here"
    amount = "amount"
    currency = "currency"
    settled_twice = "settled_twice"
    settled_not_captured = "settled_not_captured"
    unmatched_kind = "unmatched_kind"


class Capture(Struct, frozen=True, kw_only=True):
    """What became of a capture, for matching with settlement lines."""

    processor: str
    processor_reference: str
    payment_intent_id: PaymentIntentId
    transaction_id: TransactionId
    status: TransactionStatus
    amount_minor: int
    currency: str
    at: Micros
    livemode: bool = True


class SettlementLine(Struct, frozen=True, kw_only=True):
    """One line of a processor's settlement file."""

    processor: str
    processor_reference: str
    kind: str
    settlement_date: int
    file_sequence: int
    file_hash: bytes
    line_number: int
    gross_minor: int
    currency: str
    fee_minor: int | None = None
    net_minor: int | None = None
    payout_currency: str | None = None
    at: Micros
    reference: str | None = None
    booked_at: Micros | None = None


class SettlementFile(Struct, frozen=True, kw_only=True):
    """A settlement file that was imported, or is being imported."""

    processor: str
    file_sequence: int
    file_hash: bytes
    settlement_date: int
    lines: int
    lines_written: int
    began_at: Micros
    at: Micros


class OpenCapture(Struct, frozen=True, kw_only=True):
    """A capture or lines that wait for each other, or to be judged: changelog of the settlement flow."""

    capture: Capture | None = None
    line: SettlementLine | None = None
    due_at: Micros
    further_lines: tuple[SettlementLine, ...] = ()


class Settlement(Struct, frozen=True, kw_only=True):
    """What became of a captured Transaction in settlement."""

    payment_intent_id: PaymentIntentId | None = None
    transaction_id: TransactionId | None = None
    processor: str
    processor_reference: str
    outcome: str
    settlement_date: int | None = None
    line: SettlementLine | None = None
    at: Micros
    capture_amount_minor: int | None = None
    capture_currency: str | None = None
    reference: str | None = None


class MismatchResolved(Struct, frozen=True, kw_only=True):
    """A person has explained what settlement found. The first one about a settlement counts."""

    settlement_id: TransactionId
    payment_intent_id: PaymentIntentId | None = None
    reference: str | None = None
    processor: str
    outcome: str
    evidence: str
    actor_id: str
    at: Micros
