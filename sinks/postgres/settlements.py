"""Asks the read model about settlement: which Transaction a line means, and what has become of it already.

Driven by `topology.settling.judge`, from one thread of its own; one connection, made when first used and again after
any loss. Reads nothing but payments and settlements, and how far both have come.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import Connection
from psycopg.sql import SQL, Identifier

from schemas.identifiers import PaymentIntentId, TransactionId
from schemas.payment import PaymentIntentStatus, TransactionStatus, TransactionType
from schemas.times import Micros
from schemas.topics import EVENTS, SETTLEMENTS
from sinks.postgres.columns import micros_of
from sinks.postgres.connections import conninfo, ending_silence, session
from sinks.postgres.errors import ReadModelUnavailable
from sinks.postgres.text import storable

__all__ = ["Asked", "Finding", "FoundTransaction", "SettlementReader"]

_STATEMENT_TIMEOUT_SECONDS = 10.0
_LOCK_TIMEOUT_SECONDS = 5.0
_SILENCE_SECONDS = 20.0

_TOPICS = [EVENTS.name, SETTLEMENTS.name]

_WATERMARK = (
    SQL("SELECT count(*), min({}) FROM read_model_progress WHERE topic = ANY(%(topics)s)")
    .format(micros_of(Identifier("watermark")))
    .as_string()
)

# Our own reference first: the processor's is only asked for where that names nothing. A line is no second one where its
# settlement stands already. A window that ended before it was captured was that of the doubt.
#
# An authorization is charged once. So what it was settled by are the settlements that used up a line of any Transaction
# of it: of itself, its captures, its voids. Where an intent has succeeded and no capture of it stands, the answer to
# its last call said that the authorization had been captured; compensating voids, which decide nothing, do not count.
# A charge by anything that belongs to another authorization is one that we do not know.
_FIND = """
SELECT asked.number,
       EXISTS (SELECT FROM settlements AS judged WHERE judged.id = asked.settlement_id),
       found.payment_intent_id, found.id, found.type, found.status, found.amount_minor, found.currency,
       intent.status, intent.amount_received_minor, intent.currency,
       EXISTS (SELECT FROM settlements AS settled
               JOIN transactions AS charged
                 ON charged.payment_intent_id = found.payment_intent_id
                AND charged.payment_intent_created_at = found.payment_intent_created_at
                AND charged.id = settled.transaction_id
               WHERE settled.payment_intent_id = found.payment_intent_id
                 AND settled.outcome IN ('settled', 'amount', 'currency')
                 AND coalesce(charged.authorization_id, charged.id) = found.authorization_id),
       EXISTS (SELECT FROM settlements AS missed
               WHERE missed.payment_intent_id = found.payment_intent_id AND missed.transaction_id = found.id
                 AND missed.outcome = 'missing_at_processor' AND missed.at > found.completed_at),
       NOT EXISTS (SELECT FROM transactions AS stands
                   WHERE stands.payment_intent_id = found.payment_intent_id
                     AND stands.payment_intent_created_at = found.payment_intent_created_at
                     AND stands.type = 'capture' AND stands.status = 'succeeded')
       AND found.authorization_id = (SELECT last.authorization_id FROM transactions AS last
               WHERE last.payment_intent_id = found.payment_intent_id
                 AND last.payment_intent_created_at = found.payment_intent_created_at
                 AND last.type IN ('capture', 'void') AND last.void_reason IS DISTINCT FROM 'late_approval'
               ORDER BY last.position DESC LIMIT 1)
FROM unnest(%(numbers)s::integer[], %(processors)s::text[], %(references)s::text[],
            %(processor_references)s::text[], %(settlement_ids)s::text[])
     AS asked (number, processor, reference, processor_reference, settlement_id)
LEFT JOIN LATERAL (
    SELECT payment_intent_id, payment_intent_created_at, id, type, status, amount_minor, currency, completed_at,
           coalesce(authorization_id, id) AS authorization_id
    FROM (SELECT 1 AS place, own.*
          FROM transactions AS own
          WHERE own.id = asked.reference AND own.processor = asked.processor
          UNION ALL
          SELECT 2, theirs.*
          FROM transactions AS theirs
          WHERE theirs.processor_reference = asked.processor_reference AND theirs.type = 'capture'
            AND theirs.processor = asked.processor) AS candidate
    ORDER BY place, id LIMIT 1
) AS found ON true
LEFT JOIN payment_intents AS intent
    ON intent.id = found.payment_intent_id AND intent.created_at = found.payment_intent_created_at
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is looked for at a processor: our own reference or, where that names nothing, the processor's own.

    `settlement_id` is that of the line which asks; None where a capture asks.
    """

    processor: str
    reference: str
    processor_reference: str | None = None
    settlement_id: TransactionId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTransaction:
    """The Transaction that was meant, as the read model has it.

    `captured_minor` is what the customer was charged by it, or by its authorization, as far as we know; None where we
    know of no charge. `is_captured`: it is a capture that has succeeded, and not one whose charge was found by another
    call. `is_open`: it has no outcome yet. `is_settled`: a line has been matched with it, or with another Transaction
    of its authorization. `was_missed`: its window has ended without one, since it has its outcome.
    """

    payment_intent_id: PaymentIntentId
    id: TransactionId
    type: TransactionType
    amount_minor: int
    currency: str
    captured_minor: int | None
    is_captured: bool
    is_open: bool
    is_settled: bool
    was_missed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What the read model knows. `line_is_judged`: the line that asks stands in a settlement already."""

    transaction: FoundTransaction | None = None
    line_is_judged: bool = False


class SettlementReader:
    """The questions of one process, for one thread."""

    def __init__(self, uri: str) -> None:
        self._conninfo = conninfo(uri, application="paystream-settlement")
        self._connection: Connection | None = None

    def watermark(self, *, partitions: int) -> Micros | None:
        """The record time up to which all events and settlements are in the read model, over all partitions.

        None where it has not begun with one of them. Raises ReadModelUnavailable.
        """
        with self._connected() as connection:
            row = connection.execute(_WATERMARK, {"topics": _TOPICS}).fetchone()
        assert row is not None
        known, watermark = row
        return Micros(watermark) if known == len(_TOPICS) * partitions else None

    def find(self, asked: Sequence[Asked]) -> list[Finding]:
        """What is known about each, in their order. Raises ReadModelUnavailable."""
        columns: Mapping[str, list[object]] = {
            "numbers": list(range(len(asked))),
            "processors": [storable(each.processor) for each in asked],
            "references": [storable(each.reference) for each in asked],
            "processor_references": [
                None if each.processor_reference is None else storable(each.processor_reference) for each in asked
            ],
            "settlement_ids": [each.settlement_id for each in asked],
        }
        findings = [Finding()] * len(asked)
        with self._connected() as connection:
            for number, line_is_judged, *transaction in connection.execute(_FIND, columns):
                findings[number] = Finding(transaction=_transaction(*transaction), line_is_judged=line_is_judged)
        return findings

    def close(self) -> None:
        """Let the connection go; the next call makes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        try:
            if self._connection is None:
                self._connection = self._connect()
            with ending_silence(self._connection, seconds=_SILENCE_SECONDS):
                yield self._connection
        except psycopg.Error as error:
            self.close()
            raise ReadModelUnavailable(str(error)) from error

    def _connect(self) -> Connection:
        connection = Connection.connect(self._conninfo, autocommit=True)
        try:
            with ending_silence(connection, seconds=_SILENCE_SECONDS):
                connection.execute(
                    session(
                        statement_timeout_seconds=_STATEMENT_TIMEOUT_SECONDS, lock_timeout_seconds=_LOCK_TIMEOUT_SECONDS
                    )
                )
        except BaseException:
            connection.close()
            raise
        return connection


def _transaction(
    payment_intent_id: str | None,
    id: str,  # noqa: A002
    type: str,  # noqa: A002
    status: str,
    amount_minor: int,
    currency: str,
    intent_status: str,
    received_minor: int,
    intent_currency: str,
    is_settled: bool,
    was_missed: bool,
    was_found_captured: bool,
) -> FoundTransaction | None:
    if payment_intent_id is None:
        return None
    kind, captured_minor = TransactionType(type), None
    is_captured = kind is TransactionType.capture and status == TransactionStatus.succeeded
    if is_captured:
        captured_minor = received_minor
    elif intent_status == PaymentIntentStatus.succeeded and received_minor > 0 and was_found_captured:
        # Its authorization was found captured by the answer to another call, so no capture stands as succeeded. The
        # charge is known. Where a capture stands, what was received is its; a charge by this one would be a second one,
        # as one by another authorization would be, and is not known.
        captured_minor, currency = received_minor, intent_currency
    return FoundTransaction(
        payment_intent_id=PaymentIntentId(payment_intent_id),
        id=TransactionId(id),
        type=kind,
        amount_minor=amount_minor,
        currency=currency,
        captured_minor=captured_minor,
        is_captured=is_captured,
        is_open=status in (TransactionStatus.created, TransactionStatus.pending),
        is_settled=is_settled,
        was_missed=was_missed,
    )
