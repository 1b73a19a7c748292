"""kill -9 of any process while payments run: nothing lost, nothing doubled, everything decided.

The stack of this module is its own, since it is broken on purpose. The outside truth is the card network's ledger.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.harness.api import Merchant, ledger, merchant
from tests.harness.stack import PAYSTREAM_COMMAND, SHORT_TIMES, RunningStack, start_stack

PROCESSES = (
    "flow-payments",
    "flow-processing",
    "flow-reconciliation",
    "flow-settlement",
    "flow-postgres",
    "ingress",
    "card-network",
    "kafka",
    "postgres",
    "s3",
)
SERVES_AGAIN_WITHIN_SECONDS = 15
DECIDED_WITHIN_SECONDS = 90
ATTEMPTS_MAX = 20
GIVE_UP_AFTER_SECONDS = 60


@pytest.fixture(scope="module")
def breakable_stack() -> Iterator[RunningStack]:
    with start_stack(command=PAYSTREAM_COMMAND, arguments=SHORT_TIMES) as stack:
        yield stack


class Customers:
    """Clients that pay, one payment after the other each, and ask again under the same key until they are answered."""

    def __init__(self, stack: RunningStack, *, clients: int, payments: int) -> None:
        self._stack = stack
        self._each = payments // clients
        self.answered: dict[str, str] = {}
        self.failures: list[str] = []
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._pay_all) for _ in range(clients)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def progress(self) -> int:
        with self._lock:
            return len(self.answered)

    def join(self, *, within_seconds: float) -> None:
        deadline = time.monotonic() + within_seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            assert not thread.is_alive(), "a client is still waiting"
        assert not self.failures

    def _pay_all(self) -> None:
        try:
            with merchant(self._stack.ingress, self._stack.api_key) as shop:
                for _ in range(self._each):
                    self._pay(shop)
        except Exception as error:  # noqa: BLE001 a thread's failure is shown by join
            self.failures.append(repr(error))

    def _pay(self, shop: Merchant) -> None:
        """Create and pay. An attempt that failed, as when the network could not be reached, is followed by another."""
        body: dict[str, object] = {"amount": 1999, "currency": "usd", "capture_method": "automatic"}
        # A create that is in doubt (202) is asked for again: there may be nothing to pay yet.
        created = insist(shop, "/paymentIntent", body, until=(201,))
        intent = str(created["id"])
        with self._lock:
            self.answered[intent] = "created"
        never_older(shop, created)
        for _ in range(ATTEMPTS_MAX):
            answer = insist(shop, f"/paymentIntent/{intent}/transaction", {"payment_method": "tok_visa"})
            with self._lock:
                self.answered[intent] = str(answer.get("status", "accepted"))
            if isinstance(told := answer.get("payment_intent"), dict):
                never_older(shop, told)
            if self.answered[intent] != "failed":
                return
            time.sleep(0.5)


def insist(
    shop: Merchant, path: str, body: dict[str, object], *, until: tuple[int, ...] = (201, 202)
) -> dict[str, object]:
    """POST under one key until there is such an answer; whatever is none is asked again."""
    key = uuid.uuid4().hex
    for _ in range(600):
        try:
            answer = shop.post(path, body, key=key, prefer="wait=5")
        except httpx.TransportError:
            time.sleep(0.2)
            continue
        if answer.status_code in until:
            return dict(answer.json())
        assert answer.status_code in (202, 503), f"{path}: {answer.status_code} {answer.text}"
        time.sleep(0.2)
    raise AssertionError(f"{path} was never answered")


def never_older(shop: Merchant, told: dict[str, Any]) -> None:
    """Read what we have just been told: 503 and no answer are allowed, what was before that is not."""
    try:
        answer = shop.client.get(f"/paymentIntent/{told['id']}/status")
    except httpx.TransportError:
        return
    if answer.status_code != 503:
        assert answer.status_code == 200, f"{told['id']}: {answer.status_code} after sequence {told['sequence']}"
        assert answer.json()["sequence"] >= told["sequence"]


def decided(stack: RunningStack, intents: list[str], *, within_seconds: float) -> dict[str, str]:
    """The status of each intent, read until none has an attempt under way."""
    found: dict[str, str] = {}
    deadline = time.monotonic() + within_seconds
    with merchant(stack.ingress, stack.api_key) as shop:
        while len(found) < len(intents):
            assert time.monotonic() < deadline, f"undecided: {[i for i in intents if i not in found]}"
            for intent in intents:
                if intent in found:
                    continue
                try:
                    answer = shop.client.get(f"/paymentIntent/{intent}/status")
                except httpx.TransportError:
                    time.sleep(0.2)
                    continue
                if answer.status_code == 200 and answer.json()["status"] != "processing":
                    found[intent] = answer.json()["status"]
            time.sleep(0.1)
    return found


def check_against_ledger(stack: RunningStack, statuses: dict[str, str]) -> None:
    """One approved authorization and one approved capture of each payment, and of nothing else."""
    rows = [row for row in ledger(stack.card_network) if row["payment_intent"] in statuses]
    captures = Counter(r["payment_intent"] for r in rows if r["type"] == "capture" and r["status"] == "approved")
    succeeded = {intent for intent, status in statuses.items() if status == "succeeded"}
    assert set(captures) == succeeded
    assert set(captures.values()) <= {1}
    assert sum(r["amount_minor"] for r in rows if r["type"] == "capture") == 1999 * len(succeeded)


def test_payments_killed_in_the_middle_of_200_payments(breakable_stack: RunningStack) -> None:
    customers = Customers(breakable_stack, clients=8, payments=200)
    customers.start()
    for enough in (40, 90, 140):
        while customers.progress() < enough:
            time.sleep(0.02)
        former = breakable_stack.kill("flow-payments")
        breakable_stack.wait_for_restart("flow-payments", former_pid=former)
    customers.join(within_seconds=120)
    assert len(customers.answered) == 200
    statuses = decided(breakable_stack, list(customers.answered), within_seconds=DECIDED_WITHIN_SECONDS)
    assert Counter(statuses.values()) == {"succeeded": 200}
    check_against_ledger(breakable_stack, statuses)


def test_every_process_of_the_stack_is_killed_here(breakable_stack: RunningStack) -> None:
    assert set(breakable_stack.processes) == set(PROCESSES)


@pytest.mark.parametrize("name", PROCESSES)
def test_any_process_killed(breakable_stack: RunningStack, name: str) -> None:
    customers = Customers(breakable_stack, clients=4, payments=40)
    customers.start()
    while customers.progress() < 8:
        time.sleep(0.02)
    killed_at = time.monotonic()
    former = breakable_stack.kill(name)
    breakable_stack.wait_for_restart(name, former_pid=former)
    served_after = serves_again(breakable_stack, since=killed_at)
    assert served_after < SERVES_AGAIN_WITHIN_SECONDS
    customers.join(within_seconds=DECIDED_WITHIN_SECONDS)
    left = DECIDED_WITHIN_SECONDS - (time.monotonic() - killed_at)
    statuses = decided(breakable_stack, list(customers.answered), within_seconds=left)
    assert len(statuses) == 40
    check_against_ledger(breakable_stack, statuses)


def serves_again(stack: RunningStack, *, since: float) -> float:
    """Seconds since then until a new payment goes through to the end."""
    body = {"amount": 5, "currency": "usd", "capture_method": "automatic"}
    with merchant(stack.ingress, stack.api_key) as shop:
        while time.monotonic() - since < GIVE_UP_AFTER_SECONDS:
            try:
                created = shop.post("/paymentIntent", body)
                if created.status_code == 201:
                    paid = shop.pay(created.json()["id"], wait=10)
                    if paid.status_code == 201 and paid.json()["payment_intent"]["status"] == "succeeded":
                        return time.monotonic() - since
            except httpx.TransportError:
                pass
            time.sleep(0.1)
    raise AssertionError(f"the stack does not serve:\n{stack.said_last()}")
