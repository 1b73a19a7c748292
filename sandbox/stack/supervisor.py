"""Starts children and tasks in their order, keeps the children running, and stops them in theirs.

It knows nothing of what it runs: `spec` describes that. All of it happens in one thread (a child's parent-death signal
is tied to the thread that started it), and every process is a direct child of this one.
Driven by `stack`, which says when to stop; writes DIRECTORY/logs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Protocol

from sandbox.stack.child import Child
from sandbox.stack.errors import NotReady
from sandbox.stack.layout import Layout
from sandbox.stack.logs import last_lines
from sandbox.stack.process import children_of, spawn, wait_for_end
from sandbox.stack.spec import ChildSpec, TaskSpec

__all__ = ["Reporter", "Supervisor"]

STOP_WITHIN_SECONDS = 18.0
KILLED_WITHIN_SECONDS = 1.0


class Reporter(Protocol):
    """Whoever tells people what happens."""

    def starting(self, name: str) -> None: ...
    def ready(self, name: str, *, seconds: float) -> None: ...
    def ended(self, name: str, *, status: int, restart_in_seconds: float) -> None: ...
    def stopping(self, names: Sequence[str]) -> None: ...


class Supervisor:
    """The children and tasks of one stack.

    `on_change` is called with no argument whenever a child has another pid than before, once all has been started.
    `owns_process` says that this process exists only for the stack: then whatever a child leaves behind is ended.
    """

    def __init__(
        self,
        items: Iterable[ChildSpec | TaskSpec],
        *,
        layout: Layout,
        reporter: Reporter,
        on_change: Callable[[], None],
        owns_process: bool,
    ) -> None:
        self._items = list(items)
        self._layout = layout
        self._reporter = reporter
        self._owns_process = owns_process
        self._children = {
            item.name: Child(item, layout=layout, reporter=reporter, on_change=on_change, on_end=self._end_orphans)
            for item in self._items
            if isinstance(item, ChildSpec)
        }
        self._tasks: set[int] = set()
        self._running: list[asyncio.Task[None]] = []
        unknown = {name for item in self._items for name in item.after} - {item.name for item in self._items}
        if unknown:
            raise ValueError(f"items start after others that do not exist: {sorted(unknown)}")

    @property
    def pids(self) -> dict[str, int]:
        """The pid of each child that has been started: of its latest process, where that has ended a moment ago."""
        return {name: child.last_pid for name, child in self._children.items() if child.last_pid is not None}

    async def start(self) -> None:
        """Start everything in its order; return when all is ready, or raise NotReady."""
        done = {item.name: asyncio.Event() for item in self._items}
        try:
            async with asyncio.TaskGroup() as group:
                for item in self._items:
                    group.create_task(self._start_item(item, done))
        except ExceptionGroup as errors:
            # The first one is the cause; the others were under way when it happened.
            raise errors.exceptions[0] from None

    async def _start_item(self, item: ChildSpec | TaskSpec, done: dict[str, asyncio.Event]) -> None:
        for name in item.after:
            await done[name].wait()
        self._reporter.starting(item.name)
        began = time.monotonic()
        if isinstance(item, ChildSpec):
            child = self._children[item.name]
            running = asyncio.create_task(child.keep_running())
            self._running.append(running)
            await child.wait_until_ready(running)
        else:
            await self._run_task(item)
        self._reporter.ready(item.name, seconds=time.monotonic() - began)
        done[item.name].set()

    async def _run_task(self, task: TaskSpec) -> None:
        log = self._layout.log(task.name)
        try:
            async with asyncio.timeout(task.within_seconds):
                status = await self._run_command(task) if task.command else 0
                if task.run is not None:
                    await task.run()
        except TimeoutError:
            raise NotReady(f"{task.name} was not done after {task.within_seconds:.0f} s; see {log}.") from None
        if status != 0:
            raise NotReady(f"{task.name} failed (status {status}); see {log}:\n{last_lines(log)}")
        if task.then is not None:
            task.then()

    async def _run_command(self, task: TaskSpec) -> int:
        process = spawn(
            task.command,
            environment=task.environment,
            log=self._layout.log(task.name),
            directory=task.directory,
            account=task.account,
            orphan_signal=signal.SIGKILL,
        )
        self._tasks.add(process.pid)
        try:
            return await wait_for_end(process)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            self._tasks.discard(process.pid)

    async def keep(self) -> None:
        """Keep the children running; return never, but raise what makes that impossible."""
        await asyncio.gather(*self._running)

    async def stop(self) -> None:
        """Stop all children, stage after stage, within STOP_WITHIN_SECONDS."""
        deadline = time.monotonic() + STOP_WITHIN_SECONDS
        for child in self._children.values():
            child.end_supervision()
        alive = sorted(
            (c for c in self._children.values() if c.pid is not None), key=lambda child: child.spec.stop_stage
        )
        for _, stage in groupby(alive, key=lambda child: child.spec.stop_stage):
            members = list(stage)
            self._reporter.stopping([child.spec.name for child in members])
            await asyncio.gather(*(child.stop(deadline=deadline) for child in members))
        self._end_orphans()

    async def kill(self) -> None:
        """End everything at once. Data survives it, as it survives any crash."""
        for child in self._children.values():
            child.end_supervision()
            child.signal(signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KILLED_WITHIN_SECONDS):
                await asyncio.gather(*(child.wait() for child in self._children.values()))
        for child in self._children.values():
            child.clear_away()
        self._end_orphans()

    async def close(self) -> None:
        """Wait for the tasks that watched the children."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _end_orphans(self) -> None:
        """End and reap whatever is a child of this process without having been started by it (it is a subreaper)."""
        if not self._owns_process:
            return
        for _ in range(20):
            ours = {child.pid for child in self._children.values()} | self._tasks
            orphans = children_of(os.getpid()) - ours
            if not orphans:
                return
            for pid in orphans:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)
