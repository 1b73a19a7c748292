"""A world by seed: three flows on one log, merchants, a network, a read model that lags, and crashes at any epoch.

Every step is drawn from the seed's generator, so a failing seed is a failing history, each time. The flows are the real
ones on Bytewax (`tests.harness.driver`); the log, the clock, the network and the merchants are simulated. What comes of
it is judged by the checker of the chaos suite.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable

from schemas.codec import Record
from schemas.commands import (
    Authorize,
    CancelPaymentIntent,
    CapturePayment,
    CommandBody,
    CreatePaymentIntent,
    PaymentCommand,
    ReturnFromChallenge,
    VoidPayment,
)
from schemas.identifiers import CommandId, MerchantId, PaymentIntentId, TransactionId, payment_intent_id
from schemas.partitioner import partition
from schemas.payment import Actor, ActorType, CaptureMethod, PaymentEvent
from schemas.processing import CallKind
from schemas.times import Micros, later
from schemas.topics import COMMANDS, DEAD_LETTERS, EVENTS, PROCESSOR_RESULTS, TIMERS
from tests.chaos.checker import check
from tests.chaos.collect import step_of
from tests.chaos.evidence import Evidence, Row
from tests.harness.driver import FakeClock, FlowDriver
from tests.simulation.network import Wires
from tests.topology.processing.rig import BootClock, FakeEngine, StubProcessor
from topology import payments, processing, reconciliation
from topology.processors import Capabilities

__all__ = ["World"]

MERCHANT = MerchantId("mer_a")
PARTITIONS = 2
FORGET_AFTER_SECONDS = 60.0
_STEPS = 250
_HORIZON_SECONDS = 40 * 86_400.0
_HEALING_STEPS_MAX = 400


class _Flow:
    """A flow and how far it has read each of its topics."""

    def __init__(self, driver: FlowDriver, engine: FakeEngine | None) -> None:
        self.driver = driver
        self.engine = engine
        self.read_up_to: defaultdict[str, int] = defaultdict(int)


class World:
    """Everything that a seed needs."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.clock = FakeClock()
        self.boot = BootClock()
        deduplicated = {CallKind.capture, CallKind.void} | (
            {CallKind.authorize} if self.chance.random() < 0.5 else set()
        )
        self.wires = Wires(self.chance, self.clock, deduplicates=CallKind.authorize in deduplicated)
        promised = Capabilities(
            deduplicates=frozenset(deduplicated),
            lookup=True,
            deduplication_seconds=86_400.0,
            longest_hold_seconds=7 * 86_400,
        )
        self.log: defaultdict[str, list[Record]] = defaultdict(list)
        self.flows = self._make_flows(promised)
        self.read_model_up_to = 0
        self.intents = [
            payment_intent_id(merchant_id=MERCHANT, livemode=False, idempotency_key=f"{seed}-{number}")
            for number in range(8)
        ]
        self._commands = self._asked = 0

    def run(self) -> list[str]:
        """Live through the seed, heal, and hear the checker's findings."""
        moves: list[tuple[int, Callable[[], None]]] = [
            (30, self._a_flow_reads),
            (12, self._a_merchant_asks),
            (16, self._a_call_ends),
            (4, self._time_passes),
            (3, self._a_flow_dies),
            (2, self.wires.customer),
            (8, self._the_read_model_goes_on),
        ]
        weights, actions = [weight for weight, _ in moves], [action for _, action in moves]
        for _ in range(_STEPS):
            (action,) = self.chance.choices(actions, weights)
            action()
        self._heal()
        return check(self._evidence())

    def _make_flows(self, promised: Capabilities) -> list[_Flow]:
        stubs = [StubProcessor(name, promised) for name in ("a", "b")]
        calls, lookups = FakeEngine(), FakeEngine()
        processing_side = processing.ProcessingSide(
            list(stubs),
            processing.ProcessingConfig(),
            partitions=PARTITIONS,
            engine=calls,
            boot_seconds=self.boot,
        )
        reconciliation_side = reconciliation.ReconciliationSide(
            list(stubs),
            reconciliation.ReconciliationTimes(),
            partitions=PARTITIONS,
            clock=self.clock,
            engine=lookups,
        )
        payments_side = payments.FoldSide(forget_after_seconds=FORGET_AFTER_SECONDS)
        return [
            _Flow(self._driver(payments.FLOW, payments.build, payments_side), None),
            _Flow(self._driver(processing.FLOW, processing.build, processing_side), calls),
            _Flow(self._driver(reconciliation.FLOW, reconciliation.build, reconciliation_side), lookups),
        ]

    def _driver(self, spec: object, build: object, side: object) -> FlowDriver:
        return FlowDriver(spec, build, side=side, clock=self.clock, partitions=PARTITIONS)  # type: ignore[arg-type]

    # Moves.

    def _a_flow_reads(self) -> None:
        flow = self.chance.choice(self.flows)
        self._epoch(flow, lost=self.chance.random() < 0.06)

    def _epoch(self, flow: _Flow, *, lost: bool = False, limit: int = 4) -> bool:
        """One epoch of some of what one of its topics has to say; whether there was anything."""
        behind = [topic for topic in flow.driver.spec.inputs if flow.read_up_to[topic.name] < len(self.log[topic.name])]
        topic = self.chance.choice(behind) if behind else flow.driver.spec.inputs[0]
        start = flow.read_up_to[topic.name]
        records = self.log[topic.name][start : start + self.chance.randint(1, limit)]
        if lost and flow.engine is not None:
            self.wires.abandon(flow.engine)
        flow.driver.pipe(topic, *records, lost=lost)
        if not lost:
            flow.read_up_to[topic.name] += len(records)
            self._publish(flow)
        return bool(records)

    def _publish(self, flow: _Flow) -> None:
        """What the epoch wrote can be read by the others."""
        for topic in (EVENTS, PROCESSOR_RESULTS, TIMERS, DEAD_LETTERS):
            self.log[topic.name].extend(flow.driver.read(topic))
        flow.driver.effects.clear()

    def _a_flow_dies(self) -> None:
        flow = self.chance.choice(self.flows)
        if flow.engine is not None:
            self.wires.abandon(flow.engine)
        flow.driver.crash()

    def _a_call_ends(self) -> None:
        flow = self.chance.choice(self.flows[1:])
        assert flow.engine is not None
        self.wires.serve(flow.engine)
        self._epoch(flow)

    def _time_passes(self) -> None:
        self._let_pass(self.chance.choice([0.2, 1.0, 5.0, 12.0, 60.0, 400.0]))

    def _let_pass(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.boot.seconds += seconds
        self.wires.deliver_late()

    def _the_read_model_goes_on(self) -> None:
        self.read_model_up_to = self.chance.randint(self.read_model_up_to, len(self.log[EVENTS.name]))

    def _a_merchant_asks(self) -> None:
        intent = self.chance.choice(self.intents)
        repeated = self.log[COMMANDS.name]
        if repeated and self.chance.random() < 0.15:
            again = self.chance.choice(repeated)
            assert isinstance(again, PaymentCommand)
            if not isinstance(again.body, CreatePaymentIntent):
                self.log[COMMANDS.name].append(again)
            return
        body = self._likely(intent) if self.chance.random() < 0.7 else self.chance.choice(self._possible(intent))()
        if body is not None:
            self.log[COMMANDS.name].append(self._command(intent, body))

    def _likely(self, intent: PaymentIntentId) -> CommandBody | None:
        """What a merchant who has looked would ask next."""
        create, authorize, _other_route, capture, void, cancel, come_back = self._possible(intent)
        match self._last_status(intent):
            case None:
                return create()
            case "requires_payment_method":
                return self.chance.choice([authorize, authorize, authorize, cancel])()
            case "requires_capture":
                return self.chance.choice([capture, capture, void, cancel])()
            case "requires_action":
                return self.chance.choice([come_back, come_back, cancel])()
            case _:
                return create()

    def _possible(self, intent: PaymentIntentId) -> list[Callable[[], CommandBody | None]]:
        self._asked += 1
        number = self.chance.choice([self._asked, self.chance.randint(1, self._asked)])
        transaction = TransactionId(f"tx_{number:06x}{intent[3:29]}")
        return [
            lambda: self._creation(intent),
            lambda: Authorize(
                transaction_id=transaction, payment_method="tok_visa", route=("a", "b"), fingerprint=b"a" * 16
            ),
            lambda: Authorize(
                transaction_id=transaction, payment_method="tok_visa", route=("a",), fingerprint=b"b" * 16
            ),
            lambda: CapturePayment(transaction_id=transaction, fingerprint=b"c" * 16),
            lambda: VoidPayment(transaction_id=transaction, fingerprint=b"v" * 16),
            lambda: CancelPaymentIntent(transaction_id=transaction, fingerprint=b"x" * 16),
            ReturnFromChallenge,
        ]

    def _last_status(self, intent: PaymentIntentId) -> str | None:
        known = [
            event.payment_intent.status
            for event in self.log[EVENTS.name]
            if isinstance(event, PaymentEvent) and event.payment_intent.id == intent
        ]
        return known[-1] if known else None

    def _creation(self, intent: PaymentIntentId) -> CreatePaymentIntent | None:
        """As ingress does: found in the read model, it is no command; else it says up to when it was absent."""
        events = [event for event in self.log[EVENTS.name] if isinstance(event, PaymentEvent)]
        seen, unseen = events[: self.read_model_up_to], events[self.read_model_up_to :]
        if any(event.payment_intent.id == intent for event in seen):
            return None
        shard = partition(intent, PARTITIONS)
        later_ones = [event.at for event in unseen if partition(event.payment_intent.id, PARTITIONS) == shard]
        absent_at = min([self.clock.at, *later_ones]) - 1_000
        return CreatePaymentIntent(
            amount_minor=1_999,
            currency="usd",
            capture_method=self.chance.choice(list(CaptureMethod)) if intent[-1] < "8" else CaptureMethod.automatic,
            absent_at=Micros(absent_at),
            fingerprint=b"f" * 16,
        )

    def _command(self, intent: PaymentIntentId, body: CommandBody) -> PaymentCommand:
        self._commands += 1
        return PaymentCommand(
            id=CommandId(f"cmd_{self._commands:032x}"),
            payment_intent_id=intent,
            merchant_id=MERCHANT,
            livemode=False,
            at=self.clock.now(),
            actor=Actor(type=ActorType.key, id="key"),
            body=body,
        )

    # The end.

    def _heal(self) -> None:
        """Nothing breaks any more: all is read, all calls are answered, and time passes until nothing is open."""
        self.wires.is_well = True
        until = later(self.clock.at, seconds=_HORIZON_SECONDS)
        pause = 1.0
        for _ in range(_HEALING_STEPS_MAX):
            self._drain()
            if self.clock.at > until or not self._is_under_way():
                return
            self._let_pass(pause)
            pause = min(pause * 1.3, 6 * 3_600.0)

    def _drain(self) -> None:
        """Until nobody has anything to say."""
        for _ in range(200):
            spoke = False
            for flow in self.flows:
                while flow.engine is not None and flow.engine.running:
                    self.wires.serve(flow.engine)
                before = sum(map(len, self.log.values()))
                spoke |= self._epoch(flow, limit=50) or sum(map(len, self.log.values())) != before
                spoke |= flow.engine is not None and bool(flow.engine.running)
            if not spoke:
                return

    def _is_under_way(self) -> bool:
        last = {
            event.payment_intent.id: event.payment_intent
            for event in self.log[EVENTS.name]
            if isinstance(event, PaymentEvent)
        }
        return any(one.completed_at is None for intent in last.values() for one in intent.transactions)

    def _evidence(self) -> Evidence:
        events = [event for event in self.log[EVENTS.name] if isinstance(event, PaymentEvent)]
        steps = [step_of(partition(event.payment_intent.id, PARTITIONS), n, event) for n, event in enumerate(events)]
        rows = {
            step.intent: Row(
                intent=step.intent, sequence=step.sequence, status=step.status, received=step.received, legs=step.legs
            )
            for step in steps
        }
        return Evidence(history=(), steps=steps, rows=rows, bookings=self.wires.bookings())
