"""Keeps the deadlines of thousands of tasks by one look at all of them, which costs less than a timer for each.

Used by the engine and by adapters, on the loop that the tasks run on.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

__all__ = ["Deadlines"]


class Deadlines:
    """Cancels each task that runs beyond its deadline, up to `look_every_seconds` late."""

    def __init__(self, *, look_every_seconds: float) -> None:
        self._look_every_seconds = look_every_seconds
        self._at: dict[asyncio.Task[Any], float] = {}
        self._watch: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to look."""
        self._watch = asyncio.create_task(self._look())

    async def close(self) -> None:
        """Look no longer."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])
            self._watch = None

    def add(self, task: asyncio.Task[Any], seconds: float) -> None:
        """Cancel it unless it is discarded within so many seconds."""
        self._at[task] = time.monotonic() + seconds

    def discard(self, task: asyncio.Task[Any]) -> None:
        """It needs no deadline any more."""
        self._at.pop(task, None)

    def has_cancelled(self, task: asyncio.Task[Any]) -> bool:
        """Whether a task that was added, and is not yet discarded, was cancelled for its deadline."""
        return task not in self._at

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(self._look_every_seconds)
            now = time.monotonic()
            for task in [task for task, deadline in self._at.items() if deadline <= now]:
                del self._at[task]
                task.cancel()
