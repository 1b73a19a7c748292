"""The columns of `settlements` and `mismatch_resolutions`, as `columns` has those of payments; and how a settlement is
shown as a Transaction.

Pure; shared by writer and reader.
"""

from __future__ import annotations

from psycopg.sql import SQL, Composable

from schemas.identifiers import missing_settlement_id, settlement_id
from schemas.settlement import MismatchResolved, Settlement, SettlementLine, SettlementOutcome
from sinks.postgres.columns import _BYTES, _NUMBER, _TEXT, _TIME, Column, Kind, Row, _columns, _staging, micros_of
from sinks.postgres.text import storable

__all__ = [
    "MISMATCH_RESOLUTIONS",
    "SETTLEMENTS",
    "SETTLEMENT_AS_TRANSACTION",
    "id_of_settlement",
    "row_of_resolution",
    "row_of_settlement",
]


def _same(value: object) -> object:
    return value


def _date_of(days: Composable) -> Composable:
    """SQL: the date of an expression in days since the epoch."""
    return SQL("(date 'epoch' + {})").format(days)


_DATE = Kind("integer", _same, store=_date_of)
# Of a line what the settlement says already, and what it is spread over.
_SAID, _SPREAD = Kind("", _same), Kind("", _same)

_SETTLEMENT_FIELDS = _columns(
    Settlement,
    {
        "payment_intent_id": _TEXT,
        "transaction_id": _TEXT,
        "processor": _TEXT,
        "processor_reference": _TEXT,
        "outcome": _TEXT,
        "settlement_date": _DATE,
        "line": _SPREAD,
        "at": _TIME,
        "capture_amount_minor": _NUMBER,
        "capture_currency": _TEXT,
        "reference": _TEXT,
    },
)
_LINE_FIELDS = _columns(
    SettlementLine,
    {
        "processor": _SAID,
        "processor_reference": _SAID,
        "kind": _TEXT,
        "settlement_date": _SAID,
        "file_sequence": _NUMBER,
        "file_hash": _BYTES,
        "line_number": _NUMBER,
        "gross_minor": _NUMBER,
        "currency": _TEXT,
        "fee_minor": _NUMBER,
        "net_minor": _NUMBER,
        "payout_currency": _TEXT,
        "at": _TIME,
        "reference": _SAID,
        "booked_at": _TIME,
    },
)

_OF_SETTLEMENT = tuple(column for column in _SETTLEMENT_FIELDS if column.kind is not _SPREAD)
_OF_LINE = tuple(column for column in _LINE_FIELDS if column.kind is not _SAID)

SETTLEMENTS = (
    Column("id", _TEXT),
    *_OF_SETTLEMENT,
    # The settlement has a moment of its own.
    *(Column("imported_at", _TIME) if column.name == "at" else column for column in _OF_LINE),
)

MISMATCH_RESOLUTIONS = _columns(
    MismatchResolved,
    {
        "settlement_id": _TEXT,
        "payment_intent_id": _TEXT,
        "reference": _TEXT,
        "processor": _TEXT,
        "outcome": _TEXT,
        "evidence": _TEXT,
        "actor_id": _TEXT,
        "at": _TIME,
    },
)

row_of_resolution = _staging(MISMATCH_RESOLUTIONS)
_row_of_itself = _staging(_OF_SETTLEMENT)
_row_of_line = _staging(_OF_LINE)
_NO_LINE: Row = (None,) * len(_OF_LINE)


def id_of_settlement(settlement: Settlement) -> str:
    """What makes it this one: its line, else the capture that has none, and when that was found."""
    line = settlement.line
    if line is not None:
        return settlement_id(processor=line.processor, file_hash=line.file_hash, line_number=line.line_number)
    assert settlement.transaction_id is not None, "neither a line nor a capture"
    return missing_settlement_id(transaction_id=settlement.transaction_id, at=settlement.at)


def row_of_settlement(settlement: Settlement) -> Row:
    """The row of SETTLEMENTS."""
    line = _NO_LINE if settlement.line is None else _row_of_line(settlement.line)
    return (storable(id_of_settlement(settlement)), *_row_of_itself(settlement), *line)


# SQL: a Transaction, of a row of settlements named "settlement". The payment knows nothing of it: only the read model
# shows it, beside the capture that it names. A mismatch is one that failed, with the mismatch's name.
SETTLEMENT_AS_TRANSACTION = SQL(
    "json_build_object('id', settlement.id, 'type', 'settlement',"
    " 'status', CASE settlement.outcome WHEN {settled} THEN 'succeeded' ELSE 'failed' END,"
    " 'amount_minor', coalesce(settlement.gross_minor, settlement.capture_amount_minor, 0),"
    " 'currency', coalesce(settlement.currency, settlement.capture_currency, ''),"
    " 'processor', settlement.processor, 'processor_reference', nullif(settlement.processor_reference, ''),"
    " 'code', nullif(settlement.outcome, {settled}),"
    " 'processor_data', json_strip_nulls(json_build_object('capture', settlement.transaction_id,"
    " 'settlement_date', settlement.settlement_date::text, 'fee_minor', settlement.fee_minor::text,"
    " 'net_minor', settlement.net_minor::text, 'payout_currency', settlement.payout_currency)),"
    " 'created_at', {at}, 'completed_at', {at})"
).format(settled=SettlementOutcome.settled.value, at=micros_of(SQL("settlement.at")))
