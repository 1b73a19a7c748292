"""A rolling upgrade under load, from one version to another, and its verdict.

A stack's Kafka, PostgreSQL and card network; on it all processes of the former version; then, while the chaos suite's
clients pay, one process after the other is replaced. In the middle, old and new members of the payments flow share its
shards, old and new ingress serve side by side, and shards of which the newer fold has forgotten some go to the older.
At last the system is left to heal, and the chaos suite's checker judges what was heard and what lies in the books.
Deadlines are generous: the verdict does not depend on how fast the machine is. Driven by `test_upgrade` and `__main__`.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox.stack import Part
from sandbox.stack.credentials import load_credentials
from sandbox.stack.ports import choose_ports
from sandbox.stack.services import MERCHANT
from tests.chaos.checker import check
from tests.chaos.collect import collect
from tests.chaos.history import read_history
from tests.harness.stack import RunningStack, start_stack, wait_for
from tests.upgrade.fleet import Fleet, Member
from tests.upgrade.latecomer import Latecomer
from tests.upgrade.verdict import heard, refusals, without_flaws_of_base
from tests.upgrade.version import ROOT, Version

__all__ = ["BACK", "CLIENT_WAITS_SECONDS", "UPGRADE", "Forgets", "Outcome", "Replace", "roll"]

_INFRASTRUCTURE = frozenset({Part.KAFKA, Part.POSTGRES, Part.CARD_NETWORK})
_KINDS = (("ingress", 2), ("payments", 2), ("processing", 1), ("reconciliation", 1), ("postgres", 1))
_TIMES = {
    "PAYSTREAM_CALL_DEADLINE_SECONDS": "3",
    "PAYSTREAM_LADDER_SECONDS": "1,2,5",
    "PAYSTREAM_CHALLENGE_TIMEOUT_SECONDS": "5",
    # No transaction is open for longer than 10 s: so long is the producers' `transaction.timeout.ms`.
    "PAYSTREAM_READ_MODEL_SLACK_SECONDS": "10",
    "PAYSTREAM_FORGET_AFTER_SECONDS": "5",
}
_CLIENTS = 2
_WORKERS = 4
# Ten payments a second, for longer than any roll lasts.
_PACE = ("--payments", "500000", "--seconds", "100000")
# Created or paid in each phase, once the step is done: enough that each shard has most likely had some.
_ANSWERS_PER_PHASE = 20
_PROGRESS_WITHIN_SECONDS = 120.0
_HEALS_WITHIN_SECONDS = 120.0
_LATE = 10
CLIENT_WAITS_SECONDS = 16.0
"""Longer than any client waits for an answer."""


@dataclass(frozen=True, slots=True)
class Replace:
    """Replace a process by one of the latter version, or, `back`, of the former one again."""

    name: str
    back: bool = False

    def __str__(self) -> str:
        return f"{self.name} {'back' if self.back else 'over'}"


@dataclass(frozen=True, slots=True)
class Forgets:
    """Wait until a process of the payments flow has forgotten PaymentIntents."""

    name: str

    def __str__(self) -> str:
        return f"{self.name} forgets"


UPGRADE: Sequence[Replace | Forgets] = (
    Replace("postgres"),
    Replace("processing"),
    Replace("payments-0"),
    Replace("ingress-0"),
    Forgets("payments-0"),
    Replace("payments-0", back=True),
    Replace("reconciliation"),
    Replace("payments-0"),
    Replace("payments-1"),
    Replace("ingress-1"),
)
"""In the order in which most can go wrong: what a newer member wrote is read by older ones."""

BACK: Sequence[Replace | Forgets] = (
    Forgets("payments-0"),
    Forgets("payments-1"),
    *(Replace(name) for name in ("ingress-0", "payments-0", "postgres", "processing", "reconciliation")),
    *(Replace(name) for name in ("payments-1", "ingress-1")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it. `heard`: how many operations by what was answered; `seconds`: by step."""

    findings: list[str]
    payments: int
    heard: Counter[str]
    seconds: dict[str, float]


def roll(steps: Sequence[Replace | Forgets], *, former: Version, latter: Version, directory: Path) -> Outcome:
    """Roll from the former version to the latter, and judge."""
    seconds: dict[str, float] = {}
    with start_stack(parts=_INFRASTRUCTURE) as stack, _fleet(stack, directory) as fleet:
        with _timed(seconds, f"all of {former.name}"):
            _prepare(fleet, former)
            fleet.start_all(former)
        histories = [directory / f"history-{number}.jsonl" for number in range(_CLIENTS)]
        late = directory / "history-late.jsonl"
        with _clients(fleet, histories) as clients, late.open("a") as written:
            latecomer = Latecomer(fleet.addresses, written)
            _await_answers(histories)
            _prepare(fleet, latter)
            for number, step in enumerate(steps, 1):
                with _timed(seconds, f"{number}. {step}"):
                    _take(step, fleet, former=former, latter=latter)
                    _await_answers(histories)
                    latecomer.ask(read_history(histories), at_most=_LATE)
            until = time.monotonic()
            with _timed(seconds, "the last answers"):
                time.sleep(CLIENT_WAITS_SECONDS)
            assert all(client.poll() is None for client in clients), "a client ended by itself"
        with _timed(seconds, "healing"):
            findings = _heal(stack, [*histories, late])
    history = read_history([*histories, late])
    return Outcome(
        findings=[*findings, *refusals(history, until=until)],
        payments=sum(one.path == "/paymentIntent" and one.status == 201 and not one.is_replay for one in history),
        heard=heard(history),
        seconds=seconds,
    )


def _prepare(fleet: Fleet, version: Version) -> None:
    """What is done once before the first process of a version starts."""
    fleet.run_once(version, "topics", "create")
    fleet.run_once(version, "migrate")


def _take(step: Replace | Forgets, fleet: Fleet, *, former: Version, latter: Version) -> None:
    match step:
        case Replace(name, back):
            fleet.replace(name, former if back else latter)
        case Forgets(name):
            wait_for(
                lambda: fleet.metric(name, "paystream_payments_forgotten_total"),
                what=f"the first PaymentIntent that {name} forgets",
                within_seconds=_PROGRESS_WITHIN_SECONDS,
            )


@contextmanager
def _fleet(stack: RunningStack, directory: Path) -> Iterator[Fleet]:
    credentials = load_credentials(directory / "secrets.json")
    names = [
        (kind, f"{kind}-{number}" if count > 1 else kind, number) for kind, count in _KINDS for number in range(count)
    ]
    ports = choose_ports([name for _, name, _ in names], directory / "ports.json")
    members = [
        Member(
            name=name,
            arguments=("ingress",) if kind == "ingress" else ("flow", kind),
            instance=number,
            port=ports[name],
        )
        for kind, name, number in names
    ]
    settings = {
        **_TIMES,
        "PAYSTREAM_KAFKA_BOOTSTRAP": stack.kafka,
        "PAYSTREAM_POSTGRES_URI": stack.postgres,
        "PAYSTREAM_CARD_NETWORK_URL": stack.card_network,
        "PAYSTREAM_PUBLIC_URL": members[0].url,
        "PAYSTREAM_API_KEYS": f"{credentials.api_key}={MERCHANT}",
        "PAYSTREAM_CLIENT_SECRET_KEY": credentials.client_secret_key,
    }
    fleet = Fleet(members, settings, directory, api_key=credentials.api_key)
    try:
        yield fleet
    finally:
        fleet.end()


@contextmanager
def _clients(fleet: Fleet, histories: Sequence[Path]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Clients that pay until the end; what they asked last may still be open then."""
    clients = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.chaos.client", str(fleet.addresses), str(history)),
                *("--name", history.stem, "--seed", "1", "--workers", str(_WORKERS)),
                *_PACE,
            ],
            cwd=ROOT,
        )
        for history in histories
    ]
    try:
        yield clients
    finally:
        for client in clients:
            client.kill()
            client.wait()


def _await_answers(histories: Sequence[Path]) -> None:
    """Wait until merchants have created and paid some more."""

    def answers() -> int:
        return sum(history.read_bytes().count(b'"status": 201') for history in histories if history.exists())

    enough = answers() + _ANSWERS_PER_PHASE
    wait_for(lambda: answers() >= enough, what="answers to clients", within_seconds=_PROGRESS_WITHIN_SECONDS)


def _heal(stack: RunningStack, histories: Sequence[Path]) -> list[str]:
    """What is still wrong once there was time enough to heal: what is lost or was told wrongly never heals."""
    deadline = time.monotonic() + _HEALS_WITHIN_SECONDS
    while findings := without_flaws_of_base(check(collect(stack, histories))):
        if time.monotonic() > deadline:
            break
        time.sleep(1.0)
    return findings


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    seconds[name] = round(time.monotonic() - began, 1)
