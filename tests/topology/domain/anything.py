"""A payment that is told whatever a flow could tell it, sensible or not, in any order, twice, and against itself.

Every move takes a chooser, so that Hypothesis (which shrinks) and a seeded walk (which gets far) can drive it alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from msgspec.structs import replace

from schemas.commands import (
    Authorize,
    CancelPaymentIntent,
    CapturePayment,
    CreatePaymentIntent,
    ResolveTransaction,
    ReturnFromChallenge,
    VoidPayment,
)
from schemas.identifiers import MerchantId, fingerprint
from schemas.payment import CaptureMethod, PaymentIntent, PaymentIntentStatus, Transaction
from schemas.processing import AuthorizationState, CallKind, Outcome, ResultSource, TimerFired
from schemas.times import later
from tests.topology.domain.invariants import TERMINAL, Given, check
from tests.topology.domain.script import AMOUNT_MINOR, INTENT, START, authorize_body, command, create_body, result, tx
from topology.domain import DeadLetterCause, Decision, decide, is_open
from topology.domain.intents import last_authorization
from topology.domain.timers import TIMERS

T = TypeVar("T")
Body = Authorize | CapturePayment | VoidPayment | CancelPaymentIntent | ReturnFromChallenge | ResolveTransaction
STATES = (None, *AuthorizationState)
AMOUNTS = (None, None, AMOUNT_MINOR, 400, 0, AMOUNT_MINOR + 1)
A_MONTH_SECONDS = 30 * 24 * 3600


class Choose(Protocol):
    """Chooses one of several: `random.choice`, or a draw of Hypothesis."""

    def __call__(self, options: Sequence[T], /) -> T: ...


class Told:
    """A fold of one payment at a time, checked at every decision."""

    def __init__(self) -> None:
        self.intent: PaymentIntent | None = None
        self.now = START
        self.keys = 0

    def give(self, given: Given) -> Decision:
        decision = decide(self.intent, given)
        check(self.intent, given, decision)
        if decision.events:
            self.intent = decision.events[-1].payment_intent
        return decision

    def ask(self, body: Body, *, wait: bool = False) -> Decision:
        return self.give(command(body, at=self.now, wait=wait))

    @property
    def transactions(self) -> tuple[Transaction, ...]:
        return () if self.intent is None else self.intent.transactions

    @property
    def status(self) -> PaymentIntentStatus | None:
        return None if self.intent is None else self.intent.status

    def merchant_goes_on(self, choose: Choose) -> Decision:
        """The merchant asks for what the status allows."""
        self.keys += 1
        key = f"next-{self.keys}"
        id_, print_ = tx(key), fingerprint(key)
        cancel: Body = CancelPaymentIntent(transaction_id=id_, fingerprint=print_)
        body = cancel
        if self.status is PaymentIntentStatus.requires_payment_method:
            attempt = authorize_body(key, route=choose([("a",), ("a", "b")]))
            body = choose([attempt] * 9 + [cancel])
        elif self.status is PaymentIntentStatus.requires_action:
            body = choose([ReturnFromChallenge(), cancel])
        elif self.status is PaymentIntentStatus.requires_capture:
            capture = CapturePayment(transaction_id=id_, amount_minor=choose([None, 400]), fingerprint=print_)
            body = choose([capture, VoidPayment(transaction_id=id_, fingerprint=print_), cancel])
        return self.ask(body, wait=choose([False, True]))


class AnythingComesIn(Told):
    """The moves of everybody who could say anything."""

    def __init__(self) -> None:
        super().__init__()
        self.last: list[Given] = []

    def give(self, given: Given) -> Decision:
        before = self.intent
        decision = super().give(given)
        assert decide(before, given) == decision, "decisions are pure"
        self.last.append(given)
        return decision

    def payment_opens(self, choose: Choose) -> None:
        if self.status is None or (self.status in TERMINAL and choose([True, False])):
            self.intent = None
            self.give(command(create_body(capture=choose([*CaptureMethod])), at=self.now))

    def merchant_asks_anything(self, choose: Choose) -> None:
        key = choose(["k", "l", "next-1", "next-2"])
        print_ = fingerprint(key, choose(["one", "other"]))
        known = choose([*(t.id for t in self.transactions), tx("no"), None])
        bodies: list[Body | CreatePaymentIntent] = [
            authorize_body(key, route=choose([(), ("b", "a")])),
            CapturePayment(transaction_id=tx(key), amount_minor=choose(AMOUNTS), fingerprint=print_),
            VoidPayment(transaction_id=tx(key), fingerprint=print_),
            ReturnFromChallenge(transaction_id=known),
            create_body(amount_minor=choose([AMOUNT_MINOR, 1])),
        ]
        given = command(choose(bodies), at=self.now)
        others = replace(given, merchant_id=MerchantId("mer_other"))
        self.give(choose([given, given, given, others, replace(given, merchant_disabled=True)]))

    def operator_says(self, choose: Choose) -> None:
        transaction_id = choose([tx("no"), *(t.id for t in self.transactions if is_open(t))])
        outcome, state = choose([*Outcome]), choose(STATES)
        self.ask(
            ResolveTransaction(
                transaction_id=transaction_id, outcome=outcome, authorization_state=state, evidence="seen"
            )
        )

    def processor_decides(self, choose: Choose) -> None:
        outcome = choose([Outcome.approved, Outcome.approved, Outcome.declined])
        for transaction in self._one_open(choose):
            self.give(result(transaction, outcome, at=self.now, state=choose(STATES)))

    def processor_answers(self, choose: Choose) -> None:
        for transaction in self._one_open(choose):
            amount_minor, reference = choose(AMOUNTS), choose([None, "r", "s"])
            self.give(
                result(transaction, choose([*Outcome]), at=self.now, amount_minor=amount_minor, reference=reference)
            )

    def look_up(self, choose: Choose) -> None:
        for transaction in self._one_open(choose):
            found = result(
                transaction,
                choose([Outcome.not_found, *Outcome]),
                at=self.now,
                call=CallKind.lookup,
                source=ResultSource.lookup,
                state=choose(STATES),
            )
            for _ in range(choose([1, 2])):
                self.give(found)

    def doubt(self, choose: Choose) -> None:
        for transaction in self._one_open(choose):
            self.give(result(transaction, Outcome.unknown, at=self.now))

    def processor_says_anything(self, choose: Choose) -> None:
        if self.transactions:
            said = result(
                choose(self.transactions),
                choose([Outcome.approved, *Outcome]),
                at=self.now,
                state=choose(STATES),
                reference=choose([None, "r", "s"]),
                call=choose([None, None, CallKind.lookup, CallKind.void]),
                processor=choose([None, None, "a"]),
                code=choose([None, "no_connection", "expired_before_send"]),
            )
            self.give(said)

    def unknown_transaction(self, choose: Choose) -> None:
        if self.transactions:
            said = replace(result(choose(self.transactions), Outcome.approved, at=self.now), transaction_id=tx("no"))
            assert self.give(said).dead_letter is DeadLetterCause.unknown_transaction

    def timer_fires(self, choose: Choose) -> None:
        name = choose([*TIMERS, "ladder", "teatime"])
        latest = None if self.intent is None else last_authorization(self.intent)
        about = None if latest is None else latest.id
        if name in ("ladder", "doubt_alert", "unanswered_alert"):
            about = choose([about, *(t.id for t in self.transactions if is_open(t))])
        about = choose([about, about, None, *(t.id for t in self.transactions)])
        due_at = choose([self.now, later(self.now, seconds=A_MONTH_SECONDS)])
        self.give(TimerFired(payment_intent_id=INTENT, transaction_id=about, name=name, due_at=due_at, at=self.now))

    def the_same_again_later(self, choose: Choose) -> None:
        self.now = later(self.now, seconds=choose([-100, 0, 1, 100_000]))
        if self.last:
            self.give(choose(self.last[-5:]))

    def _one_open(self, choose: Choose) -> list[Transaction]:
        transactions = [t for t in self.transactions if is_open(t)]
        return [choose(transactions)] if transactions else []


ANYTHING: tuple[Callable[[AnythingComesIn, Choose], object], ...] = (
    AnythingComesIn.payment_opens,
    AnythingComesIn.merchant_goes_on,
    AnythingComesIn.merchant_goes_on,
    AnythingComesIn.merchant_asks_anything,
    AnythingComesIn.operator_says,
    AnythingComesIn.processor_decides,
    AnythingComesIn.processor_decides,
    AnythingComesIn.processor_answers,
    AnythingComesIn.look_up,
    AnythingComesIn.doubt,
    AnythingComesIn.processor_says_anything,
    AnythingComesIn.unknown_transaction,
    AnythingComesIn.timer_fires,
    AnythingComesIn.timer_fires,
    AnythingComesIn.the_same_again_later,
)
