"""Bugs are planted where they say, come out again, and never fail to be there in silence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sinks.postgres import merge
from tests.chaos.bugs import BUGS, Bug, Constant, Edit, NoSuchPassage, environment, planted
from tests.chaos.test_bugs_payments import SCHEDULES as OF_PAYMENTS
from tests.chaos.test_bugs_runtime import SCHEDULES as OF_THE_RUNTIME
from tests.chaos.test_bugs_settlement import SCHEDULES as OF_SETTLEMENT

HERE = "tests.chaos.test_planting"


def greeting(name: str) -> str:
    """What the bugs of this test change."""
    if name:
        return "good day"
    return "who is there?"


def bug(*edits: Edit | Constant) -> Bug:
    return Bug(name="test", does="nothing of interest", edits=edits)


def edit(before: str, after: str, *, where: str = f"{HERE}:greeting") -> Edit:
    return Edit(where=where, before=before, after=after)


def test_a_bug_is_there_for_whoever_holds_the_function_and_gone_afterwards() -> None:
    held = greeting
    shouting = edit(
        'if name:\n    return "good day"', 'if name:\n    name = name.upper()\n    return f"good day, {name}"'
    )
    with planted(bug(shouting, edit("who is", "is anybody"))):
        assert held("eve") == "good day, EVE"
        assert held("") == "is anybody there?"
    assert held("eve") == "good day"


def test_nothing_is_planted_where_no_bug_is_named() -> None:
    with planted(None):
        assert greeting("eve") == "good day"
    assert environment(None) == {}


@pytest.mark.parametrize(
    "edits",
    [
        [edit("good night", "good day")],
        [edit("return", "return not")],
        [edit("if", "if not", where=f"{HERE}:no_such_function")],
        [edit("if", "if not", where="topology.kafka.commits:Commits.no_such_method")],
        [edit("x", "y", where="topology.kafka.clients:KafkaConfig")],
        [edit("if name", "if not name"), Constant(where="sinks.postgres.merge:MERGES", before="no such SQL", after="")],
    ],
)
def test_a_bug_that_has_no_place_fails_and_leaves_everything_as_it_was(edits: list[Edit | Constant]) -> None:
    before = merge.MERGES
    with pytest.raises(NoSuchPassage), planted(bug(*edits)):
        pass
    assert greeting("eve") == "good day"
    assert before == merge.MERGES


@pytest.mark.parametrize("name", BUGS)
def test_every_bug_has_its_place_in_the_production_code(name: str) -> None:
    with planted(BUGS[name]):
        pass


def test_every_bug_has_a_schedule() -> None:
    assert len(BUGS) >= 12
    assert {*OF_PAYMENTS, *OF_THE_RUNTIME, *OF_SETTLEMENT, "sink_without_sequence_guard"} == set(BUGS)


def run(name: str, code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.chaos.bugs", name, sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_a_process_that_is_started_with_a_bug_has_it() -> None:
    show = "from topology.kafka.clients import transactional_producer as made; print(made.__code__.co_filename)"
    assert run("no_fencing", show).stdout == "<transactional_producer with a bug>\n"


def test_a_process_whose_bug_has_no_place_ends_before_it_has_begun() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "print('it runs')"],
        env={**environment("no_fencing"), "PAYSTREAM_TEST_BUG": "no_such_bug"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 70
    assert ended.stdout == ""
    assert "no_such_bug" in ended.stderr


def test_a_sitecustomize_that_is_hidden_is_run_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('the other one')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert run("no_fencing", "print('and all else')").stdout == "the other one\n" * 2 + "and all else\n"


def test_an_unknown_bug_is_refused() -> None:
    assert "no such bug" in run("no_such_bug", "").stderr
