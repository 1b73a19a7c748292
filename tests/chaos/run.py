"""One seed: a stack, clients, faults, healing, settlement, evidence, verdict.

`python -m tests.chaos.run --seed S [--payments P] [--seconds T] [--faults F] [--directory D]`: prints the verdict and
exits with 1 on any violation. It runs in a mount namespace of its own, where that can be had, so that it may fill small
disks. What it leaves in its directory says why a seed failed: history, plan, evidence, verdict, and all logs below
`stack/logs`; the directory of a seed without findings is removed. `tests.chaos.__main__` runs many.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sandbox.stack import Part
from tests.chaos.clients import put_on_record, running_clients
from tests.chaos.coverage import import_fault, lacking, observed
from tests.chaos.evidence import as_json
from tests.chaos.healing import heal
from tests.chaos.history import Progress
from tests.chaos.interrupted import Interruption
from tests.chaos.merchants import API_KEYS, setting
from tests.chaos.nemesis import Nemesis
from tests.chaos.plan import CERTAIN, Fault, FaultKind, network_arguments, plan, targets_of
from tests.chaos.settling import settle
from tests.chaos.small_disk import CannotMount, SmallDisk, own_mounts, speaks_of_full_disk
from tests.harness.stack import SHORT_TIMES, RunningStack, start_stack

__all__ = ["Seed", "Verdict", "run_seed"]

CHAOS_TIMES = (
    *SHORT_TIMES,
    *("--setting", "PAYSTREAM_CHALLENGE_TIMEOUT_SECONDS=8"),
    *("--setting", "PAYSTREAM_FORGET_AFTER_SECONDS=5"),
    # Longer than a transaction of Kafka's may be open, which is 10 s, and up to 1 s until it is aborted.
    *("--setting", "PAYSTREAM_READ_MODEL_SLACK_SECONDS=12"),
)
# No S3: nothing uses it yet, and it would only be killed with all others.
_PARTS = frozenset(Part) - {Part.S3}
_WORKERS = 64
_CLIENTS_END_WITHIN_SECONDS = 240.0
# By far more than a seed writes, or the disk would be full by itself.
_DISK_BYTES = {"kafka": 512 << 20, "postgres": 512 << 20, "card-network": 64 << 20}
_IN_OWN_MOUNTS = "CHAOS_HAS_OWN_MOUNTS"


@dataclass(frozen=True, kw_only=True)
class Seed:
    """What is run."""

    seed: int
    payments: int = 1_200
    seconds: float = 50.0
    faults: int = 50

    @property
    def brokers(self) -> int:
        """Every third seed has three."""
        return 3 if self.seed % 3 == 0 else 1

    @property
    def stack_arguments(self) -> tuple[str, ...]:
        """Two processes of ingress; two of the payments flow or of processing, where there are not three brokers.

        By ISO 8583 the network may answer one process of processing on a connection of the other. In every other seed
        it deduplicates no authorizations by HTTP either: one that is asked twice is two holds.
        """
        more = {0: ("--brokers", "3"), 1: ("--flow", "payments=2"), 2: ("--flow", "processing=2")}
        network = [*network_arguments(self.seed), *(["--no-authorization-deduplication"] if self.seed % 2 else [])]
        return (
            *CHAOS_TIMES,
            *("--setting", setting(), "--proxied", "--ingress-processes", "2"),
            *more[self.seed % 3],
            *(f"--card-network={argument}" for argument in network),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of it. `faults` counts those that took effect; `done` does by kind and target."""

    seed: int
    payments: int
    faults: int
    planned: int
    operations: int
    heard: int
    seconds: float
    phases: dict[str, float] = field(default_factory=dict)
    """Where the time went, in seconds."""
    processor_seconds: float = 0.0
    """What all processes of the stack and the clients took of the processors."""
    done: dict[str, int] = field(default_factory=dict)
    observed: dict[str, int] = field(default_factory=dict)
    ran_out_of_space: list[str] = field(default_factory=list)
    """Who said in its log that its disk was full."""
    no_small_disks: str | None = None
    """Why no disk was filled; None where disks could be."""
    violations: list[str]


class _Phases:
    """Seconds that each phase took."""

    def __init__(self) -> None:
        self.began = self._last = time.monotonic()
        self.seconds: dict[str, float] = {}

    def end(self, name: str) -> None:
        now = time.monotonic()
        self.seconds[name] = round(now - self._last, 1)
        self._last = now


def run_seed(seed: Seed, directory: Path, *, no_small_disks: str | None, is_lenient: bool) -> Verdict:
    """Run one seed from a fresh stack to its verdict; leaves everything in the directory.

    `is_lenient`: it does not matter whether every kind of trouble was there.
    """
    phases = _Phases()
    disks = {} if no_small_disks else _mount_disks(seed, directory / "disks")
    data = [word for name, disk in disks.items() for word in ("--data", f"{name}={disk.folder}")]
    arguments = (*seed.stack_arguments, *data)
    with start_stack(parts=_PARTS, arguments=arguments, directory=directory / "stack") as stack:
        put_on_record(stack, directory, seed=seed.seed)
        phases.end("start")
        histories = [directory / f"history-{merchant}.jsonl" for merchant in API_KEYS]
        nemesis = Nemesis(stack, directory, disks)
        _pay_under_faults(stack, seed, directory, histories, nemesis, phases)
        evidence, violations = heal(stack, histories)
        phases.end("healing")
        # It says more than nothing where the settlement cannot be carried out.
        (directory / "evidence.json").write_bytes(as_json(evidence))
        settled = settle(stack, evidence, directory, nemesis, seed=seed.seed)
        phases.end("settlement")
        evidence, at_the_end = heal(stack, [*histories, settled.history], settled.files)
        violations = list(dict.fromkeys([*violations, *at_the_end]))
        phases.end("windows")
        (directory / "evidence.json").write_bytes(as_json(evidence))
    phases.end("stop")
    seen = observed(evidence)
    done = {**_by_kind_and_target(nemesis.done), **_by_import(settled.interrupted)}
    violations += [] if is_lenient else lacking(seen.keys(), done.keys())
    return Verdict(
        seed=seed.seed,
        payments=len({step.intent for step in evidence.steps}),
        faults=len(nemesis.done) + len(settled.interrupted),
        planned=len(nemesis.done) + len(nemesis.missed) + len(settled.files.lines),
        operations=len(evidence.history),
        heard=sum(operation.status is not None for operation in evidence.history),
        seconds=round(time.monotonic() - phases.began, 1),
        phases=phases.seconds,
        processor_seconds=_processor_seconds(),
        done=done,
        observed=dict(sorted(seen.items())),
        ran_out_of_space=_out_of_space(stack.directory / "logs"),
        no_small_disks=no_small_disks,
        violations=violations,
    )


def _pay_under_faults(
    stack: RunningStack, seed: Seed, directory: Path, histories: Sequence[Path], nemesis: Nemesis, phases: _Phases
) -> None:
    """Carry out all payments of the clients, and all faults of the plan meanwhile."""
    faults = plan(
        seed.seed,
        list(stack.processes),
        faults=seed.faults,
        within_seconds=seed.seconds,
        has_small_disks=nemesis.has_disks,
    )
    _write(directory / "plan.json", [asdict(fault) for fault in faults])
    with running_clients(
        stack, histories, seed=seed.seed, payments=seed.payments, seconds=seed.seconds, workers=_WORKERS
    ) as clients:
        nemesis.run(faults, is_working=Progress(histories))
        nemesis.make_up_for(CERTAIN)
        _write(directory / "faults-that-took-effect.json", [asdict(fault) for fault in nemesis.done])
        phases.end("faults")
        for client in clients:
            if client.wait(timeout=_CLIENTS_END_WITHIN_SECONDS) != 0:
                raise RuntimeError(f"a client ended with {client.returncode}: see its log in {directory}")
    phases.end("clients")


def _mount_disks(seed: Seed, directory: Path) -> dict[str, SmallDisk]:
    """A small disk for each process that keeps data."""
    brokers = ["kafka"] if seed.brokers == 1 else [f"kafka-{number}" for number in range(1, seed.brokers + 1)]
    directory.mkdir(mode=0o711)
    return {
        name: SmallDisk.mount(directory / name, size_bytes=_DISK_BYTES["kafka" if name in brokers else name])
        for name in targets_of(FaultKind.fill_disk, [*brokers, "postgres", "card-network"], has_small_disks=True)
    }


def _by_kind_and_target(done: Sequence[Fault]) -> dict[str, int]:
    return dict(sorted(Counter(f"{fault.kind} {fault.target}".strip() for fault in done).items()))


def _by_import(interrupted: Sequence[Interruption]) -> dict[str, int]:
    return dict(sorted(Counter(import_fault(one) for one in interrupted).items()))


def _out_of_space(logs: Path) -> list[str]:
    """The names of those whose log speaks of a full disk."""
    return sorted(log.stem for log in logs.glob("*.log") if speaks_of_full_disk(log))


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return round(used.ru_utime + used.ru_stime, 1)


def _write(file: Path, content: object) -> None:
    file.write_text(json.dumps(content, indent=1) + "\n")


def _enter_own_mounts() -> str | None:
    """Become a process that may mount; why that cannot be, where it cannot."""
    if _IN_OWN_MOUNTS in os.environ:
        return None
    try:
        before = own_mounts()
    except CannotMount as error:
        return str(error)
    return os.execvpe(before[0], [*before, *sys.orig_argv], {**os.environ, _IN_OWN_MOUNTS: "1"})


def main() -> None:
    """Run as a program."""
    no_small_disks = _enter_own_mounts()
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--payments", type=int, default=Seed.payments)
    parser.add_argument("--seconds", type=float, default=Seed.seconds)
    parser.add_argument("--faults", type=int, default=Seed.faults)
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--lenient", action="store_true", help="do not insist that every kind of trouble was there")
    given = parser.parse_args()
    directory = given.directory or Path(tempfile.mkdtemp(prefix="paystream-chaos-"))
    directory.mkdir(exist_ok=True)
    # PostgreSQL's user must be able to pass through it when root tests.
    directory.chmod(0o711)
    seed = Seed(seed=given.seed, payments=given.payments, seconds=given.seconds, faults=given.faults)
    print(f"seed {seed.seed} in {directory}", file=sys.stderr, flush=True)
    verdict = run_seed(seed, directory, no_small_disks=no_small_disks, is_lenient=given.lenient)
    _write(directory / "verdict.json", asdict(verdict))
    print(json.dumps(asdict(verdict), indent=2))
    if not verdict.violations and given.directory is None:
        shutil.rmtree(directory)
    sys.exit(1 if verdict.violations else 0)


if __name__ == "__main__":
    main()
