"""The processor's notification and the browser's return: they only start a look-up."""

from __future__ import annotations

import httpx
import pytest
from msgspec.structs import replace

from ingress.ports import Delivery
from schemas.commands import ReturnFromChallenge
from schemas.identifiers import TransactionId
from schemas.payment import ActorType, PaymentIntentStatus, TransactionStatus
from tests.ingress.conftest import World
from tests.ingress.fakes import MERCHANT, a_transaction, an_intent, shard
from tests.ingress.refusals import assert_problem

pytestmark = pytest.mark.anyio

INTENT = an_intent()
TRANSACTION_ID = TransactionId("tx_" + "0" * 32)
CHALLENGED = replace(
    INTENT,
    status=PaymentIntentStatus.requires_action,
    transactions=(a_transaction(TRANSACTION_ID, INTENT, status=TransactionStatus.requires_action),),
)
NOTIFY = f"/processor/cardnet/notify?payment_intent={INTENT.id}&transaction={TRANSACTION_ID}"
RETURN = f"/paymentIntent/{INTENT.id}/return"
REFERENCE = {"reference": TRANSACTION_ID, "processor_reference": "nw_1", "card": "4242424242424242"}


@pytest.fixture
async def anonymous(world: World) -> httpx.AsyncClient:
    """A client without a key, as the network and the browser are."""
    client = world.client()
    del client.headers["authorization"]
    return client


@pytest.fixture(autouse=True)
def challenged(world: World) -> None:
    world.read_model.intents[INTENT.id] = CHALLENGED


async def test_a_notification_starts_a_look_up(world: World, anonymous: httpx.AsyncClient) -> None:
    response = await anonymous.post(NOTIFY, json=REFERENCE)
    assert response.status_code == 202
    assert not response.content
    (command,) = world.log.commands
    assert command.body == ReturnFromChallenge(transaction_id=TRANSACTION_ID)
    assert command.payment_intent_id == INTENT.id
    assert command.merchant_id == MERCHANT
    assert command.actor.type is ActorType.processor
    assert command.actor.id == "cardnet"
    assert command.reply_partition is None


async def test_the_browser_that_comes_back_starts_a_look_up(world: World, anonymous: httpx.AsyncClient) -> None:
    response = await anonymous.get(RETURN)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert INTENT.id not in response.text
    (command,) = world.log.commands
    assert command.body == ReturnFromChallenge(transaction_id=None)
    assert command.actor.type is ActorType.client


@pytest.mark.parametrize("state", ["unknown intent", "unknown transaction", "closed transaction"])
async def test_the_answer_tells_nothing_and_nothing_is_written(
    world: World, anonymous: httpx.AsyncClient, state: str
) -> None:
    if state == "unknown intent":
        world.read_model.intents.clear()
    elif state == "unknown transaction":
        world.read_model.intents[INTENT.id] = INTENT
    else:
        closed = a_transaction(TRANSACTION_ID, INTENT)
        world.read_model.intents[INTENT.id] = replace(CHALLENGED, transactions=(closed,))
    response = await anonymous.post(NOTIFY, json=REFERENCE)
    assert response.status_code == 202
    assert not response.content
    page = await anonymous.get(RETURN)
    assert page.status_code == 200
    assert not world.log.commands


async def test_it_is_judged_by_the_state_as_it_is_now(world: World, anonymous: httpx.AsyncClient) -> None:
    world.read_model.intents[INTENT.id] = INTENT
    world.events.ends_by_partition[shard(INTENT.id)] = 3
    world.read_model.next_offsets[shard(INTENT.id)] = 3
    await anonymous.get(RETURN)
    assert world.events.asked
    assert not world.log.commands


async def test_without_the_read_model_the_fold_is_asked_all_the_same(
    world: World, anonymous: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingress.challenges._READ_SECONDS", 0.1)
    world.read_model.away = True
    response = await anonymous.post(NOTIFY, json=REFERENCE)
    assert response.status_code == 202
    assert len(world.log.commands) == 1


async def test_doubt_is_harmless_but_what_was_not_sent_is_to_be_repeated(
    world: World, anonymous: httpx.AsyncClient
) -> None:
    world.log.delivery = Delivery.in_doubt
    assert (await anonymous.post(NOTIFY, json=REFERENCE)).status_code == 202
    world.log.delivery = Delivery.never_sent
    assert_problem(await anonymous.post(NOTIFY, json=REFERENCE), 503, "log_unavailable")


async def test_a_browser_that_has_to_come_again_gets_a_page(
    world: World, anonymous: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingress.challenges._READ_SECONDS", 0.1)
    world.read_model.away = True
    assert (await anonymous.get(RETURN)).status_code == 200, "the fold can be asked"
    world.log.up = False
    response = await anonymous.get(RETURN)
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) >= 1
    assert response.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert '<meta http-equiv="refresh"' in response.text
    assert INTENT.id not in response.text


@pytest.mark.parametrize(
    ("url", "body", "status"),
    [
        (NOTIFY.replace("cardnet", "other"), REFERENCE, 404),
        ("/processor/cardnet/notify", REFERENCE, 400),
        (NOTIFY.replace(INTENT.id, "pi_1"), REFERENCE, 400),
        (NOTIFY.replace(TRANSACTION_ID, "tx_1"), REFERENCE, 400),
        (NOTIFY, {"reference": "tx_" + "1" * 32}, 400),
        (NOTIFY, {}, 400),
        (NOTIFY, [], 400),
    ],
)
async def test_nonsense_is_refused(
    world: World, anonymous: httpx.AsyncClient, url: str, body: object, status: int
) -> None:
    response = await anonymous.post(url, json=body)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert not world.log.commands


async def test_a_deep_body_is_refused(world: World, anonymous: httpx.AsyncClient) -> None:
    content = b'{"reference": "x", "y": ' + b"[" * 60_000
    response = await anonymous.post(NOTIFY, content=content, headers={"content-type": "application/json"})
    assert_problem(response, 400, "json_malformed")


async def test_an_id_that_is_none_is_404(anonymous: httpx.AsyncClient) -> None:
    assert_problem(await anonymous.get("/paymentIntent/pi_1/return"), 404, "unknown_payment_intent")
