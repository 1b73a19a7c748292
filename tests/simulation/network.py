"""The wires between the flows and the card network: they lose, delay and break, by chance.

What the network books is the truth (`tests.topology.domain.network`); a call that is said to have failed may have
arrived all the same, and may arrive later. A processor does what it promises and nothing better: the same key beyond
that is a second hold or a second charge.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace

from schemas.identifiers import PaymentIntentId, TransactionId
from schemas.processing import CallKind, Outcome, ProcessorResult, ResultSource
from schemas.times import Micros, later
from tests.chaos.evidence import Booking
from tests.harness.driver import FakeClock
from tests.topology.domain.network import APPROVED, DECLINED, Answer, Call, Hold, Network
from tests.topology.processing.rig import FakeEngine, not_sent, unknown
from topology import processors
from topology.calls.engine import Order
from topology.processors import Capabilities, Cause

__all__ = ["DEADLINE_SECONDS", "MOODS", "Wires", "promises"]

DEADLINE_SECONDS = 10.0
LATE_SECONDS_MAX = 120.0
HOLD_SECONDS = 3_600
_REMEMBERED_SECONDS = 900.0
# A processor remembers a key for longer than it promises: calls that left in time may arrive a little later.
_REMEMBERED_BEYOND_SECONDS = 300.0
_CAPTURE_BEFORE_SECONDS = 3_000
_WHIMS = {
    APPROVED: 12,
    DECLINED: 2,
    Answer(Outcome.challenge): 5,
    replace(APPROVED, amount_minor=700): 1,
}
_ENDS = {"answered": 12, "lost": 3, "never": 2, "late": 4, "not_sent": 2}
MOODS = (0.3, 1.0, 1.0, 4.0)
"""By how much more often than usual a world does something."""

Key = tuple[str, TransactionId]
"""A processor and a Transaction: the reference under which something is booked."""


def promises(chance: random.Random, *, lapses: bool) -> Capabilities:
    """What a processor of this world promises."""
    kinds = {CallKind.authorize: 0.5, CallKind.capture: 0.4, CallKind.void: 0.8}
    return Capabilities(
        deduplicates=frozenset(kind for kind, likely in kinds.items() if chance.random() < likely),
        lookup=chance.random() < 0.8,
        deduplication_seconds=_REMEMBERED_SECONDS,
        longest_hold_seconds=HOLD_SECONDS if lapses else None,
    )


@dataclass(frozen=True, slots=True)
class _Late:
    """A call that will arrive, though its caller has been told otherwise."""

    order: Order
    due_at: Micros


class Wires:
    """Carries orders to the network and answers back, or not."""

    def __init__(self, chance: random.Random, clock: FakeClock, promised: dict[str, Capabilities]) -> None:
        self.is_well = False
        self.network = Network(remembers_voids=True)
        self.shown: set[str] = set()
        """The authorizations whose challenge a customer was shown."""
        self.bookings: dict[str, Booking] = {}
        self._chance = chance
        self._clock = clock
        self._promised = promised
        self._sent: Counter[str] = Counter()
        self._first_at: dict[Key, Micros] = {}
        self._of: dict[Key, tuple[PaymentIntentId, CallKind, int]] = {}
        self._late: list[_Late] = []
        self._ends = [weight * chance.choice(MOODS) for weight in _ENDS.values()]
        self._whims = [weight * chance.choice(MOODS) for weight in _WHIMS.values()]

    @property
    def next_late_at(self) -> Micros | None:
        """When the next late call arrives."""
        return min((late.due_at for late in self._late), default=None)

    def serve(self, engine: FakeEngine) -> str | None:
        """Let one of the engine's calls end somehow; says which and how."""
        if not engine.running:
            return None
        order = self._chance.choice(engine.running)
        (end,) = ["answered"] if self.is_well else self._chance.choices(list(_ENDS), self._ends)
        if engine.held_back is not None and self._chance.random() < 0.5:
            end = "stopped"
        if order.kind is CallKind.lookup:
            answer = unknown() if end != "answered" else self._looked_up(order)
        else:
            answer = self._ended(order, end)
        engine.finish(answer, order)
        return f"{order.kind} of {order.asked.transaction_id} at {order.asked.processor}: {end}, {answer.outcome}"

    def abandon(self, engine: FakeEngine) -> None:
        """The process dies with its calls under way: each may arrive now, later or never."""
        for order in engine.running:
            if order.kind is not CallKind.lookup:
                self._ended(order, self._chance.choice(["lost", "late", "never"]))

    def deliver_late(self) -> list[str]:
        """Let arrive what is due, and end what was held for long enough."""
        due = [late for late in self._late if late.due_at <= self._clock.at]
        self._late = [late for late in self._late if late.due_at > self._clock.at]
        arrived = [f"{one.order.kind} of {one.order.asked.transaction_id}: {self._arrive(one.order)}" for one in due]
        for key, hold in self.network.holds.items():
            longest = self._promised[key[0]].longest_hold_seconds
            if hold not in (Hold.standing, Hold.challenged) or longest is None:
                continue
            if later(self._first_at[key], seconds=longest) <= self._clock.at:
                self.network.holds[key] = Hold.lapsed
        return arrived

    def customer(self) -> tuple[PaymentIntentId, str] | None:
        """A customer passes a challenge, or fails it; says whose and how."""
        open_ = self.challenged()
        if not open_:
            return None
        key, passed = self._chance.choice(open_), self._chance.random() < 0.6
        self.network.customer_ends_challenge(key, passed=passed)
        self._book(key)
        return self._of[key][0], f"challenge of {key[1]} {'passed' if passed else 'failed'}"

    def challenged(self) -> list[Key]:
        """The challenges that a customer can pass."""
        return [key for key, hold in self.network.holds.items() if hold is Hold.challenged and key[1] in self.shown]

    def word(self) -> ProcessorResult | None:
        """What the books say of something that was approved, long ago perhaps: as settlement has it, late and true."""
        approved = [
            key
            for key, answer in self.network.answers.items()
            if answer.outcome is Outcome.approved and self._of[key][1] is not CallKind.void
        ]
        if not approved:
            return None
        key = self._chance.choice(approved)
        intent, _kind, amount_minor = self._of[key]
        known_minor = self.network.answers[key].amount_minor
        return ProcessorResult(
            payment_intent_id=intent,
            transaction_id=key[1],
            processor=key[0],
            call=CallKind.lookup,
            outcome=Outcome.approved,
            source=ResultSource.settlement,
            at=self._clock.at,
            amount_minor=amount_minor if known_minor is None else known_minor,
            currency="usd",
            processor_reference=f"{key[0]}_{key[1]}",
        )

    def _ended(self, order: Order, end: str) -> processors.Answer:
        match end:
            case "answered":
                return self._told(order, self._arrive(order))
            case "lost":
                self._arrive(order)
            case "late":
                seconds = self._chance.uniform(1.0, LATE_SECONDS_MAX)
                self._late.append(_Late(order, later(self._clock.at, seconds=seconds)))
            case "not_sent":
                return not_sent()
            case "stopped":
                return not_sent(Cause.stopping)
        return unknown()

    def _arrive(self, order: Order) -> Answer:
        asked = order.asked
        key = (asked.processor, asked.transaction_id)
        self._sent[asked.transaction_id] += 1
        (whim,) = self._chance.choices(list(_WHIMS), self._whims)
        if self.is_well and order.kind is not CallKind.authorize:
            whim = APPROVED
        self._of.setdefault(key, (order.payment_intent_id, order.kind, asked.amount_minor))
        first_at = self._first_at.setdefault(key, self._clock.at)
        known = self.network.answers.get(key)
        if known is not None and not self._remembers(order, first_at):
            if order.kind is not CallKind.void:
                if known.outcome is not Outcome.declined:
                    self._book_again(key)
                return known
            # What is voided already is looked at again.
            del self.network.answers[key]
        answer = self.network.carry_out(
            Call(
                kind=order.kind,
                transaction_id=asked.transaction_id,
                processor=asked.processor,
                authorization_id=asked.authorization_id or asked.transaction_id,
                amount_minor=asked.amount_minor,
            ),
            whim,
        )
        self._book(key)
        return answer

    def _remembers(self, order: Order, first_at: Micros) -> bool:
        seconds = _REMEMBERED_SECONDS + _REMEMBERED_BEYOND_SECONDS
        is_fresh = self._clock.at < later(first_at, seconds=seconds)
        return is_fresh and order.kind in self._promised[order.asked.processor].deduplicates

    def _book(self, key: Key) -> None:
        """Note in the books what was answered under this reference; a declined one is no booking over another's."""
        intent, kind, amount_minor = self._of[key]
        answer, is_hold = self.network.answers[key], kind is CallKind.authorize
        known = self.bookings.get(key[1])
        is_approved = answer.outcome is Outcome.approved
        if known is not None and known.is_approved and not is_approved:
            self.bookings[key[1]] = replace(known, was_refused=True)
            return
        self.bookings[key[1]] = Booking(
            reference=key[1],
            intent=intent,
            type="authorization" if is_hold else kind.value,
            is_approved=is_approved,
            amount=self.network.held_minor.get(key, 0) if is_hold else amount_minor if is_approved else 0,
            requests=self._sent[key[1]],
            was_refused=known is not None and (known.was_refused or not known.is_approved),
        )

    def _book_again(self, key: Key) -> None:
        """The same call, executed once more by a processor that does not know its key again."""
        again = f"{key[1]} again"
        self.bookings[again] = replace(self.bookings[key[1]], reference=again)

    def _looked_up(self, order: Order) -> processors.Answer:
        asked = order.asked
        return self._told(order, self.network.look_up((asked.processor, asked.transaction_id)))

    def _told(self, order: Order, answer: Answer) -> processors.Answer:
        asked, is_approved = order.asked, answer.outcome is Outcome.approved
        is_hold = is_approved and asked.call is CallKind.authorize
        first_at = self._first_at.get((asked.processor, asked.transaction_id), self._clock.at)
        amount_minor = asked.amount_minor if answer.amount_minor is None else answer.amount_minor
        return processors.Answer(
            outcome=answer.outcome,
            amount_minor=amount_minor if is_approved else None,
            currency=asked.currency if is_approved else None,
            code=answer.code,
            authorization_state=answer.state,
            processor_reference=f"{asked.processor}_{asked.transaction_id}",
            challenge_url="http://network.test/challenge" if answer.outcome is Outcome.challenge else None,
            capture_before=later(first_at, seconds=_CAPTURE_BEFORE_SECONDS) if is_hold else None,
        )
