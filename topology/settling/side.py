"""Joins windows and the read model to the settlement flow: brings in what is due and judged, asks what has committed.

All methods are called by the dataflow's thread (`topology.kafka.Side`). After a restore the store is gone through bit
by bit while the flow runs already: it may hold millions of captures that wait for nothing but their line.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future

from schemas.partitioner import partition as partition_of
from schemas.settlement import Capture, OpenCapture
from topology.kafka import Clock, StateStore, WallClock
from topology.settling.findings import Question, about_line
from topology.settling.judge import Judge
from topology.settling.matching import Due
from topology.settling.metrics import LINES_WAITING, OLDEST_OPEN_SECONDS, OPEN_CAPTURES
from topology.settling.open_windows import ClockedWindows
from topology.settling.windows import Calendars
from topology.test_clock import ShardClocks, is_clock_key

__all__ = ["SettlementSide"]

_GONE_THROUGH_AT_ONCE = 500
# A million lines may wait while PostgreSQL is away: beyond so many questions only their keys are kept here.
_QUESTIONS_MAX = 10_000


class SettlementSide:
    """The side of the settlement flow (`topology.kafka.Side`). `partitions` is that of the topics.

    `clock` says when a window has ended; it has to be the flow's own. `test_clock`: whether the clock of payments in
    test mode may be advanced (`clocks`).
    """

    def __init__(
        self,
        judge: Judge,
        calendars: Calendars,
        *,
        partitions: int,
        clock: Clock | None = None,
        test_clock: bool = False,
    ) -> None:
        self.calendars = calendars
        self.partitions = partitions
        self._judge = judge
        self._clock: Clock = clock or WallClock()
        self._test_clock = test_clock
        self._begin(StateStore())

    def watch(self, key: str, shard: int, before: OpenCapture | None, after: OpenCapture | None) -> None:
        """This is what waits under a key now. A capture that is asked about is not due again."""
        if before == after:
            return
        if before is not None and (capture := _awaited(before)) is not None:
            self._windows.remove(key, clock=_clock_of(capture, shard), due_at=before.due_at)
        self._await(key, shard, after)

    def restored(self, store: StateStore, shards: tuple[int, ...]) -> None:
        """Begin to go through the store."""
        self._begin(store)
        self._not_gone_through.extend(key for key, _value in store.items() if not is_clock_key(key))
        self._judge.start()

    def drain(self, limit: int) -> list[tuple[str, int, object]]:
        """What has been judged, then whose window has ended."""
        if self._stopping:
            return []
        self._go_through()
        self._ask()
        drained: list[tuple[str, int, object]] = [
            (question.key, question.partition, judged) for question, judged in self._judge.take(limit)
        ]
        if self._judge.waiting() < _QUESTIONS_MAX:
            due = self._windows.take_due(self.clocks.now_of(self._clock.now()), limit - len(drained))
            drained.extend((key, partition_of(key, self.partitions), Due(now)) for key, now in due)
        self._report()
        return drained

    def is_full(self) -> bool:
        """Never: what waits is state that the flow keeps anyway."""
        return False

    def committed(self, effects: list[object]) -> None:
        """What these questions are about stands in the changelog: ask, now or in its turn."""
        if self._stopping:
            return
        now: list[Question] = []
        free = _QUESTIONS_MAX - self._judge.waiting()
        for effect in effects:
            assert isinstance(effect, Question)
            if effect.asked.settlement_id is None or (len(now) < free and not self._lines_to_ask):
                now.append(effect)
            else:
                self._lines_to_ask.append(effect.key)
        self._judge.submit(now)

    def work(self, seconds: float | None, until: Future[None] | None = None) -> None:
        """Nothing: who judges has a thread of its own."""

    def stop(self) -> None:
        """Nothing more comes in. What was asked is asked again by whoever takes over."""
        self._stopping = True

    def leave(self) -> None:
        """The same."""
        self.stop()

    def idle(self) -> bool:
        """Always: a question leaves nothing behind."""
        return True

    def close(self) -> None:
        """Abandon all questions."""
        self._judge.close()

    def _begin(self, store: StateStore) -> None:
        """Know nothing but what is in the store."""
        self._store = store
        self.clocks = ShardClocks(store, allowed=self._test_clock)
        self._windows = ClockedWindows()
        self._not_gone_through: deque[str] = deque()
        self._lines_to_ask: deque[str] = deque()
        self._stopping = False

    def _await(self, key: str, shard: int, kept: OpenCapture | None) -> None:
        if kept is not None and (capture := _awaited(kept)) is not None:
            clock = _clock_of(capture, shard)
            self._windows.add(key, clock=clock, due_at=kept.due_at, captured_at=capture.at)

    def _go_through(self) -> None:
        """A part of the restored store: when captures are due, and which lines wait that have to ask."""
        for _ in range(min(_GONE_THROUGH_AT_ONCE, len(self._not_gone_through))):
            key = self._not_gone_through.popleft()
            partition = partition_of(key, self.partitions)
            kept = self._store.load(key, OpenCapture, partition=partition)
            if kept is None:
                continue
            self._await(key, partition, kept)
            if kept.line is not None:
                self._lines_to_ask.append(key)

    def _ask(self) -> None:
        """As much as the judge may be asked at once, for the lines whose turn it is, if they wait still."""
        questions: list[Question] = []
        free = min(_GONE_THROUGH_AT_ONCE, _QUESTIONS_MAX - self._judge.waiting())
        while self._lines_to_ask and len(questions) < free:
            key = self._lines_to_ask.popleft()
            partition = partition_of(key, self.partitions)
            kept = self._store.load(key, OpenCapture, partition=partition)
            if kept is not None and kept.line is not None:
                asked = about_line(kept.line)
                questions.append(Question(key=key, partition=partition, asked=asked, due_at=kept.due_at))
        if questions:
            self._judge.submit(questions)

    def _report(self) -> None:
        OPEN_CAPTURES.set(len(self._windows))
        LINES_WAITING.set(self._judge.waiting() + len(self._lines_to_ask))
        first = self._windows.oldest_at()
        OLDEST_OPEN_SECONDS.set(0.0 if first is None else max(0.0, (self._clock.now() - first) / 1_000_000))


def _awaited(kept: OpenCapture) -> Capture | None:
    """The capture that waits for its line; None where none does."""
    return kept.capture if kept.line is None else None


def _clock_of(capture: Capture, shard: int) -> int | None:
    """The clock that its window goes by, as in `ClockedWindows`."""
    return None if capture.livemode else shard
