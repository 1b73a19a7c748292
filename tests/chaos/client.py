"""A process of clients: merchants that create, pay, capture and cancel, read what they were told, and ask again.

`python -m tests.chaos.client STACK_JSON HISTORY --name N --seed S --payments P --workers W [--seconds T]`, and with
`--merchant M` as one of those in `merchants`. Addresses, and the key of anybody else, come from stack.json, which is
read at each request. A payment is carried through as far as answers can be had within a time; whatever was heard, or
not, is in the history. Payments begin evenly over so many seconds. In between, and once all have been tried, what was
answered long ago is asked again: the fold may have forgotten it by then.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp

from tests.chaos.history import Operation, Recorder
from tests.chaos.merchants import API_KEYS

__all__ = ["Client"]

Json = dict[str, Any]

# Mostly payments that simply work, and of each kind of trouble some.
TOKENS = {
    "tok_visa": 64,
    "tok_chargeDeclined": 6,
    "tok_chargeDeclinedInsufficientFunds": 2,
    "tok_chargeDeclinedProcessingError": 2,
    "tok_threeDSecureRequired": 4,
    "tok_timeoutThenApproved": 3,
    "tok_timeoutThenDeclined": 2,
    "tok_timeoutNeverArrived": 3,
    "tok_slow": 4,
    "tok_connectionReset": 4,
    "tok_arrivesLate": 1,
    "tok_partialApproval": 1,
    "tok_captureTimesOutOnce": 1,
    "tok_voidTimesOutOnce": 1,
    "tok_answeredTwice": 1,
    "tok_answerOfAnother": 1,
}
_PATIENCE_SECONDS = 60.0
_ANSWER_SECONDS = 15.0
_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 2.5
_LATE_SECONDS = 10.0
_LATE_IN_BETWEEN = 0.1
_LATE_AT_THE_END = 25
"""How many requests of each kind are asked again at the end."""


@dataclass(frozen=True, slots=True)
class _Request:
    """A POST that can be asked again under its key."""

    path: str
    key: str
    body: Json

    @property
    def kind(self) -> str:
        return str(self.body.get("type", self.path.rpartition("/")[2]))


class Client:
    """One merchant's server."""

    _http: aiohttp.ClientSession

    def __init__(self, stack: Path, recorder: Recorder, *, name: str, seed: int, merchant: str | None = None) -> None:
        self._stack = stack
        self._api_key = None if merchant is None else API_KEYS[merchant]
        self._recorder = recorder
        self._name = name
        self._chance = random.Random(f"{seed}-{name}")
        self._numbers = itertools.count(1)
        self._answered: list[tuple[float, _Request]] = []
        """What is to be remembered for asking it again, and when it was first answered."""

    async def run(self, *, payments: int, workers: int, seconds: float) -> None:
        """Carry out so many payments, several at a time, begun over so many seconds; then ask again."""
        numbers = iter(range(payments))
        began = time.monotonic()

        async def work() -> None:
            for number in numbers:
                await asyncio.sleep(began + number / payments * seconds - time.monotonic())
                await self._pay(number)

        timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as self._http:
            await asyncio.gather(*(work() for _ in range(workers)))
            await self._ask_all_again(workers)

    async def pay_plainly(self, payments: int) -> None:
        """So many payments that are captured at once, as far as they are taken; nobody waits for what comes of them."""

        async def pay(number: int) -> None:
            key = f"{self._name}-{number}"
            body = {"amount": self._chance.randint(1, 99_999), "currency": "usd", "capture_method": "automatic"}
            created = await self._insist("/paymentIntent", key, body, may_wait=False)
            if created is not None and created.status == 201 and created.answer is not None:
                path = f"/paymentIntent/{created.answer['id']}/transaction"
                await self._insist(path, f"{key}-pay", {"payment_method": "tok_visa"}, may_wait=False)

        timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as self._http:
            await asyncio.gather(*(pay(number) for number in range(payments)))

    async def _ask_all_again(self, workers: int) -> None:
        """The oldest requests of each kind."""
        by_kind: defaultdict[str, list[_Request]] = defaultdict(list)
        for _, request in self._answered:
            by_kind[request.kind].append(request)
        requests = iter([one for kind in by_kind.values() for one in kind[:_LATE_AT_THE_END]])

        async def work() -> None:
            for request in requests:
                await self._insist(request.path, request.key, request.body)

        await asyncio.gather(*(work() for _ in range(workers)))

    async def _pay(self, number: int) -> None:
        """One payment, from its creation to where its merchant wants it."""
        manual = self._chance.random() < 0.3
        key = f"{self._name}-{number}"
        amount = self._chance.randint(1, 99_999)
        body = {"amount": amount, "currency": "usd", "capture_method": "manual" if manual else "automatic"}
        creating = [self._insist("/paymentIntent", key, body)]
        if self._chance.random() < 0.03:
            creating.append(self._insist("/paymentIntent", key, body))
        created, *_ = await asyncio.gather(*creating)
        if created is None or created.status != 201 or created.answer is None:
            return
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
        if self._chance.random() < _LATE_IN_BETWEEN:
            await self._ask_again()

    async def _ask_again(self) -> None:
        """Something that was answered some time ago, more likely long ago than recently."""
        before = time.monotonic() - _LATE_SECONDS
        old = [request for answered_at, request in self._answered if answered_at < before]
        if old:
            request = old[int(len(old) * self._chance.random() ** 2)]
            await self._insist(request.path, request.key, request.body)

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
                async with self._http.post(action["url"], data={"outcome": outcome}):
                    return
            except (aiohttp.ClientError, TimeoutError):
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _insist(self, path: str, key: str, body: Json, *, may_wait: bool = True) -> Operation | None:
        """Ask under one key until the answer says what came of it; None where patience ended."""
        deadline, pause_seconds = time.monotonic() + _PATIENCE_SECONDS, _PAUSE_SECONDS
        while time.monotonic() < deadline:
            prefer = "wait=8" if may_wait and self._chance.random() < 0.7 else None
            operation = await self._ask("POST", path, key=key, body=body, prefer=prefer)
            if operation.is_known:
                self._answered.append((time.monotonic(), _Request(path, key, body)))
                return operation
            await asyncio.sleep(pause_seconds * (0.5 + self._chance.random()))
            pause_seconds = min(1.5 * pause_seconds, _LONGEST_PAUSE_SECONDS)
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
        headers = {"Authorization": f"Bearer {self._api_key or description['api_key']}"}
        headers |= {} if key is None else {"Idempotency-Key": key}
        headers |= {} if prefer is None else {"Prefer": prefer}
        url = self._chance.choice(description["ingress_processes"])
        try:
            async with self._http.request(method, f"{url}{path}", json=body, headers=headers) as answer:
                content = await answer.read()
        except (aiohttp.ClientError, TimeoutError):
            return operation
        heard = replace(
            operation,
            heard_at=time.monotonic(),
            status=answer.status,
            answer=json.loads(content) if content else None,
            is_replay=answer.headers.get("Idempotent-Replayed") == "true",
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
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--merchant", choices=API_KEYS)
    given = parser.parse_args()
    with given.history.open("a") as file:
        client = Client(given.stack, Recorder(file), name=given.name, seed=given.seed, merchant=given.merchant)
        asyncio.run(client.run(payments=given.payments, workers=given.workers, seconds=given.seconds))


if __name__ == "__main__":
    main()
