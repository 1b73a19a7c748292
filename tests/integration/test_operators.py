"""What operators do, on the real stack: decide a doubt, let time pass, say which way a merchant's payments go."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.stack.services import MERCHANT
from tests.harness.api import Merchant, ledger, merchant, wait_for_status
from tests.harness.stack import PAYSTREAM_COMMAND, SHORT_TIMES, RunningStack, start_stack, wait_for


@pytest.fixture(scope="module")
def running_stack() -> Iterator[RunningStack]:
    """A stack of these tests' own: its clocks are not put back."""
    with start_stack(command=PAYSTREAM_COMMAND, arguments=SHORT_TIMES) as stack:
        yield stack


@pytest.fixture(scope="module")
def shop(running_stack: RunningStack) -> Iterator[Merchant]:
    with merchant(running_stack.ingress, running_stack.api_key) as client:
        yield client


def paystream(stack: RunningStack, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as an operator of the stack does."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PAYSTREAM_")}
    settings = {
        "PAYSTREAM_KAFKA_BOOTSTRAP": stack.kafka,
        "PAYSTREAM_POSTGRES_URI": stack.postgres,
        "PAYSTREAM_CARD_NETWORK_URL": stack.card_network,
        "PAYSTREAM_TEST_CLOCK": "on",
    }
    return subprocess.run(
        [sys.executable, "-m", "paystream", *arguments],
        env={**inherited, **settings},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def nobody_looks_up(running_stack: RunningStack) -> Iterator[None]:
    """Reconciliation stands still, so that a doubt stays one."""
    running_stack.kill("flow-reconciliation", signal.SIGSTOP)
    yield
    running_stack.kill("flow-reconciliation", signal.SIGCONT)


@pytest.mark.usefixtures("nobody_looks_up")
def test_a_person_decides_a_doubt(running_stack: RunningStack, shop: Merchant) -> None:
    intent = str(shop.create(capture_method="manual")["id"])
    shop.pay(intent, "tok_connectionReset", wait=1)

    def pending() -> Any:
        told = json.loads(paystream(running_stack, "reconcile", "list", "--json").stdout)
        found = [one for one in told["transactions"] if one["payment_intent"] == intent]
        return found[0] if found and found[0]["status"] == "pending" else None

    doubt = wait_for(pending, what="the doubt in the list", within_seconds=30)
    word = ("--outcome", "approved", "--evidence", "their books, by mail", "--operator", "ada", "--yes")
    told = paystream(running_stack, "reconcile", "resolve", doubt["transaction"], *word)
    assert told.returncode == 0, told.stdout + told.stderr
    assert wait_for_status(shop, intent, "requires_capture")["amount_capturable"] == 1999

    def resolved_before() -> bool:
        again = paystream(running_stack, "reconcile", "resolve", doubt["transaction"], *word)
        return again.returncode == 0 and "by this very command" in again.stdout

    wait_for(resolved_before, what="the history of the first word", within_seconds=30)
    other = ("--outcome", "declined", *word[2:])
    assert paystream(running_stack, "reconcile", "resolve", doubt["transaction"], *other).returncode == 1
    shown = json.loads(paystream(running_stack, "reconcile", "show", doubt["transaction"], "--json").stdout)
    assert shown["history"][-1]["actor"] == "operator ada"
    assert shown["history"][-1]["evidence"] == "their books, by mail"
    assert shown["payment_intent"]["id"] == intent


def test_time_passes_at_once(running_stack: RunningStack, shop: Merchant) -> None:
    """A day for what nobody pays, a week for what nobody captures; the network's books agree."""
    waiting = str(shop.create()["id"])
    held = str(shop.create(capture_method="manual")["id"])
    shop.pay(held)
    assert shop.status(held)["status"] == "requires_capture"
    told = paystream(running_stack, "clock", "advance", "25h")
    assert told.returncode == 0, told.stderr
    assert wait_for_status(shop, waiting, "canceled", within_seconds=30)["cancellation_reason"] == "abandoned"
    assert shop.status(held)["status"] == "requires_capture"
    paystream(running_stack, "clock", "advance", "6d")
    assert wait_for_status(shop, held, "canceled", within_seconds=30)["cancellation_reason"] == "expired"
    booked = {row["type"]: row["status"] for row in ledger(running_stack.card_network) if row["payment_intent"] == held}
    assert "capture" not in booked
    fresh = str(shop.create()["id"])
    assert shop.pay(fresh).json()["status"] == "succeeded", "what begins now has all its time"
    shown = paystream(running_stack, "clock", "show")
    assert "card network: 7d1h ahead" in shown.stdout


@pytest.mark.timeout(400)
def test_a_settlement_window_ends_at_once_and_a_person_explains_it(running_stack: RunningStack, shop: Merchant) -> None:
    """Nobody imports the network's file, and nine days are a window with its grace and a weekend."""
    paid = str(shop.create()["id"])
    assert shop.pay(paid).json()["payment_intent"]["status"] == "succeeded"
    assert paystream(running_stack, "clock", "advance", "9d").returncode == 0

    def missing() -> bool:
        settled = [each for each in shop.status(paid)["transactions"] if each["type"] == "settlement"]
        return [(each["status"], each["code"]) for each in settled] == [("failed", "missing_at_processor")]

    # The read model is asked, once its watermark has passed the question.
    wait_for(missing, what="the missing settlement", within_seconds=200)
    told = json.loads(paystream(running_stack, "reconcile", "list", "--json").stdout)["mismatches"]
    (mismatch,) = [one["id"] for one in told if one["payment_intent"] == paid]
    word = ("--evidence", "paid out by hand, their mail", "--operator", "ada", "--yes")
    said = paystream(running_stack, "reconcile", "resolve", mismatch, *word)
    assert said.returncode == 0, said.stdout + said.stderr
    assert "is resolved by this very word" in said.stdout
    again = paystream(running_stack, "reconcile", "resolve", mismatch, *word)
    assert (again.returncode, "had been resolved by this very word" in again.stdout) == (0, True)
    other = paystream(running_stack, "reconcile", "resolve", mismatch, *word[:3], "grace", "--yes")
    assert (other.returncode, "already_resolved" in other.stderr) == (1, True)
    left = json.loads(paystream(running_stack, "reconcile", "list", "--json").stdout)["mismatches"]
    assert mismatch not in {one["id"] for one in left}
    shown = json.loads(paystream(running_stack, "reconcile", "show", mismatch, "--json").stdout)
    assert (shown["mismatch"]["resolved_by"], shown["mismatch"]["evidence"]) == ("ada", word[1])
    assert shown["payment_intent"]["id"] == paid
    assert missing(), "the processor's file still lacks it"


def test_a_merchant_is_disabled_and_enabled(running_stack: RunningStack, shop: Merchant) -> None:
    intent = str(shop.create(capture_method="manual")["id"])
    shop.pay(intent)
    put = ("merchants", "put", MERCHANT, "--name", "Demo")
    assert paystream(running_stack, *put, "--route", "*=cardnet", "--disable").returncode == 0
    try:
        wait_for(lambda: _create(shop) == 403, what="the refusal", within_seconds=10)
        captured = shop.post(f"/paymentIntent/{intent}/transaction", {"type": "capture"}, prefer="wait=10")
        assert captured.status_code == 201
    finally:
        assert paystream(running_stack, *put, "--route", "*=gone").returncode == 0
    wait_for(lambda: _create(shop) == 201, what="the end of the refusal", within_seconds=10)
    without = str(shop.create()["id"])
    try:
        wait_for(lambda: shop.pay(without).json().get("code") == "no_route", what="no processor", within_seconds=10)
    finally:
        assert paystream(running_stack, *put, "--route", "*=cardnet").returncode == 0
    wait_for(lambda: shop.pay(without).status_code == 201, what="a processor again", within_seconds=10)


def test_each_brand_goes_its_own_way(running_stack: RunningStack, shop: Merchant) -> None:
    put = ("merchants", "put", MERCHANT, "--name", "Demo")
    assert paystream(running_stack, *put, "--route", "mastercard=isonet", "--route", "*=cardnet").returncode == 0

    def processor(token: str) -> object:
        return shop.pay(str(shop.create()["id"]), token).json().get("processor")

    try:
        wait_for(lambda: processor("tok_mastercard") == "isonet", what="the route by brand", within_seconds=10)
        assert [processor(token) for token in ("tok_visa", "tok_amex")] == ["cardnet", "cardnet"]
    finally:
        assert paystream(running_stack, *put, "--route", "*=cardnet").returncode == 0


def _create(shop: Merchant) -> int:
    return shop.post("/paymentIntent", {"amount": 1999, "currency": "usd"}).status_code
