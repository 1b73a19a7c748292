"""A payment between a merchant and a network that never lies, but loses, delays and repeats what is said.

Calls leave as processing makes them leave, look-ups and timers come as reconciliation sends them. However it went, once
everything has arrived (`heal`) the payment says what the network's books say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from schemas.commands import ResolveTransaction, ReturnFromChallenge
from schemas.identifiers import TransactionId
from schemas.payment import CaptureMethod, PaymentIntent, PaymentIntentStatus, Transaction, TransactionType
from schemas.payment import TransactionStatus as Status
from schemas.processing import AuthorizationState, CallKind, Outcome, ResultSource, TimerFired
from schemas.times import later
from tests.topology.domain.anything import A_MONTH_SECONDS, Choose, Told
from tests.topology.domain.invariants import Given
from tests.topology.domain.network import APPROVED, DECLINED, REFUSED, Answer, Call, Hold, Network
from tests.topology.domain.script import AMOUNT_MINOR, INTENT, command, create_body, result, type_of_call
from topology.domain import Decision, EventType, is_open
from topology.domain.intents import find, last_authorization, resolving_void

_CALLING = (EventType.transaction_created, EventType.transaction_rerouted, EventType.transaction_repeated)
_WHIMS = (APPROVED, APPROVED, APPROVED, DECLINED, Answer(Outcome.challenge), replace(APPROVED, amount_minor=700))


def _call(transaction: Transaction) -> Call:
    return Call(
        kind=type_of_call[transaction.type],
        transaction_id=transaction.id,
        processor=transaction.processor,
        authorization_id=transaction.authorization_id or transaction.id,
        amount_minor=transaction.amount_minor,
    )


class HonestWorld(Told):
    """The moves of a world in which only the wires are bad."""

    def __init__(self, *, capture: CaptureMethod, remembers_voids: bool) -> None:
        super().__init__()
        self.network = Network(remembers_voids=remembers_voids)
        self.waiting: list[Call] = []
        self.on_their_way: list[Call] = []
        self.late_answers: list[tuple[Call, Answer]] = []
        self.authorized: set[tuple[str, str]] = set()
        self.shown: set[str] = set()
        self.give(command(create_body(capture=capture)))

    def give(self, given: Given) -> Decision:
        self.now = later(self.now, seconds=1)
        decision = super().give(given)
        for event in decision.events:
            told = event.transaction
            if told is not None and event.type in _CALLING:
                self.waiting.append(_call(told))
            elif told is not None and event.type == EventType.transaction_requires_action:
                self.shown.add(told.id)
            elif told is not None and event.type == EventType.transaction_completed:
                self.waiting = [call for call in self.waiting if call.transaction_id != told.id]
        captured = [key for key, hold in self.network.holds.items() if hold is Hold.captured]
        assert len(captured) <= 1, "no card is charged twice"
        return decision

    @property
    def open_intent(self) -> PaymentIntent:
        assert self.intent is not None
        return self.intent

    # -- processing

    def call_is_answered(self, choose: Choose) -> None:
        for call in self._leaving(choose):
            answer = self.network.carry_out(call, self._whim(call, choose))
            for _ in range(choose([1, 1, 2])):
                self._say(call, answer)

    def answer_is_lost(self, choose: Choose) -> None:
        for call in self._leaving(choose):
            answer = self.network.carry_out(call, self._whim(call, choose))
            self._say(call, Answer(Outcome.unknown, code="timed_out"))
            # A network that forgets voids at least does not lose the answer as well.
            if not self.network.remembers_voids or choose([True, False]):
                self.late_answers.append((call, answer))

    def call_is_late(self, choose: Choose) -> None:
        for call in self._leaving(choose):
            self._say(call, Answer(Outcome.unknown, code="timed_out"))
            self.on_their_way.append(call)

    def call_never_arrives(self, choose: Choose) -> None:
        for call in self._leaving(choose):
            self._say(call, Answer(Outcome.unknown, code="reset"))

    def call_is_not_sent(self, choose: Choose) -> None:
        if any(call.kind is CallKind.authorize for call in self.waiting):
            call = choose([call for call in self.waiting if call.kind is CallKind.authorize])
            self.waiting.remove(call)
            self._say(call, Answer(Outcome.not_sent, code=choose(["no_connection", "expired_before_send"])))

    def late_call_arrives(self, choose: Choose) -> None:
        calls = [call for call in self.on_their_way if self._may_arrive(call)]
        if calls:
            call = choose(calls)
            self.on_their_way.remove(call)
            self.late_answers.append((call, self.network.carry_out(call, self._whim(call, choose))))

    def late_answer_arrives(self, choose: Choose) -> None:
        if self.late_answers:
            said = choose(self.late_answers)
            if choose([True, True, False]):
                self.late_answers.remove(said)
            self._say(*said)

    # -- the customer, reconciliation and an operator

    def customer_ends_challenge(self, choose: Choose) -> None:
        challenged = self._challenged()
        if challenged:
            self.network.customer_ends_challenge(choose(challenged), passed=choose([True, True, False]))
            if choose([True, False]):
                self.ask(ReturnFromChallenge())
                self.look_up(choose)

    def look_up(self, choose: Choose) -> None:
        doubtful = [t for t in self.transactions if t.status in (Status.pending, Status.requires_action)]
        if doubtful:
            self._look_up(choose(doubtful), answered=choose([True, True, False]))

    def ladder_step(self, choose: Choose) -> None:
        doubtful = [t for t in self.transactions if t.status is Status.pending]
        if doubtful:
            self._timer("ladder", choose(doubtful))

    def deadline_passes(self, choose: Choose) -> None:
        if choose([True, False, False]):
            self._deadline()
        latest = last_authorization(self.open_intent)
        if self.status is PaymentIntentStatus.requires_payment_method and choose([True] + [False] * 9):
            self._timer("abandonment", latest)

    def hold_ends(self, choose: Choose) -> None:
        if choose([True] + [False] * 4):
            latest = last_authorization(self.open_intent)
            if latest is not None and latest.status is not Status.created:
                self.network.hold_ends(latest.id)
                # Nothing is on its way for as long as that.
                self.on_their_way = [call for call in self.on_their_way if call.authorization_id != latest.id]
                self._timer("hold_ended", latest)

    def operator_looks_at_the_books(self, choose: Choose) -> None:
        doubtful = [t for t in self.transactions if t.status is Status.pending]
        if not doubtful:
            return
        transaction = choose(doubtful)
        subject = transaction.authorization_id or transaction.id
        if any(call.authorization_id == subject for call in (*self.on_their_way, *self.waiting)):
            return
        answer = self.network.look_up((transaction.processor, transaction.id))
        if answer.outcome is Outcome.not_found and transaction.type is not TransactionType.void:
            standing = self.network.holds.get((transaction.processor, subject)) is Hold.standing
            answer = REFUSED if standing else replace(DECLINED, state=AuthorizationState.gone)
        if answer.outcome in (Outcome.approved, Outcome.declined) and answer.amount_minor is None:
            self.ask(
                ResolveTransaction(
                    transaction_id=transaction.id,
                    outcome=answer.outcome,
                    authorization_state=answer.state,
                    evidence="the books",
                )
            )

    # -- the end

    def heal(self) -> None:
        """Everything arrives, everybody answers, every deadline passes; then the books are compared."""
        for _ in range(60):
            if self._settled():
                break
            arriving = [call for call in self.on_their_way if self._may_arrive(call)]
            self.on_their_way = [call for call in self.on_their_way if call not in arriving]
            for call in [*arriving, *self.waiting]:
                self._say(call, self.network.carry_out(call, APPROVED))
            self.waiting = [call for call in self.waiting if self._unanswered(call)]
            for late in self.late_answers:
                self._say(*late)
            self.late_answers = []
            for transaction in self.transactions:
                if transaction.status is Status.pending:
                    self._look_up(transaction, answered=True)
                    self._timer("ladder", transaction)
            self._deadline()
        assert self._settled(), "everything is decided in the end"
        self._compare()

    def _settled(self) -> bool:
        busy = self.on_their_way or self.waiting or self.late_answers or any(is_open(t) for t in self.transactions)
        return not busy and self.status is not PaymentIntentStatus.requires_capture

    def _may_arrive(self, call: Call) -> bool:
        """Whether a late call may arrive now.

        An acknowledged void is evidence because the processor holds it against a later arrival (DESIGN section 7). At a
        network that does not, only the approval that comes after both were closed is found out, so only that is played.
        """
        known = find(self.open_intent, call.transaction_id)
        voided = resolving_void(self.open_intent, call.transaction_id) is not None
        return self.network.remembers_voids or known is None or not (is_open(known) and voided)

    def _unanswered(self, call: Call) -> bool:
        known = find(self.open_intent, call.transaction_id)
        return known is not None and known.status is Status.created and known.processor == call.processor

    def _compare(self) -> None:
        holds, intent = self.network.holds, self.open_intent
        assert Hold.standing not in holds.values(), "every approval ends captured, voided or expired"
        assert not self._challenged()
        captured = [key for key, hold in holds.items() if hold is Hold.captured]
        assert (len(captured) == 1) == (intent.status is PaymentIntentStatus.succeeded), "the books say the same"
        received = sum(self.network.captured_minor.values())
        assert received == intent.amount_received_minor <= AMOUNT_MINOR

    def _challenged(self) -> list[tuple[str, TransactionId]]:
        """The challenges that a customer can pass: those that were ever shown to one."""
        holds = self.network.holds
        return [key for key, hold in holds.items() if hold is Hold.challenged and key[1] in self.shown]

    # -- how things are said

    def _leaving(self, choose: Choose) -> list[Call]:
        if not self.waiting:
            return []
        call = choose(self.waiting)
        self.waiting.remove(call)
        if call.kind is CallKind.authorize:
            assert (call.processor, call.transaction_id) not in self.authorized, "no authorization is asked for twice"
            self.authorized.add((call.processor, call.transaction_id))
        return [call]

    def _whim(self, call: Call, choose: Choose) -> Answer:
        return choose(_WHIMS if call.kind is CallKind.authorize else (APPROVED, APPROVED, DECLINED))

    def _say(self, call: Call, answer: Answer, *, looked_up: bool = False) -> None:
        transaction = find(self.open_intent, call.transaction_id)
        assert transaction is not None
        self.give(
            result(
                transaction,
                answer.outcome,
                at=self.now,
                call=CallKind.lookup if looked_up else None,
                source=ResultSource.lookup if looked_up else ResultSource.answer,
                processor=call.processor,
                amount_minor=answer.amount_minor,
                code=answer.code,
                state=answer.state,
            )
        )

    def _look_up(self, transaction: Transaction, *, answered: bool) -> None:
        call = _call(transaction)
        answer = self.network.look_up((call.processor, call.transaction_id)) if answered else Answer(Outcome.unknown)
        self._say(call, answer, looked_up=True)

    def _deadline(self) -> None:
        latest = last_authorization(self.open_intent)
        if latest is not None and self.status is PaymentIntentStatus.requires_action:
            self._timer("challenge_timeout", latest)
        elif latest is not None and self.status is PaymentIntentStatus.requires_capture:
            self._timer("authorization_expiry", latest)

    def _timer(self, name: str, transaction: Transaction | None) -> None:
        known = None if transaction is None else transaction.id
        due_at = later(self.now, seconds=A_MONTH_SECONDS)
        self.give(TimerFired(payment_intent_id=INTENT, transaction_id=known, name=name, due_at=due_at, at=self.now))


HONEST: tuple[Callable[[HonestWorld, Choose], object], ...] = (
    HonestWorld.merchant_goes_on,
    HonestWorld.merchant_goes_on,
    HonestWorld.call_is_answered,
    HonestWorld.call_is_answered,
    HonestWorld.call_is_answered,
    HonestWorld.answer_is_lost,
    HonestWorld.call_is_late,
    HonestWorld.call_never_arrives,
    HonestWorld.call_is_not_sent,
    HonestWorld.late_call_arrives,
    HonestWorld.late_answer_arrives,
    HonestWorld.customer_ends_challenge,
    HonestWorld.customer_ends_challenge,
    HonestWorld.look_up,
    HonestWorld.ladder_step,
    HonestWorld.deadline_passes,
    HonestWorld.hold_ends,
    HonestWorld.operator_looks_at_the_books,
)
