"""Replay a seed, or run many.

python -m tests.simulation SEED                   its history: moves, calls, events, findings
python -m tests.simulation SEED --shortest        the same with the fewest moves that still break something
python -m tests.simulation SEED --about WORD      only the lines that hold this word, an id for instance
python -m tests.simulation --from 5000 --seeds N  run many, and tell of each that breaks something
"""

from __future__ import annotations

import argparse
import time

from tests.simulation.seeds import Failure, run
from tests.simulation.world import STEPS


def main() -> int:
    """0 if every promise was kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="A world by seed.")
    parser.add_argument("seed", type=int, nargs="?", help="replay this one")
    parser.add_argument("--steps", type=int, default=STEPS, help="how many moves are made before all heals")
    parser.add_argument("--shortest", action="store_true", help="look for the fewest moves that break something")
    parser.add_argument("--about", default="", help="tell only what holds this word")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first of many seeds")
    parser.add_argument("--seeds", type=int, default=1_000, help="how many seeds")
    given = parser.parse_args()
    if given.seed is None:
        return _run_many(given.first, given.seeds)
    steps = _shortest(given.seed, given.steps) if given.shortest else given.steps
    return _replay(given.seed, steps, given.about)


def _replay(seed: int, steps: int, about: str) -> int:
    def tell(sentence: str) -> None:
        if about in sentence:
            print(sentence)

    world, found = run(seed, steps=steps, tell=tell)
    print(f"{steps} moves, log {world.log.digest()[:16]}")
    print("\n".join(found) or "every promise was kept")
    return int(bool(found))


def _shortest(seed: int, steps: int) -> int:
    """Histories by fewer moves are not beginnings of each other's ends, so each number is tried."""
    return next((fewer for fewer in range(1, steps) if run(seed, steps=fewer)[1]), steps)


def _run_many(first: int, number: int) -> int:
    started, failed = time.perf_counter(), 0
    for seed in range(first, first + number):
        _, found = run(seed)
        if found:
            failed += 1
            print(Failure(seed, found), flush=True)
    seconds = time.perf_counter() - started
    print(f"{number} seeds from {first} in {seconds:.0f} s, {failed} broke something")
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
