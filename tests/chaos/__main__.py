"""Many seeds: `python -m tests.chaos --seeds N [--from K] [--jobs J] …`, as `make chaos SEEDS=N FROM=K` calls it.

Each seed is a process of its own (`run`), several at a time with `--jobs`. Adds each verdict to
`bench/results/chaos.json` as soon as it is there, so that a run may be made in parts; a seed that is run again replaces
its former verdict, but not what was wrong with it: that stays among the failures. What a failed seed left is kept, and
its directory printed. The last line is the summary of this call; the exit code is 1 on a violation, 2 when a seed could
not be run.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from tests.chaos.run import Seed

__all__ = ["add_up", "run_in_process", "summary"]

RESULTS = Path(__file__).parents[2] / "bench" / "results" / "chaos.json"
_ENDS_WITHIN_SECONDS = 900.0

Json = dict[str, Any]


def run_in_process(seed: Seed, directory: Path, *, is_lenient: bool = False) -> Json | None:
    """Run a seed; its verdict, or None when it could not be run. All that it leaves is in the directory."""
    options = {
        "--seed": seed.seed,
        "--payments": seed.payments,
        "--seconds": seed.seconds,
        "--faults": seed.faults,
        "--directory": directory,
    }
    command = [sys.executable, "-m", "tests.chaos.run", *(str(word) for pair in options.items() for word in pair)]
    directory.mkdir()
    with (directory / "run.log").open("wb") as log:
        process = subprocess.Popen([*command, *(["--lenient"] if is_lenient else [])], stdout=log, stderr=log)
        try:
            process.wait(_ENDS_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            log.write(b"it took too long\n")
        finally:
            process.kill()
            process.wait()
    verdict = directory / "verdict.json"
    return dict(json.loads(verdict.read_text())) if verdict.exists() else None


def add_up(former: Json, number: int, verdict: Json | None) -> Json:
    """The results with one more seed in them, and their sums; to have no verdict is a failure too."""
    seeds, failures = dict(former.get("seeds", {})), list(former.get("failures", []))
    if verdict is not None:
        seeds[str(number)] = verdict
    wrong = ["it could not be run to its verdict"] if verdict is None else verdict["violations"]
    failures.extend({"seed": number, "was": one} for one in wrong)
    done: Counter[str] = Counter()
    for seed in seeds.values():
        done.update(seed["done"])
    return {
        "total": {
            "seeds": len(seeds),
            **{name: sum(seed[name] for seed in seeds.values()) for name in ("payments", "faults", "operations")},
            "violations": len(failures),
            "done": dict(sorted(done.items())),
        },
        "failures": failures,
        "seeds": dict(sorted(seeds.items(), key=lambda entry: int(entry[0]))),
    }


def summary(verdicts: Iterable[Json], not_run: Sequence[int]) -> str:
    """One line: how much was done, and what came of it."""
    verdicts = list(verdicts)
    kinds: Counter[str] = Counter()
    for verdict in verdicts:
        for name, count in verdict["done"].items():
            kinds[name.split()[0]] += count
    by_kind = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
    words = [
        f"{len(verdicts)} seeds, {sum(kinds.values())} faults ({by_kind})",
        f"{sum(verdict['payments'] for verdict in verdicts)} payments",
        f"{sum(len(verdict['violations']) for verdict in verdicts)} violations",
    ]
    reasons = {verdict["no_small_disks"] for verdict in verdicts} - {None}
    if reasons:
        words.append(f"no disk was filled, since none can be mounted here ({'; '.join(sorted(reasons))})")
    if not_run:
        words.append(f"NOT RUN: {', '.join(str(number) for number in not_run)}")
    return "; ".join(words)


def _report(number: int, verdict: Json | None, directory: Path) -> None:
    """Say what came of a seed; keep its directory when that says why."""
    former = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps(add_up(former, number, verdict), indent=1) + "\n")
    if verdict is None:
        print(f"seed {number} could not be run: see {directory}", flush=True)
        return
    took = ", ".join(f"{name} {seconds:.0f}" for name, seconds in verdict["phases"].items())
    much = f"{verdict['faults']} faults, {verdict['payments']} payments, {verdict['seconds']:.0f} s"
    print(f"seed {number}: {much} ({took})", flush=True)
    for violation in verdict["violations"]:
        print(f"  {violation}", flush=True)
    if verdict["violations"]:
        print(f"  see {directory}", flush=True)
    else:
        shutil.rmtree(directory)


def _arguments() -> argparse.Namespace:
    usual = Seed(seed=0)
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Faults by seed on the real stack.")
    parser.add_argument("--seeds", type=int, required=True, help="how many")
    parser.add_argument("--from", type=int, default=1, dest="first", help="the first of them")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time, each with a stack of its own")
    parser.add_argument("--payments", type=int, default=usual.payments)
    parser.add_argument("--seconds", type=float, default=usual.seconds, help="for how long faults are injected")
    parser.add_argument("--faults", type=int, default=usual.faults)
    return parser.parse_args()


def main() -> None:
    """Run as a program."""
    given = _arguments()
    home = Path(tempfile.mkdtemp(prefix="paystream-chaos-"))
    # PostgreSQL's user must be able to pass through it when root tests.
    home.chmod(0o711)
    verdicts, not_run = [], []
    with ThreadPoolExecutor(given.jobs) as pool:
        running = {}
        for number in range(given.first, given.first + given.seeds):
            seed = Seed(seed=number, payments=given.payments, seconds=given.seconds, faults=given.faults)
            running[pool.submit(run_in_process, seed, home / f"seed-{number}")] = number
        for future in as_completed(running):
            number, verdict = running[future], future.result()
            _report(number, verdict, home / f"seed-{number}")
            if verdict is None:
                not_run.append(number)
            else:
                verdicts.append(verdict)
    if not any(home.iterdir()):
        home.rmdir()
    print(summary(verdicts, sorted(not_run)))
    violations = any(verdict["violations"] for verdict in verdicts)
    sys.exit(2 if not_run else 1 if violations else 0)


if __name__ == "__main__":
    main()
