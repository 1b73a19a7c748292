"""Plays the rows of the table, phase after phase, on one stage; what came of each row is asked for by its name.

Driven by `test_scenarios`.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from sandbox.audit import BrokenPromise
from tests.scenarios.books import broken_at_rest, check_end
from tests.scenarios.player import Player
from tests.scenarios.rendezvous import Rendezvous
from tests.scenarios.rows import Phase, Row
from tests.scenarios.stage import Stage
from tests.scenarios.steps import TOGETHER

__all__ = ["Playbill"]

_PHASE_SECONDS = 240.0
_IMPORT = f"{TOGETHER}import"


class Playbill:
    """What was played. `broken_before_time_passed`: of all payments, before the first clock was advanced.

    By then no hold of seven days has run out, so that whatever is held for nobody shows.
    """

    broken_before_time_passed: Sequence[BrokenPromise] = ()

    def __init__(self, stage: Stage, phases: Sequence[Phase], *, names: Collection[str]) -> None:
        """`names` of the rows that are to be played."""
        self._stage = stage
        self._phases = phases
        self._names = names
        self._outcomes: dict[str, Future[str]] = {}
        self._late: set[str] = set()

    def play(self) -> None:
        """All of it; what fails is kept for whoever asks for that row."""
        rows = sum(len(phase.rows) for phase in self._phases)
        is_first_at_rest = True
        with ThreadPoolExecutor(max_workers=rows, thread_name_prefix="row") as pool:
            for phase in self._phases:
                played = [row for row in phase.rows if row.name in self._names]
                if not played:
                    continue
                if phase.at_rest:
                    self._wait_for_all(self._outcomes)
                    if is_first_at_rest:
                        self.broken_before_time_passed = broken_at_rest(self._stage)
                    is_first_at_rest = False
                self._stage.set_faults(phase.faults)
                self._play_phase(phase, played, pool)
                self._stage.recover()
            self._wait_for_all(self._outcomes)

    def result(self, name: str) -> str:
        """The PaymentIntent that a row was played with; raises what it raised, and TimeoutError if it came too late.

        Whatever such a row ended as, it went on under faults and clocks that were not meant for it.
        """
        if name in self._late:
            raise TimeoutError(f"it was not done within {_PHASE_SECONDS:.0f} s, or before the next phase began")
        return self._outcomes[name].result(timeout=0)

    def _play_phase(self, phase: Phase, rows: Sequence[Row], pool: ThreadPoolExecutor) -> None:
        parties = Counter(step for row in rows for step in row.steps if step.startswith(TOGETHER))
        meetings = {step: Rendezvous(count) for step, count in parties.items()}
        begun = {}
        for row in rows:
            own = {step: meetings[step] for step in row.steps if step.startswith(TOGETHER)}
            may_go_on = threading.Event()
            if phase.one_by_one:
                self._stage.set_faults(row.faults)
            outcome = self._outcomes[row.name] = pool.submit(self._play_row, row, phase, own, may_go_on)
            begun[row.name] = outcome
            if phase.one_by_one:
                if not may_go_on.wait(_PHASE_SECONDS):
                    self._late.add(row.name)
                self._stage.set_faults({})
        if not phase.beside:
            self._wait_for_all(begun)
        elif _IMPORT in meetings:
            meetings[_IMPORT].wait_until_over(within_seconds=_PHASE_SECONDS)

    def _wait_for_all(self, outcomes: Mapping[str, Future[str]]) -> None:
        """Until all of these rows have ended, for a while; those that have not by then have failed."""
        wait(outcomes.values(), timeout=_PHASE_SECONDS)
        self._late.update(name for name, outcome in outcomes.items() if not outcome.done())

    def _play_row(self, row: Row, phase: Phase, meetings: dict[str, Rendezvous], may_go_on: threading.Event) -> str:
        try:
            player = Player(row, phase, self._stage, meetings, may_go_on)
        except BaseException:
            may_go_on.set()
            for meeting in meetings.values():
                meeting.leave()
            raise
        player.play()
        check_end(player)
        return player.intent
