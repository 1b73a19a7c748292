"""The script that makes the virtual environment, on machines that lack something."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.jars import REPOSITORY

SCRIPT = REPOSITORY / "sandbox" / "make-venv"


def make_venv(directory: Path, *candidates: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CANDIDATES": " ".join(map(str, candidates)), "PYTHON": ""}
    command = ["sh", str(SCRIPT), str(directory)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """A Python for which the modules named in the file `missing` do not exist."""
    program = tmp_path / "python-lacking"
    program.write_text(
        "#!/bin/sh\n"
        f'for module in $(cat {tmp_path}/missing); do case "$2" in *"$module"*) exit 1;; esac; done\n'
        f'exec {sys.executable} "$@"\n'
    )
    program.chmod(0o755)
    return program


def test_the_first_fitting_python_is_taken(tmp_path: Path) -> None:
    made = make_venv(tmp_path / "venv", tmp_path / "no-such-python", Path(sys.executable))
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "venv" / "bin" / "pip").exists()


def test_without_a_fitting_python_one_is_told_what_to_install(tmp_path: Path) -> None:
    made = make_venv(tmp_path / "venv", Path("/bin/false"), tmp_path / "no-such-python")
    assert made.returncode == 1
    assert made.stderr.startswith("Paystream needs Python 3.11 or 3.12, and here is ")
    assert made.stderr.count("\n") == 1


def test_a_python_without_ensurepip_is_given_pip_from_outside(tmp_path: Path, python: Path) -> None:
    (tmp_path / "missing").write_text("ensurepip")
    made = make_venv(tmp_path / "venv", python)
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "venv" / "bin" / "pip").exists()


def test_a_python_that_can_make_none_is_named(tmp_path: Path, python: Path) -> None:
    (tmp_path / "missing").write_text("ensurepip pip")
    made = make_venv(tmp_path / "venv", python)
    assert made.returncode == 1
    assert "apt install python3-venv" in made.stderr
    assert made.stderr.count("\n") == 1
