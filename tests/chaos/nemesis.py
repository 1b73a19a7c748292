"""Carries a plan of faults out on a stack that its supervisor keeps alive, and ends whatever it started.

Each fault has a thread of its own, so that faults overlap. Only a fault that was seen to take effect counts: the
process is gone, or stands still; the proxy has reset or held up something; somebody said that its disk was full, or
ended of it; the twin held shards. A stop counts only where no kill came between.
Driven by `run`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx

from tests.chaos.beside import Beside
from tests.chaos.plan import Fault, FaultKind
from tests.chaos.processes import family, has_ended, until
from tests.chaos.small_disk import SmallDisk, speaks_of_full_disk
from tests.harness.stack import RunningStack, stands_still

__all__ = ["Nemesis"]

_WAITS_AT_MOST_SECONDS = 45.0
_MADE_UP_FOR_AT_MOST = 5
_APPEARS_WITHIN_SECONDS = 3.0
_DIES_WITHIN_SECONDS = 5.0
# A paused process hears of it only when it goes on, and a flow finishes what it has begun.
_STOPS_WITHIN_SECONDS = 25.0
_PROXY_ANSWERS_WITHIN_SECONDS = 15.0


class Nemesis:
    """What it did, as far as it took effect, is in `done`; what did not, in `missed`."""

    def __init__(self, stack: RunningStack, directory: Path, disks: Mapping[str, SmallDisk]) -> None:
        self._stack = stack
        self._disks = disks
        self._beside = Beside(directory)
        self._lock = threading.Lock()
        self._pauses: Counter[int] = Counter()
        self._killed: set[int] = set()
        self.done: list[Fault] = []
        self.missed: list[Fault] = []

    @property
    def has_disks(self) -> bool:
        """Whether there are disks that it can fill."""
        return bool(self._disks)

    def run(self, faults: Sequence[Fault], *, is_working: Callable[[], object]) -> None:
        """Inject all faults at their times; returns once the last of them has ended.

        A burst waits until the system works again, but all bursts together for no longer than a certain time.
        """
        began, may_wait_seconds, burst = time.monotonic(), _WAITS_AT_MOST_SECONDS, -1
        with ThreadPoolExecutor(len(faults)) as pool:
            running = []
            for fault in faults:
                time.sleep(max(0.0, began + fault.at_seconds - time.monotonic()))
                if fault.burst != burst:
                    burst, waits_since = fault.burst, time.monotonic()
                    until(is_working, seconds=may_wait_seconds)
                    waited_seconds = time.monotonic() - waits_since
                    began, may_wait_seconds = began + waited_seconds, max(0.0, may_wait_seconds - waited_seconds)
                running.append(pool.submit(self._inject, fault))
            for fault, outcome in zip(faults, running, strict=True):
                (self.done if outcome.result() else self.missed).append(fault)

    def make_up_for(self, certain: Collection[tuple[FaultKind, str]]) -> None:
        """Do once more what of this was planned and hit nobody, since what it was to hit was down just then."""
        for _ in range(_MADE_UP_FOR_AT_MOST):
            done = {(fault.kind, fault.target) for fault in self.done}
            missed = {(fault.kind, fault.target): fault for fault in self.missed}
            again = [replace(missed[one], at_seconds=0.0) for one in certain if one in missed and one not in done]
            if not again:
                return
            self.run(again, is_working=lambda: True)

    def _inject(self, fault: Fault) -> bool:
        """Begin and end a fault; whether it was seen to take effect."""
        match fault.kind:
            case FaultKind.kill:
                return self._end(fault.target, signal.SIGKILL, within_seconds=_DIES_WITHIN_SECONDS)
            case FaultKind.stop:
                # PostgreSQL's "fast" stop; on SIGTERM it would wait until all clients have gone.
                number = signal.SIGINT if fault.target == "postgres" else signal.SIGTERM
                return self._end(fault.target, number, within_seconds=_STOPS_WITHIN_SECONDS)
            case FaultKind.pause:
                return self._pause(fault)
            case FaultKind.kill_all:
                return self._kill_all()
            case FaultKind.cut | FaultKind.stall:
                return self._fail_link(fault)
            case FaultKind.fill_disk:
                return self._fill_disk(fault)
            case FaultKind.twin | FaultKind.extra_owner:
                pid = self._living(fault.target)
                is_twin = fault.kind is FaultKind.twin
                return pid is not None and self._beside.run(
                    fault.target, beside=pid, seconds=fault.lasts_seconds, is_twin=is_twin
                )

    def _living(self, name: str) -> int | None:
        """The process of this name, waited for a little where it is just being started again."""
        return until(lambda: self._pid_now(name), seconds=_APPEARS_WITHIN_SECONDS)

    def _pid_now(self, name: str) -> int | None:
        pid = self._stack.processes[name]
        return None if has_ended(pid) else pid

    def _end(self, name: str, number: signal.Signals, *, within_seconds: float) -> bool:
        pid = self._living(name)
        if pid is None:
            return False
        if number is signal.SIGKILL:
            self._killed.add(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            ended = bool(until(lambda: has_ended(pid), seconds=within_seconds))
            return ended and (number is signal.SIGKILL or pid not in self._killed)
        return False

    def _fill_disk(self, fault: Fault) -> bool:
        """Leave no byte for a while; whether its owner spoke of a full disk, or ended unkilled, meanwhile."""
        pid, log = self._living(fault.target), self._stack.directory / "logs" / f"{fault.target}.log"
        before = log.stat().st_size
        was_full = self._disks[fault.target].fill(seconds=fault.lasts_seconds)
        has_suffered = speaks_of_full_disk(log, beyond=before)
        if pid is not None and pid not in self._killed:
            has_suffered |= has_ended(pid)
        return was_full and has_suffered

    def _kill_all(self) -> bool:
        pids = list(self._stack.processes.values())
        self._killed.update(pids)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return bool(until(lambda: all(has_ended(pid) for pid in pids), seconds=_DIES_WITHIN_SECONDS))

    def _pause(self, fault: Fault) -> bool:
        """Stop a process and all its children (PostgreSQL has many), see them stand still, and let them go on."""
        pid = self._living(fault.target)
        if pid is None:
            return False
        paused: list[int] = []
        try:
            # The parent first: then it has no new children.
            paused.append(self._hold(pid))
            paused.extend(self._hold(one) for one in family(pid))
            took_effect = bool(until(lambda: stands_still(pid), seconds=_DIES_WITHIN_SECONDS))
            time.sleep(fault.lasts_seconds)
        finally:
            for one in reversed(paused):
                self._let_go(one)
        return took_effect

    def _hold(self, pid: int) -> int:
        with self._lock, contextlib.suppress(ProcessLookupError):
            self._pauses[pid] += 1
            os.kill(pid, signal.SIGSTOP)
        return pid

    def _let_go(self, pid: int) -> None:
        """The last of several pauses of a process lets it go on."""
        with self._lock, contextlib.suppress(ProcessLookupError):
            self._pauses[pid] -= 1
            if self._pauses[pid] == 0:
                os.kill(pid, signal.SIGCONT)

    def _fail_link(self, fault: Fault) -> bool:
        """Let a proxy fail; it says in the end whether that hit anybody."""
        url = f"{self._stack.description['proxy']}/{fault.target}/{fault.kind}"
        wait = fault.lasts_seconds + _PROXY_ANSWERS_WITHIN_SECONDS
        try:
            answer = httpx.post(url, params={"seconds": fault.lasts_seconds}, timeout=wait)
        except httpx.HTTPError:
            # It was itself killed together with all others.
            return False
        return int(answer.raise_for_status().json()["hit"]) > 0
