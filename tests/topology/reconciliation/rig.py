"""The reconciliation flow on the test driver: an engine that asks nobody, the test answers, time is by hand."""

from __future__ import annotations

from typing import Any

from schemas.partitioner import partition
from schemas.processing import ClockOffset, Outcome, Pending, ProcessorResult, TimerFired
from schemas.times import Micros
from schemas.topics import EVENTS, PROCESSOR_RESULTS, TIMERS
from tests.harness.driver import FakeClock, FlowDriver
from tests.topology.domain.script import START, Payment
from tests.topology.processing.rig import DEDUPLICATES, FakeEngine, StubProcessor
from topology.calls.engine import Order
from topology.processors import Answer, Capabilities, Cause
from topology.reconciliation import FLOW, ReconciliationSide, ReconciliationTimes, build

__all__ = ["APPROVED", "DAY", "HOUR", "MINUTE", "NOT_FOUND", "NO_ANSWER", "Rig"]

MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
APPROVED = Answer(outcome=Outcome.approved, amount_minor=1_000, currency="usd", processor_reference="cn_1")
NOT_FOUND = Answer(outcome=Outcome.not_found)
NO_ANSWER = Answer(outcome=Outcome.unknown, code=Cause.timed_out)


class Rig:
    """Flow, side, engine and clock, and one payment whose events the flow is told."""

    def __init__(
        self,
        *,
        capabilities: Capabilities | None = DEDUPLICATES,
        payment: Payment | None = None,
        times: ReconciliationTimes | None = None,
        lookups_max: int = 100,
        processors: tuple[str, ...] = ("a", "b"),
        test_clock: bool = False,
    ) -> None:
        self.engine = FakeEngine()
        self.clock = FakeClock(START)
        self.processors = {name: StubProcessor(name, capabilities) for name in processors}
        self.side = ReconciliationSide(
            list(self.processors.values()),
            times or ReconciliationTimes(),
            partitions=4,
            lookups_max=lookups_max,
            clock=self.clock,
            engine=self.engine,
            test_clock=test_clock,
        )
        self.driver = FlowDriver(FLOW, build, side=self.side, clock=self.clock)
        self.payment = payment or Payment(route=("a",))
        self._told = 0

    def tell(self, *steps: str) -> Rig:
        """Go on with the payment, a second for each step, and give its new events to the flow."""
        self.payment.now = self.clock.at
        self.payment.tell(*steps)
        self.clock.at = self.payment.now
        self.pipe()
        return self

    def pipe(self) -> None:
        """Give the flow the events that it has not been told."""
        events = self.payment.events[self._told :]
        self._told = len(self.payment.events)
        self.driver.pipe(EVENTS, *events)

    def advance(self, seconds: float) -> None:
        self.driver.advance(seconds)

    def advance_to(self, moment: Micros, seconds: float) -> None:
        """Let time pass until that many seconds after a moment."""
        self.driver.advance((moment - self.clock.at) / 1_000_000 + seconds)

    def advance_clock(self, total_seconds: float, *, lost: bool = False) -> None:
        """Advance the test clock of the payment's shard to so far ahead in all, as a command does it."""
        offset = ClockOffset(offset_micros=round(total_seconds * 1_000_000), actor_id="ada", at=self.clock.now())
        self.driver.pipe_to(TIMERS, self.shard, offset, lost=lost)
        self.driver.settle()

    @property
    def shard(self) -> int:
        """Where the payment lies."""
        return partition(self.payment.intent.id, 4)

    def answer(self, answer: Answer) -> Order:
        """The oldest look-up under way ends, and the flow learns of it."""
        order = self.engine.finish(answer)
        self.driver.settle()
        return order

    def feed(self) -> list[str]:
        """Give the fold what the flow wrote, and the flow the events that come of it; what was written, in short."""
        written: list[TimerFired | ProcessorResult] = [*self.driver.read(PROCESSOR_RESULTS), *self.driver.read(TIMERS)]
        for record in written:
            self.payment.give(record)
        self.pipe()
        return [_short(record) for record in written]

    def fired(self) -> list[str]:
        """The timers written since the last time."""
        return [_short(record) for record in self.driver.read(TIMERS)]

    def results(self) -> list[ProcessorResult]:
        return self.driver.read(PROCESSOR_RESULTS)

    def looking_up(self) -> list[str]:
        """Whose look-ups are under way, by kind."""
        return [order.asked.call for order in self.engine.running]

    def pending(self) -> Pending | None:
        state: Any = self.driver.state(self.payment.intent.id)
        assert state is None or isinstance(state, Pending)
        return state

    def timers(self) -> list[str]:
        """The names of the timers that are set."""
        pending = self.pending()
        return [] if pending is None else sorted(timer.name for timer in pending.timers)

    def restart(self) -> None:
        """The process dies and another takes over."""
        self.driver.crash()
        self.driver.settle()


def _short(record: TimerFired | ProcessorResult) -> str:
    if isinstance(record, TimerFired):
        return record.name if record.name != "ladder" else f"ladder {record.step}"
    return f"{record.call} {record.outcome}"
