"""A row that is not done in its phase has failed, whatever it ends as later."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import cast

import pytest

from sandbox.audit import BrokenPromise, Promise
from tests.scenarios import playbill
from tests.scenarios.playbill import Playbill
from tests.scenarios.rows import Phase, Row
from tests.scenarios.stage import Stage


class FakeStage:
    """Notes the faults; whoever waits for a phase is let go on when its faults are set."""

    def __init__(self) -> None:
        self.began = {"first": threading.Event(), "second": threading.Event()}

    def set_faults(self, faults: Mapping[str, object]) -> None:
        if "phase" in faults:
            self.began[str(faults["phase"])].set()

    def recover(self) -> None:
        pass


class FakePlayer:
    """A row whose steps name what it waits for: the beginning of a phase, or nothing; `next` is said at its end."""

    def __init__(
        self, row: Row, _phase: Phase, stage: FakeStage, _meetings: object, may_go_on: threading.Event
    ) -> None:
        self.intent = f"pi_{row.name}"
        self._row, self._stage, self._may_go_on = row, stage, may_go_on

    def play(self) -> None:
        for step in self._row.steps:
            assert self._stage.began[step].wait(10)
        self._may_go_on.set()


def row(name: str, *steps: str) -> Row:
    return Row(name=name, route="cardnet", history=(), status="succeeded", steps=steps)


@pytest.fixture(autouse=True)
def _players(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playbill, "Player", FakePlayer)
    monkeypatch.setattr(playbill, "check_end", lambda _player: None)
    monkeypatch.setattr(playbill, "broken_at_rest", lambda _stage: [])
    monkeypatch.setattr(playbill, "_PHASE_SECONDS", 0.2)


def played(*phases: Phase) -> Playbill:
    names = [row.name for phase in phases for row in phase.rows]
    found = Playbill(cast("Stage", FakeStage()), phases, names=names)
    found.play()
    return found


@pytest.mark.parametrize("one_by_one", [False, True])
def test_a_row_that_goes_on_under_the_faults_of_the_next_phase_has_failed(one_by_one: bool) -> None:
    begin = Phase(
        title="first", faults={"phase": "first"}, rows=(row("late", "second"), row("good")), one_by_one=one_by_one
    )
    then = Phase(title="second", faults={"phase": "second"}, rows=(row("other"),))
    found = played(begin, then)
    assert (found.result("good"), found.result("other")) == ("pi_good", "pi_other")
    with pytest.raises(TimeoutError, match="before the next phase"):
        found.result("late")


def test_a_row_beside_may_go_on_until_a_clock_is_advanced() -> None:
    beside = Phase(title="first", faults={"phase": "first"}, rows=(row("beside", "second"),), beside=True)
    then = Phase(title="second", faults={"phase": "second"}, rows=(row("other"),))
    assert played(beside, then).result("beside") == "pi_beside"
    at_rest = Phase(title="second", faults={"phase": "second"}, rows=(row("other"),), at_rest=True)
    with pytest.raises(TimeoutError):
        played(beside, at_rest).result("beside")


def test_all_payments_are_audited_before_the_first_clock_is_advanced(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def broken_at_rest(stage: object) -> list[BrokenPromise]:
        assert isinstance(stage, FakeStage)
        asked.append(stage.began["second"].is_set())
        return [BrokenPromise(promise=Promise.undecided, payment_intent="pi_1", how="is processing")]

    monkeypatch.setattr(playbill, "broken_at_rest", broken_at_rest)
    phases = [
        Phase(title=name, faults={"phase": name}, rows=(row(name),), at_rest=name == "second")
        for name in ("first", "second")
    ]
    assert [one.promise for one in played(*phases).broken_before_time_passed] == [Promise.undecided]
    assert asked == [False]
