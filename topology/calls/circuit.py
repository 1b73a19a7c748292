"""The circuit breaker of one processor: after enough failures in a row, calls are held back for a while.

Open for a time that grows with each opening; then one call at a time tries, and the first answer closes it. Time is an
argument. A time-out of one card's bank is a failure too, so the number in a row is large: an answer of any kind, a
decline as well, starts the count again.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

__all__ = ["Backoff", "Circuit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Waits that double from `seconds_min` to `seconds_max`, each cut by up to half at random."""

    seconds_min: float
    seconds_max: float

    def seconds(self, attempt: int, chance: random.Random) -> float:
        """The wait after this many failures, from 0."""
        full = min(self.seconds_max, self.seconds_min * 2.0 ** min(attempt, 32))
        return full * chance.uniform(0.5, 1.0)


class Circuit:
    """Closed: calls leave. Open: none. After the wait: one at a time, until one is answered."""

    def __init__(self, *, failures_max: int, backoff: Backoff, chance: random.Random) -> None:
        self._failures_max = failures_max
        self._backoff = backoff
        self._chance = chance
        self._failures = 0
        self._openings = 0
        self._open_until: float | None = None
        self._trying: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether calls are held back, but for one that tries."""
        return self._open_until is not None

    def allows(self, now_seconds: float) -> bool:
        """Whether a call may leave now."""
        return self._open_until is None or (now_seconds >= self._open_until and self._trying is None)

    def started(self, key: str) -> None:
        """This call leaves; while the circuit is open it is the one that tries."""
        if self.is_open:
            self._trying = key

    def answered(self) -> None:
        """The processor answered one of its calls: closed."""
        self._failures = self._openings = 0
        self._open_until = self._trying = None

    def failed(self, key: str, now_seconds: float) -> None:
        """The processor, or the way to it, failed. What left before the circuit opened does not keep it open."""
        self._failures += 1
        if self.is_open and self._trying != key:
            return
        if self.is_open or self._failures >= self._failures_max:
            self._open_until = now_seconds + self._backoff.seconds(self._openings, self._chance)
            self._openings += 1
            self._trying = None

    def neither(self, key: str) -> None:
        """The call says nothing about the processor (it was held back by us); where it tried, another may."""
        if self._trying == key:
            self._trying = None
