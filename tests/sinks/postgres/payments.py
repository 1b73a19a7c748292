"""Payments to write: a whole life of one, event by event, and any state that the records allow."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import psycopg
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.identifiers import MerchantId, PaymentIntentId, TransactionId, event_id, payment_intent_id, transaction_id
from schemas.payment import (
    Actor,
    ActorType,
    CaptureMethod,
    PaymentEvent,
    PaymentIntent,
    PaymentIntentStatus,
    Transaction,
    TransactionStatus,
    TransactionType,
)
from schemas.times import Micros, from_datetime, later
from sinks.postgres import Progress
from tests.harness.records import records

__all__ = ["NOVEMBER", "TOPIC", "any_event", "id_of", "life", "progress", "rows", "stored"]

TOPIC = "payments.events"
NOVEMBER = from_datetime(datetime(2026, 11, 20, 12, tzinfo=UTC))

_TWO_YEARS_MICROS = 2 * 365 * 86_400 * 1_000_000


def id_of(name: str) -> PaymentIntentId:
    """The intent under that Idempotency-Key."""
    return payment_intent_id(merchant_id=MerchantId("mer_demo"), livemode=False, idempotency_key=name)


def life(name: str, *, created_at: Micros = NOVEMBER) -> list[PaymentEvent]:
    """Created, an authorization, and its approval: three events."""
    intent = PaymentIntent(
        id=id_of(name),
        merchant_id=MerchantId("mer_demo"),
        livemode=False,
        status=PaymentIntentStatus.requires_payment_method,
        amount_minor=1999,
        currency="usd",
        capture_method=CaptureMethod.manual,
        metadata={"zeta": "1", "alpha": "2"},
        fingerprint=b"\x00\xff" * 8,
        sequence=1,
        created_at=created_at,
        updated_at=created_at,
    )
    authorization = Transaction(
        id=transaction_id(payment_intent_id=intent.id, idempotency_key="authorize"),
        type=TransactionType.authorization,
        status=TransactionStatus.created,
        amount_minor=1999,
        currency="usd",
        processor="cardnet",
        created_at=created_at,
    )
    approved = replace(authorization, status=TransactionStatus.succeeded, processor_reference=f"cn_{name}")
    states = [
        ("payment_intent.created", intent, None),
        (
            "transaction.created",
            replace(intent, status=PaymentIntentStatus.processing, transactions=(authorization,)),
            authorization,
        ),
        (
            "transaction.completed",
            replace(
                intent,
                status=PaymentIntentStatus.requires_capture,
                amount_capturable_minor=1999,
                transactions=(approved,),
            ),
            approved,
        ),
    ]
    return [
        PaymentEvent(
            id=event_id(payment_intent_id=intent.id, sequence=sequence),
            sequence=sequence,
            type=kind,
            at=later(created_at, seconds=sequence),
            cause=f"cmd_{sequence}",
            actor=Actor(type=ActorType.key, id="ps_sk_test_demo"),
            payment_intent=replace(state, sequence=sequence, updated_at=later(created_at, seconds=sequence)),
            transaction=transaction,
        )
        for sequence, (kind, state, transaction) in enumerate(states, start=1)
    ]


def any_event() -> st.SearchStrategy[PaymentEvent]:
    """Any event, as far as identifiers go together and the months are not a thousand."""
    return st.builds(_coherent, records(PaymentEvent), st.integers(min_value=0, max_value=_TWO_YEARS_MICROS))


def _coherent(event: PaymentEvent, since: int) -> PaymentEvent:
    transactions = tuple(
        replace(transaction, id=TransactionId(f"{number}{transaction.id}"))
        for number, transaction in enumerate(event.payment_intent.transactions)
    )
    intent = replace(
        event.payment_intent,
        # Not drawn: what is drawn repeats itself.
        id=id_of(str(uuid.uuid4())),
        sequence=event.sequence,
        created_at=Micros(NOVEMBER + since),
        transactions=transactions,
    )
    return replace(event, payment_intent=intent)


def progress(start: int, end: int, *, partition: int = 0, watermark: int = 0) -> Progress:
    """One step of one partition."""
    return Progress(topic=TOPIC, partition=partition, start_offset=start, end_offset=end, watermark=Micros(watermark))


def rows(connection: psycopg.Connection, statement: str) -> list[tuple[object, ...]]:
    """All rows of a statement."""
    return connection.execute(statement.encode()).fetchall()


def stored(connection: psycopg.Connection) -> dict[str, list[tuple[object, ...]]]:
    """Everything that the read model holds."""
    orders = {
        "payment_intent_ids": "id",
        "payment_intents": "id",
        "transactions": "payment_intent_id, id",
        "audit_log": "payment_intent_id, sequence",
        "settlements": "at, id",
        "read_model_progress": "topic, partition",
    }
    return {table: rows(connection, f"SELECT * FROM {table} ORDER BY {order}") for table, order in orders.items()}
