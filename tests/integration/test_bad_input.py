"""Bad input on the real stack: a clear problem each, nothing echoed, nothing in the log, nothing lost."""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from confluent_kafka import Consumer, TopicPartition

from schemas.topics import COMMANDS, EVENTS, Topic
from tests.harness.api import Merchant, merchant
from tests.harness.stack import RunningStack

GOOD: dict[str, Any] = {"amount": 1999, "currency": "usd", "capture_method": "automatic"}
CARD = "4242 4242 4242 4242"
LONG = 64 * 1024


@pytest.fixture(scope="module")
def shop(running_stack: RunningStack) -> Iterator[Merchant]:
    with merchant(running_stack.ingress, running_stack.api_key) as client:
        yield client


def ends(bootstrap: str, topic: Topic) -> int:
    """How many offsets the topic has, over all partitions."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "ends", "isolation.level": "read_uncommitted"})
    try:
        bounds = [consumer.get_watermark_offsets(TopicPartition(topic.name, number), timeout=10) for number in range(4)]
        return sum(high for _low, high in bounds)
    finally:
        consumer.close()


BODIES: list[Any] = [
    *({**GOOD, "amount": amount} for amount in (-1, 0, 19.99, "1999", True, None, 1_000_000_000_000, 10**30)),
    *({**GOOD, "currency": currency} for currency in ("USD", "xyz", "", 840, None)),
    {**GOOD, "capture_method": "later"},
    *({**GOOD, "metadata": metadata} for metadata in ({"k": 1}, ["a"], {"k" * 41: "v"}, {"k": "v" * 501}, {"k": None})),
    {**GOOD, "metadata": {f"k{number}": "v" for number in range(51)}},
    *({**GOOD, "description": text} for text in (CARD, "4242-4242-4242-4242", "call 4242424242424242!", 7)),
    {**GOOD, "metadata": {"card": CARD}},
    {**GOOD, "metadata": {CARD: "x"}},
    {},
    [],
    "text",
]


def test_what_ingress_can_judge_never_reaches_the_log(running_stack: RunningStack, shop: Merchant) -> None:
    commands, events = (ends(running_stack.kafka, topic) for topic in (COMMANDS, EVENTS))
    for body in BODIES:
        answer = shop.post("/paymentIntent", body)
        assert_problem(answer, 400, 422)
    for raw in (b"{", b"", b'{"amount": NaN}', b"\xff\xfe", b'{"amount":1,"amount":2}'):
        answer = shop.client.post(
            "/paymentIntent",
            content=raw,
            headers={"Idempotency-Key": uuid.uuid4().hex, "Content-Type": "application/json"},
        )
        assert_problem(answer, 400)
    for key in (None, "", "k" * 256, "käse", "tab\there"):
        headers = {} if key is None else {b"Idempotency-Key": key.encode("latin-1")}
        assert_problem(shop.client.post("/paymentIntent", json=GOOD, headers=headers), 400)
    too_long = shop.post("/paymentIntent", {**GOOD, "description": "x" * LONG})
    assert_problem(too_long, 413)
    typed = {"Idempotency-Key": "k", "Content-Type": "text/plain"}
    assert_problem(shop.client.post("/paymentIntent", content=b"{}", headers=typed), 415)
    for key_text in ("ps_sk_test_" + "0" * 36, "nonsense", ""):
        answer = httpx.post(
            f"{running_stack.ingress}/paymentIntent",
            json=GOOD,
            headers={"Authorization": f"Bearer {key_text}".strip(), "Idempotency-Key": "k"},
        )
        assert_problem(answer, 401)
    assert_only_probes(running_stack, commands=commands, events=events)


def assert_only_probes(stack: RunningStack, *, commands: int, events: int) -> None:
    """No event, and no command but the probes of whoever asks /readyz meanwhile: nobody does here."""
    time.sleep(0.5)
    assert ends(stack.kafka, EVENTS) == events
    assert ends(stack.kafka, COMMANDS) == commands


def assert_problem(answer: httpx.Response, *statuses: int) -> None:
    assert answer.status_code in statuses, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["type"]
    assert problem["code"]
    assert "4242" not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/paymentIntent/pi_x/status",
        "/paymentIntent/..%2f..%2fetc/status",
        "/paymentIntent/pi_%00/status",
        "/paymentIntent/../status",
        "/paymentIntent//status",
        "/nothing",
    ],
)
def test_no_such_place(running_stack: RunningStack, path: str) -> None:
    """Sent as it is: a client library would tidy the path up."""
    address = urlsplit(running_stack.ingress)
    assert address.hostname is not None
    with socket.create_connection((address.hostname, address.port or 80), timeout=10) as connection:
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {running_stack.api_key}\r\nConnection: close"
        connection.sendall(f"{head}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.split(b" ")[1] in (b"400", b"404")
    assert b"application/problem+json" in answer


def test_a_refused_command_makes_no_event(running_stack: RunningStack, shop: Merchant) -> None:
    intent = shop.create()["id"]
    before = ends(running_stack.kafka, EVENTS)
    for body in ({"type": "capture"}, {"type": "void"}, {"type": "capture", "amount": 10_000}):
        assert_problem(shop.post(f"/paymentIntent/{intent}/transaction", body), 409, 422)
    assert ends(running_stack.kafka, EVENTS) == before
    assert shop.status(intent)["sequence"] == 1
