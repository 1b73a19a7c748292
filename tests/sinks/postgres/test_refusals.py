"""What the writer cannot store has a name: the event is refused, or the server is not fit to be written."""

from __future__ import annotations

import random
from collections.abc import Callable

import psycopg
import pytest
from msgspec.structs import replace

from schemas.identifiers import PaymentIntentId
from schemas.payment import PaymentEvent
from schemas.times import Micros
from sinks.postgres import EventRefused, ReadModelUnavailable, ReadModelWriter
from tests.sinks.postgres.payments import TOPIC, id_of, life, progress, rows, stored

HISTORY = "SELECT sequence FROM audit_log ORDER BY sequence"


def out_of_the_calendar(event: PaymentEvent) -> PaymentEvent:
    return replace(event, payment_intent=replace(event.payment_intent, created_at=Micros(2**62)))


def before_all_time(event: PaymentEvent) -> PaymentEvent:
    return replace(event, at=Micros(-(2**62)))


def one_transaction_twice(event: PaymentEvent) -> PaymentEvent:
    (transaction,) = event.payment_intent.transactions
    return replace(event, payment_intent=replace(event.payment_intent, transactions=(transaction, transaction)))


def beyond_an_integer(event: PaymentEvent) -> PaymentEvent:
    (transaction,) = event.payment_intent.transactions
    transactions = (replace(transaction, repeats=2**31),)
    return replace(event, payment_intent=replace(event.payment_intent, transactions=transactions))


def too_long_for_a_key(event: PaymentEvent) -> PaymentEvent:
    long = PaymentIntentId(random.Random(1).randbytes(8_000).hex())
    return replace(event, payment_intent=replace(event.payment_intent, id=long))


UNSTORABLE = [out_of_the_calendar, before_all_time, one_transaction_twice, beyond_an_integer, too_long_for_a_key]


@pytest.mark.parametrize("spoil", UNSTORABLE)
def test_what_postgresql_cannot_hold_is_refused_and_nothing_is_written(
    writer: ReadModelWriter, database: psycopg.Connection, spoil: Callable[[PaymentEvent], PaymentEvent]
) -> None:
    before = stored(database)
    with pytest.raises(EventRefused):
        writer.write([*life("a"), spoil(life("b")[1])], progress=[progress(0, 4)])
    assert stored(database) == before
    writer.write(life("a"), progress=[progress(0, 3)])
    assert rows(database, HISTORY) == [(1,), (2,), (3,)]


def test_a_refusal_names_the_constraint_and_shows_no_row(writer: ReadModelWriter, database: psycopg.Connection) -> None:
    database.execute("ALTER TABLE payment_intents ADD CONSTRAINT odd CHECK (description IS NULL)")
    created = life("a")[0]
    intent = replace(created.payment_intent, description="for Ann only")
    try:
        with pytest.raises(EventRefused, match=r"23514: .*\(payment_intents_2026_11, odd\)") as refused:
            writer.write([replace(created, payment_intent=intent)], progress=[])
    finally:
        database.execute("ALTER TABLE payment_intents DROP CONSTRAINT odd")
    assert "Ann" not in str(refused.value)


def test_history_that_is_no_event_is_refused(writer: ReadModelWriter, database: psycopg.Connection) -> None:
    created = life("a")[0]
    database.execute(
        "INSERT INTO audit_log VALUES (%s, 1, 'evt', 'type', now(), 'cause', 'key', 'id', NULL, '{}')", (id_of("a"),)
    )
    with pytest.raises(EventRefused, match="what is no event"):
        writer.write([created], progress=[])


def test_a_server_that_only_reads_is_no_fault_of_the_event(
    writer: ReadModelWriter, uri: str, database: psycopg.Connection
) -> None:
    name = database.info.dbname
    writer.close()
    database.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
    try:
        with pytest.raises(ReadModelUnavailable):
            writer.load_progress(TOPIC, [5])
        with pytest.raises(ReadModelUnavailable):
            writer.write(life("a"), progress=[])
    finally:
        database.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only".encode())
    writer.write(life("a"), progress=[progress(0, 3)])
    assert rows(database, HISTORY) == [(1,), (2,), (3,)]


def test_a_database_without_the_schema_is_no_fault_of_the_event(postgres_uri: str) -> None:
    writer = ReadModelWriter(postgres_uri)
    with pytest.raises(ReadModelUnavailable, match="read_model_progress"):
        writer.load_progress(TOPIC, [0])
    with pytest.raises(ReadModelUnavailable, match="make_month"):
        writer.write(life("a"), progress=[])
    writer.close()
