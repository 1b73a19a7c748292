"""What the supervisor is told to run: children that live as long as the stack, and tasks that run once at its start.

Both are values. `after` names what must be ready (a child) or done (a task) before this one starts, so a list of
them is the whole start order; `stop_stage` is the order of the stop. Nothing here knows Kafka or Postgres.
"""

from __future__ import annotations

import enum
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Account", "ChildSpec", "Probe", "StopStage", "TaskSpec"]

Probe = Callable[[], Awaitable[str | None]]
"""Asks a child whether it can do its work: None when it can, else the reason in a few words."""


class StopStage(enum.IntEnum):
    """Everything of one stage is stopped together; the next stage begins when the one before is gone."""

    SERVICES = 1
    OUTSIDE = 2
    DATABASE = 3
    LOG = 4


@dataclass(frozen=True, kw_only=True)
class Account:
    """A user of the machine, under whom a child runs."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, kw_only=True)
class ChildSpec:
    """A process that lives as long as the stack and is started again when it ends."""

    name: str
    command: tuple[str, ...]
    probe: Probe
    stop_stage: StopStage
    after: frozenset[str] = frozenset()
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the supervisor's own environment."""
    directory: Path | None = None
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 3.0
    """How long the child may take to end by itself before it is killed."""
    orphan_signal: signal.Signals = signal.SIGKILL
    """What the kernel sends to the child when the supervisor dies."""
    ready_within_seconds: float = 60.0
    before_start: Callable[[], None] | None = None
    """Called before every start, also the repeated ones: clears away what a crash has left."""
    after_stop: Callable[[], None] | None = None
    """Called when the child has been stopped for good."""


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """Work that is done once, when the stack starts: a command that must end with 0, or a coroutine function."""

    name: str
    after: frozenset[str] = frozenset()
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path | None = None
    account: Account | None = None
    run: Callable[[], Awaitable[None]] | None = None
    then: Callable[[], None] | None = None
    """Called when the work has been done."""
    within_seconds: float = 60.0
