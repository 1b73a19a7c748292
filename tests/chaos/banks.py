"""The card network of a shop: in memory, where a schedule decides what arrives and when, or a process, the real one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from msgspec import structs

from schemas.processing import CallKind, Outcome
from tests.chaos.evidence import ISO8583, Booking
from tests.harness.stack import wait_for
from tests.sandbox.card_network.network_process import NetworkProcess
from tests.topology.domain.network import APPROVED, Answer, Call, Network
from tests.topology.processing.rig import DEDUPLICATES, FakeEngine, StubProcessor, unknown
from topology.calls.engine import CallEngine, Engine, FinishedCall, Order
from topology.processors import Answer as Heard
from topology.processors import Capabilities, HttpJsonProcessor, HttpProcessorConfig, Processor
from topology.processors.iso8583 import Acquirer, Iso8583Config, Iso8583Processor

__all__ = ["BANK", "Bank", "HttpBank", "IsoBank", "MemoryBank", "wait_until_booked"]

BANK = "cardnet"
"""The one processor's name, where it does not speak ISO 8583."""

_TYPES = {CallKind.authorize: "authorization", CallKind.capture: "capture", CallKind.void: "void"}


class Bank(Protocol):
    """The card network, and the wires to it."""

    @property
    def name(self) -> str:
        """The processor's name."""

    def processors(self) -> tuple[Processor, Processor]:
        """The adapters of processing and of reconciliation."""

    def engines(self) -> tuple[Engine, Engine]:
        """What makes the calls of processing, and the look-ups of reconciliation."""

    def serve(self) -> bool:
        """Let what is under way arrive and be answered; whether anything still is."""

    def bookings(self) -> list[Booking]:
        """The network's books."""

    @property
    def deduplicates(self) -> bool:
        """Whether an authorization that is asked twice under one reference is one hold."""


@dataclass
class MemoryBank:
    """Approves everything. What it is asked arrives and is answered at once, unless the schedule says otherwise."""

    promises: Capabilities = DEDUPLICATES
    holds_up: bool = False
    """What leaves now is on its way until `let_arrive`, and its caller hears nothing."""
    _calls: FakeEngine = field(default_factory=FakeEngine)
    _lookups: FakeEngine = field(default_factory=FakeEngine)
    _network: Network = field(default_factory=lambda: Network(remembers_voids=True))
    _on_the_way: list[Order] = field(default_factory=list)
    _arrived: dict[str, list[Order]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Whatever it speaks."""
        return BANK

    @property
    def deduplicates(self) -> bool:
        """As it promises."""
        return CallKind.authorize in self.promises.deduplicates

    def processors(self) -> tuple[Processor, Processor]:
        """Of no use but for their name and promises."""
        return StubProcessor(BANK, self.promises), StubProcessor(BANK, self.promises)

    def engines(self) -> tuple[Engine, Engine]:
        """Those that the bank itself serves."""
        return self._calls, self._lookups

    def serve(self) -> bool:
        """Answer all that is asked."""
        asked = [(engine, order) for engine in (self._calls, self._lookups) for order in engine.running]
        for engine, order in asked:
            if order.kind is CallKind.lookup:
                answer = self._network.look_up((BANK, order.asked.transaction_id))
                engine.finish(_told(order, answer), order)
            elif self.holds_up:
                self._on_the_way.append(order)
                engine.finish(unknown(), order)
            else:
                engine.finish(self._arrive(order), order)
        return bool(asked)

    def take_what_left(self) -> None:
        """The caller has died: all that had left it arrives, and nobody hears the answers."""
        answered = [order for orders in self._arrived.values() for order in orders]
        for order in self._calls.orders:
            if order not in answered:
                self._arrive(order)

    def let_arrive(self) -> None:
        """What was on its way arrives."""
        self.holds_up = False
        arriving, self._on_the_way = self._on_the_way, []
        for order in arriving:
            self._arrive(order)

    def bookings(self) -> list[Booking]:
        """One for each reference."""
        return [
            Booking(
                reference=reference,
                intent=orders[0].payment_intent_id,
                type=_TYPES[orders[0].kind],
                is_approved=self._network.answers[BANK, orders[0].asked.transaction_id].outcome is Outcome.approved,
                amount=orders[0].asked.amount_minor,
                requests=len(orders),
            )
            for reference, orders in self._arrived.items()
        ]

    def _arrive(self, order: Order) -> Heard:
        asked = order.asked
        self._arrived.setdefault(asked.transaction_id, []).append(order)
        call = Call(
            kind=order.kind,
            transaction_id=asked.transaction_id,
            processor=BANK,
            authorization_id=asked.authorization_id or asked.transaction_id,
            amount_minor=asked.amount_minor,
        )
        return _told(order, self._network.carry_out(call, APPROVED))


def _told(order: Order, answer: Answer) -> Heard:
    """An answer of the network as its adapter would tell it."""
    told = Heard(outcome=answer.outcome, code=answer.code, authorization_state=answer.state)
    if answer.outcome is not Outcome.approved:
        return told
    asked = order.asked
    reference = f"cn_{asked.transaction_id}"
    return structs.replace(
        told, amount_minor=asked.amount_minor, currency=asked.currency, processor_reference=reference
    )


class _ProcessBank:
    """The simulated card network as a process, called by the real engine and these adapters.

    Each engine has an adapter of its own, as each has a loop of its own.
    """

    def __init__(self, network: NetworkProcess, calls: Processor, lookups: Processor) -> None:
        self.network = network
        self._adapters = calls, lookups
        self._engines = _WatchedEngine([calls], name="calls"), _WatchedEngine([lookups], name="lookups")
        self._before = {row["reference"] for row in network.ledger()}

    @property
    def name(self) -> str:
        """As the adapters know it."""
        return self._adapters[0].name

    def processors(self) -> tuple[Processor, Processor]:
        """Real ones."""
        return self._adapters

    def engines(self) -> tuple[Engine, Engine]:
        """Real ones."""
        return self._engines

    def serve(self) -> bool:
        """The network serves itself, but calls go on only while they are given time."""
        for engine in self._engines:
            engine.work(0)
        return any(engine.under_way for engine in self._engines)

    def bookings(self) -> list[Booking]:
        """What was booked since this bank was made."""
        return [
            Booking(
                reference=row["reference"],
                intent=row["payment_intent"],
                type=row["type"],
                is_approved=row["status"] == "approved",
                amount=row["amount_minor"] or 0,
                requests=row["requests"],
                currency=row["currency"],
                processor=row["processor"],
            )
            for row in self.network.ledger()
            if row["reference"] not in self._before
        ]


class HttpBank(_ProcessBank):
    """It speaks HTTP."""

    def __init__(self, network: NetworkProcess, *, deduplicates: bool) -> None:
        self._deduplicates = deduplicates
        config = HttpProcessorConfig(
            name=BANK,
            base_url=network.base_url,
            public_url="http://api.test",
            deduplication_seconds=DEDUPLICATES.deduplication_seconds,
        )
        super().__init__(network, HttpJsonProcessor(config), HttpJsonProcessor(config))

    @property
    def deduplicates(self) -> bool:
        """As it was started."""
        return self._deduplicates


class IsoBank(_ProcessBank):
    """It speaks ISO 8583, so it has no look-up, and an authorization that is asked again is another one.

    Of several banks of one network, each would begin with the same numbers: a bank has a network of its own.
    """

    deduplicates = False

    def __init__(self, network: NetworkProcess) -> None:
        calls = Iso8583Config(
            name=ISO8583,
            host="127.0.0.1",
            port=network.iso_port,
            acquirer=Acquirer(id="00000000001", terminal_id="PAYSTRM1", merchant_id="PAYSTREAM"),
            connections=2,
            deduplication_seconds=DEDUPLICATES.deduplication_seconds,
            longest_hold_seconds=DEDUPLICATES.longest_hold_seconds,
        )
        lookups = replace(calls, connections=0)
        super().__init__(network, Iso8583Processor(calls), Iso8583Processor(lookups))


def wait_until_booked(bank: Bank) -> None:
    """Until what has been called has a booking; nobody hears the answer meanwhile."""

    def is_booked() -> bool:
        bank.serve()
        return bool(bank.bookings())

    wait_for(is_booked, what="a booking", within_seconds=20.0)


class _WatchedEngine(CallEngine):
    """The real engine; tells whether a call is under way that the flow has not heard the end of."""

    under_way = 0

    def submit(self, orders: Sequence[Order]) -> None:
        self.under_way += len(orders)
        super().submit(orders)

    def take(self, limit: int) -> list[FinishedCall]:
        taken = super().take(limit)
        self.under_way -= len(taken)
        return taken

    def close(self) -> None:
        self.under_way = 0
        super().close()
