"""Merchants and customers, and ingress between them and the log: what they ask, and what they get to hear.

Ingress is played as it answers: a create is looked up in the read model first, a reply is told once it comes, and what
the fold has forgotten is answered from the read model. Replies get lost, and commands may be long on their way.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from schemas.commands import (
    Authorize,
    CancelPaymentIntent,
    CapturePayment,
    CommandBody,
    CommandReply,
    CreatePaymentIntent,
    PaymentCommand,
    ResolveTransaction,
    ReturnFromChallenge,
    VoidPayment,
)
from schemas.identifiers import MerchantId, PaymentIntentId, TransactionId, command_id, transaction_id
from schemas.partitioner import partition
from schemas.payment import Actor, ActorType, CaptureMethod, PaymentIntent, PaymentIntentStatus
from schemas.processing import Outcome
from schemas.times import Micros, later
from schemas.topics import COMMANDS
from tests.chaos.history import Operation
from tests.simulation.log import SimulatedLog
from tests.simulation.process import SkewedClock
from tests.simulation.read_model import ReadModel
from topology.payments import Reply

__all__ = ["AMOUNT_MINOR", "MERCHANT", "Merchants"]

MERCHANT, ANOTHER = MerchantId("mer_a"), MerchantId("mer_b")
AMOUNT_MINOR = 1_999
_KEYS = 9
_ON_ITS_WAY_SECONDS_MAX = 300.0


@dataclass(frozen=True, slots=True)
class _Ask:
    """A request whose answer is awaited."""

    number: int
    command: PaymentCommand
    asked_at: float


class Merchants:
    """All who ask. `last` is what the log says of each PaymentIntent."""

    def __init__(
        self,
        chance: random.Random,
        clock: SkewedClock,
        log: SimulatedLog,
        read_model: ReadModel,
        intents: list[PaymentIntentId],
        last: Mapping[PaymentIntentId, PaymentIntent],
    ) -> None:
        self.history: list[Operation] = []
        self._chance = chance
        self._clock = clock
        self._log = log
        self._read_model = read_model
        self._intents = intents
        self._last = last
        self._sent: list[tuple[PaymentIntentId, CommandBody]] = []
        self._on_their_way: list[tuple[Micros, PaymentCommand]] = []
        self._awaited: dict[str, _Ask] = {}
        self._ticks = 0
        self._asked_for = 2

    def ask(self) -> str:
        """Somebody asks for something; says what."""
        if self._sent and self._chance.random() < 0.12:
            return self._send(self._command(*self._chance.choice(self._sent)))
        intent = self._any_intent()
        found = self._read_model.look_up(intent, at=self._clock.now())
        kinds = self._kinds(intent, absent_at=found.watermark)
        is_sensible = self._chance.random() < (0.75 if intent in self._last else 0.93)
        body = (self._likely(intent, kinds) if is_sensible else self._chance.choice(kinds))()
        command = self._command(intent, body)
        if isinstance(body, CreatePaymentIntent) and found.intent is not None:
            # As a read of its status: the read model has come to the end of the log.
            self._read_model.go_on(partition(intent, self._log.partitions))
            self._tell(self._asked(command), self._read(intent), replayed=True)
            return f"create of {intent}, which the read model knows"
        return self._send(command)

    def _any_intent(self) -> PaymentIntentId:
        """One that has been asked for before, or now and then a new one."""
        if self._asked_for < len(self._intents) and self._chance.random() < 0.3:
            self._asked_for += 1
        return self._chance.choice(self._intents[: self._asked_for])

    def deliver(self) -> None:
        """What was long on its way arrives in the log."""
        arrived = [command for due_at, command in self._on_their_way if due_at <= self._clock.now()]
        self._on_their_way = [one for one in self._on_their_way if one[0] > self._clock.now()]
        for command in arrived:
            self._append(command)

    def come_back(self, intent: PaymentIntentId) -> None:
        """A customer's browser returns from a challenge."""
        self._append(self._command(intent, ReturnFromChallenge()))

    def resolve(self, command: ResolveTransaction, intent: PaymentIntentId) -> None:
        """A person decides."""
        self._append(self._command(intent, command))

    def hear(self, effects: list[object]) -> None:
        """What has committed brings replies; each is told, or lost."""
        for effect in effects:
            assert isinstance(effect, Reply)
            if self._chance.random() > 0.1:
                self._hear(effect.reply)

    # What is asked.

    def _likely(self, intent: PaymentIntentId, kinds: list[Callable[[], CommandBody]]) -> Callable[[], CommandBody]:
        """What a merchant who has looked would ask next."""
        known = self._last.get(intent)
        authorize, capture, void, cancel, come_back = kinds[1:6]
        match None if known is None else known.status:
            case "requires_payment_method":
                return self._chance.choice([authorize, authorize, authorize, authorize, cancel])
            case "requires_capture":
                return self._chance.choice([capture, capture, capture, void, cancel])
            case "requires_action":
                return self._chance.choice([come_back, come_back, come_back, cancel])
            case "processing":
                return self._chance.choice([kinds[0], authorize, cancel])
            case "succeeded" | "canceled":
                return self._chance.choice([kinds[0], kinds[0], authorize, capture, cancel])
            case _:
                return kinds[0]

    def _kinds(self, intent: PaymentIntentId, *, absent_at: Micros) -> list[Callable[[], CommandBody]]:
        """Everything that can be asked, sensible or not."""
        number = self._chance.randint(1, _KEYS)
        opened = transaction_id(payment_intent_id=intent, idempotency_key=f"key-{number}")
        # Of what is asked under one key, most is the same; a few ask for something else.
        other = b"o" * 16 if self._chance.random() < 0.1 else b"s" * 16
        route = self._chance.choice([("a", "b"), ("b", "a")] * 5 + [("a",), ("c", "a")])
        amount_minor = self._chance.choice([None, None, None, 500, AMOUNT_MINOR + 1])
        return [
            lambda: self._creation(absent_at),
            lambda: Authorize(transaction_id=opened, payment_method="tok_visa", route=route, fingerprint=other),
            lambda: CapturePayment(transaction_id=opened, amount_minor=amount_minor, fingerprint=other),
            lambda: VoidPayment(transaction_id=opened, fingerprint=other),
            lambda: CancelPaymentIntent(transaction_id=opened, fingerprint=b"x" * 16),
            lambda: ReturnFromChallenge(transaction_id=self._chance.choice([None, None, opened])),
            lambda: Authorize(transaction_id=opened, payment_method="tok_visa", route=(), fingerprint=other),
            lambda: self._nonsense(intent, opened),
        ]

    def _creation(self, absent_at: Micros) -> CreatePaymentIntent:
        return CreatePaymentIntent(
            amount_minor=AMOUNT_MINOR,
            currency="usd",
            capture_method=self._chance.choice(list(CaptureMethod)),
            absent_at=absent_at,
            fingerprint=self._chance.choice([b"f" * 16] * 15 + [b"g" * 16]),
        )

    def _nonsense(self, intent: PaymentIntentId, opened: TransactionId) -> ResolveTransaction:
        """A person's word about what is not in doubt, or that is no evidence."""
        known = self._last.get(intent)
        closed = [] if known is None else [one.id for one in known.transactions if one.completed_at is not None]
        about = self._chance.choice([*closed, opened])
        is_closed = about in closed
        outcome = self._chance.choice([Outcome.approved, Outcome.unknown]) if is_closed else Outcome.unknown
        return ResolveTransaction(transaction_id=about, outcome=outcome, evidence="none")

    def _command(self, intent: PaymentIntentId, body: CommandBody) -> PaymentCommand:
        kind = type(body).__name__
        key = getattr(body, "transaction_id", None) or intent
        said = getattr(body, "fingerprint", None) or kind.encode()
        is_foreign = not isinstance(body, CreatePaymentIntent) and self._chance.random() < 0.02
        is_told = not is_foreign and not isinstance(body, ReturnFromChallenge | ResolveTransaction)
        return PaymentCommand(
            id=command_id(payment_intent_id=intent, kind=kind, idempotency_key=key, fingerprint=said),
            payment_intent_id=intent,
            merchant_id=ANOTHER if is_foreign else MERCHANT,
            livemode=False,
            at=self._clock.now(),
            actor=Actor(type=ActorType.key if is_told else ActorType.operator, id="somebody"),
            reply_partition=0 if is_told else None,
            wait=self._chance.random() < 0.5,
            body=body,
        )

    def _send(self, command: PaymentCommand) -> str:
        if command.reply_partition is not None:
            self._awaited[command.id] = self._asked(command)
        if not isinstance(command.body, CreatePaymentIntent | ResolveTransaction):
            self._sent.append((command.payment_intent_id, command.body))
        told = f"{type(command.body).__name__} of {command.payment_intent_id}"
        seconds = self._chance.uniform(1.0, _ON_ITS_WAY_SECONDS_MAX)
        if self._chance.random() < 0.1:
            self._on_their_way.append((later(self._clock.now(), seconds=seconds), command))
            return f"{told}, on its way for {seconds:.0f} s"
        self._append(command)
        if isinstance(command.body, CreatePaymentIntent) and self._chance.random() < 0.3:
            # Asked twice, and one of the two got stuck between the look-up and the log.
            self._on_their_way.append((later(self._clock.now(), seconds=seconds), command))
            return f"{told}, and again in {seconds:.0f} s"
        return told

    def _append(self, command: PaymentCommand) -> None:
        self._log.append(COMMANDS, command.payment_intent_id, command, at=self._clock.now())

    # What is heard.

    def _asked(self, command: PaymentCommand) -> _Ask:
        self._ticks += 1
        return _Ask(self._ticks, command, float(self._ticks))

    def _hear(self, reply: CommandReply) -> None:
        ask = self._awaited.get(reply.command_id)
        if ask is None:
            return
        if not reply.left_processing:
            # One request hears its answer once; a second reply comes to who waits for it.
            if not ask.command.wait or reply.refusal is not None:
                del self._awaited[reply.command_id]
        elif reply.payment_intent is not None:
            del self._awaited[reply.command_id]
        if reply.refusal == "unknown_payment_intent":
            self._hear_from_read_model(ask, reply.forgotten_up_to)
        elif reply.refusal is not None:
            self._tell(ask, None, refusal=reply.refusal)
        else:
            self._tell(ask, reply.payment_intent, replayed=reply.replayed or reply.left_processing)

    def _hear_from_read_model(self, ask: _Ask, forgotten_up_to: Micros | None) -> None:
        """The fold does not know it: it never was, or it is final and only the read model still has it."""
        intent = ask.command.payment_intent_id
        found = self._read_model.look_up_as_of(intent, forgotten_up_to or Micros(0))
        if found is None:
            self._tell(ask, None, refusal="read_model_behind")
        elif found.intent is None:
            self._tell(ask, None, refusal="unknown_payment_intent")
        else:
            opened = getattr(ask.command.body, "transaction_id", None)
            is_done = any(one.id == opened for one in found.intent.transactions)
            if isinstance(ask.command.body, CancelPaymentIntent):
                is_done |= found.intent.status is PaymentIntentStatus.canceled
            self._tell(ask, found.intent if is_done else None, refusal="already_final", replayed=True)

    def _read(self, intent: PaymentIntentId) -> PaymentIntent | None:
        return self._read_model.look_up(intent, at=self._clock.now()).intent

    def _tell(
        self, ask: _Ask, intent: PaymentIntent | None, *, replayed: bool = False, refusal: str | None = None
    ) -> None:
        self._ticks += 1
        body, about = ask.command.body, ask.command.payment_intent_id
        path, status = f"/paymentIntent/{about}/transaction", 201
        if isinstance(body, CreatePaymentIntent):
            path = "/paymentIntent"
        elif isinstance(body, CancelPaymentIntent):
            path, status = f"/paymentIntent/{about}/cancel", 200
        if intent is None:
            status = {"unknown_payment_intent": 404, "read_model_behind": 503}.get(refusal or "", 409)
            answer: dict[str, object] = {"code": refusal}
        else:
            answer = _shown(intent, getattr(body, "transaction_id", None) if path.endswith("/transaction") else None)
        self.history.append(
            Operation(
                client=ask.command.merchant_id,
                number=self._ticks,
                method="POST",
                path=path,
                # The request itself: another body under the same Idempotency-Key is another one.
                key=ask.command.id,
                body=None,
                asked_at=ask.asked_at,
                heard_at=float(self._ticks),
                status=status,
                answer=answer,
                is_replay=replayed,
            )
        )


def _shown(intent: PaymentIntent, opened: TransactionId | None) -> dict[str, object]:
    """What a client is shown: the PaymentIntent with its Transactions, or one of these with it."""
    legs = [{"id": one.id, "object": "transaction", "status": one.status} for one in intent.transactions]
    shown = {"id": intent.id, "object": "payment_intent", "sequence": intent.sequence, "status": intent.status}
    if opened is None:
        return {**shown, "transactions": legs}
    (leg,) = (one for one in legs if one["id"] == opened)
    return {**leg, "payment_intent": shown}
