"""Calls without an answer: doubt is decided by evidence, and in the end the books of both sides say the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.api import Json, Merchant, ledger, merchant, wait_for_status
from tests.harness.stack import RunningStack

OPEN = ("created", "requires_action", "pending")


@pytest.fixture(scope="module")
def shop(running_stack: RunningStack) -> Iterator[Merchant]:
    with merchant(running_stack.ingress, running_stack.api_key) as client:
        yield client


def settled(shop: Merchant, intent: str, *statuses: str) -> Json:
    """The PaymentIntent once it stands there with no Transaction open."""
    status = wait_for_status(shop, intent, *statuses, within_seconds=60)
    assert not [t for t in status["transactions"] if t["status"] in OPEN]
    return status


def booked(stack: RunningStack, intent: str) -> set[tuple[str, str]]:
    return {(r["type"], r["status"]) for r in ledger(stack.card_network) if r["payment_intent"] == intent}


def pay_without_an_answer(shop: Merchant, token: str) -> str:
    """An attempt whose call stays unanswered: the client hears 202, and reads `processing`."""
    intent = str(shop.create()["id"])
    answer = shop.pay(intent, token, wait=1)
    assert answer.status_code == 202
    assert answer.json()["status_url"].endswith(f"/paymentIntent/{intent}/status")
    assert shop.status(intent)["status"] == "processing"
    return intent


@pytest.mark.parametrize(
    ("token", "status", "books"),
    [
        ("tok_timeoutThenApproved", "succeeded", {("authorization", "approved"), ("capture", "approved")}),
        ("tok_timeoutThenDeclined", "requires_payment_method", {("authorization", "declined")}),
    ],
)
def test_a_time_out_is_looked_up(
    running_stack: RunningStack, shop: Merchant, token: str, status: str, books: set[tuple[str, str]]
) -> None:
    intent = pay_without_an_answer(shop, token)
    assert settled(shop, intent, status)["status"] == status
    assert booked(running_stack, intent) == books


def test_what_never_arrived_is_voided_not_believed(running_stack: RunningStack, shop: Merchant) -> None:
    intent = pay_without_an_answer(shop, "tok_timeoutNeverArrived")
    status = settled(shop, intent, "requires_payment_method")
    assert [(t["type"], t["status"]) for t in status["transactions"]][-1] == ("void", "succeeded")
    assert booked(running_stack, intent) == {("void", "approved")}
    paid = shop.pay(intent)
    assert paid.json()["payment_intent"]["status"] == "succeeded"


def test_a_reset_connection_is_doubt_and_charges_once(running_stack: RunningStack, shop: Merchant) -> None:
    intent = str(shop.create()["id"])
    shop.pay(intent, "tok_connectionReset", wait=1)
    assert settled(shop, intent, "succeeded")["amount_received"] == 1999
    assert booked(running_stack, intent) == {("authorization", "approved"), ("capture", "approved")}


def test_a_second_attempt_waits_until_the_doubt_is_decided(shop: Merchant) -> None:
    intent = pay_without_an_answer(shop, "tok_timeoutThenApproved")
    refused = shop.pay(intent)
    assert (refused.status_code, refused.json()["code"]) == (409, "transaction_in_doubt")
    canceled = shop.post(f"/paymentIntent/{intent}/cancel", {})
    assert (canceled.status_code, canceled.json()["code"]) == (409, "transaction_in_doubt")
    settled(shop, intent, "succeeded")
