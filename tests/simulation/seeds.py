"""Runs seeds: each is a world that lives, heals and is judged. The range that CI runs stands here."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable
from dataclasses import dataclass

from tests.simulation.coverage import Reached
from tests.simulation.epochs import DirectEpochs, Epochs
from tests.simulation.evidence import findings
from tests.simulation.healing import heal
from tests.simulation.world import STEPS, Tell, World

__all__ = ["Failure", "ci_seeds", "first_failure", "run"]

_FIRST, _NUMBER = 0, 2_000


@dataclass(frozen=True, slots=True)
class Failure:
    """A seed that broke a promise."""

    seed: int
    findings: list[str]

    def __str__(self) -> str:
        told = "\n  ".join(self.findings)
        return f"seed {self.seed} breaks:\n  {told}\nreplay it: python -m tests.simulation {self.seed}"


def ci_seeds() -> range:
    """The seeds of a test run; PAYSTREAM_TEST_SEEDS=FROM:NUMBER asks for others."""
    first, _, number = os.environ.get("PAYSTREAM_TEST_SEEDS", f"{_FIRST}:{_NUMBER}").partition(":")
    return range(int(first), int(first) + int(number))


def run(
    seed: int,
    *,
    steps: int = STEPS,
    epochs: type[Epochs] = DirectEpochs,
    tell: Tell | None = None,
    reached: Reached | None = None,
) -> tuple[World, list[str]]:
    """Live through a seed and judge it. What is raised on the way is a finding, too."""
    world = World(seed, epochs=epochs, tell=tell)
    try:
        world.live(steps)
        world.say("nothing breaks any more")
        heal(world)
        found = findings(world)
        if reached is not None:
            reached.of(world)
    except Exception as error:  # noqa: BLE001
        where = traceback.extract_tb(error.__traceback__)[-1]
        found = [f"raised: {type(error).__name__} {error} at {where.name}:{where.lineno}"]
    return world, found


def first_failure(seeds: Iterable[int], *, reached: Reached | None = None) -> Failure | None:
    """The first of these seeds that breaks a promise; none where all keep theirs."""
    for seed in seeds:
        _, found = run(seed, reached=reached)
        if found:
            return Failure(seed, found)
    return None
