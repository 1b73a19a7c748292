"""PostgreSQL is killed and comes back: writer and reader go on by themselves, and nothing is half written."""

from __future__ import annotations

import asyncio
import time

import psycopg

from sandbox.stack import Part
from schemas.times import Micros
from sinks.postgres import OffsetsMoved, ReadModel, ReadModelUnavailable, ReadModelWriter, migrate
from tests.harness.stack import RunningStack, start_stack
from tests.sinks.postgres.payments import TOPIC, id_of, life, progress


def _write_on(writer: ReadModelWriter, stack: RunningStack) -> int:
    """Write on while the server is killed, and reload after each loss; how many losses there were."""
    losses = 0
    deadline = time.monotonic() + 30
    at = writer.load_progress(TOPIC, [0])[0].next_offset
    while at < 60:
        assert time.monotonic() < deadline
        try:
            writer.write(life(str(at)), progress=[progress(at, at + 1, watermark=at + 1)])
            at += 1
            if at == 20:
                stack.kill("postgres")
        except (ReadModelUnavailable, OffsetsMoved):
            losses += 1
            time.sleep(0.05)
            try:
                at = writer.load_progress(TOPIC, [0])[0].next_offset
            except ReadModelUnavailable:
                continue
    return losses


def test_writer_and_reader_outlive_the_server() -> None:
    with start_stack(parts=frozenset({Part.POSTGRES})) as stack:
        uri = stack.postgres
        migrate(uri)
        writer = ReadModelWriter(uri)

        async def run() -> int:
            seen = 0
            async with ReadModel(uri) as model:
                writing = asyncio.create_task(asyncio.to_thread(_write_on, writer, stack))
                while not writing.done():
                    try:
                        found = await model.look_up([id_of(str(number)) for number in range(60)], at=Micros(2**53))
                        assert len(found.intents) == found.watermarks.get(0, 0) >= seen
                        seen = len(found.intents)
                    except ReadModelUnavailable:
                        pass
                    await asyncio.sleep(0.01)
                losses = await writing
                assert await model.ready()
                assert len((await model.look_up([id_of(str(n)) for n in range(60)], at=Micros(2**53))).intents) == 60
            return losses

        losses = asyncio.run(run())
        writer.close()
        assert losses > 0
        with psycopg.connect(uri) as connection:
            assert connection.execute("SELECT count(*) FROM audit_log").fetchone() == (180,)
