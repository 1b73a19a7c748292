"""GET /paymentIntent/{id}/status: never older than what anybody was told."""

from __future__ import annotations

import asyncio
from random import Random

import httpx
import pytest
from msgspec.structs import replace

from ingress import read_index
from schemas.identifiers import TransactionId
from schemas.payment import (
    CaptureMethod,
    NextAction,
    PaymentError,
    PaymentIntentStatus,
    Transaction,
    TransactionStatus,
    TransactionType,
)
from tests.ingress.conftest import World
from tests.ingress.fakes import NOW, a_transaction, an_intent, shard
from tests.ingress.refusals import assert_problem
from tests.topology.domain.honest import HONEST, HonestWorld

pytestmark = pytest.mark.anyio

INTENT = an_intent()
SHARD = shard(INTENT.id)
URL = f"/paymentIntent/{INTENT.id}/status"
TRANSACTION_ID = TransactionId("tx_" + "0" * 32)


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads that give up soon."""
    monkeypatch.setattr(read_index.ReadIndex.current, "__kwdefaults__", {"timeout_seconds": 0.2})


async def test_the_status_shows_the_intent_with_its_transactions(world: World, client: httpx.AsyncClient) -> None:
    capture = Transaction(
        id=TransactionId("tx_" + "1" * 32),
        type=TransactionType.capture,
        status=TransactionStatus.created,
        amount_minor=1999,
        currency="usd",
        processor="cardnet",
        authorization_id=TRANSACTION_ID,
        created_at=NOW,
        processor_data={"secret": "canary"},
    )
    world.read_model.intents[INTENT.id] = replace(
        INTENT,
        status=PaymentIntentStatus.processing,
        sequence=4,
        next_action=NextAction(type="redirect_to_url", url="http://x.test/"),
        last_payment_error=PaymentError(transaction_id=TRANSACTION_ID, code="card_declined", decline_code="generic"),
        transactions=(a_transaction(TRANSACTION_ID, INTENT), capture),
    )
    response = await client.get(URL)
    assert response.status_code == 200, response.text
    assert response.headers["cache-control"] == "no-store"
    assert "canary" not in response.text
    body = response.json()
    assert body["id"] == INTENT.id
    assert body["status"] == "processing"
    assert body["sequence"] == 4
    assert body["amount"] == 1999
    assert body["last_payment_error"] == {
        "transaction": TRANSACTION_ID,
        "code": "card_declined",
        "decline_code": "generic",
    }
    assert body["next_action"] == {"type": "redirect_to_url", "url": "http://x.test/"}
    assert [one["type"] for one in body["transactions"]] == ["authorization", "capture"]
    assert body["transactions"][0]["completed"] == NOW // 1_000_000
    assert body["transactions"][1] == {
        "id": capture.id,
        "object": "transaction",
        "type": "capture",
        "status": "created",
        "amount": 1999,
        "currency": "usd",
        "processor": "cardnet",
        "processor_reference": None,
        "authorization": TRANSACTION_ID,
        "code": None,
        "decline_code": None,
        "next_action": None,
        "created": NOW // 1_000_000,
        "completed": None,
    }


PAID = (
    a_transaction(TRANSACTION_ID, INTENT),
    replace(a_transaction(TransactionId("tx_" + "1" * 32), INTENT), type=TransactionType.capture),
)
VOIDED = (
    a_transaction(TransactionId("tx_" + "2" * 32), INTENT, status=TransactionStatus.canceled),
    replace(a_transaction(TransactionId("tx_" + "3" * 32), INTENT), type=TransactionType.void),
)
DECLINED = a_transaction(TransactionId("tx_" + "4" * 32), INTENT, status=TransactionStatus.declined)
OPEN = a_transaction(TransactionId("tx_" + "5" * 32), INTENT, status=TransactionStatus.pending)


@pytest.mark.parametrize(
    ("status", "transactions"), [(PaymentIntentStatus.succeeded, PAID), (PaymentIntentStatus.canceled, ())]
)
async def test_what_nothing_can_follow_is_answered_at_once(
    world: World, client: httpx.AsyncClient, status: PaymentIntentStatus, transactions: tuple[Transaction, ...]
) -> None:
    world.read_model.intents[INTENT.id] = replace(INTENT, status=status, transactions=transactions)
    world.events.ends_by_partition[SHARD] = 100
    assert (await client.get(URL)).json()["status"] == status
    assert not world.events.asked


@pytest.mark.parametrize(
    ("status", "transactions"),
    [
        (PaymentIntentStatus.canceled, VOIDED),
        (PaymentIntentStatus.canceled, (DECLINED,)),
        (PaymentIntentStatus.canceled, (OPEN,)),
        (PaymentIntentStatus.succeeded, (*VOIDED, *PAID)),
        (PaymentIntentStatus.succeeded, (DECLINED, *PAID)),
        (PaymentIntentStatus.succeeded, (*PAID, OPEN)),
    ],
)
async def test_a_final_state_that_a_late_approval_may_follow_waits_for_the_log(
    world: World, client: httpx.AsyncClient, status: PaymentIntentStatus, transactions: tuple[Transaction, ...]
) -> None:
    lagging = replace(INTENT, status=status, transactions=transactions, sequence=5)
    world.read_model.intents[INTENT.id] = lagging
    world.events.ends_by_partition[SHARD] = 7
    world.read_model.next_offsets[SHARD] = 5
    waiting = asyncio.create_task(client.get(URL))
    await asyncio.sleep(0.05)
    assert not waiting.done(), "somebody may have been told of the events 5 and 6"
    world.read_model.intents[INTENT.id] = replace(lagging, sequence=7)
    world.read_model.next_offsets[SHARD] = 7
    assert (await waiting).json()["sequence"] == 7


def test_nothing_follows_what_is_answered_at_once() -> None:
    """In a world where processors keep to their word, and all else may go wrong."""
    settled_in_the_end = 0
    for seed in range(400):
        random = Random(seed)
        world = HonestWorld(capture=random.choice([*CaptureMethod]), remembers_voids=random.choice([True, False]))
        for _ in range(150):
            before = world.open_intent
            random.choice(HONEST)(world, random.choice)
            settled = read_index.is_settled(before)
            assert not settled or world.open_intent == before, f"seed {seed}"
        settled_in_the_end += settled
    assert settled_in_the_end > 50


@pytest.mark.parametrize("status", [TransactionStatus.succeeded, TransactionStatus.failed])
def test_a_settlement_that_is_shown_beside_a_payment_changes_nothing_in_it(status: TransactionStatus) -> None:
    authorization = a_transaction(TRANSACTION_ID, INTENT)
    paid = replace(INTENT, status=PaymentIntentStatus.succeeded, transactions=(authorization,))
    assert read_index.is_settled(paid)
    settlement = replace(authorization, type=TransactionType.settlement, status=status)
    assert read_index.is_settled(replace(paid, transactions=(*paid.transactions, settlement)))


@pytest.mark.parametrize("known", [True, False])
async def test_any_other_waits_until_the_read_model_has_come_to_the_end(
    world: World, client: httpx.AsyncClient, known: bool
) -> None:
    if known:
        world.read_model.intents[INTENT.id] = INTENT
    world.events.ends_by_partition[SHARD] = 7
    world.read_model.next_offsets[SHARD] = 5
    waiting = asyncio.create_task(client.get(URL))
    await asyncio.sleep(0.05)
    world.read_model.next_offsets[SHARD] = 6
    await asyncio.sleep(0.1)
    assert not waiting.done()
    world.read_model.intents[INTENT.id] = replace(INTENT, sequence=3)
    world.read_model.next_offsets[SHARD] = 7
    response = await waiting
    assert response.status_code == 200
    assert response.json()["sequence"] == 3


async def test_404_only_after_the_read_index(world: World, client: httpx.AsyncClient) -> None:
    world.events.ends_by_partition[SHARD] = 7
    waiting = asyncio.create_task(client.get(URL))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    world.read_model.next_offsets[SHARD] = 8
    assert_problem(await waiting, 404, "unknown_payment_intent")


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("state", ["behind", "read model away", "log away"])
async def test_never_an_older_version(world: World, client: httpx.AsyncClient, state: str) -> None:
    world.read_model.intents[INTENT.id] = INTENT
    world.events.ends_by_partition[SHARD] = 7
    world.read_model.next_offsets[SHARD] = 6 if state == "behind" else 7
    world.read_model.away = state == "read model away"
    world.events.away = state == "log away"
    response = await client.get(URL)
    assert_problem(response, 503, "read_model_behind")
    assert int(response.headers["retry-after"]) >= 1


async def test_a_short_absence_is_waited_out(world: World, client: httpx.AsyncClient) -> None:
    world.read_model.intents[INTENT.id] = INTENT
    world.read_model.away = world.events.away = True
    waiting = asyncio.create_task(client.get(URL))
    await asyncio.sleep(0.15)
    world.read_model.away = False
    await asyncio.sleep(0.15)
    world.events.away = False
    assert (await waiting).status_code == 200


async def test_before_the_log_was_reached_it_is_503(world: World, client: httpx.AsyncClient) -> None:
    world.events.partitions = None
    assert_problem(await client.get(URL), 503, "not_ready")


async def test_reads_that_wait_together_share_the_questions(world: World, client: httpx.AsyncClient) -> None:
    world.read_model.intents[INTENT.id] = INTENT
    world.events.ends_by_partition[SHARD] = 7
    waiting = [asyncio.create_task(client.get(URL)) for _ in range(100)]
    await asyncio.sleep(0.2)
    assert len(world.events.asked) < 10
    assert world.read_model.reads < 100 + 50, "one poll for all who wait on a partition"
    world.read_model.next_offsets[SHARD] = 7
    assert {response.status_code for response in await asyncio.gather(*waiting)} == {200}


async def test_a_read_that_gives_up_leaves_the_others_alone(world: World, client: httpx.AsyncClient) -> None:
    world.read_model.intents[INTENT.id] = INTENT
    world.events.ends_by_partition[SHARD] = 7
    patient, impatient = (asyncio.create_task(client.get(URL)) for _ in range(2))
    await asyncio.sleep(0.05)
    impatient.cancel()
    await asyncio.sleep(0.05)
    world.read_model.next_offsets[SHARD] = 7
    assert (await patient).status_code == 200
