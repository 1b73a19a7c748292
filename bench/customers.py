"""Customers who ask again until they are answered, and try again to pay where an attempt has come to nothing.

Drives the merchant API, many payments at a time, in turn at each of several merchants. Used by `bench.doubt`.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from sandbox.routed import RoutedMerchant

__all__ = ["Load", "UnexpectedAnswer", "drive"]

_ATTEMPTS_MAX = 3
_CARD, _LATE_CARD = "tok_visa", "tok_arrivesLate"
# One payment in so many begins with a card whose request is still on its way when everybody has given up on it.
_LATE_EVERY, _LATE_AT = 50, 25
_WAIT_SECONDS = 5
_ANSWER_SECONDS = 40.0
_PATIENCE_SECONDS = 120.0
_PAUSE_SECONDS = 0.5


class UnexpectedAnswer(RuntimeError):
    """A request was refused that has nothing wrong in it."""


@dataclass(slots=True)
class Load:
    """What customers did: commands that were answered, those that never were, and payments begun by protocol."""

    commands: int = 0
    unanswered: int = 0
    attempts: int = 0
    payments: Counter[str] = field(default_factory=Counter)


class Customer:
    """Pays at one merchant, and asks again under the same key until it is answered."""

    def __init__(self, session: aiohttp.ClientSession, merchant: RoutedMerchant, protocol: str, load: Load) -> None:
        self._session = session
        self._headers = {"Authorization": f"Bearer {merchant.api_key}"}
        self._protocol = protocol
        self._load = load

    async def pay(self, number: int) -> None:
        """One payment: of ten, one is captured by its merchant, and one canceled."""
        manual = number % 10 in (0, 1)
        key, body = f"doubt-{number}", {"amount": 1_000 + number % 9_000, "currency": "usd"}
        created = await self._ask(
            "/paymentIntent", key, {**body, "capture_method": "manual" if manual else "automatic"}
        )
        if created is None:
            return
        self._load.payments[self._protocol] += 1
        path, status = f"/paymentIntent/{created['id']}", str(created["status"])
        for attempt in range(_ATTEMPTS_MAX):
            if status != "requires_payment_method":
                break
            self._load.attempts += 1
            card = _LATE_CARD if attempt == 0 and number % _LATE_EVERY == _LATE_AT else _CARD
            answer = await self._ask(f"{path}/transaction", f"{key}-{attempt}", {"payment_method": card})
            # Nobody knows yet: the customer goes home, and Paystream finds out.
            status = str(_intent_in(answer).get("status"))
        if manual and status == "requires_capture":
            if number % 10 == 0:
                await self._ask(f"{path}/transaction", f"{key}-capture", {"type": "capture"})
            else:
                await self._ask(f"{path}/cancel", f"{key}-cancel", {})

    async def _ask(self, path: str, key: str, body: Mapping[str, object]) -> dict[str, Any] | None:
        """A POST; None where nobody answered."""
        headers = {**self._headers, "Idempotency-Key": key, "Prefer": f"wait={_WAIT_SECONDS}"}
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            try:
                async with self._session.post(path, json=body, headers=headers) as answer:
                    if answer.status in (200, 201, 202):
                        self._load.commands += 1
                        return dict(await answer.json())
                    if answer.status < 500:
                        raise UnexpectedAnswer(f"{path} was answered {answer.status}: {await answer.text()}")
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(_PAUSE_SECONDS)
        self._load.unanswered += 1
        return None


def _intent_in(answer: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The PaymentIntent that an answer shows; nothing where it shows none."""
    shown = {} if answer is None else answer.get("payment_intent", answer)
    return shown if isinstance(shown, Mapping) else {}


async def drive(ingress: str, merchants: Mapping[str, RoutedMerchant], *, payments: int, workers: int) -> Load:
    """So many payments, in turn by each protocol, so many at a time."""
    load, numbers = Load(), iter(range(payments))
    timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(ingress, timeout=timeout, connector=connector) as session:
        customers = [Customer(session, merchant, name, load) for name, merchant in merchants.items()]

        async def work() -> None:
            for number in numbers:
                # Not by the last digit, which says how the payment is captured.
                await customers[number // 10 % len(customers)].pay(number)

        await asyncio.gather(*(work() for _ in range(workers)))
    return load
