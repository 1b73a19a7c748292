"""Which key is due next: the earliest moment of each key, in memory, filled from the store after a restore.

A heap in which a key's outdated moments stay until they come up or are too many; then it is built anew. Most payments
end long before their timers are due, so these must not pile up for a day.
"""

from __future__ import annotations

import heapq
from collections import defaultdict

from schemas.times import Micros
from topology.test_clock import NowOf

__all__ = ["ClockedSchedule", "Schedule"]

_OUTDATED_MIN = 1_024


class Schedule:
    """At most one moment for each key."""

    def __init__(self) -> None:
        self._moments: dict[str, Micros] = {}
        self._heap: list[tuple[Micros, str]] = []

    def __len__(self) -> int:
        return len(self._moments)

    def set(self, key: str, at: Micros | None) -> None:
        """The key's moment from now on; None: it has none."""
        if at == self._moments.get(key):
            return
        if at is None:
            del self._moments[key]
        else:
            self._moments[key] = at
            heapq.heappush(self._heap, (at, key))
        if len(self._heap) > 2 * len(self._moments) + _OUTDATED_MIN:
            self._heap = [(at, key) for key, at in self._moments.items()]
            heapq.heapify(self._heap)

    def first(self) -> Micros | None:
        """The earliest moment of all."""
        while self._heap:
            at, key = self._heap[0]
            if self._moments.get(key) == at:
                return at
            heapq.heappop(self._heap)
        return None

    def take_due(self, now: Micros, limit: int) -> list[str]:
        """The keys whose moment has come, earliest first; they have none until it is set again."""
        due: list[str] = []
        while len(due) < limit:
            first = self.first()
            if first is None or first > now:
                break
            _, key = heapq.heappop(self._heap)
            del self._moments[key]
            due.append(key)
        return due


class ClockedSchedule:
    """Moments on several clocks: live mode's go by the wall clock, test mode's by the test clock of their shard.

    So an advance needs nothing here: the moments stay, and more of them have come.
    """

    def __init__(self) -> None:
        self._schedules: defaultdict[int | None, Schedule] = defaultdict(Schedule)

    def __len__(self) -> int:
        return sum(len(schedule) for schedule in self._schedules.values())

    def set(self, key: str, at: Micros | None, *, shard: int, livemode: bool) -> None:
        """The key's moment from now on, by its payment's clock; None: it has none."""
        own, other = (None, shard) if livemode else (shard, None)
        self._schedules[other].set(key, None)
        self._schedules[own].set(key, at)

    def take_due(self, now_of: NowOf, limit: int) -> list[str]:
        """The keys whose moment has come, of each clock the earliest first."""
        due: list[str] = []
        for clock, schedule in self._schedules.items():
            due += schedule.take_due(now_of(clock), limit - len(due))
        return due

    def oldest_seconds(self, now_of: NowOf) -> float:
        """For how long the earliest moment has passed; 0 where none has."""
        firsts = ((clock, schedule.first()) for clock, schedule in self._schedules.items())
        return max((0.0, *((now_of(clock) - first) / 1_000_000 for clock, first in firsts if first is not None)))
