"""A server that keeps the connection and says nothing: the writer lets go of it, in each of its waits."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator

import psycopg
import pytest

from sinks.postgres import ReadModelUnavailable, ReadModelWriter
from sinks.postgres import writer as writer_module
from sinks.postgres.connections import ending_silence
from tests.harness.stack import stand_still
from tests.sinks.postgres.payments import TOPIC, life, progress


@contextlib.contextmanager
def silent(database: psycopg.Connection) -> Iterator[None]:
    """The writer's server process stands still, and the kernel keeps its connection for it."""
    found = database.execute(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'paystream-sink'"
    ).fetchall()
    assert found
    for (pid,) in found:
        stand_still(pid)
    try:
        yield
    finally:
        for (pid,) in found:
            os.kill(pid, signal.SIGCONT)


@pytest.fixture(autouse=True)
def _patience_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "_SILENCE_SECONDS", 0.3)


def test_a_write_goes_on_with_another_server_process(writer: ReadModelWriter, database: psycopg.Connection) -> None:
    began = time.monotonic()
    with silent(database):
        writer.write(life("a"), progress=[progress(0, 3)])
    assert 0.3 <= time.monotonic() - began < 5
    assert writer.load_progress(TOPIC, [0])[0].next_offset == 3


def test_a_server_that_falls_silent_in_the_middle_is_left(
    writer: ReadModelWriter, database: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.ExitStack() as silence:
        monkeypatch.setattr(writer_module, "_answers", lambda _connection: not silence.enter_context(silent(database)))
        with pytest.raises(ReadModelUnavailable):
            writer.write(life("a"), progress=[progress(0, 3)])
    monkeypatch.undo()
    assert writer.load_progress(TOPIC, [0])[0].next_offset == 0
    writer.write(life("a"), progress=[progress(0, 3)])


def test_who_is_answered_in_time_notices_nothing(database: psycopg.Connection) -> None:
    with ending_silence(database, seconds=0.2):
        database.execute("SELECT 1")
    time.sleep(0.3)
    assert database.execute("SELECT 2").fetchone() == (2,)
