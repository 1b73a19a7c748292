"""Customers ask again until they are answered, try again where an attempt came to nothing, and end as they meant to."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from typing import Any

import pytest
from aiohttp import web

from bench.customers import Load, UnexpectedAnswer, drive
from sandbox.routed import RoutedMerchant

MERCHANTS = {
    "HTTP": RoutedMerchant(id="mer_a", route=("cardnet",)),
    "ISO 8583": RoutedMerchant(id="mer_b", route=("isonet",)),
}


class Shop:
    """An API that says 503 to each request once; attempts end as told, the last way for all that follow."""

    def __init__(self, *attempts: str) -> None:
        self.asked: defaultdict[str, list[str]] = defaultdict(list)
        self.cards: defaultdict[str, list[str]] = defaultdict(list)
        self.bodies: list[dict[str, Any]] = []
        self.keys: Counter[str] = Counter()
        self._attempts = attempts
        self._made: Counter[str] = Counter()

    async def answer(self, request: web.Request) -> web.Response:
        key = request.headers["Idempotency-Key"]
        self.keys[key] += 1
        if self.keys[key] == 1:
            return web.json_response({"code": "read_model_behind"}, status=503)
        body = await request.json()
        intent = key.split("-")[1]
        if request.path == "/paymentIntent":
            self.bodies.append(body)
            return web.json_response({"id": f"pi_{intent}", "status": "requires_payment_method"}, status=201)
        said = "cancel" if request.path.endswith("/cancel") else str(body.get("type", "pay"))
        self.asked[intent].append(said)
        if said != "pay":
            return web.json_response({"id": "tx_1"}, status=201)
        self.cards[intent].append(str(body["payment_method"]))
        how = self._attempts[min(self._made[intent], len(self._attempts) - 1)]
        self._made[intent] += 1
        if how == "202":
            return web.json_response({"id": "tx_1", "payment_intent": f"pi_{intent}"}, status=202)
        if how == "400":
            return web.json_response({"code": "parameter_invalid"}, status=400)
        return web.json_response({"id": "tx_1", "payment_intent": {"status": how}}, status=201)


def driven(shop: Shop, *, payments: int) -> Load:
    async def run() -> Load:
        app = web.Application()
        app.router.add_post("/{path:.*}", shop.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            return await drive(f"http://{host}:{port}", MERCHANTS, payments=payments, workers=20)
        finally:
            await runner.cleanup()

    return asyncio.run(run())


def test_each_protocol_has_its_half_and_of_ten_payments_two_are_manual() -> None:
    shop = Shop("requires_capture")
    load = driven(shop, payments=40)
    assert load.payments == {"HTTP": 20, "ISO 8583": 20}
    assert Counter(body["capture_method"] for body in shop.bodies) == {"automatic": 32, "manual": 8}
    assert shop.asked["0"] == ["pay", "capture"]
    assert shop.asked["11"] == ["pay", "cancel"]
    # An automatic payment that is told as held by then is not its merchant's to end.
    assert shop.asked["5"] == ["pay"]
    assert set(shop.keys.values()) == {2}
    assert (load.commands, load.attempts, load.unanswered) == (88, 40, 0)


def test_an_attempt_that_came_to_nothing_is_followed_by_another_and_doubt_is_not() -> None:
    shop = Shop("requires_payment_method", "202")
    assert driven(shop, payments=3).attempts == 6
    assert shop.asked["2"] == ["pay", "pay"]
    again = Shop("requires_payment_method")
    assert driven(again, payments=1).attempts == 3


def test_some_requests_arrive_late_by_each_protocol_and_are_followed_by_another_card() -> None:
    shop = Shop("requires_payment_method", "202")
    driven(shop, payments=100)
    late = {int(number) for number, cards in shop.cards.items() if cards[0] == "tok_arrivesLate"}
    # By tens, the payments go to the one protocol and the other.
    assert late == {25, 75}
    assert {number // 10 % len(MERCHANTS) for number in late} == {0, 1}
    assert shop.cards["25"] == ["tok_arrivesLate", "tok_visa"]
    assert shop.cards["24"] == ["tok_visa", "tok_visa"]


def test_a_refusal_for_no_reason_ends_the_run() -> None:
    with pytest.raises(UnexpectedAnswer, match="400"):
        driven(Shop("400"), payments=1)
