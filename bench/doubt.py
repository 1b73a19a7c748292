"""`make bench-doubt`: payments while calls time out, are reset and are answered twice, and what the books say then.

Half of the payments go by HTTP, half by ISO 8583. 5 % of all calls get no answer, 5 % have their connection reset (of
both, half are lost requests and half lost answers), and 2 % are answered twice; by each protocol, or the run does not
count. A reset of ISO 8583 takes a connection with all that is under way on it; there are 64 of them, so that each
carries little. A customer whose attempt has come to nothing tries again. Then the faults end, and once all has healed
each payment is held against the network's ledger (`sandbox.audit`). Prints the figures, writes
`bench/results/doubt.json`, and exits with 1 where a promise was broken (a payment lost or charged twice, one undecided,
a failure without evidence, or any other difference), or where faults were fewer or more than they should be.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import httpx
import msgspec
import psycopg

from bench.customers import Load, drive
from bench.faults import Thrown, rates, rates_missed, since
from bench.stack import BenchStack, bench_stack
from paystream.topic_access import read_all
from sandbox.audit import BrokenPromise, Promise, audit, by_payment, doubted_in, ledger_of
from sandbox.routed import RoutedMerchant, api_keys_setting, put_on_record
from schemas.identifiers import TransactionId
from schemas.payment import PaymentEvent, PaymentIntent
from schemas.topics import EVENTS

__all__ = ["FAULTS", "PAYMENTS", "Measured", "judge", "measure"]

RESULTS = Path(__file__).parent / "results" / "doubt.json"
PAYMENTS = 20_000
# What is late arrives after its call has been given up, and before the books are read.
_LATE: Mapping[str, float] = {"late_seconds": 8}
FAULTS: Mapping[str, float] = {"timeout_rate": 0.05, "reset_rate": 0.05, "duplicate_rate": 0.02, "seed": 1, **_LATE}

_NO_FAULTS: Mapping[str, float] = {"timeout_rate": 0.0, "reset_rate": 0.0, "duplicate_rate": 0.0, **_LATE}
_MERCHANTS = {"HTTP": ("mer_http", "cardnet"), "ISO 8583": ("mer_iso", "isonet")}
_ISO8583_CONNECTIONS = 64
"""Sixteen times as many as by default: a reset takes a connection with all that has not been read on it."""
_SETTINGS = (
    "PAYSTREAM_CALL_DEADLINE_SECONDS=3",
    "PAYSTREAM_LADDER_SECONDS=1,2,4,8,15",
    f"PAYSTREAM_ISO8583_CONNECTIONS={_ISO8583_CONNECTIONS}",
)
_WORKERS = 128
_HEALS_WITHIN_SECONDS = 300.0
_LOOK_EVERY_SECONDS = 1.0
_SENTENCES_MAX = 50
_OPEN = "SELECT EXISTS (SELECT FROM transactions WHERE status IN ('created', 'pending', 'requires_action'))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The figures."""

    payments: int
    payments_by_protocol: Mapping[str, int]
    attempts: int
    iso8583_connections: int
    """Between Paystream and the network: the fewer, the more calls a reset takes with it."""
    faults: Thrown
    """How many calls arrived at the network, and how often it threw each fault; by protocol."""
    fault_rates: Mapping[str, Mapping[str, float]]
    fault_rates_missed: Sequence[str]
    """Those that are not as they should be, as sentences."""
    ended_as: Mapping[str, int]
    """PaymentIntents by status."""
    transactions: Mapping[str, int]
    """By type, reason of a void, and status."""
    lost: int
    unanswered: int
    double_charges: int
    undecided: int
    failed_without_evidence: int
    other_broken_promises: int
    broken: Sequence[str]
    """The first of them, as sentences."""
    seconds: float
    seconds_to_heal: float
    commands_per_second: float

    @property
    def promises_are_kept(self) -> bool:
        """Whether nothing was lost, and no payment differs from the network's books."""
        return not (self.lost or self.unanswered or self.broken)


def measure(payments: int = PAYMENTS, *, workers: int = _WORKERS) -> Measured:
    """One run on a stack of its own."""
    merchants = {name: RoutedMerchant(id=id_, route=(processor,)) for name, (id_, processor) in _MERCHANTS.items()}
    settings = (*_SETTINGS, api_keys_setting(list(merchants.values())))
    with bench_stack([word for setting in settings for word in ("--setting", setting)]) as stack:
        put_on_record(list(merchants.values()), kafka=stack.kafka, ingress=stack.ingress)
        before, thrown_before = set(_payments(stack)[0]), _thrown(stack)
        _set_faults(stack, FAULTS)
        began = time.monotonic()
        load = asyncio.run(drive(stack.ingress, merchants, payments=payments, workers=workers))
        ended = time.monotonic()
        thrown = since(thrown_before, _thrown(stack))
        _set_faults(stack, _NO_FAULTS)
        states, broken = _heal(stack)
        healed = time.monotonic()
    states = {id_: intent for id_, intent in states.items() if id_ not in before}
    return judge(
        states,
        broken,
        load=load,
        asked=payments,
        faults=thrown,
        seconds=ended - began,
        seconds_to_heal=healed - ended,
    )


def judge(
    states: Mapping[str, PaymentIntent],
    broken: Sequence[BrokenPromise],
    *,
    load: Load,
    asked: int,
    faults: Thrown,
    seconds: float,
    seconds_to_heal: float,
) -> Measured:
    """The figures of a run, from how each payment ended and the promises that were broken."""
    promises = Counter(one.promise for one in broken)
    named = (Promise.charged_twice, Promise.undecided, Promise.failed_without_evidence)
    return Measured(
        payments=len(states),
        payments_by_protocol=dict(load.payments),
        attempts=load.attempts,
        iso8583_connections=_ISO8583_CONNECTIONS,
        faults=faults,
        fault_rates=rates(faults),
        fault_rates_missed=rates_missed(FAULTS, faults),
        ended_as=dict(Counter(str(intent.status) for intent in states.values())),
        transactions=dict(sorted(_transactions(states).items())),
        lost=asked - len(states),
        unanswered=load.unanswered,
        double_charges=_payments_with(broken, Promise.charged_twice),
        undecided=_payments_with(broken, Promise.undecided),
        failed_without_evidence=promises[Promise.failed_without_evidence],
        other_broken_promises=sum(count for promise, count in promises.items() if promise not in named),
        broken=[str(one) for one in broken[:_SENTENCES_MAX]],
        seconds=round(seconds, 1),
        seconds_to_heal=round(seconds_to_heal, 1),
        commands_per_second=round(load.commands / seconds, 1),
    )


def _payments_with(broken: Sequence[BrokenPromise], promise: Promise) -> int:
    return len({one.payment_intent for one in broken if one.promise is promise})


def _transactions(states: Mapping[str, PaymentIntent]) -> Counter[str]:
    found: Counter[str] = Counter()
    for intent in states.values():
        for one in intent.transactions:
            reason = "" if one.void_reason is None else f"({one.void_reason}) "
            found[f"{one.type} {reason}{one.status}"] += 1
    return found


def _set_faults(stack: BenchStack, faults: Mapping[str, float]) -> None:
    httpx.post(f"{stack.card_network}/faults", json=faults, timeout=30).raise_for_status()


def _thrown(stack: BenchStack) -> Thrown:
    content = httpx.get(f"{stack.card_network}/faults/thrown", timeout=30).raise_for_status().content
    return msgspec.json.decode(content, type=dict[str, dict[str, int]])


def _heal(stack: BenchStack) -> tuple[Mapping[str, PaymentIntent], list[BrokenPromise]]:
    """Wait until nothing is open, or for as long as it may take; how each payment ended, and what was broken."""
    deadline = time.monotonic() + _HEALS_WITHIN_SECONDS
    with psycopg.connect(stack.postgres, autocommit=True) as database:
        while time.monotonic() < deadline:
            # Cheap to ask; the books are what decides.
            if database.execute(_OPEN).fetchone() == (False,):
                states, broken = _audited(stack)
                if not any(one.promise is Promise.undecided for one in broken):
                    return states, broken
            time.sleep(_LOOK_EVERY_SECONDS)
    return _audited(stack)


def _payments(stack: BenchStack) -> tuple[dict[str, PaymentIntent], set[TransactionId]]:
    """Each payment as its last event in the log has it, and the Transactions that were ever in doubt."""
    states: dict[str, PaymentIntent] = {}
    doubted: set[TransactionId] = set()
    for placed in read_all(stack.kafka, EVENTS, only="PaymentEvent"):
        assert isinstance(placed.record, PaymentEvent)
        # All events of a payment lie on one partition, in their order.
        states[placed.key] = placed.record.payment_intent
        doubted |= doubted_in([placed.record])
    return states, doubted


def _audited(stack: BenchStack) -> tuple[dict[str, PaymentIntent], list[BrokenPromise]]:
    """All payments in the log, held against the network's ledger, which has none of which the log knows nothing."""
    states, doubted = _payments(stack)
    answer = httpx.get(f"{stack.card_network}/clock", timeout=30).raise_for_status().json()
    now = datetime.fromisoformat(answer["now"])
    booked = by_payment(ledger_of(httpx.get(f"{stack.card_network}/ledger", timeout=120).raise_for_status().content))
    broken = [
        found
        for id_, intent in states.items()
        for found in audit(intent, booked.get(id_, ()), now=now, doubted=doubted)
    ]
    broken += [
        BrokenPromise(promise=Promise.not_in_ours, payment_intent=id_, how="is not in the log")
        for id_ in sorted(booked.keys() - states.keys())
    ]
    return states, broken


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--payments", type=int, default=PAYMENTS)
    parser.add_argument("--workers", type=int, default=_WORKERS)
    given = parser.parse_args()
    measured = measure(given.payments, workers=given.workers)
    text = json.dumps(asdict(measured), indent=2)
    sys.stdout.write(text + "\n")
    if given.payments == PAYMENTS:
        RESULTS.write_text(text + "\n")
    sys.exit(not measured.promises_are_kept or bool(measured.fault_rates_missed))


if __name__ == "__main__":
    main()
