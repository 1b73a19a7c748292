"""A seed is one history: the same bytes in the log each time, whatever process runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.simulation.seeds import run

_SEEDS = range(700, 712)
_ROOT = Path(__file__).parents[2]
_PROGRAM = f"""
from tests.simulation.seeds import run
for seed in range({_SEEDS.start}, {_SEEDS.stop}):
    world, found = run(seed)
    print(world.log.digest(), len(world.merchants.history), found)
"""


def test_a_seed_leaves_the_same_bytes_each_time() -> None:
    for seed in _SEEDS:
        first, second = run(seed)[0], run(seed)[0]
        assert first.log.digest() == second.log.digest(), f"seed {seed}"
        assert first.merchants.history == second.merchants.history


def test_telling_of_it_changes_nothing() -> None:
    told: list[str] = []
    world, _ = run(_SEEDS[0], tell=told.append)
    assert told
    assert world.log.digest() == run(_SEEDS[0])[0].log.digest()


def test_different_seeds_are_different_histories() -> None:
    assert len({run(seed)[0].log.digest() for seed in _SEEDS}) == len(_SEEDS)


def test_a_process_that_hashes_otherwise_leaves_the_same_bytes() -> None:
    told = [_in_another_process(hash_seed) for hash_seed in ("1", "2", "random")]
    assert told[0].count("\n") == len(_SEEDS)
    assert told[0] == told[1] == told[2]


def _in_another_process(hash_seed: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        cwd=_ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return ran.stdout
