"""How long reconciliation waits for what. Pure; every duration can be shortened for tests and the sandbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from schemas.times import Micros, later

__all__ = ["BEFORE_LADDER", "NEVER", "ReconciliationTimes"]

NEVER: Final = Micros(253_402_300_799_000_000)
"""The end of the year 9999: when a timer is due that has fired and must not fire again."""

BEFORE_LADDER: Final = -1
"""The step of a look-up that comes before the ladder's first."""

_DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconciliationTimes:
    """Seconds from what sets a timer to its end.

    The ladder's steps are counted from the moment of doubt: `ladder_seconds`, then every `ladder_then_every_seconds`
    after the last of them. `hold_margin_seconds` is added to the longest hold that a processor grants, for a request
    may still have been on its way when its hold began. Returns from a challenge are looked up `returns_apart_seconds`
    apart at least, the last one in any case.
    """

    ladder_seconds: tuple[float, ...] = (10.0, 60.0, 300.0, 1_800.0, 3_600.0, 21_600.0)
    ladder_then_every_seconds: float = _DAY
    abandonment_seconds: float = _DAY
    challenge_seconds: float = 900.0
    doubt_alert_seconds: float = _DAY
    hold_margin_seconds: float = _DAY
    lookup_deadline_seconds: float = 10.0
    returns_apart_seconds: float = 5.0

    def __post_init__(self) -> None:
        if not self.ladder_seconds or self.ladder_then_every_seconds <= 0:
            raise ValueError("the ladder needs a first step, and time between its later ones")

    def step_at(self, step: int, *, since: Micros) -> Micros:
        """When this step of the ladder (from 0) is due."""
        beyond = step - len(self.ladder_seconds) + 1
        if beyond <= 0:
            return later(since, seconds=self.ladder_seconds[step])
        return later(since, seconds=self.ladder_seconds[-1] + beyond * self.ladder_then_every_seconds)

    def step_after(self, step: int, *, since: Micros, now: Micros) -> int:
        """The next step that is still to come: steps that were slept through are not made up for."""
        following = step + 1
        while following < len(self.ladder_seconds) and self.step_at(following, since=since) <= now:
            following += 1
        overdue = now - self.step_at(following, since=since)
        if overdue < 0:
            return following
        return following + 1 + overdue // round(self.ladder_then_every_seconds * 1_000_000)
