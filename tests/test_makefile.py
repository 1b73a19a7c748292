"""The Makefile takes a directory of any name."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest


@pytest.mark.parametrize("goal", ["demo", "clean"])
def test_a_directory_with_spaces_stays_one(goal: str) -> None:
    directory = "/nowhere/a b"
    command = ["make", "--dry-run", "--always-make", goal, f"DIRECTORY={directory}"]
    shown = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True).stdout
    words = shlex.split(shown.replace("\\\n", ""), comments=True)
    assert {word.rstrip(";") for word in words if "nowhere" in word} == {directory}
