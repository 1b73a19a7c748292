"""Plays the rows of the table, phase after phase, on one stage; what came of each row is asked for by its name.

Driven by `test_scenarios`.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from tests.scenarios.books import check_end
from tests.scenarios.player import TOGETHER, Player
from tests.scenarios.rendezvous import Rendezvous
from tests.scenarios.rows import Phase, Row
from tests.scenarios.stage import Stage

__all__ = ["Playbill"]

_PHASE_SECONDS = 240.0
_IMPORT = f"{TOGETHER}import"


class Playbill:
    """What was played."""

    def __init__(self, stage: Stage, phases: Sequence[Phase], *, names: Collection[str]) -> None:
        """`names` of the rows that are to be played."""
        self._stage = stage
        self._phases = phases
        self._names = names
        self._outcomes: dict[str, Future[str]] = {}

    def play(self) -> None:
        """All of it; what fails is kept for whoever asks for that row."""
        rows = sum(len(phase.rows) for phase in self._phases)
        with ThreadPoolExecutor(max_workers=rows, thread_name_prefix="row") as pool:
            for phase in self._phases:
                played = [row for row in phase.rows if row.name in self._names]
                if phase.at_rest:
                    wait(self._outcomes.values(), timeout=_PHASE_SECONDS)
                if played:
                    self._stage.set_faults(phase.faults)
                    self._play_phase(phase, played, pool)
                    self._stage.recover()

    def result(self, name: str) -> str:
        """The PaymentIntent that a row was played with; raises what it raised."""
        return self._outcomes[name].result(timeout=0)

    def _play_phase(self, phase: Phase, rows: Sequence[Row], pool: ThreadPoolExecutor) -> None:
        parties = Counter(step for row in rows for step in row.steps if step.startswith(TOGETHER))
        meetings = {step: Rendezvous(count) for step, count in parties.items()}
        begun = []
        for row in rows:
            own = {step: meetings[step] for step in row.steps if step.startswith(TOGETHER)}
            may_go_on = threading.Event()
            if phase.one_by_one:
                self._stage.set_faults(row.faults)
            outcome = self._outcomes[row.name] = pool.submit(self._play_row, row, phase, own, may_go_on)
            begun.append(outcome)
            if phase.one_by_one:
                may_go_on.wait(_PHASE_SECONDS)
                self._stage.set_faults({})
        if phase.beside and _IMPORT in meetings:
            meetings[_IMPORT].wait_until_over(within_seconds=_PHASE_SECONDS)
        else:
            wait(begun, timeout=_PHASE_SECONDS)

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
