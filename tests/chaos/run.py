"""One seed: a stack, clients, faults, healing, evidence, verdict.

`python -m tests.chaos.run --seed S [--payments P] [--seconds T] [--faults F] [--brokers 3]`: prints what was found and
exits with 1 on any violation. `tests.chaos.__main__` runs many.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from tests.chaos.checker import check
from tests.chaos.collect import collect, read_steps
from tests.chaos.nemesis import Nemesis, plan
from tests.harness.stack import PAYSTREAM_COMMAND, SHORT_TIMES, RunningStack, start_stack

__all__ = ["Seed", "Verdict", "run_seed"]

CHAOS_TIMES = (
    *SHORT_TIMES,
    *("--setting", "PAYSTREAM_CHALLENGE_TIMEOUT_SECONDS=15"),
    *("--setting", "PAYSTREAM_FORGET_AFTER_SECONDS=5"),
    *("--setting", "PAYSTREAM_READ_MODEL_SLACK_SECONDS=15"),
)
_HEALS_WITHIN_SECONDS = 120.0
_CLIENTS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """What is run."""

    seed: int
    payments: int = 2_000
    seconds: float = 60.0
    faults: int = 45
    brokers: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of it."""

    seed: int
    payments: int
    faults: int
    operations: int
    heard: int
    seconds: float
    violations: list[str]


def run_seed(seed: Seed) -> Verdict:
    """Run one seed from a fresh stack to its verdict."""
    began = time.monotonic()
    arguments = (*CHAOS_TIMES, "--proxied", "--brokers", str(seed.brokers))
    with start_stack(command=PAYSTREAM_COMMAND, arguments=arguments) as stack:
        histories = [stack.directory / f"history-{number}.jsonl" for number in range(_CLIENTS)]
        clients = [_client(stack, history, seed, name=history.stem) for history in histories]
        nemesis = Nemesis(stack, stack.directory)
        try:
            targets = sorted(name for name in stack.processes if name not in ("s3", "proxy"))
            nemesis.run(plan(seed.seed, targets, faults=seed.faults, within_seconds=seed.seconds))
        finally:
            nemesis.relent()
        for client in clients:
            if client.wait(timeout=300) != 0:
                raise RuntimeError(f"a client ended with {client.returncode}")
        _heal(stack)
        evidence = collect(stack, histories)
        violations = check(evidence)
        if violations:
            print((stack.directory / "logs").resolve())
    return Verdict(
        seed=seed.seed,
        payments=len({step.intent for step in evidence.steps}),
        faults=len(nemesis.done),
        operations=len(evidence.history),
        heard=sum(operation.status is not None for operation in evidence.history),
        seconds=round(time.monotonic() - began, 1),
        violations=violations,
    )


def _client(stack: RunningStack, history: Path, seed: Seed, *, name: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.chaos.client", str(stack.directory / "stack.json"), str(history)]
    options = {"--name": name, "--seed": seed.seed, "--payments": seed.payments // _CLIENTS, "--workers": 16}
    return subprocess.Popen([*command, *(str(word) for option in options.items() for word in option)])


def _heal(stack: RunningStack) -> None:
    """Wait until the stack serves and no payment is under way, or time is up; the checker says what is left then."""
    deadline = time.monotonic() + _HEALS_WITHIN_SECONDS
    while time.monotonic() < deadline:
        time.sleep(2.0)
        if _serves(stack) and not _under_way(stack):
            return


def _serves(stack: RunningStack) -> bool:
    try:
        return httpx.get(f"{stack.ingress}/readyz", timeout=5.0).status_code == 200
    except httpx.HTTPError:
        return False


def _under_way(stack: RunningStack) -> bool:
    last = {step.intent: step for step in read_steps(stack.kafka)}
    return any(leg.status in ("created", "pending", "requires_action") for step in last.values() for leg in step.legs)


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--payments", type=int, default=2_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--faults", type=int, default=45)
    parser.add_argument("--brokers", type=int, default=1)
    verdict = run_seed(Seed(**vars(parser.parse_args())))
    print(json.dumps(asdict(verdict), indent=2))
    sys.exit(1 if verdict.violations else 0)


if __name__ == "__main__":
    main()
