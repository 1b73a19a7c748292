"""What the processors' settlement files say, and how it compares with what was captured."""

from __future__ import annotations

from msgspec import Struct

from schemas.identifiers import PaymentIntentId, TransactionId
from schemas.payment import TransactionStatus
from schemas.times import Micros

__all__ = [
    "Capture",
    "OpenCapture",
    "Settlement",
    "SettlementLine",
]


class Capture(Struct, frozen=True, kw_only=True):
    """A capture that succeeded or is in doubt, for matching with settlement lines."""

    processor: str
    processor_reference: str
    payment_intent_id: PaymentIntentId
    transaction_id: TransactionId
    status: TransactionStatus
    amount_minor: int
    currency: str
    at: Micros


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


class OpenCapture(Struct, frozen=True, kw_only=True):
    """A capture or a line that waits for the other: changelog of the settlement flow."""

    capture: Capture | None = None
    line: SettlementLine | None = None
    due_at: Micros


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
