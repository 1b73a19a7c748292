"""A merchant's client for tests: the API as a merchant's server calls it, and the card network's own ledger."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

__all__ = ["Merchant", "ledger", "merchant", "wait_for_status"]

Json = dict[str, Any]


class Merchant:
    """One merchant with one API key, at one ingress process."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def post(self, path: str, body: object, *, key: str | None = None, prefer: str | None = None) -> httpx.Response:
        """A POST with an Idempotency-Key, a new one unless given."""
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        if prefer is not None:
            headers["Prefer"] = prefer
        return self.client.post(path, json=body, headers=headers)

    def create(self, amount: int = 1999, *, capture_method: str = "automatic", **more: Any) -> Json:
        """A new PaymentIntent; fails the test unless it is a 201."""
        body = {"amount": amount, "currency": "usd", "capture_method": capture_method, **more}
        answer = self.post("/paymentIntent", body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def pay(self, intent: str, token: str = "tok_visa", *, wait: int | None = 30) -> httpx.Response:
        """An attempt to pay."""
        prefer = None if wait is None else f"wait={wait}"
        return self.post(f"/paymentIntent/{intent}/transaction", {"payment_method": token}, prefer=prefer)

    def status(self, intent: str) -> Json:
        """The status; fails the test unless it is a 200."""
        answer = self.client.get(f"/paymentIntent/{intent}/status")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


@contextmanager
def merchant(url: str, api_key: str) -> Iterator[Merchant]:
    """A client that is closed at the end."""
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {api_key}"}, timeout=60) as client:
        yield Merchant(client)


def wait_for_status(shop: Merchant, intent: str, *statuses: str, within_seconds: float = 60) -> Json:
    """Read the status until it is one of these; errors on the way are waited out."""
    deadline = time.monotonic() + within_seconds
    last: object = None
    while time.monotonic() < deadline:
        try:
            answer = shop.client.get(f"/paymentIntent/{intent}/status")
        except httpx.TransportError as error:
            last = error
        else:
            last = answer.text
            if answer.status_code == 200 and answer.json()["status"] in statuses:
                return dict(answer.json())
        time.sleep(0.1)
    raise AssertionError(f"{intent} did not become {statuses} within {within_seconds} s: {last}")


def ledger(card_network: str) -> list[Json]:
    """The card network's own books."""
    return list(httpx.get(f"{card_network}/ledger", timeout=60).raise_for_status().json())
