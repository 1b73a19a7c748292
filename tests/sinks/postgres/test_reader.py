"""The read side: the same payments that were written, with progress of the same moment, quickly or not at all."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import TypeVar

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from msgspec.structs import replace
from psycopg.conninfo import make_conninfo

from schemas.payment import PaymentEvent
from schemas.times import Micros, from_datetime, later
from sinks.postgres import LookUp, Reading, ReadModel, ReadModelUnavailable, ReadModelWriter
from sinks.postgres.connections import session
from sinks.postgres.reader import READ
from tests.harness.stack import stand_still
from tests.sinks.postgres.payments import NOVEMBER, any_event, id_of, life, progress

T = TypeVar("T")

FAR = Micros(2**53)


def reading(uri: str, question: Callable[[ReadModel], Awaitable[T]], *, timeout_seconds: float = 2.0) -> T:
    """Open a read model, ask, and close it."""

    async def run() -> T:
        async with ReadModel(uri, timeout_seconds=timeout_seconds) as model:
            return await question(model)

    return asyncio.run(run())


def test_what_is_absent(uri: str) -> None:
    assert reading(uri, lambda model: model.read(id_of("a"), partition=0)) == Reading(intent=None, next_offset=0)
    assert reading(uri, lambda model: model.look_up([id_of("a")], at=FAR)) == LookUp(intents={}, watermarks={})
    assert reading(uri, lambda model: model.look_up([], at=FAR)) == LookUp(intents={}, watermarks={})


def test_what_is_there_comes_with_its_progress(uri: str, writer: ReadModelWriter) -> None:
    writer.load_progress("payments.events", [1])
    writer.write([*life("a"), *life("b")[:1]], progress=[progress(0, 5, watermark=NOVEMBER)])
    a, b = life("a")[-1].payment_intent, life("b")[0].payment_intent
    assert reading(uri, lambda model: model.read(a.id, partition=0)) == Reading(intent=a, next_offset=5)
    assert reading(uri, lambda model: model.look_up([a.id, b.id, id_of("c")], at=FAR)) == LookUp(
        intents={a.id: a, b.id: b}, watermarks={0: NOVEMBER, 1: Micros(0)}
    )


def test_no_watermark_is_later_than_the_callers_clock(uri: str, writer: ReadModelWriter) -> None:
    writer.write([], progress=[progress(0, 1, watermark=NOVEMBER)])
    at = later(NOVEMBER, seconds=-1)
    assert reading(uri, lambda model: model.look_up([], at=at)).watermarks == {0: at}


def test_metadata_keeps_the_merchants_order(uri: str, writer: ReadModelWriter) -> None:
    writer.write(life("a"), progress=[])
    intent = reading(uri, lambda model: model.read(id_of("a"), partition=0)).intent
    assert intent is not None
    assert list(intent.metadata) == ["zeta", "alpha"]


def test_any_payment_comes_back_as_it_was(uri: str, writer: ReadModelWriter) -> None:
    async def run() -> None:
        async with ReadModel(uri) as model:
            for event in events:
                found = await model.read(event.payment_intent.id, partition=0)
                assert found.intent == event.payment_intent
                assert found.intent is not None
                assert list(found.intent.metadata) == list(event.payment_intent.metadata)

    events: list[PaymentEvent] = []

    @settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
    @given(event=any_event())
    def write(event: PaymentEvent) -> None:
        writer.write([event], progress=[])
        events.append(event)

    write()
    asyncio.run(run())


@pytest.mark.parametrize("month", ["2026_11", "2026_12"])
def test_a_reading_touches_one_month(
    uri: str, writer: ReadModelWriter, database: psycopg.Connection, month: str
) -> None:
    december = from_datetime(datetime(2026, 12, 1, tzinfo=UTC))
    writer.write([*life("2026_11"), *life("2026_12", created_at=december)], progress=[])
    database.execute(session(statement_timeout_seconds=5, lock_timeout_seconds=5).encode())
    parameters = {"topic": "payments.events", "partition": 0, "id": id_of(month)}
    explained = database.execute(f"EXPLAIN (ANALYZE, FORMAT json) {READ}".encode(), parameters).fetchone()
    assert explained is not None
    assert set(_months(explained[0])) == {f"payment_intents_{month}", f"transactions_{month}"}


def _months(plan: object) -> Iterator[str]:
    """The partitions that a plan has touched."""
    if isinstance(plan, list):
        for part in plan:
            yield from _months(part)
    elif isinstance(plan, dict):
        if "_20" in plan.get("Relation Name", "") and plan["Actual Loops"]:
            yield plan["Relation Name"]
        for part in plan.values():
            yield from _months(part)


def test_rows_and_progress_are_of_one_moment(uri: str, writer: ReadModelWriter) -> None:
    names = [str(number) for number in range(150)]
    ids = {id_of(name): number for number, name in enumerate(names)}

    def write() -> None:
        # The intent of number n is in from offset n + 1 and watermark n + 1 on.
        for number, name in enumerate(names):
            writer.write(life(name)[:1], progress=[progress(number, number + 1, watermark=number + 1)])

    async def run() -> int:
        moments = set()
        async with ReadModel(uri) as model:
            writing = asyncio.create_task(asyncio.to_thread(write))
            while not writing.done():
                found = await model.look_up(list(ids), at=FAR)
                assert {ids[one] for one in found.intents} == set(range(found.watermarks[0]))
                moments.add(found.watermarks[0])
                number = min(found.watermarks[0], len(names) - 1)
                one = await model.read(id_of(names[number]), partition=0)
                assert (one.intent is not None) == (one.next_offset > number)
            await writing
        return len(moments)

    assert asyncio.run(run()) > 5


def test_no_server_is_said_quickly_and_in_one_way(uri: str) -> None:
    async def ask(model: ReadModel) -> float:
        started = time.monotonic()
        assert not await model.ready()
        with pytest.raises(ReadModelUnavailable):
            await model.read(id_of("a"), partition=0)
        with pytest.raises(ReadModelUnavailable):
            await model.look_up([id_of("a")], at=FAR)
        return time.monotonic() - started

    gone = make_conninfo(uri, port=1)
    assert reading(gone, ask, timeout_seconds=0.3) < 5


def test_a_database_without_the_schema_is_not_ready(postgres_database: str) -> None:
    assert not reading(postgres_database, lambda model: model.ready())
    with pytest.raises(ReadModelUnavailable, match="read_model_progress"):
        reading(postgres_database, lambda model: model.read(id_of("a"), partition=0))


def test_ready(uri: str) -> None:
    assert reading(uri, lambda model: model.ready())


def test_a_closed_read_model_refuses(uri: str) -> None:
    async def run() -> None:
        model = ReadModel(uri)
        async with model:
            assert await model.ready()
        with pytest.raises(ReadModelUnavailable):
            await model.read(id_of("a"), partition=0)

    asyncio.run(run())


def _backends(database: psycopg.Connection) -> list[int]:
    found = database.execute(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'paystream-read'"
    )
    return [pid for (pid,) in found]


def test_connections_that_the_server_ended_are_replaced_unnoticed(uri: str, database: psycopg.Connection) -> None:
    async def ask(model: ReadModel) -> None:
        await asyncio.gather(*[model.ready() for _ in range(8)])
        for pid in _backends(database):
            database.execute("SELECT pg_terminate_backend(%s)", (pid,))
        await model.read(id_of("a"), partition=0)

    reading(uri, ask)


def test_a_server_that_falls_silent_is_left_after_the_timeout(uri: str, database: psycopg.Connection) -> None:
    async def ask(model: ReadModel) -> None:
        assert await model.ready()
        stopped = _backends(database)
        for pid in stopped:
            stand_still(pid)
        try:
            started = time.monotonic()
            with pytest.raises(ReadModelUnavailable, match="no answer within"):
                await model.read(id_of("a"), partition=0)
            assert time.monotonic() - started < 3
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        assert await model.ready()

    reading(uri, ask, timeout_seconds=0.5)


def test_a_statement_that_takes_too_long_is_ended_by_the_server(uri: str, database: psycopg.Connection) -> None:
    async def ask(model: ReadModel) -> None:
        with psycopg.connect(uri) as in_the_way:
            in_the_way.execute("LOCK TABLE payment_intents IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(ReadModelUnavailable):
                await model.read(id_of("a"), partition=0)
        await model.read(id_of("a"), partition=0)

    reading(uri, ask, timeout_seconds=0.3)


def test_a_caller_that_gives_up_leaves_no_connection_behind(uri: str) -> None:
    async def ask(model: ReadModel) -> None:
        with psycopg.connect(uri) as in_the_way:
            in_the_way.execute("LOCK TABLE payment_intents IN ACCESS EXCLUSIVE MODE")
            for _ in range(20):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.01):
                        await model.read(id_of("a"), partition=0)
        await model.read(id_of("a"), partition=0)

    reading(uri, ask)


def test_the_state_of_a_later_event_replaces_all_fields(uri: str, writer: ReadModelWriter) -> None:
    created, opened, completed = life("a")
    writer.write([created], progress=[])
    writer.write([opened], progress=[])
    changed = replace(completed.payment_intent, description="\x00", cancellation_reason="why", cancel_requested=True)
    writer.write([replace(completed, payment_intent=changed)], progress=[])
    assert reading(uri, lambda model: model.read(changed.id, partition=0)).intent == changed
