"""How long a payment takes, from `POST …/transaction` to the answer of `Prefer: wait` with `succeeded`.

Beside it, in the same run on the same stack: the floor of seven bare transactional hops (`bench.hops`), and the card
network's own latency (its authorization and its capture, asked directly), which is not ours to answer for. Starts a
stack of its own, prints one table and writes `bench/results/latency.json`.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import httpx

from bench.hops import HOPS, measure_hops
from bench.stack import BenchStack, bench_stack

__all__ = ["main"]

RESULTS = Path(__file__).parent / "results" / "latency.json"
PAYMENTS = 100
WARM_UP = 20


def main() -> None:
    """Measure, print, write."""
    with bench_stack() as stack:
        payments = _payments(stack)
        network = _card_network(stack)
        hops = measure_hops(stack.kafka, rounds=PAYMENTS)
    ours = [seconds - statistics.median(network) for seconds in payments]
    result = {
        "payment_ms": _quantiles(payments),
        "card_network_ms": _quantiles(network),
        "payment_without_card_network_ms": _quantiles(ours),
        "seven_hops_ms": _quantiles(hops),
        "ratio_to_seven_hops": round(statistics.median(ours) / statistics.median(hops), 2),
        "payments": PAYMENTS,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    _print(result)


def _payments(stack: BenchStack) -> list[float]:
    """Seconds from the POST of each attempt to its answer, one payment at a time."""
    seconds = []
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    with httpx.Client(base_url=stack.ingress, headers=headers, timeout=60) as client:
        for _ in range(PAYMENTS + WARM_UP):
            created = client.post(
                "/paymentIntent",
                json={"amount": 1999, "currency": "usd", "capture_method": "automatic"},
                headers={"Idempotency-Key": uuid.uuid4().hex},
            )
            created.raise_for_status()
            started = time.perf_counter()
            answer = client.post(
                f"/paymentIntent/{created.json()['id']}/transaction",
                json={"payment_method": "tok_visa"},
                headers={"Idempotency-Key": uuid.uuid4().hex, "Prefer": "wait=30"},
            )
            seconds.append(time.perf_counter() - started)
            answer.raise_for_status()
            status = answer.json()["payment_intent"]["status"]
            if status != "succeeded":
                raise SystemExit(f"a payment ended as {status}")
    return seconds[WARM_UP:]


def _card_network(stack: BenchStack) -> list[float]:
    """Seconds of an authorization and a capture at the card network itself."""
    seconds = []
    with httpx.Client(base_url=stack.card_network, timeout=60) as client:
        for _ in range(PAYMENTS + WARM_UP):
            reference = f"bench-{uuid.uuid4().hex}"
            money = {"amount_minor": 1999, "currency": "usd"}
            intent = {"payment_intent": "pi_" + "0" * 32, **money}
            started = time.perf_counter()
            client.post(
                "/authorizations", json={"reference": reference, "token": "tok_visa", **intent}
            ).raise_for_status()
            client.post(
                "/captures", json={"reference": f"{reference}-c", "authorization_reference": reference, **intent}
            ).raise_for_status()
            seconds.append(time.perf_counter() - started)
    return seconds[WARM_UP:]


def _quantiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "median": round(statistics.median(ordered) * 1000, 1),
        "p90": round(ordered[int(len(ordered) * 0.9)] * 1000, 1),
        "max": round(ordered[-1] * 1000, 1),
    }


def _print(result: dict[str, Any]) -> None:
    rows = [
        ("payment, POST …/transaction to succeeded", result["payment_ms"]),
        ("card network's own latency in it", result["card_network_ms"]),
        ("payment without the card network", result["payment_without_card_network_ms"]),
        (f"floor: {HOPS} bare transactional hops", result["seven_hops_ms"]),
    ]
    lines = ["| milliseconds | median | p90 | max |", "|---|---|---|---|"]
    lines += [f"| {name} | {q['median']} | {q['p90']} | {q['max']} |" for name, q in rows]
    lines.append(f"\nratio to the floor: {result['ratio_to_seven_hops']} (medians of {result['payments']})")
    sys.stdout.write("\n".join(lines) + "\n")
