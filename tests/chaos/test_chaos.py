"""One small seed from end to end: three brokers, faults of nearly every kind within 20 s, then settlement under faults,
and no promise broken.

`make chaos` runs many seeds, each with many more payments.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from tests.chaos.__main__ import run_in_process
from tests.chaos.coverage import MUST_BE_DONE
from tests.chaos.plan import FaultKind
from tests.chaos.run import Seed

SMALL = Seed(seed=3957, payments=200, seconds=20.0, faults=16)
OBSERVED = {
    *("status succeeded", "status requires_capture", "leg pending", "leg declined", "leg void", "leg partial capture"),
    *("card that times out", "refused", "replayed", "late create", "late pay", "late capture"),
    *("captured by cardnet", "captured by isonet", "settlement settled", "settlement settled_twice"),
    *("settlement missing_at_processor", "settlement missing_here", "settlement amount"),
    "capture decided by its line",
}


@pytest.mark.timeout(480)
def test_a_small_seed_breaks_no_promise() -> None:
    assert SMALL.brokers == 3
    # Not pytest's tmp_path: PostgreSQL's user could not pass through it.
    home = Path(tempfile.mkdtemp(prefix="paystream-chaos-"))
    home.chmod(0o711)
    directory = home / "seed"
    verdict = run_in_process(SMALL, directory, is_lenient=True)
    assert verdict is not None, (directory / "run.log").read_text(errors="replace")
    assert verdict["violations"] == [], f"see {directory}"
    # It has seen something, or it could not have found anything.
    assert verdict["payments"] >= SMALL.payments * 0.9
    assert verdict["operations"] > SMALL.payments * 3
    assert verdict["observed"].keys() >= OBSERVED, OBSERVED - verdict["observed"].keys()
    # A fault hits nobody where an earlier one still keeps everything down: more so on a slow machine.
    assert verdict["faults"] >= SMALL.faults / 2, verdict["done"]
    assert verdict["done"].keys() >= MUST_BE_DONE
    kinds = {name.split()[0] for name in verdict["done"]}
    assert kinds >= {FaultKind.kill, FaultKind.pause, FaultKind.cut}
    assert verdict["no_small_disks"] is not None or FaultKind.fill_disk in kinds
    shutil.rmtree(home)
