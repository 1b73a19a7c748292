"""Thousands of seeds; a failing one prints its number: `python -m tests.simulation SEED` replays it."""

from __future__ import annotations

import pytest

from tests.simulation.world import World

SEEDS = 40


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_seed_keeps_every_promise(seed: int) -> None:
    assert World(seed).run() == []
