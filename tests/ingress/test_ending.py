"""A process that is told to end while requests wait: each gets an answer that the API knows, and none a 500."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import httpx
import pytest

from ingress.server import _GRACEFUL_SECONDS, _Server, uvicorn_config
from schemas.times import Micros
from tests.ingress.conftest import API_KEY, World
from tests.ingress.fakes import NOW, an_intent, shard
from tests.ingress.refusals import assert_problem

pytestmark = pytest.mark.anyio

INTENT = an_intent()
STATUS = f"/paymentIntent/{INTENT.id}/status"
PAY = f"/paymentIntent/{INTENT.id}/transaction"
CANCEL = f"/paymentIntent/{INTENT.id}/cancel"
KEY = {"idempotency-key": "attempt 1"}
LONG = {**KEY, "prefer": "wait=30"}
VISA = {"payment_method": "tok_visa"}

Ask = Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]


def read_model_is_behind(world: World) -> None:
    world.read_model.intents[INTENT.id] = world.fold.intents[INTENT.id] = INTENT
    world.events.ends_by_partition[shard(INTENT.id)] = 7


def fold_has_forgotten(world: World) -> None:
    world.fold.forgotten_up_to, world.read_model.watermark = NOW, Micros(NOW - 1)


def outcome_does_not_come(world: World) -> None:
    read_model_is_behind(world)
    world.fold.stays_processing = True


def fold_is_silent(world: World) -> None:
    read_model_is_behind(world)
    world.log.silent = True


async def repeated(client: httpx.AsyncClient) -> httpx.Response:
    """An attempt, and the same under the same key, for whose outcome the read model is asked."""
    await client.post(PAY, json=VISA, headers=KEY)
    return await client.post(PAY, json=VISA, headers=LONG)


WAITS: dict[str, tuple[Callable[[World], None], Ask, tuple[int, int]]] = {
    "a read": (read_model_is_behind, lambda client: client.get(STATUS), (503, 503)),
    "a command about what is forgotten": (
        fold_has_forgotten,
        lambda client: client.post(CANCEL, headers=KEY),
        (503, 202),
    ),
    "an attempt": (outcome_does_not_come, lambda client: client.post(PAY, json=VISA, headers=LONG), (202, 202)),
    "an attempt again": (outcome_does_not_come, repeated, (202, 202)),
    "a cancel": (fold_is_silent, lambda client: client.post(CANCEL, headers=LONG), (202, 202)),
}
"""What is prepared and asked, and the answers: of a request that waits then, and of one that comes later."""


@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("is_late", [False, True], ids=["before", "after"])
async def test_who_waits_is_answered_in_time(world: World, client: httpx.AsyncClient, wait: str, is_late: bool) -> None:
    prepare, ask, statuses = WAITS[wait]
    prepare(world)
    if is_late:
        world.app.state.hurry()
    waiting = asyncio.ensure_future(ask(client))
    if not is_late:
        await asyncio.sleep(0.1)
        assert not waiting.done()
        world.app.state.hurry()
    answer = await asyncio.wait_for(waiting, _GRACEFUL_SECONDS)
    assert answer.status_code == statuses[is_late]
    if answer.status_code == 503:
        assert_problem(answer, 503, "read_model_behind")


async def test_a_read_that_waits_is_no_bug_of_ours(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Behind the real server, which cuts off what takes too long, and answers with a 500."""
    read_model_is_behind(world)
    config = uvicorn_config(world.app, host="127.0.0.1", port=0, connections_max=10)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = _Server(world.app, config)
        serving = asyncio.create_task(server._serve([listener]))
        while not server.started:
            await asyncio.sleep(0.01)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        headers = {"authorization": f"Bearer {API_KEY}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
            reading = asyncio.create_task(client.get(STATUS))
            await asyncio.sleep(0.2)
            server.should_exit = True
            assert_problem(await reading, 503, "read_model_behind")
        await serving
    assert not caplog.records
