"""A payment told in steps that read as sentences, and what became of it.

A step says what comes in: `attempt`, `capture 400`, `void`, `cancel`, `return`; `authorization: approved`,
`capture: declined gone`, `void: lookup unknown`, `compensation: approved` (the latest Transaction of that kind, `first
authorization` the first one); `timer: challenge_timeout`; `operator: void approved`. With `! name` at its end it is
refused by that name, with `! again` it is a replay, and otherwise it makes at least one event.
"""

from __future__ import annotations

from msgspec.structs import replace

from schemas.commands import (
    Authorize,
    CancelPaymentIntent,
    CapturePayment,
    CreatePaymentIntent,
    PaymentCommand,
    ResolveTransaction,
    ReturnFromChallenge,
    VoidPayment,
)
from schemas.identifiers import (
    CommandId,
    MerchantId,
    PaymentIntentId,
    TransactionId,
    fingerprint,
    payment_intent_id,
    transaction_id,
)
from schemas.payment import (
    Actor,
    ActorType,
    CaptureMethod,
    PaymentEvent,
    PaymentIntent,
    Transaction,
    TransactionType,
)
from schemas.processing import AuthorizationState, CallKind, Outcome, ProcessorResult, ResultSource, TimerFired
from schemas.times import Micros, later
from topology.domain import Decision, decide, is_compensating
from topology.domain.intents import last_authorization

MERCHANT = MerchantId("mer_demo")
INTENT = payment_intent_id(merchant_id=MERCHANT, livemode=False, idempotency_key="order-1")
KEY = Actor(type=ActorType.key, id="key_1")
START = Micros(1_767_225_600_000_000)
AMOUNT_MINOR = 1_000

type_of_call = {
    TransactionType.authorization: CallKind.authorize,
    TransactionType.capture: CallKind.capture,
    TransactionType.void: CallKind.void,
}


def tx(key: str) -> TransactionId:
    """The Transaction opened under this Idempotency-Key."""
    return transaction_id(payment_intent_id=INTENT, idempotency_key=key)


def command(
    body: CreatePaymentIntent
    | Authorize
    | CapturePayment
    | VoidPayment
    | CancelPaymentIntent
    | ReturnFromChallenge
    | ResolveTransaction,
    *,
    at: Micros = START,
    command_id: str = "cmd_1",
    intent_id: PaymentIntentId = INTENT,
    wait: bool = False,
    actor: Actor = KEY,
) -> PaymentCommand:
    """A command of the demo merchant."""
    return PaymentCommand(
        id=CommandId(command_id),
        payment_intent_id=intent_id,
        merchant_id=MERCHANT,
        livemode=False,
        at=at,
        actor=actor,
        reply_partition=2,
        wait=wait,
        body=body,
    )


def create_body(
    *, capture: CaptureMethod = CaptureMethod.automatic, amount_minor: int = AMOUNT_MINOR, absent_at: Micros = START
) -> CreatePaymentIntent:
    """What opens the PaymentIntent."""
    return CreatePaymentIntent(
        amount_minor=amount_minor,
        currency="usd",
        capture_method=capture,
        metadata={"order": "1"},
        absent_at=absent_at,
        fingerprint=fingerprint("create", str(amount_minor), capture),
    )


def authorize_body(key: str, *, route: tuple[str, ...] = ("cardnet",)) -> Authorize:
    """An attempt under this Idempotency-Key."""
    return Authorize(
        transaction_id=tx(key), payment_method="tok_visa", route=route, fingerprint=fingerprint("authorize", key)
    )


def result(
    transaction: Transaction,
    outcome: Outcome,
    *,
    at: Micros = START,
    call: CallKind | None = None,
    source: ResultSource = ResultSource.answer,
    processor: str | None = None,
    amount_minor: int | None = None,
    currency: str | None = None,
    code: str | None = None,
    state: AuthorizationState | None = None,
    reference: str | None = None,
    capture_before: Micros | None = None,
) -> ProcessorResult:
    """What a processor says of a Transaction."""
    return ProcessorResult(
        payment_intent_id=INTENT,
        transaction_id=transaction.id,
        processor=transaction.processor if processor is None else processor,
        call=type_of_call[transaction.type] if call is None else call,
        outcome=outcome,
        source=source,
        at=at,
        amount_minor=amount_minor,
        currency=currency,
        code=code,
        authorization_state=state,
        processor_reference=reference,
        challenge_url="http://127.0.0.1/challenge" if outcome is Outcome.challenge else None,
        capture_before=capture_before,
    )


class Payment:
    """One payment that is told step by step; everything that it was told and became is kept."""

    def __init__(
        self, *, capture: CaptureMethod = CaptureMethod.automatic, route: tuple[str, ...] = ("a", "b")
    ) -> None:
        self.now = START
        self.events: list[PaymentEvent] = []
        self.decision = Decision()
        self._intent: PaymentIntent | None = None
        self._route = route
        self._steps = 0
        self.give(command(create_body(capture=capture)))

    @property
    def intent(self) -> PaymentIntent:
        """The state."""
        assert self._intent is not None
        return self._intent

    def give(self, given: PaymentCommand | ProcessorResult | TimerFired) -> Decision:
        """Decide one input, and go on from the state that it leads to."""
        self.decision = decide(self._intent, given)
        self.events.extend(self.decision.events)
        if self.decision.events:
            self._intent = self.decision.events[-1].payment_intent
        return self.decision

    def tell(self, *steps: str) -> Payment:
        """Tell what comes in, step by step, and check each as the step says."""
        for step in steps:
            said, _, expected = (part.strip() for part in step.partition("!"))
            self.now = later(self.now, seconds=1)
            self._steps += 1
            decision = self.give(self._input(said))
            if expected == "again":
                assert decision.replayed, (step, decision)
            elif expected:
                assert decision.refusal == expected, (step, decision.refusal, decision.events)
            else:
                assert decision.refusal is None, (step, decision.refusal)
                assert decision.events, step
            if expected:
                assert not decision.events, step
        return self

    def transactions(self) -> list[str]:
        """Each Transaction as `type status`, voids with their reason."""
        return [
            " ".join(part for part in (t.type, t.void_reason and f"({t.void_reason})", t.status) if part)
            for t in self.intent.transactions
        ]

    def latest(self, kind: str) -> Transaction:
        """The latest Transaction of the kind; a `compensation` is a compensating void, a `void` is any other."""
        first, kind = kind.startswith("first "), kind.removeprefix("first ")
        found = [
            t
            for t in self.intent.transactions
            if t.type == kind.replace("compensation", "void") and is_compensating(t) == (kind == "compensation")
        ]
        return found[0 if first else -1]

    def _input(self, said: str) -> PaymentCommand | ProcessorResult | TimerFired:
        kind, _, rest = (part.strip() for part in said.partition(":"))
        if kind == "timer":
            return self._timer(*rest.split(" of "))
        if kind == "operator":
            return self._resolution(*rest.rsplit(" ", 1))
        return self._result(self.latest(kind), rest.split()) if rest else self._command(*said.split())

    def _command(self, verb: str, argument: str = "") -> PaymentCommand:
        key = f"{verb}-{self._steps}"
        body: Authorize | CapturePayment | VoidPayment | CancelPaymentIntent | ReturnFromChallenge
        if verb == "attempt":
            body = authorize_body(key, route=self._route)
        elif verb == "capture":
            amount_minor = int(argument) if argument else None
            body = CapturePayment(transaction_id=tx(key), amount_minor=amount_minor, fingerprint=fingerprint(key))
        elif verb == "void":
            body = VoidPayment(transaction_id=tx(key), fingerprint=fingerprint(key))
        elif verb == "cancel":
            body = CancelPaymentIntent(transaction_id=tx(key), fingerprint=fingerprint(key))
        else:
            assert verb == "return", verb
            body = ReturnFromChallenge()
        return command(body, at=self.now, command_id=f"cmd_{self._steps}")

    def _result(self, transaction: Transaction, words: list[str]) -> ProcessorResult:
        call = CallKind.lookup if words[0] == "lookup" else None
        source = ResultSource.answer if call is None else ResultSource.lookup
        outcome, *rest = words if call is None else words[1:]
        given = result(transaction, Outcome(outcome), at=self.now, call=call, source=source)
        for word in rest:
            if word in AuthorizationState.__members__:
                given = replace(given, authorization_state=AuthorizationState(word))
            elif word.isdigit():
                given = replace(given, amount_minor=int(word))
            elif word.startswith("by="):
                given = replace(given, processor=word[3:])
            elif word.startswith("ref="):
                given = replace(given, processor_reference=word[4:])
            elif word.startswith("in="):
                given = replace(given, currency=word[3:])
            else:
                given = replace(given, code=word)
        return given

    def _timer(self, name: str, kind: str | None = None) -> TimerFired:
        if kind is None and name == "abandonment":
            transaction = last_authorization(self.intent)
        else:
            transaction = self.latest(kind or "authorization")
        due_at = self.now
        if name == "authorization_expiry" and transaction is not None and transaction.capture_before is not None:
            due_at = self.now = transaction.capture_before
        return TimerFired(
            payment_intent_id=INTENT,
            transaction_id=None if transaction is None else transaction.id,
            name=name,
            due_at=due_at,
            at=self.now,
        )

    def _resolution(self, kind: str, outcome: str) -> PaymentCommand:
        state = AuthorizationState(outcome) if outcome in AuthorizationState.__members__ else None
        body = ResolveTransaction(
            transaction_id=self.latest(kind).id,
            outcome=Outcome.declined if state else Outcome(outcome),
            authorization_state=state,
            evidence="the processor's books, seen by mail",
        )
        operator = Actor(type=ActorType.operator, id="ada")
        return command(body, at=self.now, command_id=f"cmd_{self._steps}", actor=operator)
