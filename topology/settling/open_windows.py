"""Which captures wait for a line until when, in memory: filled from the store after a restore.

A window ends for all of its captures at once, so they lie in as many sets as there are windows with open captures:
millions of captures, a handful of moments.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from schemas.times import Micros

__all__ = ["OpenWindows"]


@dataclass(slots=True)
class _Window:
    oldest_at: Micros
    keys: set[str] = field(default_factory=set)


class OpenWindows:
    """The keys that wait, by the moment at which they are due."""

    def __init__(self) -> None:
        self._windows: dict[Micros, _Window] = {}
        self._asked: set[str] = set()

    def __len__(self) -> int:
        """How many captures wait for their line, those included that are due and asked for."""
        return sum(len(window.keys) for window in self._windows.values()) + len(self._asked)

    def add(self, key: str, *, due_at: Micros, captured_at: Micros) -> None:
        """A capture waits from now on."""
        window = self._windows.setdefault(due_at, _Window(captured_at))
        window.oldest_at = min(window.oldest_at, captured_at)
        window.keys.add(key)

    def remove(self, key: str, *, due_at: Micros) -> None:
        """It waits no more; nothing where it did not."""
        self._asked.discard(key)
        window = self._windows.get(due_at)
        if window is not None:
            window.keys.discard(key)
            if not window.keys:
                del self._windows[due_at]

    def take_due(self, now: Micros, limit: int) -> list[str]:
        """Keys whose window has ended, at most so many; each once, until it is added again."""
        due: list[str] = []
        while len(due) < limit and self._windows:
            due_at = min(self._windows)
            if due_at > now:
                break
            keys = self._windows[due_at].keys
            taken = [keys.pop() for _ in range(min(limit - len(due), len(keys)))]
            self._asked.update(taken)
            due += taken
            if not keys:
                del self._windows[due_at]
        return due

    def oldest_at(self) -> Micros | None:
        """When the oldest capture that waits was made: of the first window, as it was when that was fullest."""
        return self._windows[min(self._windows)].oldest_at if self._windows else None
