"""Reads what settlement left behind: topics as a committed reader sees them, and tables. Driven by `collect`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg.rows import class_row

from schemas.codec import decode
from schemas.settlement import OpenCapture, SettlementLine
from schemas.settlement import Settlement as Record
from schemas.topics import OPEN_CAPTURES, SETTLEMENT_LINES, SETTLEMENTS
from tests.chaos.committed import messages_of, value_of
from tests.chaos.evidence import Adjustment, Line, Settled, Settlement

__all__ = ["Files", "line_of", "read_settlement", "settled_of"]


@dataclass(frozen=True, kw_only=True)
class Files:
    """The settlement files of a run."""

    adjustments: Sequence[Adjustment]
    """What was made to be wrong in them."""
    lines: Mapping[str, int]
    """By SHA-256, how many lines each has."""
    outcomes: int
    """How many settlements all of it has to come to."""


def read_settlement(bootstrap: str, postgres: str, files: Files) -> Settlement:
    """All that the checker wants to see of settlement."""
    with psycopg.connect(postgres) as database:
        rows = database.cursor(row_factory=class_row(Settled)).execute(_ROWS).fetchall()
        mismatches = [(str(reference), str(name)) for reference, name in database.execute(_MISMATCHES)]
    return Settlement(
        adjustments=files.adjustments,
        files=files.lines,
        lines=[line_of(decode(value_of(message))) for message in messages_of(bootstrap, SETTLEMENT_LINES)],
        settled=[settled_of(decode(value_of(message))) for message in messages_of(bootstrap, SETTLEMENTS)],
        rows=rows,
        mismatches=mismatches,
        waiting=list(_waiting(bootstrap)),
    )


_ROWS = """
SELECT processor, reference, outcome, payment_intent_id AS intent, transaction_id AS transaction,
       capture_amount_minor AS captured, capture_currency AS captured_currency,
       line_number AS line, gross_minor AS gross, currency
FROM settlements
"""
_MISMATCHES = "SELECT reference, name FROM reconciliation_mismatches"


def _waiting(bootstrap: str) -> Iterator[str]:
    """The keys of captures and lines that have not come to their end, by the last word of the changelog."""
    last: dict[str, object] = {}
    for message in messages_of(bootstrap, OPEN_CAPTURES):
        key = message.key()
        assert isinstance(key, bytes)
        last[key.decode()] = None if message.value() is None else decode(value_of(message))
    return (key for key, record in sorted(last.items()) if isinstance(record, OpenCapture))


def line_of(record: object) -> Line:
    """A line as the checker sees it."""
    assert isinstance(record, SettlementLine)
    return Line(
        processor=record.processor,
        file=record.file_hash.hex(),
        number=record.line_number,
        reference=record.reference or record.processor_reference,
    )


def settled_of(record: object) -> Settled:
    """A settlement as the checker sees it."""
    assert isinstance(record, Record)
    line = record.line
    return Settled(
        processor=record.processor,
        reference=record.reference or record.processor_reference,
        outcome=str(record.outcome),
        intent=record.payment_intent_id,
        transaction=record.transaction_id,
        captured=record.capture_amount_minor,
        captured_currency=record.capture_currency,
        line=None if line is None else line.line_number,
        gross=None if line is None else line.gross_minor,
        currency=None if line is None else line.currency,
    )
