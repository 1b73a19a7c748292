"""A mismatch as operators see it: what both sides say, and who explained it. The SQL that reads it, and the record.

Driven by `sinks.postgres.operators`, which has the connection.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from schemas.identifiers import PaymentIntentId, TransactionId
from schemas.times import Micros, from_datetime
from sinks.postgres.text import restored

__all__ = ["HAS_MISMATCHES", "MISMATCHES", "Mismatch", "mismatch_of"]

HAS_MISMATCHES: LiteralString = "SELECT to_regclass('reconciliation_mismatches') IS NOT NULL"

# The newest first: what was found today is seen, however much there is that nobody has explained.
MISMATCHES: LiteralString = """
SELECT found.id, found.processor, found.processor_reference, found.reference, found.name, found.payment_intent_id,
       found.transaction_id, found.settlement_date::text, found.found_at, found.capture_amount_minor,
       found.capture_currency, found.gross_minor, found.currency, found.file_sequence, found.line_number,
       found.booked_at, found.resolved_at, found.resolved_by, found.evidence
FROM reconciliation_mismatches AS found
WHERE found.found_at <= %(opened_before)s
  AND (%(with_resolved)s OR found.resolved_at IS NULL)
  AND (%(mismatch_id)s::text IS NULL OR found.id = %(mismatch_id)s)
  AND (%(payment_intent_id)s::text IS NULL OR found.payment_intent_id = %(payment_intent_id)s)
  AND (%(processor)s::text IS NULL OR found.processor = %(processor)s)
  AND (%(merchant_id)s::text IS NULL OR EXISTS (
        SELECT FROM payment_intent_ids AS known JOIN payment_intents AS intent
          ON intent.id = known.id AND intent.created_at = known.created_at
        WHERE known.id = found.payment_intent_id AND intent.merchant_id = %(merchant_id)s))
ORDER BY found.found_at DESC, found.id
LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """What settlement found that does not agree with our books. `settlement_date` is YYYY-MM-DD.

    `id` is the settlement's. `capture_…` is what we have, `line_…` what the processor's file says; None where there is
    no such side. `resolved_at` is when a person explained it, or a line came after all for what was missing, whichever
    was first; None: it is still so. `resolved_by` and `evidence` are the person's.
    """

    id: TransactionId
    processor: str
    processor_reference: str
    reference: str | None
    outcome: str
    payment_intent_id: PaymentIntentId | None
    transaction_id: TransactionId | None
    settlement_date: str | None
    at: Micros
    capture_amount_minor: int | None = None
    capture_currency: str | None = None
    line_amount_minor: int | None = None
    line_currency: str | None = None
    file_sequence: int | None = None
    line_number: int | None = None
    booked_at: Micros | None = None
    resolved_at: Micros | None = None
    resolved_by: str | None = None
    evidence: str | None = None


def mismatch_of(row: tuple[Any, ...]) -> Mismatch:
    """The record of a row of MISMATCHES."""
    return Mismatch(
        id=TransactionId(row[0]),
        processor=restored(row[1]),
        processor_reference=restored(row[2]),
        reference=_text(row[3]),
        outcome=row[4],
        payment_intent_id=row[5],
        transaction_id=row[6],
        settlement_date=row[7],
        at=from_datetime(row[8]),
        capture_amount_minor=row[9],
        capture_currency=row[10],
        line_amount_minor=row[11],
        line_currency=row[12],
        file_sequence=row[13],
        line_number=row[14],
        booked_at=_moment(row[15]),
        resolved_at=_moment(row[16]),
        resolved_by=_text(row[17]),
        evidence=_text(row[18]),
    )


def _text(value: str | None) -> str | None:
    return None if value is None else restored(value)


def _moment(value: datetime | None) -> Micros | None:
    return None if value is None else from_datetime(value)
