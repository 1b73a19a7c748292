"""The settlement flow on the test driver: a judge that answers when the test tells it to, and time by hand."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from msgspec.structs import replace
from prometheus_client import REGISTRY

from schemas.partitioner import partition
from schemas.payment import TransactionStatus
from schemas.processing import ClockOffset, ProcessorResult
from schemas.settlement import SettlementLine
from schemas.times import Micros
from schemas.topics import CAPTURES, PROCESSOR_RESULTS, SETTLEMENT_LINES, SETTLEMENTS, TIMERS
from tests.harness.driver import FakeClock, FlowDriver
from tests.topology.settlement.script import START, TRANSACTION, capture, found, line
from topology.settlement import FLOW, Calendars, SettlementSide, build
from topology.settling.findings import Judged, Question

__all__ = ["DAY", "KEY", "SHARD", "FakeJudge", "Rig"]

KEY = f"cardnet:{TRANSACTION}"
SHARD = partition(KEY, 4)
DAY = 86_400.0


class FakeJudge:
    """Keeps the questions; the test answers them, oldest first."""

    def __init__(self) -> None:
        self.asked: deque[Question] = deque()
        self.answered: deque[tuple[Question, Judged]] = deque()

    def start(self) -> None:
        """Ready."""

    def submit(self, questions: Sequence[Question]) -> None:
        self.asked.extend(questions)

    def answer(self, known: str) -> None:
        """The read model says this to the oldest question."""
        question = self.asked.popleft()
        self.answered.append((question, Judged(question.asked, question.due_at, found(known))))

    def take(self, limit: int) -> list[tuple[Question, Judged]]:
        return [self.answered.popleft() for _ in range(min(limit, len(self.answered)))]

    def waiting(self) -> int:
        return len(self.asked)

    def close(self) -> None:
        self.asked.clear()
        self.answered.clear()


class Rig:
    """Flow, side, judge and clock; `livemode` is that of its captures."""

    def __init__(self, *, livemode: bool = True, test_clock: bool = False) -> None:
        self.judge = FakeJudge()
        self.clock = FakeClock(START)
        self.side = SettlementSide(self.judge, Calendars(), partitions=4, clock=self.clock, test_clock=test_clock)
        self.livemode = livemode
        self.driver = FlowDriver(FLOW, build, side=self.side, clock=self.clock)

    def capture(self, status: TransactionStatus = TransactionStatus.succeeded, *, lost: bool = False) -> None:
        self.driver.pipe(CAPTURES, replace(capture(status, at=self.clock.now()), livemode=self.livemode), lost=lost)

    def line(self, *lines: SettlementLine, lost: bool = False) -> None:
        self.driver.pipe(SETTLEMENT_LINES, *(lines or (line(),)), lost=lost)

    def known(self, known: str, *, lost: bool = False) -> None:
        """The read model answers, and the flow hears of it."""
        self.judge.answer(known)
        self.driver.settle(lost=lost)

    def advance_clock(self, total_seconds: float, *, at: Micros | None = None, lost: bool = False) -> None:
        """A second later, advance the test clock of the capture's shard to so far ahead in all, as a command does it.

        `at`: when that was, where it comes to the flow later.
        """
        self.clock.advance(1)
        offset = ClockOffset(offset_micros=round(total_seconds * 1_000_000), actor_id="ada", at=at or self.clock.now())
        self.driver.pipe_to(TIMERS, SHARD, offset, lost=lost)
        self.driver.settle()

    def outcomes(self) -> list[str]:
        """What was written since the last time."""
        return [settlement.outcome for settlement in self.driver.read(SETTLEMENTS)]

    def results(self) -> list[ProcessorResult]:
        return self.driver.read(PROCESSOR_RESULTS)

    def restart(self) -> None:
        """The process dies, another takes over, and goes through what it restored."""
        self.driver.crash()
        self.driver.settle()

    def gauge(self, name: str) -> float:
        value = REGISTRY.get_sample_value(name)
        assert value is not None
        return value
