"""The main job on real parts: payments over HTTP, compared with the card network's own ledger."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.harness.api import Json, Merchant, ledger, merchant, wait_for_status
from tests.harness.stack import RunningStack


@pytest.fixture(scope="module")
def shop(running_stack: RunningStack) -> Iterator[Merchant]:
    with merchant(running_stack.ingress, running_stack.api_key) as client:
        yield client


def booked(stack: RunningStack, intent: str) -> list[tuple[str, str, int]]:
    """What the network has in its books of one intent, as (type, status, amount)."""
    rows = ledger(stack.card_network)
    return [(row["type"], row["status"], row["amount_minor"]) for row in rows if row["payment_intent"] == intent]


def transaction(answer: httpx.Response) -> Json:
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def test_a_payment_succeeds(running_stack: RunningStack, shop: Merchant) -> None:
    created = shop.create(1999, metadata={"order": "1"}, description="two books")
    assert re.fullmatch(r"pi_[0-9a-f]{32}", created["id"])
    assert created["object"] == "payment_intent"
    assert (created["status"], created["sequence"]) == ("requires_payment_method", 1)
    assert created["livemode"] is False
    assert created["client_secret"].startswith(f"{created['id']}_secret_")
    assert created["metadata"] == {"order": "1"}
    assert created["last_payment_error"] is None
    paid = transaction(shop.pay(created["id"]))
    assert (paid["type"], paid["status"], paid["amount"]) == ("authorization", "succeeded", 1999)
    assert paid["payment_intent"]["status"] == "succeeded"
    status = shop.status(created["id"])
    assert (status["status"], status["amount_received"], status["amount_capturable"]) == ("succeeded", 1999, 0)
    assert [(t["type"], t["status"]) for t in status["transactions"]] == [
        ("authorization", "succeeded"),
        ("capture", "succeeded"),
    ]
    assert booked(running_stack, created["id"]) == [("authorization", "approved", 1999), ("capture", "approved", 1999)]


@pytest.mark.parametrize(
    ("token", "decline_code"),
    [
        ("tok_chargeDeclined", "generic_decline"),
        ("tok_chargeDeclinedInsufficientFunds", "insufficient_funds"),
        ("tok_chargeDeclinedProcessingError", None),
    ],
)
def test_a_decline_is_an_answer_and_leads_to_a_new_attempt(
    running_stack: RunningStack, shop: Merchant, token: str, decline_code: str | None
) -> None:
    intent = shop.create()["id"]
    declined = transaction(shop.pay(intent, token))
    assert (declined["status"], declined["decline_code"]) == ("declined", decline_code)
    assert declined["payment_intent"]["status"] == "requires_payment_method"
    assert shop.status(intent)["last_payment_error"]["decline_code"] == decline_code
    assert transaction(shop.pay(intent))["payment_intent"]["status"] == "succeeded"
    assert booked(running_stack, intent) == [
        ("authorization", "declined", 1999),
        ("authorization", "approved", 1999),
        ("capture", "approved", 1999),
    ]


def test_manual_capture_in_part_releases_the_rest(running_stack: RunningStack, shop: Merchant) -> None:
    intent = shop.create(5000, capture_method="manual")["id"]
    assert transaction(shop.pay(intent))["payment_intent"]["status"] == "requires_capture"
    assert shop.status(intent)["amount_capturable"] == 5000
    path = f"/paymentIntent/{intent}/transaction"
    too_much = shop.post(path, {"type": "capture", "amount": 5001})
    assert too_much.status_code in (400, 409, 422)
    captured = transaction(shop.post(path, {"type": "capture", "amount": 1200}, prefer="wait=30"))
    assert (captured["type"], captured["status"], captured["amount"]) == ("capture", "succeeded", 1200)
    status = shop.status(intent)
    assert (status["status"], status["amount_received"], status["amount_capturable"]) == ("succeeded", 1200, 0)
    assert booked(running_stack, intent) == [("authorization", "approved", 5000), ("capture", "approved", 1200)]


def test_a_void_cancels_the_intent(running_stack: RunningStack, shop: Merchant) -> None:
    intent = shop.create(capture_method="manual")["id"]
    shop.pay(intent)
    voided = transaction(shop.post(f"/paymentIntent/{intent}/transaction", {"type": "void"}, prefer="wait=30"))
    assert (voided["type"], voided["status"]) == ("void", "succeeded")
    assert voided["payment_intent"]["status"] == "canceled"
    assert [row[:2] for row in booked(running_stack, intent)] == [("authorization", "approved"), ("void", "approved")]


def test_cancel_before_and_after_an_authorization(shop: Merchant) -> None:
    untouched = shop.create()["id"]
    answer = shop.post(f"/paymentIntent/{untouched}/cancel", {}, key="cancel-1")
    assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
    assert "Idempotent-Replayed" not in answer.headers
    replayed = shop.post(f"/paymentIntent/{untouched}/cancel", {}, key="cancel-1")
    assert (replayed.status_code, replayed.headers["Idempotent-Replayed"]) == (200, "true")
    again = shop.post(f"/paymentIntent/{untouched}/cancel", {})
    assert (again.status_code, again.json()["status"]) == (200, "canceled")
    held = shop.create(capture_method="manual")["id"]
    shop.pay(held)
    answer = shop.post(f"/paymentIntent/{held}/cancel", {}, prefer="wait=30")
    assert answer.status_code == 200
    assert wait_for_status(shop, held, "canceled")["amount_capturable"] == 0
    paid = shop.create()["id"]
    shop.pay(paid)
    assert shop.post(f"/paymentIntent/{paid}/cancel", {}).status_code == 409


@pytest.mark.parametrize(("outcome", "status"), [("complete", "succeeded"), ("fail", "requires_payment_method")])
def test_a_challenge_is_decided_at_the_networks_page(shop: Merchant, outcome: str, status: str) -> None:
    intent = shop.create()["id"]
    challenged = transaction(shop.pay(intent, "tok_threeDSecureRequired"))
    assert (challenged["status"], challenged["payment_intent"]["status"]) == ("requires_action", "requires_action")
    url = shop.status(intent)["next_action"]["url"]
    assert httpx.get(url).status_code == 200
    assert httpx.post(url, data={"outcome": outcome}, timeout=30).status_code == 200
    assert wait_for_status(shop, intent, status, within_seconds=30)["status"] == status


def test_the_same_key_is_the_same_payment(running_stack: RunningStack, shop: Merchant) -> None:
    key, body = uuid.uuid4().hex, {"amount": 700, "currency": "usd", "capture_method": "automatic"}
    first = shop.post("/paymentIntent", body, key=key)
    again = shop.post("/paymentIntent", body, key=key)
    assert first.json()["id"] == again.json()["id"]
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert shop.post("/paymentIntent", {**body, "amount": 701}, key=key).status_code == 422
    intent = first.json()["id"]
    pay: dict[str, Any] = {"key": uuid.uuid4().hex, "prefer": "wait=30"}
    path = f"/paymentIntent/{intent}/transaction"
    one = shop.post(path, {"payment_method": "tok_visa"}, **pay)
    two = shop.post(path, {"payment_method": "tok_visa"}, **pay)
    assert one.json()["id"] == two.json()["id"]
    assert two.headers["Idempotent-Replayed"] == "true"
    assert two.json()["payment_intent"]["status"] == "succeeded"
    assert shop.post(path, {"payment_method": "tok_chargeDeclined"}, **pay).status_code == 422
    replayed = shop.post("/paymentIntent", body, key=key)
    assert (replayed.headers["Idempotent-Replayed"], replayed.json()["status"]) == ("true", "succeeded")
    assert len(booked(running_stack, intent)) == 2


@pytest.mark.parametrize(("currency", "amount"), [("jpy", 500), ("kwd", 1005), ("usd", 999_999_999_999), ("eur", 1)])
def test_amounts_are_minor_units_of_any_exponent(
    running_stack: RunningStack, shop: Merchant, currency: str, amount: int
) -> None:
    intent = shop.create(amount, currency=currency)["id"]
    assert transaction(shop.pay(intent))["payment_intent"]["status"] == "succeeded"
    assert {row[2] for row in booked(running_stack, intent)} == {amount}


def test_an_unknown_intent_is_a_404(shop: Merchant) -> None:
    unknown = "pi_" + "0" * 32
    answer = shop.client.get(f"/paymentIntent/{unknown}/status")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert shop.pay(unknown).status_code == 404
    assert shop.post(f"/paymentIntent/{unknown}/cancel", {}).status_code == 404


def test_every_process_is_healthy_and_measured(running_stack: RunningStack) -> None:
    flows = running_stack.description["metrics"]
    assert flows
    for url in flows.values():
        base = url.removesuffix("/metrics")
        assert httpx.get(f"{base}/healthz").status_code == 200
        assert httpx.get(f"{base}/readyz").status_code == 200
        assert "paystream_" in httpx.get(f"{base}/metrics").text
