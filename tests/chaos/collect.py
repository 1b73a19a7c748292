"""Reads the evidence out of a stack that has healed: topics as a committed reader sees them, tables, ledger."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

import httpx
import msgspec
import psycopg
from msgspec.structs import replace
from psycopg.sql import SQL

from schemas.codec import decode
from schemas.operations import DeadLetter
from schemas.payment import PaymentEvent, PaymentIntent, Transaction, TransactionType
from schemas.topics import DEAD_LETTERS, EVENTS, INTENTS
from sinks.postgres.reader import INTENT_JSON
from sinks.postgres.text import restored_json
from tests.chaos.collect_settlement import Files, read_settlement
from tests.chaos.committed import messages_of, offset_of, partition_of, value_of
from tests.chaos.evidence import Booking, Evidence, Leg, Row, State, Step
from tests.chaos.history import read_history
from tests.harness.api import ledger
from tests.harness.stack import RunningStack

__all__ = ["collect", "content_of", "read_rows", "read_steps", "step_of"]

_INTENT = msgspec.json.Decoder(PaymentIntent)
_EVENT = msgspec.json.Decoder(PaymentEvent)


def collect(stack: RunningStack, histories: Iterable[Path], files: Files | None = None) -> Evidence:
    """All that the checker wants to see; `files` are the settlement files that were imported."""
    return Evidence(
        history=read_history(histories),
        steps=read_steps(stack.kafka),
        rows=read_rows(stack.postgres),
        bookings=_bookings(stack.card_network),
        dead_letters=[
            letter.cause
            for letter in (decode(value_of(message)) for message in messages_of(stack.kafka, DEAD_LETTERS))
            if isinstance(letter, DeadLetter)
        ],
        states=_states(stack.kafka),
        audited=_audited(stack.postgres),
        repeats_are_holds=_repeats_are_holds(stack.card_network),
        settlement=None if files is None else read_settlement(stack.kafka, stack.postgres, files),
    )


def read_steps(bootstrap: str) -> list[Step]:
    """Every committed event."""
    return [
        dataclasses.replace(
            step_of(partition_of(message), offset_of(message), decode(value_of(message))),
            written_at=message.timestamp()[1] / 1_000,
        )
        for message in messages_of(bootstrap, EVENTS)
    ]


def _states(bootstrap: str) -> dict[str, State]:
    """What the fold's changelog says last of each PaymentIntent."""
    steady_seconds_ago = time.time() - time.monotonic()
    last = {message.key(): message for message in messages_of(bootstrap, INTENTS)}
    found = {}
    for key, message in last.items():
        assert isinstance(key, bytes)
        state = None if message.value() is None else decode(value_of(message))
        if state is None or isinstance(state, PaymentIntent):
            _, written_at_ms = message.timestamp()
            found[key.decode()] = State(
                sequence=None if state is None else state.sequence,
                written_at=written_at_ms / 1_000 - steady_seconds_ago,
                content="" if state is None else content_of(state),
            )
    return found


def step_of(partition: int, offset: int, event: object) -> Step:
    """An event as the checker sees it."""
    assert isinstance(event, PaymentEvent)
    intent = event.payment_intent
    return Step(
        partition=partition,
        offset=offset,
        intent=intent.id,
        sequence=event.sequence,
        type=event.type,
        status=intent.status,
        amount=intent.amount_minor,
        currency=intent.currency,
        capture_method=intent.capture_method,
        received=intent.amount_received_minor,
        legs=_legs(intent.transactions),
        content=content_of(intent),
        document=_digest(event),
        evidence=event.evidence,
    )


def content_of(intent: PaymentIntent) -> str:
    """A digest of all fields of a PaymentIntent."""
    return _digest(intent)


def _digest(record: PaymentIntent | PaymentEvent) -> str:
    return hashlib.sha256(msgspec.json.encode(record, order="sorted")).hexdigest()[:16]


def _legs(transactions: Sequence[Transaction]) -> tuple[Leg, ...]:
    return tuple(
        Leg(
            id=one.id,
            type=one.type,
            status=one.status,
            amount=one.amount_minor,
            hold=one.authorization_id,
            processor=one.processor,
            code=one.code,
        )
        for one in transactions
    )


def read_rows(uri: str) -> dict[str, Row]:
    """Every PaymentIntent of the read model."""
    legs: defaultdict[str, list[Leg]] = defaultdict(list)
    with psycopg.connect(uri) as connection:
        for intent, *fields in connection.execute(
            "SELECT payment_intent_id, id, type, status, amount_minor, authorization_id, processor, code"
            " FROM transactions ORDER BY payment_intent_id, position"
        ):
            leg_id, kind, status, amount, hold, processor, code = fields
            leg = Leg(id=leg_id, type=kind, status=status, amount=amount, hold=hold, processor=processor, code=code)
            legs[intent].append(leg)
        contents = connection.execute(_CONTENTS).fetchall()
        return {
            intent: Row(
                intent=intent,
                sequence=sequence,
                status=status,
                amount=amount,
                received=received,
                legs=tuple(legs[intent]),
                content=content_of(_as_folded(_INTENT.decode(restored_json(content)))),
            )
            for intent, sequence, status, amount, received, content in contents
        }


def _as_folded(intent: PaymentIntent) -> PaymentIntent:
    """Without the settlements, which the read model shows beside what the fold knows."""
    folded = tuple(one for one in intent.transactions if one.type is not TransactionType.settlement)
    return replace(intent, transactions=folded)


_CONTENTS = SQL(
    "SELECT id, sequence, status, amount_minor, amount_received_minor, {}::text FROM payment_intents AS intent"
).format(INTENT_JSON)


def _audited(uri: str) -> dict[tuple[str, int], str]:
    with psycopg.connect(uri) as connection:
        return {
            # As a record: a sink of an earlier version has not written the fields that it did not know.
            (intent, sequence): _digest(_EVENT.decode(restored_json(event)))
            for intent, sequence, event in connection.execute(
                "SELECT payment_intent_id, sequence, event::text FROM audit_log"
            )
        }


def _repeats_are_holds(card_network: str) -> bool:
    promised = httpx.get(f"{card_network}/capabilities", timeout=10.0).raise_for_status().json()
    return not promised["deduplicates"]["authorization"]


def _bookings(card_network: str) -> list[Booking]:
    return [
        Booking(
            reference=row["reference"],
            intent=row["payment_intent"],
            type=row["type"],
            is_approved=row["status"] == "approved",
            amount=row["amount_minor"],
            requests=row["requests"],
            currency=row["currency"],
            processor=row["processor"],
            at=datetime.fromisoformat(row["at"]).timestamp(),
        )
        for row in ledger(card_network)
    ]
