"""POST /paymentIntent/{id}/transaction and POST /paymentIntent/{id}/cancel."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from ingress.ports import Delivery
from schemas.commands import Authorize, CancelPaymentIntent, CapturePayment, VoidPayment
from schemas.identifiers import transaction_id
from schemas.payment import (
    NextAction,
    PaymentIntent,
    PaymentIntentStatus,
    TransactionStatus,
)
from schemas.times import Micros
from tests.ingress.conftest import OTHER_KEY, World
from tests.ingress.fakes import NOW, a_transaction, an_intent, shard
from tests.ingress.refusals import assert_problem

pytestmark = pytest.mark.anyio

INTENT = an_intent()
URL = f"/paymentIntent/{INTENT.id}/transaction"
CANCEL = f"/paymentIntent/{INTENT.id}/cancel"
STATUS_URL = f"http://api.test/paymentIntent/{INTENT.id}/status"
KEY = {"idempotency-key": "attempt 1"}
TRANSACTION_ID = transaction_id(payment_intent_id=INTENT.id, idempotency_key="attempt 1")
VISA = {"payment_method": "tok_visa"}


@pytest.fixture(autouse=True)
def known_intent(world: World) -> None:
    world.fold.intents[INTENT.id] = INTENT


async def test_without_prefer_the_answer_is_the_commit(world: World, client: httpx.AsyncClient) -> None:
    response = await client.post(URL, json=VISA, headers=KEY)
    assert response.status_code == 201, response.text
    transaction = response.json()
    assert transaction["id"] == TRANSACTION_ID
    assert transaction["type"] == "authorization"
    assert transaction["status"] == "created"
    assert transaction["amount"] == 1999
    assert transaction["code"] is None
    assert transaction["decline_code"] is None
    assert transaction["payment_intent"]["id"] == INTENT.id
    assert transaction["payment_intent"]["status"] == "processing"
    assert "client_secret" not in transaction["payment_intent"]
    assert response.headers["location"] == STATUS_URL
    (command,) = world.log.commands
    assert not command.wait
    assert isinstance(command.body, Authorize)
    assert command.body.route == ("cardnet",)
    assert command.body.payment_method == "tok_visa"
    assert command.body.transaction_id == TRANSACTION_ID


async def test_with_prefer_it_is_the_outcome(world: World, client: httpx.AsyncClient) -> None:
    response = await client.post(URL, json=VISA, headers={**KEY, "prefer": "wait=5"})
    assert response.status_code == 201, response.text
    assert response.json()["status"] == "succeeded"
    assert response.json()["payment_intent"]["status"] == "succeeded"
    assert response.headers["preference-applied"] == "wait=5"
    assert world.log.commands[0].wait


async def test_a_decline_was_carried_out(world: World, client: httpx.AsyncClient) -> None:
    world.fold.outcome = TransactionStatus.declined
    response = await client.post(URL, json=VISA, headers={**KEY, "prefer": "wait=5"})
    assert response.status_code == 201
    assert response.json()["status"] == "declined"
    assert response.json()["payment_intent"]["status"] == "requires_payment_method"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (VISA, Authorize),
        ({"type": "authorization", **VISA}, Authorize),
        ({"type": "capture"}, CapturePayment),
        ({"type": "capture", "amount": 5}, CapturePayment),
        ({"type": "capture", "amount": None}, CapturePayment),
        ({"type": "void"}, VoidPayment),
    ],
)
async def test_each_body_is_its_command(
    world: World, client: httpx.AsyncClient, body: dict[str, Any], kind: type
) -> None:
    response = await client.post(URL, json=body, headers=KEY)
    assert response.status_code == 201, response.text
    (command,) = world.log.commands
    assert isinstance(command.body, kind)
    if isinstance(command.body, CapturePayment):
        assert command.body.amount_minor == body.get("amount")


async def test_the_type_may_be_left_out_of_an_authorization(world: World, client: httpx.AsyncClient) -> None:
    await client.post(URL, json=VISA, headers=KEY)
    again = await client.post(URL, json={"type": "authorization", **VISA}, headers=KEY)
    assert again.headers["idempotent-replayed"] == "true"
    assert world.log.commands[0].id == world.log.commands[1].id


async def test_another_body_under_the_same_key_is_refused(client: httpx.AsyncClient) -> None:
    await client.post(URL, json=VISA, headers=KEY)
    for body in ({"payment_method": "tok_other"}, {"type": "capture"}, {"type": "void"}):
        assert_problem(await client.post(URL, json=body, headers=KEY), 422, "idempotency_mismatch")


async def test_202_when_it_takes_longer(world: World, client: httpx.AsyncClient) -> None:
    world.fold.stays_processing = True
    response = await client.post(URL, json=VISA, headers={**KEY, "prefer": "wait=1"})
    assert response.status_code == 202, response.text
    assert response.json() == {
        "id": TRANSACTION_ID,
        "object": "transaction",
        "payment_intent": INTENT.id,
        "status_url": STATUS_URL,
    }
    assert response.headers["location"] == STATUS_URL


async def test_the_wait_is_capped(world: World, client: httpx.AsyncClient) -> None:
    response = await client.post(URL, json=VISA, headers={**KEY, "prefer": "respond-async, wait=999999"})
    assert response.headers["preference-applied"] == "wait=30"


@pytest.mark.parametrize("delivery", [Delivery.in_doubt, Delivery.never_sent])
async def test_a_delivery_that_fails(world: World, client: httpx.AsyncClient, delivery: Delivery) -> None:
    world.log.delivery = delivery
    response = await client.post(URL, json=VISA, headers=KEY)
    if delivery is Delivery.in_doubt:
        assert response.status_code == 202
    else:
        assert_problem(response, 503, "log_unavailable")


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("transaction_in_doubt", 409),
        ("idempotency_mismatch", 422),
        ("amount_exceeds_capturable", 422),
        ("already_succeeded", 409),
        ("nothing_to_void", 409),
        ("a_refusal_of_tomorrow", 409),
    ],
)
async def test_a_refusal_is_a_problem_by_its_name(
    world: World, client: httpx.AsyncClient, name: str, status: int
) -> None:
    for kind in (Authorize, CancelPaymentIntent):
        world.fold.refusals[kind] = name
    assert_problem(await client.post(URL, json=VISA, headers=KEY), status, name)
    assert_problem(await client.post(CANCEL, json={}, headers=KEY), status, name)


async def test_a_repeat_waits_for_the_outcome_too(world: World, client: httpx.AsyncClient) -> None:
    world.fold.stays_processing = True
    await client.post(URL, json=VISA, headers=KEY)
    waiting = asyncio.create_task(client.post(URL, json=VISA, headers={**KEY, "prefer": "wait=5"}))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    world.read_model.intents[INTENT.id] = _succeeded(world.fold.intents[INTENT.id])
    response = await waiting
    assert response.status_code == 201
    assert response.headers["idempotent-replayed"] == "true"
    assert response.json()["payment_intent"]["status"] == "succeeded"


async def test_two_who_wait_for_one_command_hear_the_same(client: httpx.AsyncClient) -> None:
    headers = {**KEY, "prefer": "wait=5"}
    one, other = await asyncio.gather(*(client.post(URL, json=VISA, headers=headers) for _ in range(2)))
    assert one.status_code == other.status_code == 201
    assert one.json() == other.json()
    assert one.json()["status"] == "succeeded"
    assert "idempotent-replayed" not in one.headers
    assert other.headers["idempotent-replayed"] == "true"


async def test_two_who_are_refused_while_another_transaction_is_processed_hear_so_at_once(
    world: World, client: httpx.AsyncClient
) -> None:
    processed = replace(INTENT, status=PaymentIntentStatus.processing)
    world.fold.intents[INTENT.id] = world.read_model.intents[INTENT.id] = processed
    world.fold.refusals[Authorize] = "transaction_in_doubt"
    headers = {**KEY, "prefer": "wait=5"}
    answers = await asyncio.wait_for(
        asyncio.gather(*(client.post(URL, json=VISA, headers=headers) for _ in range(2))), 2
    )
    for answer in answers:
        assert_problem(answer, 409, "transaction_in_doubt")


async def test_who_waits_beside_one_that_does_not_hears_the_outcome(world: World, client: httpx.AsyncClient) -> None:
    """The command asked for no second reply, so none comes."""
    world.fold.stays_processing = True
    at_once, waiting = (
        asyncio.create_task(client.post(URL, json=VISA, headers={**KEY, **more})) for more in ({}, {"prefer": "wait=5"})
    )
    assert (await at_once).json()["payment_intent"]["status"] == "processing"
    world.read_model.intents[INTENT.id] = _succeeded(world.fold.intents[INTENT.id])
    response = await asyncio.wait_for(waiting, 2)
    assert response.json()["status"] == "succeeded"
    assert response.headers["idempotent-replayed"] == "true"


async def test_a_challenge_is_shown(world: World, client: httpx.AsyncClient) -> None:
    world.fold.stays_processing = True
    waiting = asyncio.create_task(client.post(URL, json=VISA, headers={**KEY, "prefer": "wait=5"}))
    await asyncio.sleep(0.1)
    action = NextAction(type="redirect_to_url", url="http://network.test/challenges/1")
    intent = world.fold.intents[INTENT.id]
    challenged = replace(
        intent,
        status=PaymentIntentStatus.requires_action,
        sequence=3,
        next_action=action,
        transactions=(replace(intent.transactions[0], status=TransactionStatus.requires_action, next_action=action),),
    )
    command = world.log.commands[0]
    reply = replace(world.fold.decide(command)[0], replayed=False, payment_intent=challenged, left_processing=True)
    world.replies.hear(reply)
    response = await waiting
    assert response.status_code == 201
    assert response.json()["status"] == "requires_action"
    assert response.json()["next_action"] == {"type": "redirect_to_url", "url": "http://network.test/challenges/1"}


async def test_a_lost_second_reply_is_made_up_for(world: World, client: httpx.AsyncClient) -> None:
    world.fold.stays_processing = True
    waiting = asyncio.create_task(client.post(URL, json=VISA, headers={**KEY, "prefer": "wait=1"}))
    await asyncio.sleep(0.2)
    world.read_model.intents[INTENT.id] = _succeeded(world.fold.intents[INTENT.id])
    response = await waiting
    assert response.status_code == 201
    assert response.json()["status"] == "succeeded"


async def test_a_lost_first_reply_does_no_harm(world: World, client: httpx.AsyncClient) -> None:
    world.log.silent = True
    waiting = asyncio.create_task(client.post(URL, json=VISA, headers={**KEY, "prefer": "wait=5"}))
    await asyncio.sleep(0.1)
    _, second = world.fold.decide(world.log.commands[0])
    world.replies.hear(second)
    response = await waiting
    assert response.status_code == 201
    assert response.json()["status"] == "succeeded"


async def test_who_waits_is_answered_when_the_process_is_about_to_end(world: World, client: httpx.AsyncClient) -> None:
    world.fold.stays_processing = True
    waiting = asyncio.create_task(client.post(URL, json=VISA, headers={**KEY, "prefer": "wait=30"}))
    await asyncio.sleep(0.1)
    world.app.state.hurry()
    response = await asyncio.wait_for(waiting, 5)
    assert response.status_code == 202
    assert response.json()["id"] == TRANSACTION_ID


async def test_another_merchants_intent_is_unknown(world: World) -> None:
    world.read_model.intents[INTENT.id] = INTENT
    async with world.client(OTHER_KEY) as other:
        assert_problem(await other.post(URL, json=VISA, headers=KEY), 404, "unknown_payment_intent")
        assert_problem(await other.post(CANCEL, headers=KEY), 404, "unknown_payment_intent")


class TestForgotten:
    """The fold does not know the intent."""

    @pytest.fixture(autouse=True)
    def forgotten(self, world: World, known_intent: None) -> None:
        del world.fold.intents[INTENT.id]
        world.fold.forgotten_up_to = Micros(NOW - 10)

    async def test_absent_from_the_read_model_too_is_404(self, world: World, client: httpx.AsyncClient) -> None:
        assert_problem(await client.post(URL, json=VISA, headers=KEY), 404, "unknown_payment_intent")
        assert_problem(await client.post(CANCEL, headers=KEY), 404, "unknown_payment_intent")

    async def test_never_before_the_read_model_has_come_that_far(self, world: World, client: httpx.AsyncClient) -> None:
        world.read_model.watermark = Micros(NOW - 11)
        waiting = asyncio.create_task(client.post(URL, json=VISA, headers=KEY))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        world.read_model.intents[INTENT.id] = replace(INTENT, status=PaymentIntentStatus.succeeded)
        world.read_model.watermark = NOW
        assert_problem(await waiting, 409, "already_succeeded")

    @pytest.mark.parametrize(
        ("status", "name"),
        [
            (PaymentIntentStatus.succeeded, "already_succeeded"),
            (PaymentIntentStatus.canceled, "already_canceled"),
        ],
    )
    async def test_a_final_intent_refuses_by_name(
        self, world: World, client: httpx.AsyncClient, status: PaymentIntentStatus, name: str
    ) -> None:
        world.read_model.intents[INTENT.id] = replace(INTENT, status=status)
        assert_problem(await client.post(URL, json=VISA, headers=KEY), 409, name)
        canceled = await client.post(CANCEL, headers=KEY)
        if status is PaymentIntentStatus.canceled:
            assert canceled.status_code == 200
            assert canceled.json()["status"] == "canceled"
        else:
            assert_problem(canceled, 409, name)

    async def test_the_transaction_under_its_own_key_is_replayed(self, world: World, client: httpx.AsyncClient) -> None:
        world.fold.intents[INTENT.id] = INTENT
        await client.post(URL, json=VISA, headers={**KEY, "prefer": "wait=5"})
        world.read_model.intents[INTENT.id] = world.fold.intents.pop(INTENT.id)
        again = await client.post(URL, json=VISA, headers={**KEY, "prefer": "wait=5"})
        assert again.status_code == 201
        assert again.headers["idempotent-replayed"] == "true"
        assert again.json()["id"] == TRANSACTION_ID
        assert again.json()["status"] == "succeeded"
        other = await client.post(URL, json={"type": "void"}, headers=KEY)
        assert_problem(other, 422, "idempotency_mismatch")

    async def test_a_cancel_is_a_replay_where_it_is_the_one_that_canceled(
        self, world: World, client: httpx.AsyncClient
    ) -> None:
        world.fold.intents[INTENT.id] = INTENT
        await client.post(CANCEL, headers=KEY)
        (command,) = world.log.commands
        canceled = replace(INTENT, status=PaymentIntentStatus.canceled, canceled_by=command.id)
        del world.fold.intents[INTENT.id]
        world.read_model.intents[INTENT.id] = canceled
        again = await client.post(CANCEL, headers=KEY)
        another = await client.post(CANCEL, headers={"idempotency-key": "another cancel"})
        assert (again.status_code, another.status_code) == (200, 200)
        assert again.headers["idempotent-replayed"] == "true"
        assert "idempotent-replayed" not in another.headers, "as the fold answers while it knows the intent"
        assert again.json() == another.json()

    async def test_another_merchants_stays_unknown(self, world: World) -> None:
        world.read_model.intents[INTENT.id] = replace(INTENT, status=PaymentIntentStatus.succeeded)
        async with world.client(OTHER_KEY) as other:
            assert_problem(await other.post(URL, json=VISA, headers=KEY), 404, "unknown_payment_intent")

    async def test_without_the_read_model_nobody_knows(self, world: World, client: httpx.AsyncClient) -> None:
        world.read_model.away = True
        assert_problem(await client.post(URL, json=VISA, headers=KEY), 503, "read_model_behind")


class TestCancel:
    """POST /paymentIntent/{id}/cancel."""

    @pytest.mark.parametrize("content", [None, b"", b"{}"])
    async def test_it_is_canceled(self, world: World, client: httpx.AsyncClient, content: bytes | None) -> None:
        headers = {**KEY, "content-type": "application/json"} if content else KEY
        response = await client.post(CANCEL, content=content, headers=headers)
        assert response.status_code == 200, response.text
        assert response.json()["id"] == INTENT.id
        assert response.json()["status"] == "canceled"
        assert response.json()["client_secret"].startswith(INTENT.id)
        (command,) = world.log.commands
        assert isinstance(command.body, CancelPaymentIntent)

    async def test_202_in_doubt(self, world: World, client: httpx.AsyncClient) -> None:
        world.log.delivery = Delivery.in_doubt
        response = await client.post(CANCEL, headers=KEY)
        assert response.status_code == 202
        assert response.json()["id"] == INTENT.id

    async def test_a_lost_reply_is_made_up_for(self, world: World, client: httpx.AsyncClient) -> None:
        world.log.silent = True
        world.read_model.intents[INTENT.id] = replace(INTENT, status=PaymentIntentStatus.canceled)
        response = await client.post(CANCEL, headers={**KEY, "prefer": "wait=0"})
        assert response.status_code == 200
        assert response.json()["status"] == "canceled"

    async def test_what_is_not_canceled_yet_is_202(self, world: World, client: httpx.AsyncClient) -> None:
        world.log.silent = True
        world.read_model.intents[INTENT.id] = INTENT
        world.read_model.next_offsets[shard(INTENT.id)] = 1
        response = await client.post(CANCEL, headers={**KEY, "prefer": "wait=0"})
        assert response.status_code == 202


def _succeeded(intent: PaymentIntent) -> PaymentIntent:
    opened = intent.transactions[0]
    done = a_transaction(opened.id, intent, fingerprint=opened.fingerprint or b"")
    return replace(intent, status=PaymentIntentStatus.succeeded, sequence=5, transactions=(done,))
