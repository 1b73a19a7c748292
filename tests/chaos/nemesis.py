"""Faults by seed: which process is killed, paused or stopped, when, and what is started beside it.

`plan` is pure: a seed gives the same faults at the same times. `Nemesis` carries a plan out on a stack that its
supervisor keeps alive, and ends whatever it started. Faults overlap.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import httpx

from tests.harness.stack import RunningStack

__all__ = ["Fault", "FaultKind", "Nemesis", "plan"]

FLOWS = ("payments", "processing", "reconciliation", "postgres")
_CONTINUE_AT_MOST_SECONDS = 14.0


class FaultKind(StrEnum):
    """What is done to a process."""

    kill = "kill"
    pause = "pause"
    stop = "stop"
    kill_all = "kill_all"
    twin = "twin"
    extra_owner = "extra_owner"
    cut = "cut"
    stall = "stall"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault: `target` is a name in stack.json, a flow for twins and extra owners, a proxy for cuts, "" for all."""

    at_seconds: float
    kind: FaultKind
    target: str
    lasts_seconds: float = 0.0


def plan(seed: int, targets: Sequence[str], *, faults: int, within_seconds: float) -> list[Fault]:
    """So many faults within a time, in order."""
    chance = random.Random(f"nemesis-{seed}")
    kinds = {
        FaultKind.kill: 10,
        FaultKind.pause: 6,
        FaultKind.stop: 2,
        FaultKind.twin: 2,
        FaultKind.extra_owner: 3,
        FaultKind.cut: 3,
        FaultKind.stall: 3,
        FaultKind.kill_all: 0.4,
    }
    planned = []
    for _ in range(faults):
        (kind,) = chance.choices(list(kinds), list(kinds.values()))
        flows = [f"flow-{flow}" for flow in FLOWS]
        links = [target for target in targets if target.startswith("kafka") or target in ("postgres", "card-network")]
        target = {
            FaultKind.kill_all: "",
            FaultKind.twin: chance.choice(flows),
            FaultKind.extra_owner: chance.choice(flows),
            FaultKind.cut: chance.choice(links),
            FaultKind.stall: chance.choice(links),
        }.get(kind, chance.choice(targets))
        planned.append(
            Fault(
                at_seconds=chance.uniform(0, within_seconds),
                kind=kind,
                target=target,
                lasts_seconds=chance.uniform(0.3, _CONTINUE_AT_MOST_SECONDS),
            )
        )
    return sorted(planned, key=lambda fault: fault.at_seconds)


class Nemesis:
    """Carries a plan out. What it did is in `done`."""

    def __init__(self, stack: RunningStack, directory: Path) -> None:
        self._stack = stack
        self._directory = directory
        self._children: list[subprocess.Popen[bytes]] = []
        self._timers: list[threading.Timer] = []
        self.done: list[Fault] = []

    def run(self, faults: Sequence[Fault]) -> None:
        """Inject all faults at their times; returns once the last has been, not once it has ended."""
        began = time.monotonic()
        for fault in faults:
            time.sleep(max(0.0, began + fault.at_seconds - time.monotonic()))
            if self._inject(fault):
                self.done.append(fault)

    def relent(self) -> None:
        """Let everything that is paused go on, and end what was started."""
        for timer in self._timers:
            timer.join()
        for child in self._children:
            child.kill()
            child.wait()

    def _inject(self, fault: Fault) -> bool:
        """Whether there was anything to do it to."""
        match fault.kind:
            case FaultKind.kill:
                return self._signal(fault.target, signal.SIGKILL)
            case FaultKind.stop:
                return self._signal(fault.target, signal.SIGTERM)
            case FaultKind.pause:
                return self._pause(fault)
            case FaultKind.kill_all:
                return sum(self._signal(name, signal.SIGKILL) for name in self._stack.processes) > 0
            case FaultKind.cut | FaultKind.stall:
                return self._fail(fault)
            case FaultKind.twin:
                return self._start_beside(fault, instance=None)
            case FaultKind.extra_owner:
                return self._start_beside(fault, instance=f"extra-{len(self._children)}")

    def _signal(self, name: str, number: signal.Signals) -> bool:
        with contextlib.suppress(ProcessLookupError, KeyError):
            os.kill(self._stack.processes[name], number)
            return True
        return False

    def _pause(self, fault: Fault) -> bool:
        with contextlib.suppress(ProcessLookupError, KeyError):
            pid = self._stack.processes[fault.target]
            os.kill(pid, signal.SIGSTOP)
            self._later(fault.lasts_seconds, lambda: _continue(pid))
            return True
        return False

    def _fail(self, fault: Fault) -> bool:
        """Let a proxy fail; one that was itself killed is restarted and does not hear of it."""
        url = f"{self._stack.description['proxy']}/{fault.target}/{fault.kind}"
        try:
            return httpx.post(url, params={"seconds": fault.lasts_seconds}).is_success
        except httpx.HTTPError:
            return False

    def _start_beside(self, fault: Fault, *, instance: str | None) -> bool:
        """Another process of a flow: under the same name, or as another owner of some of its shards."""
        try:
            environment = _environment(self._stack.processes[fault.target])
        except (OSError, KeyError):
            return False
        environment["PAYSTREAM_HTTP_PORT"] = str(_free_port())
        if instance is not None:
            environment["PAYSTREAM_INSTANCE"] = instance
        with (self._directory / f"beside-{len(self._children)}.log").open("wb") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "paystream", "flow", fault.target.removeprefix("flow-")],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._children.append(child)
        self._later(fault.lasts_seconds, child.terminate if instance else child.kill)
        return True

    def _later(self, seconds: float, action: object) -> None:
        assert callable(action)
        timer = threading.Timer(seconds, action)
        timer.start()
        self._timers.append(timer)


def _continue(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def _environment(pid: int) -> dict[str, str]:
    return dict(_pairs(Path(f"/proc/{pid}/environ").read_bytes()))


def _pairs(environment: bytes) -> Iterator[tuple[str, str]]:
    for entry in environment.split(b"\0"):
        name, separator, value = entry.partition(b"=")
        if separator:
            yield name.decode(), value.decode()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
