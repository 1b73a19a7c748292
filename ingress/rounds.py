"""Round trips that are shared: who waits at the same moment is served by one question.

A request never joins a question that was put before it came, because an answer from before would be too old for it:
what its client knows may have happened in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Generic, TypeVar

__all__ = ["Rounds"]

Key = TypeVar("Key")
Value = TypeVar("Value")


class Rounds(Generic[Key, Value]):
    """Puts one question at a time, for all keys that are waited for when it is put; at most `size_max` of them."""

    def __init__(
        self, ask: Callable[[Collection[Key]], Awaitable[Mapping[Key, Value]]], *, size_max: int = 500
    ) -> None:
        self._ask = ask
        self._size_max = size_max
        self._waiting: dict[Key, asyncio.Future[Value]] = {}
        self._running: asyncio.Task[None] | None = None

    async def get(self, key: Key) -> Value:
        """The answer for the key, of a question put from now on; raises what the question raised."""
        future = self._waiting.get(key)
        if future is None:
            future = self._waiting[key] = asyncio.get_running_loop().create_future()
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="rounds")
        # Others may wait for the same answer: who gives up does so alone.
        return await asyncio.shield(future)

    async def _run(self) -> None:
        try:
            # One turn of the loop, so that all requests which came with this turn are in the first question.
            await asyncio.sleep(0)
            while self._waiting:
                keys = list(self._waiting)[: self._size_max]
                await self._serve({key: self._waiting.pop(key) for key in keys})
        finally:
            self._running = None
            for future in self._waiting.values():
                future.cancel()
            self._waiting.clear()

    async def _serve(self, asked: Mapping[Key, asyncio.Future[Value]]) -> None:
        try:
            answers = await self._ask(asked.keys())
        except asyncio.CancelledError:
            for future in asked.values():
                future.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - it is raised again, to each who asked
            for future in asked.values():
                future.set_exception(error)
                future.exception()  # whoever asked may have given up; then nobody looks at it
            return
        for key, future in asked.items():
            future.set_result(answers[key])
