"""The wires between processing, reconciliation and the card network: they lose, delay and break, by chance.

What the network books is the truth (`tests.topology.domain.network`); a call that is said to have failed may have
arrived all the same, and may arrive later.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace

from schemas.processing import CallKind, Outcome
from tests.chaos.evidence import Booking
from tests.harness.driver import FakeClock
from tests.topology.domain.network import APPROVED, DECLINED, Answer, Call, Hold, Network
from tests.topology.processing.rig import FakeEngine, not_sent, unknown
from topology import processors
from topology.calls.engine import Order

__all__ = ["Wires"]

_LATE_SECONDS_MAX = 120.0
_WHIMS = {
    APPROVED: 12,
    DECLINED: 2,
    Answer(Outcome.challenge): 2,
    replace(APPROVED, amount_minor=700): 1,
}


@dataclass
class _Late:
    """A call that will arrive, though its caller has been told otherwise."""

    order: Order
    due_at: int


@dataclass
class Wires:
    """Carries orders to the network and answers back, or not. `deduplicates`: the network knows a key again."""

    chance: random.Random
    clock: FakeClock
    deduplicates: bool
    is_well: bool = False
    network: Network = field(default_factory=lambda: Network(remembers_voids=True))
    intents: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, CallKind] = field(default_factory=dict)
    sent: Counter[str] = field(default_factory=Counter)
    _captures: dict[str, int] = field(default_factory=dict)
    _late: list[_Late] = field(default_factory=list)

    def serve(self, engine: FakeEngine) -> None:
        """Let one of the engine's calls end somehow."""
        if not engine.running:
            return
        order = self.chance.choice(engine.running)
        if order.kind is CallKind.lookup:
            engine.finish(self._looked_up(order), order)
            return
        ends = ["answered"] if self.is_well else ["answered"] * 6 + ["lost", "never", "late", "not_sent"]
        match self.chance.choice(ends):
            case "answered":
                engine.finish(self._arrive(order), order)
            case "lost":
                self._arrive(order)
                engine.finish(unknown(), order)
            case "late":
                self._arrive_later(order)
                engine.finish(unknown(), order)
            case "never":
                engine.finish(unknown(), order)
            case "not_sent":
                engine.finish(not_sent(), order)

    def abandon(self, engine: FakeEngine) -> None:
        """The process dies with its calls under way: each may arrive now, later or never."""
        for order in engine.running:
            if order.kind is CallKind.lookup:
                continue
            match self.chance.choice(["now", "later", "never"]):
                case "now":
                    self._arrive(order)
                case "later":
                    self._arrive_later(order)

    def deliver_late(self) -> None:
        """Let arrive what is due."""
        due = [late for late in self._late if late.due_at <= self.clock.at]
        self._late = [late for late in self._late if late.due_at > self.clock.at]
        for late in due:
            self._arrive(late.order)

    def customer(self) -> None:
        """A customer passes a challenge, or fails it."""
        open_ = [key for key, hold in self.network.holds.items() if hold is Hold.challenged]
        if open_:
            self.network.customer_ends_challenge(self.chance.choice(open_), passed=self.chance.random() < 0.6)

    def bookings(self) -> list[Booking]:
        """The network's books."""
        return [
            Booking(
                reference=reference,
                intent=self.intents[reference],
                type={CallKind.authorize: "authorization"}.get(self.kinds[reference], self.kinds[reference]),
                is_approved=answer.outcome is Outcome.approved and not self._has_lapsed(processor, reference),
                amount=self._amount(processor, reference),
                requests=self.sent[reference],
            )
            for (processor, reference), answer in self.network.answers.items()
        ]

    def _has_lapsed(self, processor: str, reference: str) -> bool:
        return any(hold is Hold.lapsed and key == (processor, reference) for key, hold in self.network.holds.items())

    def _amount(self, processor: str, reference: str) -> int:
        if self.kinds[reference] is CallKind.authorize:
            return next((held for key, held in self.network.held_minor.items() if key == (processor, reference)), 0)
        return self._captures.get(reference, 0)

    def _arrive(self, order: Order) -> processors.Answer:
        asked = order.asked
        reference = asked.transaction_id
        self.sent[reference] += 1
        self.intents[reference], self.kinds[reference] = order.payment_intent_id, order.kind
        if order.kind is CallKind.authorize and not self.deduplicates:
            assert self.sent[reference] == 1, f"{reference} would be a second hold"
        call = Call(
            kind=order.kind,
            transaction_id=reference,
            processor=asked.processor,
            authorization_id=asked.authorization_id or reference,
            amount_minor=asked.amount_minor,
        )
        (whim,) = self.chance.choices(list(_WHIMS), list(_WHIMS.values()))
        if self.is_well and order.kind is not CallKind.authorize:
            whim = APPROVED
        answer = self.network.carry_out(call, whim)
        if order.kind is CallKind.capture and answer.outcome is Outcome.approved:
            self._captures[reference] = asked.amount_minor
        return self._told(order, answer)

    def _arrive_later(self, order: Order) -> None:
        seconds = self.chance.uniform(1.0, _LATE_SECONDS_MAX)
        self._late.append(_Late(order, self.clock.at + int(seconds * 1_000_000)))

    def _looked_up(self, order: Order) -> processors.Answer:
        if not self.is_well and self.chance.random() < 0.3:
            return unknown()
        asked = order.asked
        return self._told(order, self.network.look_up((asked.processor, asked.transaction_id)))

    def _told(self, order: Order, answer: Answer) -> processors.Answer:
        is_approved = answer.outcome is Outcome.approved
        amount = order.asked.amount_minor if answer.amount_minor is None else answer.amount_minor
        return processors.Answer(
            outcome=answer.outcome,
            amount_minor=amount if is_approved else None,
            currency=order.asked.currency if is_approved else None,
            code=answer.code,
            authorization_state=answer.state,
            processor_reference=f"cn_{order.asked.transaction_id}",
            challenge_url="http://network.test/challenge" if answer.outcome is Outcome.challenge else None,
        )
