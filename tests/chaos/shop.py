"""The API and the three flows in one process, on one log in memory: for schedules to the step.

Ingress is the real application, asked over ASGI; the flows are the real ones on Bytewax (`tests.harness.driver`). Time
passes by hand. A schedule says what is lost, held up or late; what clients heard is the history, and `evidence` is what
the checker decides by. What the card network is like is the bank's matter (`tests.chaos.banks`).
"""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections import defaultdict
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import httpx

from ingress.app import build_app
from ingress.client_secret import ClientSecretKey
from ingress.keys import Keyring, checksum
from ingress.ports import Delivery
from ingress.services import Dependencies
from schemas.codec import Record, decode
from schemas.commands import PaymentCommand
from schemas.partitioner import partition
from schemas.payment import PaymentEvent, PaymentIntent
from schemas.times import Micros
from schemas.topics import CAPTURES, COMMANDS, DEAD_LETTERS, EVENTS, INTENTS, PROCESSOR_RESULTS, TIMERS
from tests.chaos.banks import Bank
from tests.chaos.checker import check
from tests.chaos.collect import content_of, step_of
from tests.chaos.evidence import Evidence, Settlement, State, Step
from tests.chaos.history import Operation
from tests.harness.driver import FakeClock, FlowDriver
from tests.ingress.fakes import MERCHANT, PARTITIONS, FakeEvents, FakeReadModel, FakeReplies, no_merchants
from topology import payments, processing, reconciliation
from topology.calls.slots import ProcessorLimits

__all__ = ["FORGET_AFTER_SECONDS", "Shop"]

FORGET_AFTER_SECONDS = 60.0
_API_KEY = "ps_sk_test_" + "A" * 30
_API_KEY += checksum(_API_KEY)
_SETTLES_WITHIN_SECONDS = 30.0
_TOPICS = (EVENTS, PROCESSOR_RESULTS, TIMERS, CAPTURES, DEAD_LETTERS)
# Beyond the ladder's steps, so that each is taken.
_HEALING_SECONDS = (11.0, 60.0, 300.0, 1_800.0, 3_600.0, 21_600.0, 86_400.0)


class _Side(payments.FoldSide):
    """Replies go to the ingress of the same process."""

    def __init__(self, replies: FakeReplies) -> None:
        super().__init__(forget_after_seconds=FORGET_AFTER_SECONDS)
        self._replies = replies

    def committed(self, effects: list[object]) -> None:
        """Tell."""
        for effect in effects:
            assert isinstance(effect, payments.Reply)
            self._replies.hear(effect.reply, at=effect.at)


class _CommandLog:
    """Commands are folded as soon as they are in the log, one epoch each."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self.held: list[PaymentCommand] = []
        self.holds = False
        self.loses_epoch = False

    def connected(self) -> bool:
        return True

    def clock_ahead_seconds(self) -> float:
        return 0.0

    def send(self, command: PaymentCommand) -> asyncio.Future[Delivery]:
        delivery: asyncio.Future[Delivery] = asyncio.get_running_loop().create_future()
        if self.holds:
            self.held.append(command)
            delivery.set_result(Delivery.in_doubt)
            return delivery
        self._shop.log[COMMANDS.name].append(command)
        self._shop.fold_reads(lost=self.loses_epoch)
        # In doubt, so that nobody waits for the reply of an epoch that was lost.
        delivery.set_result(Delivery.in_doubt if self.loses_epoch else Delivery.delivered)
        return delivery


class Shop:
    """One merchant's shop, and all that stands behind it."""

    def __init__(self, bank: Bank, *, deadline_seconds: float = 10.0) -> None:
        self.clock = FakeClock(time.time_ns() // 1_000)
        self.bank = bank
        self.log: defaultdict[str, list[Record]] = defaultdict(list)
        self.commands = _CommandLog(self)
        self.read_model_stands = False
        self.history: list[Operation] = []
        self._name = uuid.uuid4().hex
        self._numbers = itertools.count(1)
        self._replies, self._events, self._read_model = FakeReplies(), FakeEvents(), FakeReadModel()
        (called, looked_up), (calls, lookups) = bank.processors(), bank.engines()
        config = processing.ProcessingConfig(default_limits=ProcessorLimits(deadline_seconds=deadline_seconds))
        calling = processing.ProcessingSide([called], config, partitions=PARTITIONS, engine=calls)
        looking = reconciliation.ReconciliationSide(
            [looked_up],
            reconciliation.ReconciliationTimes(),
            partitions=PARTITIONS,
            clock=self.clock,
            engine=lookups,
        )
        self.fold = FlowDriver(payments.FLOW, payments.build, side=_Side(self._replies), clock=self.clock)
        self.processing = FlowDriver(processing.FLOW, processing.build, side=calling, clock=self.clock)
        self.reconciliation = FlowDriver(reconciliation.FLOW, reconciliation.build, side=looking, clock=self.clock)
        self._read_up_to: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._loop = asyncio.Runner()
        self._follow()

    def __enter__(self) -> Self:
        app = build_app(
            Dependencies(
                log=self.commands,
                replies=self._replies,
                events=self._events,
                read_model=self._read_model,
                merchants=no_merchants(),
                keyring=Keyring.of({_API_KEY: MERCHANT}),
                client_secret_key=ClientSecretKey(id="k1", key=b"0123456789abcdef"),
                clock=self.clock,
                route=(self.bank.name,),
                processors=frozenset({self.bank.name}),
                public_url="http://api.test",
            )
        )
        self._http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app),
            base_url="http://api.test",
            headers={"authorization": f"Bearer {_API_KEY}"},
        )
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._loop.run(self._http.aclose())
        self._loop.close()
        for flow in (self.processing, self.reconciliation):
            flow.side.close()

    # What clients do.

    def post(self, path: str, key: str, body: dict[str, Any] | None = None, *, wait: int | None = None) -> Operation:
        """A POST, noted in the history."""
        # The network remembers the references of the shops before.
        key = f"{self._name}-{key}"
        self._follow()
        headers = {"Idempotency-Key": key} | ({} if wait is None else {"Prefer": f"wait={wait}"})
        asked_at = float(next(self._numbers))
        answer = self._loop.run(self._http.post(path, json={} if body is None else body, headers=headers))
        return self._note("POST", path, key, body, asked_at, answer)

    def create(self, key: str = "order") -> Operation:
        """A PaymentIntent that is captured at once."""
        return self.post("/paymentIntent", key, {"amount": 1_999, "currency": "usd", "capture_method": "automatic"})

    def pay(self, intent: str, token: str = "tok_visa", *, wait: int | None = None) -> Operation:
        """An attempt."""
        return self.post(f"/paymentIntent/{intent}/transaction", f"pay-{intent}", {"payment_method": token}, wait=wait)

    def cancel(self, intent: str) -> Operation:
        """A cancel."""
        return self.post(f"/paymentIntent/{intent}/cancel", f"cancel-{intent}")

    def _note(
        self, method: str, path: str, key: str, body: dict[str, Any] | None, asked_at: float, answer: httpx.Response
    ) -> Operation:
        number = next(self._numbers)
        operation = Operation(
            client="shop",
            number=number,
            method=method,
            path=path,
            key=key,
            body=body,
            asked_at=asked_at,
            heard_at=float(number),
            status=answer.status_code,
            answer=answer.json() if answer.content else None,
            is_replay=answer.headers.get("idempotent-replayed") == "true",
        )
        self.history.append(operation)
        return operation

    # What the flows do.

    def fold_reads(self, *, lost: bool = False) -> None:
        """The fold reads what there is on its topics, timers before commands; `lost`: it dies before it commits."""
        for topic in (TIMERS, PROCESSOR_RESULTS, COMMANDS):
            self._read(self.fold, topic.name, lost=lost)

    def processing_reads(self, *, lost: bool = False) -> None:
        """Processing reads the events; `lost`: it dies before it commits."""
        self._read(self.processing, EVENTS.name, lost=lost)

    def timers_fire(self) -> None:
        """Reconciliation writes down what is due."""
        self.reconciliation.settle()
        self._publish(self.reconciliation)

    def commands_arrive(self) -> None:
        """What was held up on its way to the log arrives."""
        self.log[COMMANDS.name].extend(self.commands.held)
        self.commands.held, self.commands.holds = [], False
        self.fold_reads()

    def settle(self) -> None:
        """All flows go on until none has anything to say and no call is under way."""
        deadline = time.monotonic() + _SETTLES_WITHIN_SECONDS
        while True:
            assert time.monotonic() < deadline, "it does not come to rest"
            before = sum(map(len, self.log.values()))
            self.fold_reads()
            for flow in (self.processing, self.reconciliation):
                self._read(flow, EVENTS.name)
            under_way = self.bank.serve()
            for flow in (self.processing, self.reconciliation):
                flow.settle()
                self._publish(flow)
            if not under_way and sum(map(len, self.log.values())) == before:
                return
            time.sleep(0.005 if under_way else 0)

    def heal(self) -> None:
        """Time passes until nothing is open any more, or for some days."""
        for seconds in _HEALING_SECONDS:
            self.settle()
            if not any(leg.status in ("created", "pending") for step in self._last_steps() for leg in step.legs):
                return
            self.clock.advance(seconds)

    def _read(self, flow: FlowDriver, topic: str, *, lost: bool = False) -> None:
        place = flow.spec.name, topic
        records = self.log[topic][self._read_up_to[place] :]
        if records:
            (read,) = (one for one in flow.spec.inputs if one.name == topic)
            flow.pipe(read, *records, lost=lost)
        if not lost:
            self._read_up_to[place] += len(records)
            self._publish(flow)

    def _publish(self, flow: FlowDriver) -> None:
        for topic in _TOPICS:
            self.log[topic.name].extend(flow.read(topic))
        self._follow()

    def _follow(self) -> None:
        """The read model comes to the end of the log, unless it stands still."""
        ends: defaultdict[int, int] = defaultdict(int)
        for event in self.logged():
            ends[partition(event.payment_intent.id, PARTITIONS)] += 1
            if not self.read_model_stands:
                self._read_model.intents[event.payment_intent.id] = event.payment_intent
        self._events.ends_by_partition = dict(ends)
        if not self.read_model_stands:
            self._read_model.next_offsets = dict(ends)
            # An event that comes at this very moment is not in it.
            self._read_model.watermark = Micros(self.clock.at - 1_000)

    # What is left behind.

    def logged(self) -> list[PaymentEvent]:
        """The committed events, in the order of the log."""
        return [event for event in self.log[EVENTS.name] if isinstance(event, PaymentEvent)]

    def steps(self) -> list[Step]:
        """The events, as the checker sees them."""
        return [
            step_of(partition(event.payment_intent.id, PARTITIONS), number, event)
            for number, event in enumerate(self.logged())
        ]

    def _last_steps(self) -> Sequence[Step]:
        return list({step.intent: step for step in self.steps()}.values())

    def findings(self, settlement: Settlement | None = None) -> list[str]:
        """What the checker has to say, with what was settled where anything was."""
        states = {key: _state(value) for _partition, key, value in self.fold.log[INTENTS.name] if key.startswith("pi_")}
        return check(
            Evidence(
                history=self.history,
                steps=self.steps(),
                rows=None,
                bookings=self.bank.bookings(),
                states=states,
                repeats_are_holds=not self.bank.deduplicates,
                settlement=settlement,
            )
        )


def _state(value: bytes | None) -> State:
    if value is None:
        return State(sequence=None, written_at=0.0)
    record = decode(value)
    assert isinstance(record, PaymentIntent)
    return State(sequence=record.sequence, written_at=0.0, content=content_of(record))
