"""Throughput: one process works through stages of inputs that lie ready, with the next always behind them.

The stages of a wave of payments follow each other as the fold comes along: its results are appended once its commands
have been folded, together with the commands of a later wave, so that there always is something to do.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from bench.fold.feed import Feed
from bench.fold.mix import Input, stage
from bench.fold.peers import Running
from schemas.times import Micros

__all__ = ["Drained", "drain"]

PAYMENTS_A_WAVE = 3_000
_STEPS = (0, 1, 3, 4)
"""By stage, how many steps after the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """What a drain took: commands a second, and CPU microseconds of the process a command."""

    commands: int
    seconds: float
    commands_per_second: float
    cpu_microseconds_per_command: float


def drain(running: Running, feed: Feed, *, commands: int) -> Drained:
    """Fold at least so many commands, of which a first fifth is not counted."""
    waves = -(-commands // (len(_STEPS) * PAYMENTS_A_WAVE))
    warm_up = max(1, waves // 5)
    began, cpu, counted = 0.0, 0.0, 0
    rounds = _rounds(waves)
    feed.append(rounds[0])
    for number, inputs in enumerate([*rounds[1:], []]):
        reached = feed.appended()
        feed.append(inputs)
        feed.wait(reached)
        if number == warm_up:
            began, cpu, counted = time.monotonic(), running.cpu_seconds(), feed.folded()
    seconds, cpu = time.monotonic() - began, running.cpu_seconds() - cpu
    folded = feed.folded() - counted
    return Drained(
        commands=folded,
        seconds=round(seconds, 2),
        commands_per_second=round(folded / seconds, 1),
        cpu_microseconds_per_command=round(cpu / folded * 1e6, 1),
    )


def _rounds(waves: int) -> list[list[Input]]:
    """What is appended at each step, made before anything is measured.

    A step follows when the last but one has been folded, and topics are read independently of each other: so results
    come two steps after the command that they answer.
    """
    at = Micros(time.time_ns() // 1000)
    steps: list[list[Input]] = [[] for _ in range(waves + _STEPS[-1])]
    for wave in range(waves):
        numbers = range(wave * PAYMENTS_A_WAVE, (wave + 1) * PAYMENTS_A_WAVE)
        for number, behind in enumerate(_STEPS):
            steps[wave + behind].extend(stage(number, numbers, at))
    return steps
