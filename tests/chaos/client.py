"""A process of clients: merchants that create, pay, capture and cancel, read what they were told, and ask again.

`python -m tests.chaos.client STACK_JSON HISTORY --name N --seed S --payments P --workers W`. Address and key come from
stack.json, which is read at each request. A payment is carried through as far as answers can be had within a time;
whatever was heard, or not, is in the history. Ends when all payments have been tried.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from tests.chaos.history import Operation, Recorder

__all__ = ["Client"]

Json = dict[str, Any]

# Mostly payments that simply work, and of each kind of trouble some.
TOKENS = {
    "tok_visa": 70,
    "tok_chargeDeclined": 6,
    "tok_chargeDeclinedInsufficientFunds": 2,
    "tok_chargeDeclinedProcessingError": 2,
    "tok_threeDSecureRequired": 4,
    "tok_timeoutThenApproved": 3,
    "tok_timeoutThenDeclined": 2,
    "tok_timeoutNeverArrived": 3,
    "tok_slow": 4,
    "tok_connectionReset": 4,
}
_PATIENCE_SECONDS = 40.0
_ANSWER_SECONDS = 15.0
_PAUSE_SECONDS = 0.3


class Client:
    """One merchant's server."""

    def __init__(self, stack: Path, recorder: Recorder, *, name: str, seed: int) -> None:
        self._stack = stack
        self._recorder = recorder
        self._name = name
        self._chance = random.Random(f"{seed}-{name}")
        self._numbers = itertools.count(1)
        self._made: list[tuple[str, Json]] = []
        self._http = httpx.AsyncClient(timeout=_ANSWER_SECONDS, limits=httpx.Limits(max_connections=None))

    async def run(self, *, payments: int, workers: int) -> None:
        """Carry out so many payments, several at a time."""
        numbers = iter(range(payments))

        async def work() -> None:
            for number in numbers:
                await self._pay(number)

        await asyncio.gather(*(work() for _ in range(workers)))
        await self._http.aclose()

    async def _pay(self, number: int) -> None:
        """One payment, from its creation to where its merchant wants it."""
        manual = self._chance.random() < 0.3
        key = f"{self._name}-{number}"
        amount = self._chance.randint(1, 99_999)
        body = {"amount": amount, "currency": "usd", "capture_method": "manual" if manual else "automatic"}
        created = await self._insist("/paymentIntent", key, body)
        if created is None or created.status != 201 or created.answer is None:
            return
        self._made.append((key, body))
        intent = str(created.answer["id"])
        await self._read(intent)
        path = f"/paymentIntent/{intent}"
        if self._chance.random() < 0.03:
            await self._insist(f"{path}/cancel", f"{key}-early", {})
        (token,) = self._chance.choices(list(TOKENS), list(TOKENS.values()))
        pay = self._insist(f"{path}/transaction", f"{key}-pay", {"payment_method": token})
        racing = [pay]
        if self._chance.random() < 0.05:
            racing.append(self._insist(f"{path}/transaction", f"{key}-pay", {"payment_method": token}))
        if self._chance.random() < 0.05:
            racing.append(self._insist(f"{path}/cancel", f"{key}-cancel", {}))
        paid, *_ = await asyncio.gather(*racing)
        await self._complete_challenge(paid)
        if manual:
            await self._settle_manually(path, key, amount)
        await self._read(intent)
        if self._chance.random() < 0.1:
            await self._insist("/paymentIntent", *self._chance.choice(self._made))

    async def _settle_manually(self, path: str, key: str, amount: int) -> None:
        choice = self._chance.random()
        part = amount if choice < 0.5 else self._chance.randint(1, amount)
        body: Json = {"type": "void"} if choice > 0.8 else {"type": "capture", "amount": part}
        racing = [self._insist(f"{path}/transaction", f"{key}-end", body)]
        if choice > 0.9:
            racing.append(self._insist(f"{path}/transaction", f"{key}-other", {"type": "capture"}))
        await asyncio.gather(*racing)

    async def _complete_challenge(self, paid: Operation | None) -> None:
        """The customer passes, fails or forgets the challenge."""
        shown = (paid.answer or {}).get("payment_intent") if paid is not None else None
        action = shown.get("next_action") if isinstance(shown, dict) else None
        outcome = self._chance.choice(["complete", "complete", "fail", None])
        if not action or outcome is None:
            return
        for _ in range(5):
            try:
                await self._http.post(action["url"], data={"outcome": outcome})
            except httpx.TransportError:
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                return

    async def _insist(self, path: str, key: str, body: Json) -> Operation | None:
        """Ask under one key until the answer says what came of it; None where patience ended."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            prefer = "wait=8" if self._chance.random() < 0.7 else None
            operation = await self._ask("POST", path, key=key, body=body, prefer=prefer)
            if operation.is_known:
                return operation
            await asyncio.sleep(_PAUSE_SECONDS * (0.5 + self._chance.random()))
        return None

    async def _read(self, intent: str) -> None:
        await self._ask("GET", f"/paymentIntent/{intent}/status")

    async def _ask(
        self, method: str, path: str, *, key: str | None = None, body: Json | None = None, prefer: str | None = None
    ) -> Operation:
        operation = Operation(
            client=self._name,
            number=next(self._numbers),
            method=method,
            path=path,
            key=key,
            body=body,
            asked_at=time.monotonic(),
        )
        self._recorder.note(operation)
        description = json.loads(self._stack.read_text())
        headers = {"Authorization": f"Bearer {description['api_key']}"}
        headers |= {} if key is None else {"Idempotency-Key": key}
        headers |= {} if prefer is None else {"Prefer": prefer}
        url = self._chance.choice(description["ingress_processes"])
        try:
            answer = await self._http.request(method, f"{url}{path}", json=body, headers=headers)
        except httpx.HTTPError:
            return operation
        heard = replace(
            operation,
            heard_at=time.monotonic(),
            status=answer.status_code,
            answer=answer.json() if answer.content else None,
            is_replay=answer.headers.get("idempotent-replayed") == "true",
        )
        self._recorder.note(heard)
        return heard


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("stack", type=Path)
    parser.add_argument("history", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--payments", type=int, required=True)
    parser.add_argument("--workers", type=int, default=8)
    given = parser.parse_args()
    with given.history.open("a") as file:
        client = Client(given.stack, Recorder(file), name=given.name, seed=given.seed)
        asyncio.run(client.run(payments=given.payments, workers=given.workers))


if __name__ == "__main__":
    main()
