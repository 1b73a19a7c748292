"""Many seeds: `python -m tests.chaos --seeds N [--from K] …`, as `make chaos SEEDS=N FROM=K` calls it.

Adds each verdict to `bench/results/chaos.json` as soon as it is there, so that a run may be made in parts; a seed that
is run again replaces its former verdict. The last line is the summary of this call; the exit code is 1 on a violation.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tests.chaos.run import Seed, Verdict, run_seed

RESULTS = Path(__file__).parents[2] / "bench" / "results" / "chaos.json"

Json = dict[str, Any]


def add_up(former: Json, verdict: Verdict) -> Json:
    """The results with one more seed in them, and their sums."""
    seeds = {**former.get("seeds", {}), str(verdict.seed): asdict(verdict)}
    return {
        "total": {
            "seeds": len(seeds),
            **{name: sum(seed[name] for seed in seeds.values()) for name in ("payments", "faults", "operations")},
            "violations": sum(len(seed["violations"]) for seed in seeds.values()),
        },
        "seeds": dict(sorted(seeds.items(), key=lambda entry: int(entry[0]))),
    }


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, required=True)
    parser.add_argument("--from", type=int, default=1, dest="first")
    parser.add_argument("--payments", type=int, default=2_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--faults", type=int, default=45)
    given = parser.parse_args()
    shape = Seed(seed=0, payments=given.payments, seconds=given.seconds, faults=given.faults)
    violations = 0
    for number in range(given.first, given.first + given.seeds):
        # Every third seed is run on three brokers.
        verdict = run_seed(replace(shape, seed=number, brokers=3 if number % 3 == 0 else 1))
        violations += len(verdict.violations)
        former = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        RESULTS.write_text(json.dumps(add_up(former, verdict), indent=2) + "\n")
        print(f"seed {number}: {verdict.faults} faults, {verdict.payments} payments, {verdict.seconds} s", flush=True)
        for violation in verdict.violations:
            print(f"  {violation}", flush=True)
    print(f"{given.seeds} seeds, {violations} violations")
    sys.exit(1 if violations else 0)


if __name__ == "__main__":
    main()
