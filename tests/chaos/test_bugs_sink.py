"""The bug of the read model's sink, with a schedule in which it does harm: real PostgreSQL, judged by the checker."""

from __future__ import annotations

import psycopg
import pytest

from schemas.payment import PaymentEvent
from schemas.times import Micros
from schemas.topics import EVENTS
from sinks.postgres import Progress, ReadModelWriter
from tests.chaos.banks import MemoryBank
from tests.chaos.bugs import BUGS, planted
from tests.chaos.checker import check
from tests.chaos.collect import read_rows
from tests.chaos.evidence import Evidence
from tests.chaos.shop import Shop
from tests.sinks.postgres.databases import empty_read_model

_START_AGAIN = "UPDATE read_model_progress SET next_offset = 0"


def write(uri: str, events: list[PaymentEvent]) -> None:
    """One epoch of a process that has just started."""
    writer = ReadModelWriter(uri)
    try:
        start = writer.load_progress(EVENTS.name, [0])[0].next_offset
        end = start + len(events)
        step = Progress(topic=EVENTS.name, partition=0, start_offset=start, end_offset=end, watermark=Micros(0))
        writer.write(events, progress=[step])
    finally:
        writer.close()


def is_read_again(uri: str) -> list[str]:
    """The sink has to read the log once more from its beginning, and so far has come to the first event."""
    with Shop(MemoryBank()) as shop:
        created = shop.create()
        assert created.answer is not None
        shop.pay(created.answer["id"], wait=0)
        shop.settle()
        events = shop.logged()
        write(uri, events)
        with psycopg.connect(uri, autocommit=True) as database:
            database.execute(_START_AGAIN)
        write(uri, events[:1])
        return check(
            Evidence(history=shop.history, steps=shop.steps(), rows=read_rows(uri), bookings=shop.bank.bookings())
        )


@pytest.mark.parametrize(("bug", "findings"), [(None, []), ("sink_without_sequence_guard", ["read model: "])])
def test_a_row_is_never_replaced_by_an_older_one(postgres_uri: str, bug: str | None, findings: list[str]) -> None:
    with planted(None if bug is None else BUGS[bug]):
        found = is_read_again(empty_read_model(postgres_uri))
    assert [one[: len("read model: ")] for one in found] == findings, found
