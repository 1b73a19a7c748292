"""GET /healthz, /readyz and /metrics."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from schemas.commands import Authorize, ReturnFromChallenge
from schemas.identifiers import parse_payment_intent_id
from tests.ingress.conftest import World
from tests.ingress.fakes import PARTITIONS, an_intent, shard
from tests.ingress.refusals import assert_problem

pytestmark = pytest.mark.anyio


async def test_healthy_as_soon_as_it_serves(world: World, client: httpx.AsyncClient) -> None:
    world.log.up = False
    world.read_model.away = True
    assert (await client.get("/healthz")).status_code == 200


async def test_ready_when_every_shard_answers(world: World, client: httpx.AsyncClient) -> None:
    response = await client.get("/readyz")
    assert response.status_code == 200, response.text
    assert {shard(command.payment_intent_id) for command in world.log.commands} == set(range(PARTITIONS))
    for command in world.log.commands:
        assert isinstance(command.body, ReturnFromChallenge), "it is refused for an unknown intent, without an event"
        assert parse_payment_intent_id(command.payment_intent_id) not in world.fold.intents


async def test_what_was_heard_a_moment_ago_is_not_asked_again(world: World, client: httpx.AsyncClient) -> None:
    await asyncio.gather(*(client.get("/readyz") for _ in range(20)))
    assert len(world.log.commands) == PARTITIONS
    await client.get("/readyz")
    assert len(world.log.commands) == PARTITIONS


async def test_the_answers_of_merchants_commands_count(world: World, client: httpx.AsyncClient) -> None:
    intent = an_intent()
    world.fold.intents[intent.id] = intent
    await client.post(
        f"/paymentIntent/{intent.id}/transaction",
        json={"payment_method": "tok_visa"},
        headers={"idempotency-key": "a"},
    )
    await client.get("/readyz")
    assert sum(isinstance(command.body, Authorize) for command in world.log.commands) == 1
    assert len(world.log.commands) == PARTITIONS


@pytest.mark.parametrize("missing", ["log", "replies", "events", "read_model", "payments"])
async def test_not_ready_without_one_of_its_parts(world: World, client: httpx.AsyncClient, missing: str) -> None:
    world.log.up = missing != "log"
    world.replies.partition = None if missing == "replies" else 2
    world.events.partitions = None if missing == "events" else PARTITIONS
    world.read_model.away = missing == "read_model"
    world.log.silent = missing == "payments"
    problem = assert_problem(await client.get("/readyz"), 503, "not_ready")
    assert set(problem["missing"]) == {missing}


async def test_not_ready_while_reads_would_wait(world: World, client: httpx.AsyncClient) -> None:
    world.events.away = True
    problem = assert_problem(await client.get("/readyz"), 503, "not_ready")
    assert problem["missing"] == {"events": "it is not known where these partitions end: 0, 1, 2, 3"}


@pytest.mark.parametrize(("ahead_seconds", "ready"), [(59.0, True), (-59.0, True), (61.0, False), (-61.0, False)])
async def test_not_ready_with_a_clock_that_is_off(
    world: World, client: httpx.AsyncClient, ahead_seconds: float, ready: bool
) -> None:
    world.log.ahead_seconds = ahead_seconds
    response = await client.get("/readyz")
    if ready:
        assert response.status_code == 200
    else:
        problem = assert_problem(response, 503, "not_ready")
        assert set(problem["missing"]) == {"clock_skewed"}


async def test_probes_do_not_pile_up(world: World, client: httpx.AsyncClient) -> None:
    world.log.silent = True
    for _ in range(2):
        assert (await client.get("/readyz")).status_code == 503
    assert len(world.log.commands) == PARTITIONS
    world.log.silent = False
    for command in world.log.commands:
        world.replies.hear(world.fold.decide(command)[0])
    assert (await client.get("/readyz")).status_code == 200


async def test_metrics_name_routes_and_never_paths(client: httpx.AsyncClient) -> None:
    await client.get("/paymentIntent/canary/status")
    await client.get("/canary")
    text = (await client.get("/metrics")).text
    assert 'route="/paymentIntent/{id}/status",status="404"' in text
    assert 'route="none",status="404"' in text
    assert "canary" not in text
