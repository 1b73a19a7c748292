"""Rolls by hand, with figures: `python -m tests.upgrade`, or `python -m tests.upgrade --back` from new to old."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.upgrade.roll import BACK, UPGRADE, roll
from tests.upgrade.version import ROOT, Version, base_commit, extract


def main() -> None:
    """Run as a program; exits with 1 on any finding."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--back", action="store_true", help="from the new version to the old one")
    parser.add_argument("--base", default=base_commit(), help="the old version's commit (%(default)s)")
    given = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="paystream-upgrade-"))
    tree = directory / "old"
    tree.mkdir()
    old, new = extract(given.base, tree), Version(name="new", tree=ROOT)
    if given.back:
        outcome = roll(BACK, former=new, latter=old, directory=directory)
    else:
        outcome = roll(UPGRADE, former=old, latter=new, directory=directory)
    for step, seconds in outcome.seconds.items():
        print(f"{seconds:6.1f} s  {step}")
    for finding in outcome.findings:
        print(finding)
    print(f"{outcome.payments} payments, heard {dict(outcome.heard)}, {len(outcome.findings)} findings; {directory}")
    sys.exit(1 if outcome.findings else 0)


if __name__ == "__main__":
    main()
