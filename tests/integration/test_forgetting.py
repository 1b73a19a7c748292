"""What the fold has forgotten is answered from the read model as it was answered before. On the real stack.

The times are short: an intent is forgotten some seconds after it has come to its end. The stack is this module's own,
for PostgreSQL is made to stand still.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Consumer, TopicPartition

from schemas.topics import INTENTS
from tests.harness.api import Merchant, merchant, wait_for_status
from tests.harness.stack import PAYSTREAM_COMMAND, SHORT_TIMES, RunningStack, stand_still, start_stack, wait_for

TIMES = ("--setting", "PAYSTREAM_FORGET_AFTER_SECONDS=2", "--setting", "PAYSTREAM_READ_MODEL_SLACK_SECONDS=2")
PARTITIONS = 4
FORGOTTEN_WITHIN_SECONDS = 40.0
CREATE = {"amount": 1999, "currency": "usd", "capture_method": "manual"}
VISA = {"payment_method": "tok_visa"}

Told = tuple[int, str | None, Any]


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    with start_stack(command=PAYSTREAM_COMMAND, arguments=(*SHORT_TIMES, *TIMES)) as started:
        yield started


@pytest.fixture(scope="module")
def shop(stack: RunningStack) -> Iterator[Merchant]:
    with merchant(stack.ingress, stack.api_key) as client:
        yield client


class Tombstones:
    """The intents that the fold has forgotten, as its changelog says."""

    def __init__(self, stack: RunningStack) -> None:
        self.found: set[str] = set()
        self._reader = Consumer(
            {
                "bootstrap.servers": stack.kafka,
                "group.id": "tombstones",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
            }
        )
        self._reader.assign([TopicPartition(INTENTS.name, number, 0) for number in range(PARTITIONS)])

    def read(self) -> set[str]:
        """All that there are by now."""
        while messages := self._reader.consume(1000, 0.2):
            for message in messages:
                if message.error() is None and message.value() is None:
                    self.found.add((message.key() or b"").decode())
        return self.found

    def close(self) -> None:
        """Read no more."""
        self._reader.close()


@pytest.fixture
def tombstones(stack: RunningStack) -> Iterator[Tombstones]:
    reading = Tombstones(stack)
    yield reading
    reading.close()


def until_forgotten(shop: Merchant, tombstones: Tombstones, *intents: str) -> None:
    """Create others, by which each shard hears how far the read model has come, until these are forgotten."""

    def forgotten() -> bool:
        for _ in range(2 * PARTITIONS):
            shop.post("/paymentIntent", CREATE)
        return tombstones.read() >= set(intents)

    wait_for(forgotten, what="tombstones", within_seconds=FORGOTTEN_WITHIN_SECONDS)


@dataclass(frozen=True)
class Request:
    """A POST that can be repeated."""

    path: str
    body: object
    key: str

    def send(self, shop: Merchant) -> Told:
        """What is told: the status, whether it is a replay, and the body."""
        answer = shop.post(self.path, self.body, key=self.key, prefer="wait=10")
        return answer.status_code, answer.headers.get("idempotent-replayed"), answer.json()


def carried_out(shop: Merchant, name: str, *steps: tuple[str, object]) -> tuple[str, list[Request]]:
    """A payment that was created and led to its end by these steps, with the requests that did it."""
    requests = [Request("/paymentIntent", CREATE, f"{name}-create")]
    status, _replayed, created = requests[0].send(shop)
    assert status == 201, created
    base = f"/paymentIntent/{created['id']}"
    for number, (path, body) in enumerate(steps):
        requests.append(Request(base + path, body, f"{name}-{number}"))
        status, _replayed, told = requests[-1].send(shop)
        assert status in (200, 201), told
    wait_for_status(shop, created["id"], "succeeded", "canceled")
    return created["id"], requests


def with_others(intent: str, requests: list[Request], name: str) -> list[Request]:
    """These requests, the same keys with other bodies, and what comes too late."""
    base = f"/paymentIntent/{intent}"
    return [
        *requests,
        Request("/paymentIntent", {**CREATE, "amount": 5}, requests[0].key),
        *(Request(one.path, {"type": "void"}, one.key) for one in requests if one.path.endswith("/transaction")),
        Request(f"{base}/transaction", VISA, f"{name}-late-attempt"),
        Request(f"{base}/transaction", {"type": "capture"}, f"{name}-late-capture"),
        Request(f"{base}/transaction", {"type": "void"}, f"{name}-late-void"),
        Request(f"{base}/cancel", {}, f"{name}-late-cancel"),
    ]


def test_whatever_is_asked_again_gets_the_same_answer_once_it_is_forgotten(
    shop: Merchant, tombstones: Tombstones
) -> None:
    attempt, capture = ("/transaction", VISA), ("/transaction", {"type": "capture"})
    payments = {
        "captured": carried_out(shop, "captured", attempt, capture),
        "partly": carried_out(shop, "partly", attempt, ("/transaction", {"type": "capture", "amount": 500})),
        "voided": carried_out(shop, "voided", attempt, ("/cancel", {})),
        "canceled": carried_out(shop, "canceled", ("/cancel", {})),
        "declined": carried_out(
            shop, "declined", ("/transaction", {"payment_method": "tok_chargeDeclined"}), ("/cancel", {})
        ),
    }
    asked = [one for name, (intent, made) in payments.items() for one in with_others(intent, made, name)]
    remembered = [one.send(shop) for one in asked]
    assert {status for status, _replayed, _body in remembered} == {200, 201, 409, 422}
    intents = [intent for intent, _made in payments.values()]
    statuses = [shop.status(intent) for intent in intents]
    until_forgotten(shop, tombstones, *intents)
    for one, before in zip(asked, remembered, strict=True):
        assert one.send(shop) == before, one
    assert [shop.status(intent) for intent in intents] == statuses, "nothing of it came to life again"


@contextmanager
def standing_still(pid: int) -> Iterator[None]:
    """A process and its children do nothing, and keep their connections."""
    pids = [pid, *children(pid)]
    for one in pids:
        stand_still(one)
    try:
        yield
    finally:
        for one in pids:
            os.kill(one, signal.SIGCONT)


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [
        int(stat.parent.name)
        for stat in Path("/proc").glob("[0-9]*/stat")
        if stat.read_text().rpartition(")")[2].split()[1] == str(pid)
    ]


def test_without_the_read_model_nothing_is_created_or_forgotten_and_payments_go_on(
    stack: RunningStack, shop: Merchant, tombstones: Tombstones
) -> None:
    gone, requests = carried_out(shop, "gone", ("/cancel", {}))
    until_forgotten(shop, tombstones, gone)
    resting, _requests = carried_out(shop, "resting", ("/cancel", {}))
    open_ = shop.create()["id"]
    with standing_still(stack.processes["postgres"]):
        told = shop.post("/paymentIntent", CREATE)
        assert (told.status_code, told.json()["code"]) == (503, "read_model_behind")
        assert int(told.headers["retry-after"]) >= 1
        before = set(tombstones.read())
        assert paid(shop, open_) == "succeeded"
        status, _replayed, body = requests[-1].send(shop)
        assert (status, body["code"]) == (503, "read_model_behind"), "the fold does not know it, nobody else can say"
        time.sleep(5.0)
        assert tombstones.read() == before
        assert resting not in before
    wait_for(lambda: shop.post("/paymentIntent", CREATE).status_code == 201, what="a create", within_seconds=30.0)
    until_forgotten(shop, tombstones, resting, open_)
    assert requests[-1].send(shop)[0] == 200
    assert shop.status(open_)["status"] == "succeeded"


def paid(shop: Merchant, intent: str) -> str:
    """The status that an attempt led to, as its answer tells."""
    answer: httpx.Response = shop.pay(intent, wait=10)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["payment_intent"]["status"])
