"""One column per field of a record: how it is staged, stored, and read back as JSON. Pure; shared by writer and reader.

Reading back, PostgreSQL makes one JSON document per PaymentIntent, Transactions included, which decodes straight into
the records. So there is one statement, one snapshot and no second mapping that could forget a field.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec.structs
from psycopg.sql import SQL, Composable, Identifier, Literal

from schemas.payment import PaymentEvent, PaymentIntent, Transaction
from sinks.postgres.text import storable, storable_json

__all__ = [
    "AUDIT_LOG",
    "PAYMENT_INTENTS",
    "TRANSACTIONS",
    "TRANSACTION_JSON",
    "Column",
    "Row",
    "micros_of",
    "payment_intent_json",
    "row_of_event",
    "row_of_intent",
    "rows_of_transactions",
    "time_of",
]

Row = tuple[object, ...]


def time_of(micros: Composable) -> Composable:
    """SQL: the timestamptz of an expression in microseconds since the epoch; exact up to the year 2255."""
    return SQL("('epoch'::timestamptz + {} * interval '1 microsecond')").format(micros)


def micros_of(time: Composable) -> Composable:
    """SQL: microseconds since the epoch of a timestamptz, exact."""
    return SQL("(extract(epoch FROM {}) * 1000000)::bigint").format(time)


def _document(record: object) -> str:
    """A record, or a mapping of texts, as JSON that PostgreSQL can hold."""
    return storable_json(msgspec.json.encode(record).decode())


def _same(value: Any) -> object:
    return value


def _text(value: Any) -> object:
    return None if value is None else storable(value)


def _name(value: Any) -> object:
    return None if value is None else value.value


def _texts(value: Any) -> object:
    return [storable(text) for text in value]


def _json(value: Any) -> object:
    return None if value is None else _document(value)


def _mapping(value: Any) -> object:
    return _document(dict(value)) if value else "{}"


def _unchanged(expression: Composable) -> Composable:
    return expression


def _base64(expression: Composable) -> Composable:
    return SQL("translate(encode({}, 'base64'), E'\\n', '')").format(expression)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of column: its type while staged, what is staged of a value, and how SQL stores and shows it."""

    staged_type: str
    stage: Callable[[Any], object]
    store: Callable[[Composable], Composable] = _unchanged
    show: Callable[[Composable], Composable] = _unchanged


_NUMBER = Kind("bigint", _same)
_FLAG = Kind("boolean", _same)
_TEXT = Kind("text", _text)
_NAME = Kind("text", _name)
_TEXTS = Kind("text[]", _texts)
_BYTES = Kind("bytea", _same, show=_base64)
_TIME = Kind("bigint", _same, store=time_of, show=micros_of)
_JSON = Kind("json", _json)
_MAPPING = Kind("json", _mapping)
_WHOLE_RECORD = Kind("jsonb", _json)


@dataclass(frozen=True, slots=True)
class Column:
    """A column, and the field of the same name that fills it."""

    name: str
    kind: Kind

    @property
    def identifier(self) -> Identifier:
        """The name, for SQL."""
        return Identifier(self.name)


def _columns(record: type[Any], kinds: dict[str, Kind]) -> tuple[Column, ...]:
    """The columns of a record, complete and in its order: a field without a column would be lost in silence."""
    names = [field.name for field in msgspec.structs.fields(record)]
    assert set(names) == set(kinds), f"{record.__name__}: {set(names) ^ set(kinds)}"
    return tuple(Column(name, kinds[name]) for name in names)


_TRANSACTION_LIST = Kind("", _same)

_INTENT_FIELDS = _columns(
    PaymentIntent,
    {
        "id": _TEXT,
        "merchant_id": _TEXT,
        "livemode": _FLAG,
        "status": _NAME,
        "amount_minor": _NUMBER,
        "currency": _TEXT,
        "capture_method": _NAME,
        "amount_capturable_minor": _NUMBER,
        "amount_received_minor": _NUMBER,
        "description": _TEXT,
        "metadata": _MAPPING,
        "fingerprint": _BYTES,
        "sequence": _NUMBER,
        "created_at": _TIME,
        "updated_at": _TIME,
        "next_action": _JSON,
        "last_payment_error": _JSON,
        "cancellation_reason": _TEXT,
        "canceled_by": _TEXT,
        "cancel_requested": _FLAG,
        "transactions": _TRANSACTION_LIST,
    },
)

PAYMENT_INTENTS = tuple(column for column in _INTENT_FIELDS if column.kind is not _TRANSACTION_LIST)

_TRANSACTION_FIELDS = _columns(
    Transaction,
    {
        "id": _TEXT,
        "type": _NAME,
        "status": _NAME,
        "amount_minor": _NUMBER,
        "currency": _TEXT,
        "processor": _TEXT,
        "route": _TEXTS,
        "payment_method": _TEXT,
        "card": _JSON,
        "authorization_id": _TEXT,
        "void_reason": _NAME,
        "processor_reference": _TEXT,
        "code": _TEXT,
        "decline_code": _TEXT,
        "next_action": _JSON,
        "challenge_returned": _FLAG,
        "capture_before": _TIME,
        "lookups_not_found": _NUMBER,
        "lookups_unanswered": _NUMBER,
        "repeats": _NUMBER,
        "command_at": _TIME,
        "fingerprint": _BYTES,
        "reply_to": _JSON,
        "processor_data": _MAPPING,
        "created_at": _TIME,
        "completed_at": _TIME,
    },
)

_PLACE = (
    Column("payment_intent_id", _TEXT),
    Column("payment_intent_created_at", _TIME),
    Column("position", _NUMBER),
    Column("sequence", _NUMBER),
)

TRANSACTIONS = _PLACE + _TRANSACTION_FIELDS

AUDIT_LOG = (
    Column("payment_intent_id", _TEXT),
    Column("sequence", _NUMBER),
    Column("id", _TEXT),
    Column("type", _TEXT),
    Column("at", _TIME),
    Column("cause", _TEXT),
    Column("actor_type", _NAME),
    Column("actor_id", _TEXT),
    Column("transaction_id", _TEXT),
    Column("event", _WHOLE_RECORD),
)


def _staging(columns: tuple[Column, ...]) -> Callable[[Any], Row]:
    stages = tuple((column.name, column.kind.stage) for column in columns)
    return lambda record: tuple([stage(getattr(record, name)) for name, stage in stages])


row_of_intent = _staging(PAYMENT_INTENTS)
_row_of_transaction = _staging(_TRANSACTION_FIELDS)


def rows_of_transactions(intent: PaymentIntent) -> list[Row]:
    """The rows of TRANSACTIONS for one intent, in the order of opening."""
    return [
        (storable(intent.id), intent.created_at, position, intent.sequence, *_row_of_transaction(transaction))
        for position, transaction in enumerate(intent.transactions)
    ]


def row_of_event(event: PaymentEvent) -> Row:
    """The row of AUDIT_LOG for an event."""
    return (
        storable(event.payment_intent.id),
        event.sequence,
        storable(event.id),
        storable(event.type),
        event.at,
        storable(event.cause),
        event.actor.type.value,
        storable(event.actor.id),
        None if event.transaction is None else storable(event.transaction.id),
        _document(event),
    )


def _json_object(columns: tuple[Column, ...], *, table: str, more: Sequence[Composable] = ()) -> Composable:
    """SQL: a JSON object with every column of a table under its name, and more pairs."""
    pairs = [
        SQL("{}, {}").format(Literal(column.name), column.kind.show(Identifier(table, column.name)))
        for column in columns
    ]
    return SQL("json_build_object({})").format(SQL(", ").join([*pairs, *more]))


# SQL: a Transaction, of a row of transactions named "entry".
TRANSACTION_JSON = _json_object(_TRANSACTION_FIELDS, table="entry")


def payment_intent_json(transactions: Composable) -> Composable:
    """SQL: a whole PaymentIntent, of a row of payment_intents named "intent", and of an array of its Transactions."""
    return _json_object(PAYMENT_INTENTS, table="intent", more=[SQL("'transactions', {}").format(transactions)])
