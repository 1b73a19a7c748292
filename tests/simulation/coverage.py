"""What the worlds came to: a simulation that never reaches a state proves nothing there.

`watching` listens to the fold's decisions while worlds run: which lines of the transition table were used, which
refusals were given. The rest is read off a world that has healed (`Reached.of`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from schemas.payment import PaymentEvent
from schemas.processing import ProcessorResult, TimerFired
from schemas.topics import DEAD_LETTERS, EVENTS, INTENTS, PROCESSOR_RESULTS, TIMERS
from tests.simulation.world import World
from topology import payments
from topology.domain import Decision, decide, interpreter
from topology.domain.transitions import TABLE

__all__ = ["Reached", "watching"]


@dataclass
class Reached:
    """How often each thing occurred, by kind and name."""

    count: Counter[tuple[str, str]] = field(default_factory=Counter)

    def names(self, kind: str) -> set[str]:
        """What occurred of a kind."""
        return {name for one, name in self.count if one == kind}

    def note(self, kind: str, name: str) -> None:
        """It occurred once more."""
        self.count[kind, name] += 1

    def of(self, world: World) -> None:
        """All that the log of a world tells."""
        for entry in world.log.all(EVENTS):
            assert isinstance(entry.value, PaymentEvent)
            self.note("event", entry.value.type)
        for intent in world.last.values():
            self.note("final status", intent.status)
            for transaction in intent.transactions:
                self.note("leg", f"{transaction.type} {transaction.status}")
                if transaction.void_reason is not None:
                    self.note("void", transaction.void_reason)
        self._of_calls(world)
        for happening in world.happenings:
            self.note("happening", happening)
        for operation in world.merchants.history:
            self.note("heard", str(operation.status))

    def _of_calls(self, world: World) -> None:
        for entry in world.log.all(PROCESSOR_RESULTS):
            assert isinstance(entry.value, ProcessorResult)
            self.note("result", f"{entry.value.call} {entry.value.outcome}")
            if entry.value.code is not None:
                self.note("code", entry.value.code)
        for entry in world.log.all(TIMERS):
            assert isinstance(entry.value, TimerFired)
            self.note("timer", entry.value.name)
        for entry in world.log.all(INTENTS):
            if entry.raw is None:
                self.note("happening", "forgotten")
        for _ in world.log.all(DEAD_LETTERS):
            self.note("happening", "dead letter")


class _Watched(dict[Any, Any]):
    """The transition table, and who looked up what."""

    reached: Reached

    def __getitem__(self, key: Any) -> Any:
        self._note(key)
        return super().__getitem__(key)

    def get(self, key: Any, default: Any = None) -> Any:
        """A line of the table."""
        self._note(key)
        return super().get(key, default)

    def _note(self, key: Any) -> None:
        if key in self:
            self.reached.note("line", f"{key[0]}: {key[1]}")
            self.reached.note("on", key[1].name)


@contextmanager
def watching(reached: Reached) -> Iterator[None]:
    """Listen while worlds run."""

    def watched(*given: Any, **more: Any) -> Decision:
        decision = decide(*given, **more)
        if decision.refusal is not None:
            reached.note("refusal", decision.refusal)
        if decision.replayed:
            reached.note("happening", "replayed")
        return decision

    table = _Watched(TABLE)
    table.reached = reached
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(payments, "decide", watched)
        patch.setattr(interpreter, "TABLE", table)
        yield
