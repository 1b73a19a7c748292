"""Asks the read model, off the dataflow's thread: questions in, judgements out, in batches.

A question may be asked once the read model has come past everything that was in the log when it arose: all events, for
a payment that it does not know then did not exist; and all settlements, for what its Transaction was settled by stands
there. With PostgreSQL away questions wait; they lie in the changelog too, as the lines and captures that ask. Driven by
`topology.settling.side`.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from itertools import takewhile
from typing import Protocol

from schemas.times import Micros, later
from sinks.postgres import Asked, Finding, ReadModelUnavailable
from topology.kafka import Clock, WallClock
from topology.settling.findings import Judged, Question

__all__ = ["Judge", "ReadModelJudge", "Reader"]

log = logging.getLogger("paystream.settlement")

_BATCH = 500
_ASK_AGAIN_SECONDS = 0.5
_RETRY_SECONDS = 2.0
_END_SECONDS_MAX = 30.0
# The read model's watermark is by the clocks of brokers and of its own process; a question's moment by ours.
_CLOCKS_APART_SECONDS = 2.0


class Reader(Protocol):
    """What is asked of the read model (`sinks.postgres.SettlementReader`)."""

    def watermark(self, *, partitions: int) -> Micros | None:
        """Up to when all events and settlements are in it; None where it has not begun with one of the partitions."""

    def find(self, asked: Sequence[Asked]) -> list[Finding]:
        """What it knows about each, in their order."""

    def close(self) -> None:
        """Let the connection go."""


class Judge(Protocol):
    """What the side needs of a judge; tests have one that answers when they tell it to."""

    def start(self) -> None:
        """Be ready for questions."""

    def submit(self, questions: Sequence[Question]) -> None:
        """Ask these, of which all that led to them has committed."""

    def take(self, limit: int) -> list[tuple[Question, Judged]]:
        """What has been answered since the last call, oldest first."""

    def waiting(self) -> int:
        """How many have not been answered."""

    def close(self) -> None:
        """Abandon all questions."""


class ReadModelJudge:
    """The judge on a thread of its own. Started and closed once per run of a flow; may be started again after that.

    `wall` is the clock of records and watermarks, whatever the flow's own clock says in test mode.
    """

    def __init__(self, reader: Reader, *, partitions: int, wall: Clock | None = None) -> None:
        self._reader = reader
        self._partitions = partitions
        self._wall: Clock = wall or WallClock()
        self._asked: deque[tuple[Micros, Question]] = deque()
        self._answered: deque[tuple[Question, Judged]] = deque()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def start(self) -> None:
        """Start the thread."""
        assert self._thread is None, "already running"
        # Another, so that a thread of the run before, which has not ended yet, ends all the same.
        self._end = threading.Event()
        arguments = (self._end, self._asked, self._answered)
        self._thread = threading.Thread(target=self._run, args=arguments, name="settlement-judge", daemon=True)
        self._thread.start()

    def submit(self, questions: Sequence[Question]) -> None:
        """Ask these once the read model has come past this moment."""
        moment = later(self._wall.now(), seconds=_CLOCKS_APART_SECONDS)
        self._asked.extend((moment, question) for question in questions)

    def take(self, limit: int) -> list[tuple[Question, Judged]]:
        """What has been answered; raises if the thread has died, because then nothing ever will be."""
        if self._failure is not None:
            raise RuntimeError("the judge of settlement has died") from self._failure
        return [self._answered.popleft() for _ in range(min(limit, len(self._answered)))]

    def waiting(self) -> int:
        """How many questions have no answer yet."""
        return len(self._asked)

    def close(self) -> None:
        """End the thread; what was not answered is asked again by whoever takes over."""
        if self._thread is None:
            return
        self._end.set()
        self._thread.join(_END_SECONDS_MAX)
        if self._thread.is_alive():
            log.error("the judge did not end in %.0f s", _END_SECONDS_MAX)
        self._thread = self._failure = None
        # Others, so that a thread which has not ended yet cannot answer what is asked in the next run.
        self._asked, self._answered = deque(), deque()

    # From here on: the thread.

    def _run(
        self,
        end: threading.Event,
        asked: deque[tuple[Micros, Question]],
        answered: deque[tuple[Question, Judged]],
    ) -> None:
        try:
            while not end.wait(self._round(asked, answered)):
                pass
        except BaseException as error:
            log.exception("the judge has died")
            if end is self._end:
                self._failure = error
        finally:
            self._reader.close()

    def _round(self, asked: deque[tuple[Micros, Question]], answered: deque[tuple[Question, Judged]]) -> float:
        """Answer what can be answered; for how many seconds to rest then."""
        if not asked:
            return _ASK_AGAIN_SECONDS
        try:
            return self._answer(asked, answered)
        except ReadModelUnavailable as error:
            log.warning("%d questions wait for the read model: %s", len(asked), error)
            return _RETRY_SECONDS

    def _answer(self, asked: deque[tuple[Micros, Question]], answered: deque[tuple[Question, Judged]]) -> float:
        watermark = self._reader.watermark(partitions=self._partitions)
        if watermark is None:
            return _ASK_AGAIN_SECONDS
        # In their order, up to the first that has to wait: a clock that was set back may have put an earlier one after.
        first = (asked[number] for number in range(min(_BATCH, len(asked))))
        questions = [question for _moment, question in takewhile(lambda pair: pair[0] <= watermark, first)]
        if not questions:
            return _ASK_AGAIN_SECONDS
        findings = self._reader.find([question.asked for question in questions])
        for question, finding in zip(questions, findings, strict=True):
            answered.append((question, Judged(question.asked, question.due_at, finding)))
            asked.popleft()
        return 0.0
