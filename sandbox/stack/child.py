"""One supervised child: started, probed until it is ready, started again with back-off when it ends, stopped.

Driven by `supervisor`; writes the child's log.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sandbox.stack.errors import NotReady
from sandbox.stack.layout import Layout
from sandbox.stack.logs import last_lines
from sandbox.stack.process import signal_process, spawn, wait_for_end
from sandbox.stack.spec import ChildSpec

if TYPE_CHECKING:
    from sandbox.stack.supervisor import Reporter

__all__ = ["Child", "restart_delay_seconds"]

PROBE_EVERY_SECONDS = 0.1
FIRST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 5.0
STEADY_AFTER_SECONDS = 10.0
ENDS_BEFORE_READY_ALLOWED = 3


def restart_delay_seconds(failures: int) -> float:
    """How long to wait before a start, after this many ends in a row (the first is 1): doubled each time."""
    return min(FIRST_DELAY_SECONDS * 2.0 ** (failures - 1), LONGEST_DELAY_SECONDS)


class Child:
    """A process by its specification, whichever pid it has at the moment."""

    def __init__(
        self,
        spec: ChildSpec,
        *,
        layout: Layout,
        reporter: Reporter,
        on_change: Callable[[], None],
        on_end: Callable[[], None],
    ) -> None:
        self.spec = spec
        self._layout = layout
        self._reporter = reporter
        self._on_change = on_change
        self._on_end = on_end
        self._process: subprocess.Popen[bytes] | None = None
        self._over = asyncio.Event()
        self._was_ready = asyncio.Event()
        self._reason = "it has not been started"
        self._ends_before_ready = 0

    @property
    def pid(self) -> int | None:
        """The pid of the running process; None between an end and the next start."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    @property
    def last_pid(self) -> int | None:
        """The pid of the latest process, whether it still runs or not; None before the first start."""
        return self._process.pid if self._process is not None else None

    async def keep_running(self) -> None:
        """Start the process, and again whenever it ends, until supervision ends."""
        failures = 0
        while not self._over.is_set():
            if self.spec.before_start is not None:
                await asyncio.to_thread(self.spec.before_start)
            if self._over.is_set():
                return
            self._process = self._spawn()
            began = time.monotonic()
            self._on_change()
            status = await self._watch(self._process)
            self._on_end()
            if self._over.is_set():
                return
            if not self._was_ready.is_set():
                self._ends_before_ready += 1
                self._reason = f"it ended with status {status}"
            failures = 1 if time.monotonic() - began > STEADY_AFTER_SECONDS else failures + 1
            delay = restart_delay_seconds(failures)
            self._reporter.ended(self.spec.name, status=status, restart_in_seconds=delay)
            await asyncio.sleep(delay)

    def _spawn(self) -> subprocess.Popen[bytes]:
        return spawn(
            self.spec.command,
            environment=self.spec.environment,
            log=self._layout.log(self.spec.name),
            directory=self.spec.directory,
            account=self.spec.account,
            orphan_signal=self.spec.orphan_signal,
        )

    async def _watch(self, process: subprocess.Popen[bytes]) -> int:
        """Wait for the end of the process; probe it meanwhile until it is ready."""
        async with asyncio.TaskGroup() as group:
            probing = group.create_task(self._become_ready(process))
            status = await wait_for_end(process)
            probing.cancel()
        return status

    async def _become_ready(self, process: subprocess.Popen[bytes]) -> None:
        began = time.monotonic()
        while (reason := await self.spec.probe()) is not None:
            self._reason = reason
            await asyncio.sleep(PROBE_EVERY_SECONDS)
            if process.returncode is not None:
                return
        if self._was_ready.is_set():
            self._reporter.ready(self.spec.name, seconds=time.monotonic() - began)
        self._was_ready.set()

    async def wait_until_ready(self, running: asyncio.Task[None]) -> None:
        """Return when the child was ready for the first time; raise NotReady when that takes too long."""
        deadline = time.monotonic() + self.spec.ready_within_seconds
        log = self._layout.log(self.spec.name)
        while not self._was_ready.is_set():
            if running.done():
                running.result()
            if time.monotonic() > deadline or self._ends_before_ready >= ENDS_BEFORE_READY_ALLOWED:
                raise NotReady(f"{self.spec.name} did not come up: {self._reason}; see {log}:\n{last_lines(log)}")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PROBE_EVERY_SECONDS):
                    await self._was_ready.wait()

    def end_supervision(self) -> None:
        """From now on the process is not started again."""
        self._over.set()

    async def stop(self, *, deadline: float) -> None:
        """Ask the process to end, and kill it when its time or the stack's is up."""
        seconds = max(0.1, min(self.spec.stop_seconds, deadline - time.monotonic()))
        self.signal(self.spec.stop_signal)
        # A process that has been paused would never see the signal.
        self.signal(signal.SIGCONT)
        try:
            async with asyncio.timeout(seconds):
                await self.wait()
        except TimeoutError:
            self.signal(signal.SIGKILL)
            await self.wait()
        self.clear_away()

    def clear_away(self) -> None:
        """After the end: what is left in the child's process group, and what the child leaves elsewhere."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        if self.spec.after_stop is not None:
            self.spec.after_stop()

    async def wait(self) -> None:
        """Wait until the process has ended."""
        if self._process is not None:
            await wait_for_end(self._process)

    def signal(self, number: signal.Signals) -> None:
        """Signal the process, if it runs."""
        if self._process is not None:
            signal_process(self._process, number)
