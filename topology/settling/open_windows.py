"""Which captures wait for a line until when, in memory: filled from the store after a restore.

A window ends for all of its captures at once, so they lie in as many sets as there are windows with open captures:
millions of captures, a handful of moments.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from schemas.times import Micros
from topology.test_clock import NowOf

__all__ = ["ClockedWindows", "OpenWindows"]


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


class ClockedWindows:
    """Windows on several clocks, told apart as in `NowOf`: by the shard of a capture in test mode, None for live mode.

    So an advance needs nothing here: the moments stay, and more of them have come.
    """

    def __init__(self) -> None:
        self._windows: defaultdict[int | None, OpenWindows] = defaultdict(OpenWindows)

    def __len__(self) -> int:
        """How many captures wait for their line."""
        return sum(len(windows) for windows in self._windows.values())

    def add(self, key: str, *, clock: int | None, due_at: Micros, captured_at: Micros) -> None:
        """A capture waits from now on; `due_at` is of its clock, `captured_at` of the wall clock."""
        self._windows[clock].add(key, due_at=due_at, captured_at=captured_at)

    def remove(self, key: str, *, clock: int | None, due_at: Micros) -> None:
        """It waits no more; nothing where it did not."""
        self._windows[clock].remove(key, due_at=due_at)

    def take_due(self, now_of: NowOf, limit: int) -> list[tuple[str, Micros]]:
        """Keys whose window has ended, and this moment by their clock, as `OpenWindows` takes them."""
        due: list[tuple[str, Micros]] = []
        for clock, windows in self._windows.items():
            now = now_of(clock)
            due += [(key, now) for key in windows.take_due(now, limit - len(due))]
        return due

    def oldest_at(self) -> Micros | None:
        """When the oldest capture that waits was made."""
        known = (windows.oldest_at() for windows in self._windows.values())
        return min((at for at in known if at is not None), default=None)
