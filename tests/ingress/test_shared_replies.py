"""Two processes that share a partition of replies, and one request that comes to both: one of them did it first."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from schemas.times import Micros
from tests.ingress.conftest import World
from tests.ingress.fakes import an_intent

pytestmark = pytest.mark.anyio

INTENT = an_intent()
KEY = {"idempotency-key": "some key"}
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "create": ("/paymentIntent", {"amount": 1999, "currency": "usd"}),
    "attempt": (f"/paymentIntent/{INTENT.id}/transaction", {"payment_method": "tok_visa"}),
}


@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize("is_ours", [True, False])
async def test_the_first_command_alone_is_no_replay(
    world: World, client: httpx.AsyncClient, request_: str, is_ours: bool
) -> None:
    path, body = REQUESTS[request_]
    if request_ == "attempt":
        world.fold.intents[INTENT.id] = INTENT
    world.log.silent = True
    waiting = asyncio.create_task(client.post(path, json=body, headers=KEY))
    while not world.log.commands:
        await asyncio.sleep(0.01)
    (ours,) = world.log.commands
    first = ours if is_ours else replace(ours, at=Micros(ours.at - 1))
    world.replies.hear(world.fold.decide(first)[0])
    answer = await waiting
    assert answer.status_code == 201
    assert answer.headers.get("idempotent-replayed") == (None if is_ours else "true")


@pytest.mark.parametrize("is_ours", [True, False])
async def test_nor_where_the_read_model_says_it(world: World, client: httpx.AsyncClient, is_ours: bool) -> None:
    world.log.silent = True
    path, body = REQUESTS["create"]
    waiting = asyncio.create_task(client.post(path, json=body, headers={**KEY, "prefer": "wait=1"}))
    while not world.log.commands:
        await asyncio.sleep(0.01)
    (ours,) = world.log.commands
    reply = world.fold.decide(ours if is_ours else replace(ours, at=Micros(ours.at - 1)))[0]
    assert reply.payment_intent is not None
    world.read_model.intents[reply.payment_intent.id] = reply.payment_intent
    answer = await waiting
    assert answer.status_code == 201
    assert answer.headers.get("idempotent-replayed") == (None if is_ours else "true")
