"""Two processes that share a partition of replies, and one request that comes to both: one of them did it first."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from schemas.commands import CommandReply, PaymentCommand
from schemas.identifiers import CommandId, TransactionId
from schemas.payment import Actor, ActorType, CaptureMethod, PaymentIntent, PaymentIntentStatus, TransactionStatus
from schemas.times import Micros, later
from tests.ingress.conftest import World
from tests.ingress.fakes import NOW, a_transaction, an_intent
from topology.domain import decide

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


OPEN = replace(INTENT, created_at=later(NOW, seconds=-60.0), updated_at=later(NOW, seconds=-60.0))
TRIED = replace(
    a_transaction(TransactionId("tx_" + "0" * 32), INTENT),
    created_at=later(NOW, seconds=-50.0),
    completed_at=later(NOW, seconds=-40.0),
)
DECLINED = replace(TRIED, status=TransactionStatus.declined)
TO_CANCEL = {
    "new": OPEN,
    "declined": replace(OPEN, sequence=3, updated_at=DECLINED.completed_at, transactions=(DECLINED,)),
    "authorized": replace(
        OPEN,
        status=PaymentIntentStatus.requires_capture,
        capture_method=CaptureMethod.manual,
        amount_capturable_minor=1999,
        sequence=3,
        updated_at=TRIED.completed_at,
        transactions=(TRIED,),
    ),
}


def folded(intent: PaymentIntent, command: PaymentCommand) -> CommandReply:
    """What the fold itself says."""
    decision = decide(intent, command, forgotten_up_to=None)
    after = decision.events[-1].payment_intent if decision.events else intent
    return CommandReply(
        command_id=command.id,
        payment_intent_id=intent.id,
        sequence=after.sequence,
        refusal=decision.refusal,
        payment_intent=after,
        transaction_id=decision.transaction_id,
        replayed=decision.replayed,
    )


async def cancel(
    world: World, client: httpx.AsyncClient, intent: PaymentIntent, *, headers: dict[str, str]
) -> tuple[asyncio.Task[httpx.Response], PaymentCommand]:
    """Ask, and hear nothing yet."""
    world.log.silent = True
    path = f"/paymentIntent/{intent.id}/cancel"
    waiting = asyncio.create_task(client.post(path, json={}, headers={**KEY, **headers}))
    while not world.log.commands:
        await asyncio.sleep(0.01)
    (ours,) = world.log.commands
    return waiting, ours


@pytest.mark.parametrize("intent", TO_CANCEL.values(), ids=TO_CANCEL)
@pytest.mark.parametrize("first_by_micros", [0, -1, 1])
@pytest.mark.parametrize("told_by", ["reply", "read model"])
async def test_the_first_cancel_alone_is_no_replay(
    world: World, client: httpx.AsyncClient, intent: PaymentIntent, first_by_micros: int, told_by: str
) -> None:
    waiting, ours = await cancel(world, client, intent, headers={"prefer": "wait=1"} if told_by != "reply" else {})
    first = folded(intent, replace(ours, at=Micros(ours.at + first_by_micros)))
    assert first.payment_intent is not None
    if told_by == "reply":
        world.replies.hear(first)
    else:
        world.read_model.intents[intent.id] = replace(first.payment_intent, status=PaymentIntentStatus.canceled)
    answer = await waiting
    assert answer.status_code == 200
    assert answer.headers.get("idempotent-replayed") == (None if first_by_micros == 0 else "true")


async def test_nor_is_one_by_a_clock_behind_that_of_the_last_result(world: World, client: httpx.AsyncClient) -> None:
    ahead = replace(DECLINED, completed_at=later(NOW, seconds=5.0))
    intent = replace(TO_CANCEL["declined"], updated_at=ahead.completed_at, transactions=(ahead,))
    waiting, ours = await cancel(world, client, intent, headers={})
    world.replies.hear(folded(intent, ours))
    answer = await waiting
    assert (answer.status_code, answer.headers.get("idempotent-replayed")) == (200, None)


async def test_nor_is_a_cancel_of_what_another_request_has_canceled(world: World, client: httpx.AsyncClient) -> None:
    waiting, ours = await cancel(world, client, OPEN, headers={})
    others = replace(ours, id=CommandId("cmd_" + "0" * 32), actor=Actor(type=ActorType.key, id="another"))
    canceled = folded(OPEN, replace(others, at=Micros(ours.at - 1))).payment_intent
    assert canceled is not None
    world.replies.hear(folded(canceled, ours))
    answer = await waiting
    assert (answer.status_code, answer.headers.get("idempotent-replayed")) == (200, None)


@pytest.mark.parametrize("is_known", [True, False])
async def test_what_was_said_to_the_request_asked_before_is_not_said_to_the_one_asked_now(
    world: World, client: httpx.AsyncClient, is_known: bool
) -> None:
    """It may have lain here for a while. An earlier version does not say which command it answers."""
    world.fold.intents[INTENT.id] = INTENT
    world.log.silent = True
    path, body = REQUESTS["attempt"]
    waiting = asyncio.create_task(client.post(path, json=body, headers=KEY))
    while not world.log.commands:
        await asyncio.sleep(0.01)
    (ours,) = world.log.commands
    before = replace(ours, at=Micros(ours.at - 1))
    old = world.fold.decide(before)[0]
    assert world.replies.hear(old, at=before.at if is_known else None) is not is_known
    assert old.payment_intent is not None
    now = replace(old.payment_intent, sequence=old.sequence + 3)
    world.replies.hear(replace(old, sequence=now.sequence, payment_intent=now, replayed=True), at=ours.at)
    answer = await waiting
    assert answer.status_code == 201
    assert answer.json()["payment_intent"]["sequence"] == (now.sequence if is_known else old.sequence)
