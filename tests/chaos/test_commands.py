"""Commands that are asked until they are done, and imports that are interrupted: on processes that do nothing."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos import commands, settling
from tests.chaos.commands import CommandFailed, insist
from tests.chaos.processes import has_ended, stands_still, until
from tests.chaos.settling import Interruption, import_file
from tests.harness.stack import RunningStack

Begun = list[subprocess.Popen[bytes]]


@pytest.fixture
def stack(tmp_path: Path) -> RunningStack:
    """One that is never asked for anything."""
    nobody = subprocess.Popen(["true"])
    nobody.wait()
    return RunningStack(directory=tmp_path, supervisor=nobody, mark="")


def beginning(codes: Iterator[str], begun: Begun) -> Callable[..., subprocess.Popen[bytes]]:
    """In the place of `begin`: each command is the next of these lines of Python."""

    def begin(_stack: RunningStack, _log: Path, *_arguments: str) -> subprocess.Popen[bytes]:
        begun.append(subprocess.Popen([sys.executable, "-c", next(codes)]))
        return begun[-1]

    return begin


def test_a_command_is_asked_until_it_is_done(
    stack: RunningStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "_PAUSE_SECONDS", 0.0)
    begun: Begun = []
    monkeypatch.setattr(commands, "begin", beginning(iter(["exit(1)", "exit(3)", "exit(0)"]), begun))
    insist(stack, tmp_path / "log", "settlement", "import", within_seconds=20.0)
    assert [one.returncode for one in begun] == [1, 3, 0]


def test_another_code_may_do(stack: RunningStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: Begun = []
    monkeypatch.setattr(commands, "begin", beginning(iter(["exit(3)"]), begun))
    insist(stack, tmp_path / "log", "clock", "advance", within_seconds=20.0, done=frozenset({0, 3}))
    assert [one.returncode for one in begun] == [3]


def test_a_command_that_is_never_done_fails(
    stack: RunningStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "begin", beginning(itertools.repeat("exit(1)"), []))
    with pytest.raises(CommandFailed, match="paystream settlement import ended with 1"):
        insist(stack, tmp_path / "log", "settlement", "import", within_seconds=0.0)


def interrupted(
    stack: RunningStack, folder: Path, monkeypatch: pytest.MonkeyPatch, code: str, *, by: Interruption
) -> tuple[Interruption | None, list[str]]:
    """What an import was interrupted by, and how the first one was while it was run again."""
    begun: Begun = []
    seen: list[str] = []

    def insist_here(*_given: object, **_more: object) -> None:
        (first,) = begun
        is_still = until(lambda: stands_still(first.pid) or has_ended(first.pid), seconds=5)
        seen.append("ended" if is_still and not stands_still(first.pid) else "stands still")

    monkeypatch.setattr(settling, "begin", beginning(iter([code]), begun))
    monkeypatch.setattr(settling, "insist", insist_here)
    found = import_file(stack, folder / "file.csv", folder / "log", interruption=by, after_seconds=0.5)
    (first,) = begun
    assert first.returncode is not None, "nothing is left"
    return found, seen


def test_an_import_is_killed_and_run_again(
    stack: RunningStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeper = "import time; time.sleep(60)"
    found = interrupted(stack, tmp_path, monkeypatch, sleeper, by=Interruption.kill)
    assert found == (Interruption.kill, ["ended"])


def test_an_import_is_shut_out_by_another_and_goes_on(
    stack: RunningStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeper = "import time; time.sleep(2)"
    found = interrupted(stack, tmp_path, monkeypatch, sleeper, by=Interruption.shut_out)
    assert found == (Interruption.shut_out, ["stands still"])


@pytest.mark.parametrize("by", Interruption)
def test_one_that_had_ended_was_not_interrupted(
    stack: RunningStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: Interruption
) -> None:
    assert interrupted(stack, tmp_path, monkeypatch, "pass", by=by) == (None, ["ended"])
