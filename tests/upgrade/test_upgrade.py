"""Old and new version side by side: what has been paid stays paid, and nobody is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.upgrade.roll import UPGRADE, roll
from tests.upgrade.version import ROOT, Version, base_commit, extract


@pytest.mark.timeout(900)
def test_a_rolling_upgrade_loses_nothing_and_refuses_nothing(tmp_path: Path) -> None:
    tree = tmp_path / "old"
    tree.mkdir()
    old, new = extract(base_commit(), tree), Version(name="new", tree=ROOT)
    outcome = roll(UPGRADE, former=old, latter=new, directory=tmp_path)
    assert not outcome.findings, "\n".join(outcome.findings)
    assert outcome.payments
