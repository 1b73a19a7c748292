"""Reads the read model for those who operate Paystream: what is open, what settlement found, a payment's whole history.

Driven by `paystream reconcile`, one question at a time; writes nothing, and needs no more than paystream_reader may.
What `payments` and `transactions` are asked for is found by the indexes of migration 0005 and by primary keys, in as
many months as there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, LiteralString, Self

import msgspec
import psycopg
from psycopg import Connection, IsolationLevel
from psycopg.sql import SQL, Identifier

from schemas.identifiers import MerchantId, PaymentIntentId, TransactionId
from schemas.payment import (
    PaymentEvent,
    PaymentIntent,
    PaymentIntentStatus,
    TransactionStatus,
    TransactionType,
    VoidReason,
)
from schemas.times import Micros, from_datetime, to_datetime
from sinks.postgres.connections import conninfo, session
from sinks.postgres.errors import ReadModelUnavailable
from sinks.postgres.mismatches import HAS_MISMATCHES, MISMATCHES, Mismatch, mismatch_of
from sinks.postgres.reader import INTENT_JSON
from sinks.postgres.text import restored_json

__all__ = ["Mismatch", "OpenTransaction", "OperatorReadModel", "Payment", "Selection"]

_TIMEOUT_SECONDS = 30.0
# The end of the year 9999.
_EVER = Micros(253_402_300_799_000_000)

# In doubt, never answered, or a void that takes back what should not have been approved. What was created a moment ago
# is on its way like any other call. The columns that select are those of the partial index.
_OPEN: LiteralString = """
SELECT open.payment_intent_id, open.id, open.type, open.status, open.void_reason, open.processor,
       open.amount_minor, open.currency, open.created_at, doubt.since,
       open.lookups_not_found, open.lookups_unanswered, open.repeats,
       intent.merchant_id, intent.livemode, intent.status
FROM transactions AS open
JOIN payment_intents AS intent
  ON intent.id = open.payment_intent_id AND intent.created_at = open.payment_intent_created_at
LEFT JOIN LATERAL (
    SELECT min(at) AS since FROM audit_log
    WHERE audit_log.payment_intent_id = open.payment_intent_id
      AND audit_log.transaction_id = open.id AND audit_log.type = 'transaction.pending'
) AS doubt ON true
WHERE open.completed_at IS NULL
  AND open.created_at <= %(opened_before)s
  AND (open.status = 'pending'
       OR open.status = 'created' AND open.created_at <= %(unanswered_before)s
       OR open.type = 'void' AND open.void_reason = 'late_approval')
  AND (%(processor)s::text IS NULL OR open.processor = %(processor)s)
  AND (%(merchant_id)s::text IS NULL OR intent.merchant_id = %(merchant_id)s)
ORDER BY open.created_at
LIMIT %(limit)s
"""
_OWNER: LiteralString = "SELECT payment_intent_id FROM transactions WHERE id = %(id)s LIMIT 1"
_INTENT = (
    SQL(
        "SELECT {intent}::text FROM {ids} AS known JOIN payment_intents AS intent"
        " ON intent.id = known.id AND intent.created_at = known.created_at WHERE known.id = %(id)s"
    )
    .format(intent=INTENT_JSON, ids=Identifier("payment_intent_ids"))
    .as_string()
)
_HISTORY: LiteralString = "SELECT event::text FROM audit_log WHERE payment_intent_id = %(id)s ORDER BY sequence"

_INTENT_DECODER = msgspec.json.Decoder(PaymentIntent)
_EVENT_DECODER = msgspec.json.Decoder(PaymentEvent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which entries of a list are wanted. Times are absolute: `opened_before` and what was created but never answered
    by `unanswered_before`. `with_resolved`: mismatches that are resolved too."""

    opened_before: Micros
    unanswered_before: Micros
    processor: str | None = None
    merchant_id: MerchantId | None = None
    payment_intent_id: PaymentIntentId | None = None
    mismatch_id: TransactionId | None = None
    with_resolved: bool = False
    limit: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTransaction:
    """A Transaction that has no outcome, with what was asked about it so far.

    `pending_since` is when it came to be in doubt; None where it is not pending.
    """

    payment_intent_id: PaymentIntentId
    transaction_id: TransactionId
    type: TransactionType
    status: TransactionStatus
    void_reason: VoidReason | None
    processor: str
    amount_minor: int
    currency: str
    created_at: Micros
    pending_since: Micros | None
    lookups_not_found: int
    lookups_unanswered: int
    repeats: int
    merchant_id: MerchantId
    livemode: bool
    payment_status: PaymentIntentStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """A payment as it stands with everything that led there, of one moment."""

    intent: PaymentIntent
    history: tuple[PaymentEvent, ...]
    mismatches: tuple[Mismatch, ...]


class OperatorReadModel:
    """One connection that only reads. Every method raises ReadModelUnavailable where PostgreSQL does not answer."""

    def __init__(self, uri: str, *, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
        self._uri = uri
        self._timeout_seconds = timeout_seconds

    def __enter__(self) -> Self:
        with _unavailable():
            self._connection = Connection.connect(conninfo(self._uri, application="paystream-operator"))
            self._connection.autocommit = True
            # What is read together is of one moment.
            self._connection.isolation_level = IsolationLevel.REPEATABLE_READ
            self._connection.execute(
                session(statement_timeout_seconds=self._timeout_seconds, lock_timeout_seconds=self._timeout_seconds)
            )
            self._connection.execute("SET default_transaction_read_only = on")
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._connection.close()

    def open_transactions(self, wanted: Selection) -> list[OpenTransaction]:
        """What is in doubt, unanswered, or a compensating void that is not acknowledged; the oldest first."""
        return [_open_transaction(row) for row in self._rows(_OPEN, _parameters(wanted))]

    def mismatches(self, wanted: Selection) -> list[Mismatch]:
        """What settlement found, the newest first; nothing without its table."""
        ((known,),) = self._rows(HAS_MISMATCHES, {})
        if not known:
            return []
        return [mismatch_of(row) for row in self._rows(MISMATCHES, _parameters(wanted))]

    def mismatch(self, mismatch_id: TransactionId) -> Mismatch | None:
        """One mismatch, resolved or not; None where there is none of that id."""
        found = self.mismatches(
            Selection(opened_before=_EVER, unanswered_before=_EVER, mismatch_id=mismatch_id, with_resolved=True)
        )
        return found[0] if found else None

    def owner(self, transaction_id: TransactionId) -> PaymentIntentId | None:
        """The payment that a Transaction belongs to."""
        rows = self._rows(_OWNER, {"id": transaction_id})
        return PaymentIntentId(rows[0][0]) if rows else None

    def payment(self, payment_intent_id: PaymentIntentId) -> Payment | None:
        """A payment with its history; None where the read model knows none of that id."""
        with _unavailable(), self._connection.transaction():
            found = self._rows(_INTENT, {"id": payment_intent_id})
            if not found:
                return None
            events = self._rows(_HISTORY, {"id": payment_intent_id})
            of_it = Selection(
                opened_before=_EVER,
                unanswered_before=_EVER,
                payment_intent_id=payment_intent_id,
                with_resolved=True,
            )
            return Payment(
                intent=_INTENT_DECODER.decode(restored_json(found[0][0])),
                history=tuple(_EVENT_DECODER.decode(restored_json(event)) for (event,) in events),
                mismatches=tuple(self.mismatches(of_it)),
            )

    def _rows(self, statement: str, parameters: dict[str, object]) -> list[tuple[Any, ...]]:
        with _unavailable():
            return self._connection.execute(statement.encode(), parameters).fetchall()


def _parameters(wanted: Selection) -> dict[str, object]:
    return {
        "opened_before": to_datetime(wanted.opened_before),
        "unanswered_before": to_datetime(wanted.unanswered_before),
        "processor": wanted.processor,
        "merchant_id": wanted.merchant_id,
        "payment_intent_id": wanted.payment_intent_id,
        "mismatch_id": wanted.mismatch_id,
        "with_resolved": wanted.with_resolved,
        "limit": wanted.limit,
    }


def _open_transaction(row: tuple[Any, ...]) -> OpenTransaction:
    return OpenTransaction(
        payment_intent_id=PaymentIntentId(row[0]),
        transaction_id=TransactionId(row[1]),
        type=TransactionType(row[2]),
        status=TransactionStatus(row[3]),
        void_reason=None if row[4] is None else VoidReason(row[4]),
        processor=row[5],
        amount_minor=row[6],
        currency=row[7],
        created_at=from_datetime(row[8]),
        pending_since=None if row[9] is None else from_datetime(row[9]),
        lookups_not_found=row[10],
        lookups_unanswered=row[11],
        repeats=row[12],
        merchant_id=MerchantId(row[13]),
        livemode=row[14],
        payment_status=PaymentIntentStatus(row[15]),
    )


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise ReadModelUnavailable(str(error).strip()) from error
