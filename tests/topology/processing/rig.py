"""The processing flow on the test driver, with an engine that calls nobody: the test answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from msgspec.structs import replace

from schemas.identifiers import PaymentIntentId, TransactionId
from schemas.payment import PaymentEvent, PaymentIntent, Transaction
from schemas.processing import CallKind, InFlight, InFlightCall, Outcome, ProcessorResult
from schemas.topics import EVENTS, PROCESSOR_RESULTS
from tests.harness.driver import FakeClock, FlowDriver
from tests.topology.domain.script import START, Payment
from topology.calls.engine import FinishedCall, Order
from topology.processing import FLOW, ProcessingConfig, ProcessingSide, build
from topology.processors import Answer, Call, Capabilities, Cause, Departure, Lease

__all__ = [
    "APPROVED",
    "DEDUPLICATES",
    "BootClock",
    "FakeEngine",
    "Rig",
    "StubProcessor",
    "not_sent",
    "renamed",
    "unknown",
]

APPROVED = Answer(outcome=Outcome.approved, amount_minor=1_000, currency="usd", processor_reference="cn_1")
DEDUPLICATES = Capabilities(
    deduplicates=frozenset({CallKind.authorize, CallKind.capture, CallKind.void}),
    lookup=True,
    deduplication_seconds=86_400.0,
    longest_hold_seconds=7 * 86_400,
)


def not_sent(cause: Cause = Cause.no_connection) -> Answer:
    return Answer(outcome=Outcome.not_sent, code=cause)


def unknown(cause: Cause = Cause.timed_out) -> Answer:
    return Answer(outcome=Outcome.unknown, code=cause)


class BootClock:
    """The clock that runs through a suspend, by hand."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


class StubProcessor:
    """A processor that is never called; only its name, its promises (None: it has not said) and what it prepares."""

    def __init__(self, name: str, capabilities: Capabilities | None = DEDUPLICATES) -> None:
        self.name = name
        self.capabilities = capabilities
        self.prepares: Callable[[InFlightCall, Lease], Mapping[str, str]] = lambda _asked, _lease: {}

    def prepare(self, asked: InFlightCall, lease: Lease) -> Mapping[str, str]:
        return self.prepares(asked, lease)

    async def open(self) -> None:
        raise AssertionError

    async def close(self) -> None:
        raise AssertionError

    async def authorize(self, call: Call, departure: Departure) -> Answer:
        raise AssertionError

    capture = void = lookup = authorize


class FakeEngine:
    """Keeps the orders it gets; the test finishes them."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.running: list[Order] = []
        self.held_back: Cause | None = None
        self.running_since_start = False
        self._finished: list[FinishedCall] = []

    def start(self) -> None:
        assert not self.running_since_start
        self.running_since_start = True
        self.running, self._finished, self.held_back = [], [], None

    def submit(self, orders: Sequence[Order]) -> None:
        assert self.running_since_start
        self.orders.extend(orders)
        self.running.extend(orders)

    def take(self, limit: int) -> list[FinishedCall]:
        taken, self._finished = self._finished[:limit], self._finished[limit:]
        return taken

    def work(self, seconds: float | None, until: Future[None] | None = None) -> None:
        """Nothing goes on by itself."""

    def hold_back(self, cause: Cause) -> None:
        self.held_back = cause

    def close(self) -> None:
        self.running_since_start = False
        self.running, self._finished = [], []

    def finish(self, answer: Answer, order: Order | None = None) -> Order:
        """The oldest running call (or this one) ends with this answer."""
        order = order or self.running[0]
        self.running.remove(order)
        self._finished.append(FinishedCall(order, answer))
        return order


class Rig:
    """Flow, side, engine and clocks; `tell` gives the flow the events of one payment as it goes on."""

    def __init__(
        self,
        *,
        capabilities: Capabilities = DEDUPLICATES,
        config: ProcessingConfig | None = None,
        processors: tuple[str, ...] = ("a", "b"),
        silent: tuple[str, ...] = (),
        payment: Payment | None = None,
    ) -> None:
        self.engine = FakeEngine()
        self.boot = BootClock()
        self.clock = FakeClock(START)
        self.processors = {name: StubProcessor(name, None if name in silent else capabilities) for name in processors}
        self.side = ProcessingSide(
            list(self.processors.values()),
            config or ProcessingConfig(),
            partitions=4,
            engine=self.engine,
            boot_seconds=self.boot,
        )
        self.driver = FlowDriver(FLOW, build, side=self.side, clock=self.clock)
        self.payment = payment or Payment()
        self._told = 0

    def tell(self, *steps: str, lost: bool = False) -> list[PaymentEvent]:
        """Go on with the payment, and give its new events to the flow."""
        self.payment.tell(*steps)
        events = self.payment.events[self._told :]
        self.clock.at = max(self.clock.at, self.payment.now)
        if not lost:
            self._told = len(self.payment.events)
        self.driver.pipe(EVENTS, *events, lost=lost)
        return events

    def pipe(self, *events: PaymentEvent) -> None:
        self.driver.pipe(EVENTS, *events)

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks, and run an epoch."""
        self.boot.seconds += seconds
        self.driver.advance(seconds)

    def answer(self, answer: Answer, order: Order | None = None, *, lost: bool = False) -> None:
        """The oldest running call ends, and the flow learns of it."""
        self.engine.finish(answer, order)
        self.driver.settle(lost=lost)

    def crash(self) -> None:
        self.driver.crash()

    def successor(self, **settings: Any) -> Rig:
        """The process that takes over from this one."""
        self.side.close()
        other = Rig(payment=self.payment, **settings)
        other.clock.at, other._told, other.driver.log = self.clock.at, self._told, self.driver.log
        other.driver._read_up_to = self.driver._read_up_to
        other.crash()
        other.driver.settle()
        other.driver.settle()
        return other

    def results(self) -> list[ProcessorResult]:
        """What was written since the last time."""
        return self.driver.read(PROCESSOR_RESULTS)

    def said(self) -> list[tuple[str, str, str | None]]:
        """The same in short: call, outcome, code."""
        return [(result.call, result.outcome, result.code) for result in self.results()]

    def calls(self) -> tuple[InFlightCall, ...]:
        """The entries of the payment."""
        state: Any = self.driver.state(self.payment.intent.id)
        if state is None:
            return ()
        assert isinstance(state, InFlight)
        return state.calls

    def call(self) -> InFlightCall:
        """The only entry."""
        (call,) = self.calls()
        return call


def renamed(event: PaymentEvent, number: int, *, processor: str | None = None) -> PaymentEvent:
    """The same event of another payment."""

    def new_id(transaction_id: TransactionId | None) -> TransactionId | None:
        if transaction_id is None:
            return None
        return TransactionId("tx_" + hashlib.sha256(f"{number} {transaction_id}".encode()).hexdigest()[:32])

    def transaction(before: Transaction) -> Transaction:
        renamed_id = new_id(before.id)
        assert renamed_id is not None
        return replace(
            before,
            id=renamed_id,
            authorization_id=new_id(before.authorization_id),
            processor=processor or before.processor,
        )

    intent: PaymentIntent = replace(
        event.payment_intent,
        id=PaymentIntentId(f"pi_{number:032x}"),
        transactions=tuple(transaction(each) for each in event.payment_intent.transactions),
    )
    concerned = None if event.transaction is None else transaction(event.transaction)
    return replace(event, payment_intent=intent, transaction=concerned)
