"""The writer: everything once, in any order, all of it or nothing, by whoever owns the partition now."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.payment import PaymentEvent
from schemas.times import Micros, from_datetime, later
from sinks.postgres import EventContradicted, OffsetsMoved, Position, ReadModelUnavailable, ReadModelWriter
from sinks.postgres import connections as connections_module
from tests.harness.stack import wait_for
from tests.sinks.postgres.payments import NOVEMBER, TOPIC, any_event, id_of, life, progress, rows, stored

STATES = (
    "SELECT intent.id, intent.sequence, intent.status, entry.sequence, entry.status FROM payment_intents AS intent"
    " LEFT JOIN transactions AS entry ON entry.payment_intent_id = intent.id"
)
HISTORY = "SELECT payment_intent_id, sequence, type FROM audit_log ORDER BY payment_intent_id, sequence"
MONTHS = "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid WHERE relkind = 'r' ORDER BY relname"

FINAL = (id_of("a"), 3, "requires_capture", 3, "succeeded")
WHOLE = [
    (id_of("a"), 1, "payment_intent.created"),
    (id_of("a"), 2, "transaction.created"),
    (id_of("a"), 3, "transaction.completed"),
]


def test_a_new_partition_begins_at_zero_and_keeps_what_is_written(writer: ReadModelWriter) -> None:
    assert writer.load_progress(TOPIC, [0, 7]) == {
        partition: Position(next_offset=0, watermark=Micros(0)) for partition in (0, 7)
    }
    writer.write(life("a"), progress=[progress(0, 4, watermark=NOVEMBER)])
    assert writer.load_progress(TOPIC, [0]) == {0: Position(next_offset=4, watermark=NOVEMBER)}


def test_only_the_newest_state_is_a_row_and_all_events_are_history(
    writer: ReadModelWriter, database: psycopg.Connection
) -> None:
    writer.write(life("a"), progress=[progress(0, 3)])
    assert rows(database, STATES) == [FINAL]
    assert rows(database, HISTORY) == WHOLE


def test_the_audit_log_has_the_whole_event(writer: ReadModelWriter, database: psycopg.Connection) -> None:
    event = life("a")[1]
    writer.write([event], progress=[progress(0, 1)])
    found = rows(
        database,
        "SELECT id, cause, actor_type, actor_id, transaction_id, (extract(epoch FROM at) * 1000000)::bigint,"
        " event->'payment_intent'->>'status', event->'transaction'->>'id', event->>'cause' FROM audit_log",
    )
    assert event.transaction is not None
    transaction_id = event.transaction.id
    assert found == [
        (event.id, "cmd_2", "key", "ps_sk_test_demo", transaction_id, event.at, "processing", transaction_id, "cmd_2")
    ]


def test_a_replay_changes_nothing(writer: ReadModelWriter, database: psycopg.Connection) -> None:
    writer.write(life("a"), progress=[progress(0, 3)])
    before = stored(database)
    writer.write(life("a"), progress=[])
    writer.write(life("a")[:2], progress=[])
    assert stored(database) == before


def test_an_older_event_that_comes_late_adds_to_history_only(
    writer: ReadModelWriter, database: psycopg.Connection
) -> None:
    created, opened, completed = life("a")
    writer.write([completed], progress=[])
    writer.write([opened], progress=[])
    writer.write([created], progress=[])
    assert rows(database, STATES) == [FINAL]
    assert rows(database, HISTORY) == WHOLE


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_order_and_any_repetition_come_to_the_same(writer: ReadModelWriter, uri: str, data: st.DataObject) -> None:
    names = [str(uuid.uuid4()) for _ in range(2)]
    events = [event for name in names for event in life(name)]
    given_events = data.draw(st.permutations(events)) + data.draw(st.lists(st.sampled_from(events), max_size=4))
    while given_events:
        size = data.draw(st.integers(min_value=1, max_value=len(given_events)))
        writer.write(given_events[:size], progress=[])
        given_events = given_events[size:]
    chosen = " OR ".join(f"payment_intent_id = '{id_of(name)}'" for name in names)
    with psycopg.connect(uri, autocommit=True) as database:
        assert len(rows(database, f"SELECT FROM audit_log WHERE {chosen}")) == len(events)
        assert rows(database, f"SELECT DISTINCT sequence, status FROM transactions WHERE {chosen}") == [
            (3, "succeeded")
        ]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(event=any_event())
def test_the_audit_log_gives_back_any_event_as_it_was(writer: ReadModelWriter, event: PaymentEvent) -> None:
    # The second write compares what is stored with what it was given.
    writer.write([event], progress=[])
    writer.write([event], progress=[])


def test_another_event_in_the_same_place_is_refused(writer: ReadModelWriter, database: psycopg.Connection) -> None:
    created, opened, _ = life("a")
    writer.write([created, opened], progress=[progress(0, 2)])
    before = stored(database)
    with pytest.raises(EventContradicted, match="at sequence 2: the audit log has another event") as raised:
        writer.write([replace(opened, cause="cmd_other")], progress=[progress(2, 3)])
    assert (raised.value.payment_intent_id, raised.value.sequence) == (id_of("a"), 2)
    assert stored(database) == before


def test_two_events_in_one_place_in_one_batch_are_refused(writer: ReadModelWriter) -> None:
    created = life("a")[0]
    with pytest.raises(EventContradicted, match="two events in one batch"):
        writer.write([created, replace(created, cause="cmd_other")], progress=[])


def test_an_event_whose_state_is_of_another_sequence_is_refused(writer: ReadModelWriter) -> None:
    with pytest.raises(EventContradicted, match="at sequence 9: its state is of 1"):
        writer.write([replace(life("a")[0], sequence=9)], progress=[])


def test_a_payment_whose_creation_moved_is_refused(writer: ReadModelWriter, database: psycopg.Connection) -> None:
    writer.write(life("a")[:1], progress=[])
    before = stored(database)
    for seconds in (1, 40 * 86_400):
        moved = life("a", created_at=later(NOVEMBER, seconds=seconds))
        with pytest.raises(EventContradicted, match="time of creation has changed"):
            writer.write(moved[1:], progress=[])
    assert stored(database) == before


def test_a_former_owner_moves_nothing(writer: ReadModelWriter, uri: str, database: psycopg.Connection) -> None:
    owner = ReadModelWriter(uri)
    owner.load_progress(TOPIC, [0, 1])
    owner.write(life("a"), progress=[progress(0, 3)])
    before = stored(database)
    with pytest.raises(OffsetsMoved) as raised:
        writer.write(life("b"), progress=[progress(0, 2), progress(0, 5, partition=1)])
    assert raised.value.partitions == ((TOPIC, 0),)
    assert stored(database) == before
    # It reloads, and may go on from there.
    at = writer.load_progress(TOPIC, [0])[0].next_offset
    writer.write(life("b"), progress=[progress(at, at + 3)])
    owner.close()


def test_of_many_owners_at_once_one_wins(uri: str, database: psycopg.Connection) -> None:
    writers = [ReadModelWriter(uri) for _ in range(4)]
    for writer in writers:
        writer.load_progress(TOPIC, [0, 1])

    def attempt(number: int) -> bool:
        try:
            # Both partitions, in either order: they must not deadlock.
            steps = [progress(0, 3), progress(0, 3, partition=1)][:: -1 if number % 2 else 1]
            writers[number].write(life(str(number)), progress=steps)
        except OffsetsMoved:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        won = list(threads.map(attempt, range(4)))
    for writer in writers:
        writer.close()
    assert won.count(True) == 1
    assert rows(database, "SELECT id FROM payment_intents") == [(id_of(str(won.index(True))),)]


def test_a_watermark_never_falls(writer: ReadModelWriter) -> None:
    writer.write([], progress=[progress(0, 1, watermark=NOVEMBER)])
    writer.write([], progress=[progress(1, 1, watermark=0)])
    assert writer.load_progress(TOPIC, [0]) == {0: Position(next_offset=1, watermark=NOVEMBER)}


def test_months_are_made_when_they_are_needed(writer: ReadModelWriter, database: psycopg.Connection) -> None:
    december = from_datetime(datetime(2026, 12, 1, tzinfo=UTC))
    assert rows(database, MONTHS) == []
    writer.write(life("old", created_at=later(december, seconds=-0.000001)), progress=[])
    november = [f"{table}_2026_11" for table in ("payment_intents", "settlements", "transactions")]
    assert [name for (name,) in rows(database, MONTHS)] == november
    writer.write(
        [*life("new", created_at=december), *life("old", created_at=later(december, seconds=-0.000001))], progress=[]
    )
    assert len(rows(database, MONTHS)) == 6
    assert rows(database, "SELECT id FROM payment_intents_2026_11") == [(id_of("old"),)]
    assert rows(database, "SELECT id FROM payment_intents_2026_12") == [(id_of("new"),)]


def test_a_month_may_be_made_by_many_at_once(uri: str, database: psycopg.Connection) -> None:
    def first_write(number: int) -> None:
        writer = ReadModelWriter(uri)
        writer.write(life(str(number)), progress=[])
        writer.close()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(first_write, range(4)))
    assert len(rows(database, MONTHS)) == 3
    assert len(rows(database, "SELECT FROM payment_intents")) == 4


def _blocked(database: psycopg.Connection) -> int | None:
    """The backend that waits for a lock in this database."""
    found = rows(
        database,
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
    )
    return found[0][0] if found else None  # type: ignore[return-value]


def test_a_connection_killed_in_the_middle_of_a_write(
    writer: ReadModelWriter, uri: str, database: psycopg.Connection
) -> None:
    writer.write(life("a"), progress=[progress(0, 3)])
    before = stored(database)
    with psycopg.connect(uri) as in_the_way, ThreadPoolExecutor(1) as threads:
        # All is merged but the audit log, which comes last.
        in_the_way.execute("LOCK TABLE audit_log IN SHARE MODE")
        writing = threads.submit(writer.write, life("b"), progress=[progress(3, 6)])
        pid = wait_for(lambda: _blocked(database), what="a blocked write", within_seconds=5)
        database.execute("SELECT pg_terminate_backend(%s)", (pid,))
        with pytest.raises(ReadModelUnavailable):
            writing.result(5)
    assert stored(database) == before
    writer.write(life("b"), progress=[progress(3, 6)])
    assert len(rows(database, HISTORY)) == 6


def test_a_connection_lost_while_it_rested_is_replaced(writer: ReadModelWriter, database: psycopg.Connection) -> None:
    database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'paystream-sink'"
    )
    writer.write(life("a"), progress=[progress(0, 3)])
    assert rows(database, STATES) == [FINAL]


def test_a_writer_that_was_stopped_in_its_transaction_gives_way(
    uri: str, database: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = ReadModelWriter(uri)
    writer.load_progress(TOPIC, [0])
    monkeypatch.setattr(connections_module, "REST_TIMEOUT_SECONDS", 0.3)
    with psycopg.connect(uri) as stopped:
        stopped.execute(connections_module.session(statement_timeout_seconds=5, lock_timeout_seconds=5).encode())
        stopped.execute("UPDATE read_model_progress SET next_offset = 99")
        writer.write(life("a"), progress=[progress(0, 3)])
        with pytest.raises(psycopg.Error):
            stopped.commit()
    writer.close()
    assert rows(database, "SELECT next_offset FROM read_model_progress") == [(3,)]


def test_no_server(uri: str) -> None:
    writer = ReadModelWriter("postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(ReadModelUnavailable):
        writer.load_progress(TOPIC, [0])
    with pytest.raises(ReadModelUnavailable):
        writer.write(life("a"), progress=[])
