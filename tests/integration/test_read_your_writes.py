"""What a client was once told it never reads an older version of, on whichever of two ingress processes."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator

import pytest

from tests.harness.api import Merchant, merchant
from tests.harness.stack import PAYSTREAM_COMMAND, RunningStack, start_stack

ROUNDS = 25
CLIENTS = 6


@pytest.fixture(scope="module")
def two_ingresses() -> Iterator[RunningStack]:
    with start_stack(command=PAYSTREAM_COMMAND, arguments=("--ingress-processes", "2")) as stack:
        yield stack


def test_reads_never_go_back(two_ingresses: RunningStack) -> None:
    urls = two_ingresses.description["ingress_processes"]
    assert len(urls) == 2
    faults: list[str] = []
    threads = [
        threading.Thread(target=shop_for_a_while, args=(urls, two_ingresses.api_key, seed, faults))
        for seed in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults


def shop_for_a_while(urls: list[str], api_key: str, seed: int, faults: list[str]) -> None:
    """Create, pay, read, always at a process chosen by chance; the sequence heard must never fall."""
    chance = random.Random(seed)
    try:
        with merchant(urls[0], api_key) as one, merchant(urls[1], api_key) as two:
            for _ in range(ROUNDS):
                one_payment(chance, (one, two))
    except BaseException as error:  # noqa: BLE001 a thread's failure is shown by the test
        faults.append(repr(error))


def one_payment(chance: random.Random, shops: tuple[Merchant, Merchant]) -> None:
    intent = chance.choice(shops).create(capture_method=chance.choice(["automatic", "manual"]))
    heard = intent["sequence"]
    for step in ("read", "pay", "read", "read", "cancel", "read"):
        shop = chance.choice(shops)
        if step == "read":
            status = shop.status(intent["id"])
            assert status["sequence"] >= heard, f"heard {heard}, read {status['sequence']}"
            heard = status["sequence"]
        elif step == "pay":
            answer = shop.pay(intent["id"], wait=chance.choice([None, 10]))
            assert answer.status_code in (201, 202), answer.text
            if answer.status_code == 201:
                heard = max(heard, answer.json()["payment_intent"]["sequence"])
        else:
            answer = shop.post(f"/paymentIntent/{intent['id']}/cancel", {})
            assert answer.status_code in (200, 202, 409), answer.text
            if answer.status_code == 200:
                heard = max(heard, answer.json()["sequence"])
        time.sleep(chance.random() * 0.02)
