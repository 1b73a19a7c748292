"""Reads while the broker of some partitions is silent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import pytest

from tests.ingress.conftest import World
from tests.ingress.fakes import FakeEvents, an_intent, shard

pytestmark = pytest.mark.anyio

TIME_OUT_SECONDS = 0.4


@dataclass
class EventsOfSilentBrokers(FakeEvents):
    """Ends for which one waits, in vain, where a partition asked for has a silent broker."""

    silent: set[int] = field(default_factory=set)

    async def ends(self, partitions: Collection[int]) -> Mapping[int, int | None]:
        numbers = frozenset(partitions)
        ends = await super().ends(numbers)
        if self.silent & numbers:
            await asyncio.sleep(TIME_OUT_SECONDS)
        return {number: None if number in self.silent else end for number, end in ends.items()}


async def test_who_reads_elsewhere_waits_for_no_silent_broker() -> None:
    intents = {shard(one.id): one for one in (an_intent(f"key {number}") for number in range(40))}
    events = EventsOfSilentBrokers(silent={2})
    world = World(events=events)
    world.read_model.intents = {one.id: one for one in intents.values()}
    async with world.client() as client:
        sick = asyncio.create_task(client.get(f"/paymentIntent/{intents[2].id}/status"))
        await asyncio.sleep(2 * TIME_OUT_SECONDS)
        for _ in range(6):
            # Other moments of the question that is put for the sick one, again and again.
            await asyncio.sleep(TIME_OUT_SECONDS / 3)
            began = time.monotonic()
            answer = await client.get(f"/paymentIntent/{intents[1].id}/status")
            assert answer.status_code == 200
            assert time.monotonic() - began < TIME_OUT_SECONDS / 2
        assert not sick.done()
        events.silent.clear()
        assert (await sick).status_code == 200
        events.asked.clear()
        await asyncio.gather(*(client.get(f"/paymentIntent/{one.id}/status") for one in intents.values()))
        assert events.asked == [frozenset(range(4))], "all together again"
