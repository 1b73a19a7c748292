"""Commands that are asked until they are done, and imports that are interrupted: on processes that do nothing."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import commands, settling
from tests.chaos.bugs import VARIABLE
from tests.chaos.commands import CommandFailed, insist
from tests.chaos.interrupted import Interruption, interrupted_at, places
from tests.chaos.processes import has_ended
from tests.chaos.settling import import_file
from tests.harness.stack import RunningStack, stands_still

Begun = list[subprocess.Popen[bytes]]


@pytest.fixture
def stack(tmp_path: Path) -> RunningStack:
    """One that is never asked for anything."""
    nobody = subprocess.Popen(["true"])
    nobody.wait()
    return RunningStack(directory=tmp_path, supervisor=nobody, mark="")


def beginning(codes: Iterator[str], begun: Begun) -> Callable[..., subprocess.Popen[bytes]]:
    """In the place of `begin`: each command is the next of these lines of Python."""

    def begin(_stack: RunningStack, _log: Path, *_arguments: str, **_more: str) -> subprocess.Popen[bytes]:
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
    found = insist(stack, tmp_path / "log", "clock", "advance", within_seconds=20.0, done=frozenset({0, 3}))
    assert found == 3
    assert [one.returncode for one in begun] == [3]


def test_a_command_that_is_never_done_fails(
    stack: RunningStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "begin", beginning(itertools.repeat("exit(1)"), []))
    with pytest.raises(CommandFailed, match="paystream settlement import ended with 1"):
        insist(stack, tmp_path / "log", "settlement", "import", within_seconds=0.0)


def interrupted(
    stack: RunningStack, folder: Path, monkeypatch: pytest.MonkeyPatch, code: str, *, by: Interruption
) -> tuple[Interruption | None, list[str], int]:
    """What an import was interrupted by, how the first one was when it was run again, and how that ended."""
    begun: Begun = []
    seen: list[str] = []

    def insist_here(*_given: object, **_more: object) -> None:
        (first,) = begun
        seen.append("stands still" if stands_still(first.pid) else "ended" if has_ended(first.pid) else "goes on")

    monkeypatch.setattr(settling, "begin", beginning(iter([code]), begun))
    monkeypatch.setattr(settling, "insist", insist_here)
    found = import_file(stack, folder / "file.csv", folder / "log", interruption=by, place=2)
    (first,) = begun
    return found, seen, first.returncode


def test_an_import_is_killed_and_run_again(
    stack: RunningStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dies = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    found = interrupted(stack, tmp_path, monkeypatch, dies, by=Interruption.kill)
    assert found == (Interruption.kill, ["ended"], -9)


def test_an_import_is_shut_out_by_another_and_goes_on(
    stack: RunningStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stands = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP); exit(1)"
    found = interrupted(stack, tmp_path, monkeypatch, stands, by=Interruption.shut_out)
    assert found == (Interruption.shut_out, ["stands still"], 1)


@pytest.mark.parametrize("by", Interruption)
def test_one_that_came_to_its_end_was_not_interrupted(
    stack: RunningStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: Interruption
) -> None:
    assert interrupted(stack, tmp_path, monkeypatch, "pass", by=by) == (None, ["ended"], 0)


def what_happens(*, place: int, transactions: int) -> list[str]:
    """Commits, and the interruption among them."""
    happened: list[str] = []
    commit = interrupted_at(
        place,
        lambda of_producer: happened.append(str(of_producer(1.0))),
        lambda: happened.append("interrupted"),
    )
    for _ in range(transactions):
        commit(lambda _seconds: "commit")
    return happened


def test_an_import_is_interrupted_where_some_of_its_lines_are_written_and_some_are_not() -> None:
    assert list(places(10)) == [], "one transaction: all of it or nothing"
    assert list(places(21)) == [2, 3, 4, 5]
    for place in places(21):
        happened = what_happens(place=place, transactions=3)
        assert 0 < happened.index("interrupted") < 3
        assert happened.count("commit") == 3
    assert "interrupted" not in what_happens(place=0, transactions=3)
    in_the_transaction = interrupted_at(3, lambda _commit: None, lambda: pytest.fail("before it commits"))
    in_the_transaction(lambda _seconds: None)
    with pytest.raises(pytest.fail.Exception, match="before it commits"):
        in_the_transaction(lambda _seconds: None)


def test_what_a_command_inherits_is_the_deliberate_bug_and_no_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Described(RunningStack):
        @property
        def description(self) -> dict[str, Any]:
            return dict.fromkeys(("kafka", "postgres", "card_network"), "")

    nobody = subprocess.Popen(["true"])
    nobody.wait()
    monkeypatch.setenv("PAYSTREAM_PARTITIONS", "64")
    monkeypatch.setenv(VARIABLE, "some_bug")
    stack = Described(directory=tmp_path, supervisor=nobody, mark="")
    (tmp_path / "shows.py").write_text("import os; print({n: v for n, v in os.environ.items() if 'PAYSTREAM_' in n})")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    log = tmp_path / "log"
    assert commands.begin(stack, log, module="shows").wait(20) == 0
    assert "some_bug" in log.read_text()
    assert "PARTITIONS" not in log.read_text()
