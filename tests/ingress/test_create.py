"""POST /paymentIntent."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from msgspec.structs import replace

from ingress.ports import Delivery
from schemas.commands import CreatePaymentIntent
from schemas.identifiers import payment_intent_id
from schemas.payment import ActorType, CaptureMethod, PaymentIntentStatus
from schemas.times import Micros
from tests.ingress.conftest import OTHER_KEY, World
from tests.ingress.fakes import MERCHANT, NOW, shard
from tests.ingress.refusals import assert_problem

pytestmark = pytest.mark.anyio

BODY = {"amount": 1999, "currency": "usd", "capture_method": "manual", "description": "A thing", "metadata": {"a": "b"}}
KEY = {"idempotency-key": "order 1"}
INTENT_ID = payment_intent_id(merchant_id=MERCHANT, livemode=False, idempotency_key="order 1")


async def test_a_payment_intent_is_opened(world: World, client: httpx.AsyncClient) -> None:
    response = await client.post("/paymentIntent", json=BODY, headers=KEY)
    assert response.status_code == 201, response.text
    assert response.headers["location"] == f"http://api.test/paymentIntent/{INTENT_ID}/status"
    assert "idempotent-replayed" not in response.headers
    intent = response.json()
    assert intent.pop("client_secret").startswith(f"{INTENT_ID}_secret_k1_")
    assert intent == {
        "id": INTENT_ID,
        "object": "payment_intent",
        "amount": 1999,
        "currency": "usd",
        "status": "requires_payment_method",
        "capture_method": "manual",
        "amount_capturable": 0,
        "amount_received": 0,
        "sequence": 1,
        "created": NOW // 1_000_000,
        "livemode": False,
        "description": "A thing",
        "metadata": {"a": "b"},
        "next_action": None,
        "last_payment_error": None,
        "cancellation_reason": None,
    }


async def test_the_command_says_who_asks_and_that_the_id_was_absent(world: World, client: httpx.AsyncClient) -> None:
    world.read_model.watermark = Micros(NOW - 5)
    await client.post("/paymentIntent", json=BODY, headers={**KEY, "prefer": "wait=5"})
    (command,) = world.log.commands
    assert command.payment_intent_id == INTENT_ID
    assert command.merchant_id == MERCHANT
    assert command.at == NOW
    assert command.actor.type is ActorType.key
    assert command.reply_partition == 2
    assert not command.wait
    assert isinstance(command.body, CreatePaymentIntent)
    assert command.body.absent_at == NOW - 5
    assert command.body.capture_method is CaptureMethod.manual
    assert len(command.body.fingerprint) == 16


async def test_the_same_again_is_the_same_intent_as_it_is_now(world: World, client: httpx.AsyncClient) -> None:
    first = await client.post("/paymentIntent", json=BODY, headers=KEY)
    world.fold.intents[INTENT_ID] = replace(world.fold.intents[INTENT_ID], status=PaymentIntentStatus.canceled)
    # Spelling and order do not make it another request, and defaults may be left out.
    content = (
        b'{ "metadata":{"a":"b"}, "currency":"usd","amount":1999,"description":"A thing","capture_method":"manual"}'
    )
    again = await client.post("/paymentIntent", content=content, headers={**KEY, "content-type": "application/json"})
    assert again.status_code == 201
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == {**first.json(), "status": "canceled"}


async def test_another_body_under_the_same_key_is_refused(world: World, client: httpx.AsyncClient) -> None:
    await client.post("/paymentIntent", json=BODY, headers=KEY)
    for body in ({**BODY, "amount": 2000}, {**BODY, "metadata": {}}, {"amount": 1999, "currency": "usd"}):
        response = await client.post("/paymentIntent", json=body, headers=KEY)
        assert_problem(response, 422, "idempotency_mismatch")


async def test_what_the_read_model_has_is_answered_like_a_read_of_its_status(
    world: World, client: httpx.AsyncClient
) -> None:
    first = await client.post("/paymentIntent", json=BODY, headers=KEY)
    stale = world.fold.intents[INTENT_ID]
    world.read_model.intents[INTENT_ID] = stale
    world.events.ends_by_partition[shard(INTENT_ID)] = 7
    answer = asyncio.create_task(client.post("/paymentIntent", json=BODY, headers=KEY))
    await asyncio.sleep(0.1)
    assert not answer.done(), "it waits for the read index"
    world.read_model.intents[INTENT_ID] = replace(stale, sequence=4, status=PaymentIntentStatus.requires_capture)
    world.read_model.next_offsets[shard(INTENT_ID)] = 7
    again = await answer
    assert again.status_code == 201
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == {**first.json(), "sequence": 4, "status": "requires_capture"}
    assert len(world.log.commands) == 1
    other = await client.post("/paymentIntent", json={**BODY, "amount": 1}, headers=KEY)
    assert_problem(other, 422, "idempotency_mismatch")
    assert len(world.log.commands) == 1


async def test_another_merchant_has_the_key_for_itself(world: World, client: httpx.AsyncClient) -> None:
    ours = await client.post("/paymentIntent", json=BODY, headers=KEY)
    async with world.client(OTHER_KEY) as other:
        theirs = await other.post("/paymentIntent", json={**BODY, "amount": 5}, headers=KEY)
        assert theirs.status_code == 201
        assert theirs.json()["id"] != ours.json()["id"]
        world.read_model.intents[INTENT_ID] = world.fold.intents[INTENT_ID]
        assert_problem(await other.get(f"/paymentIntent/{INTENT_ID}/status"), 404, "unknown_payment_intent")


async def test_a_hundred_at_once_are_one_intent(world: World, client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(client.post("/paymentIntent", json=BODY, headers=KEY) for _ in range(100)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert len(world.read_model.looked_up) < 20, "look-ups at the same time share a query"


@pytest.mark.parametrize("name", ["read_model_behind"])
async def test_a_read_model_that_is_behind_is_503(world: World, client: httpx.AsyncClient, name: str) -> None:
    world.fold.refusals[CreatePaymentIntent] = name
    response = await client.post("/paymentIntent", json=BODY, headers=KEY)
    assert_problem(response, 503, name)
    assert int(response.headers["retry-after"]) >= 1


async def test_without_a_read_model_nothing_is_created(world: World, client: httpx.AsyncClient) -> None:
    world.read_model.away = True
    response = await client.post("/paymentIntent", json=BODY, headers=KEY)
    assert_problem(response, 503, "read_model_behind")
    assert int(response.headers["retry-after"]) >= 1
    assert not world.log.commands


@pytest.mark.parametrize("state", ["no broker", "no replies", "no partitions", "never sent"])
async def test_503_for_what_no_broker_has(world: World, client: httpx.AsyncClient, state: str) -> None:
    world.log.up = state != "no broker"
    world.replies.partition = None if state == "no replies" else 2
    world.events.partitions = None if state == "no partitions" else 4
    if state == "never sent":
        world.log.delivery = Delivery.never_sent
    response = await client.post("/paymentIntent", json=BODY, headers=KEY)
    assert_problem(response, 503, "not_ready" if state in ("no replies", "no partitions") else "log_unavailable")
    assert int(response.headers["retry-after"]) >= 1


@pytest.mark.parametrize("delivery", [Delivery.in_doubt, Delivery.delivered, None])
async def test_202_in_doubt(world: World, client: httpx.AsyncClient, delivery: Delivery | None) -> None:
    world.log.delivery, world.log.silent = delivery, True
    response = await client.post("/paymentIntent", json=BODY, headers={**KEY, "prefer": "wait=0"})
    assert response.status_code == 202, response.text
    url = f"http://api.test/paymentIntent/{INTENT_ID}/status"
    assert response.json() == {"id": INTENT_ID, "object": "payment_intent", "status_url": url}
    assert response.headers["location"] == url
    assert response.headers["preference-applied"] == "wait=0"
    world.log.delivery, world.log.silent = Delivery.delivered, False
    again = await client.post("/paymentIntent", json=BODY, headers=KEY)
    assert again.status_code == 201
    assert again.json()["id"] == INTENT_ID


async def test_a_lost_reply_is_made_up_for_by_the_read_model(world: World, client: httpx.AsyncClient) -> None:
    await client.post("/paymentIntent", json=BODY, headers=KEY)
    world.log.silent = True
    answer = asyncio.create_task(client.post("/paymentIntent", json=BODY, headers={**KEY, "prefer": "wait=1"}))
    await asyncio.sleep(0.2)
    world.read_model.intents[INTENT_ID] = world.fold.intents[INTENT_ID]
    response = await answer
    assert response.status_code == 201, response.text
    assert response.json()["id"] == INTENT_ID


async def test_replies_that_nobody_awaits_are_ignored(world: World, client: httpx.AsyncClient) -> None:
    await client.post("/paymentIntent", json=BODY, headers=KEY)
    (command,) = world.log.commands
    (reply,) = world.fold.decide(command)
    assert not world.replies.hear(reply)
