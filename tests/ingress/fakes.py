"""The world of the API in memory: a log, replies, the ends of partitions, a read model, a fold of the simplest."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from ingress.ports import Delivery, NotHandedOver
from ingress.replies import Waiters
from schemas.codec import decode, encode
from schemas.commands import (
    Authorize,
    CancelPaymentIntent,
    CapturePayment,
    CommandReply,
    CreatePaymentIntent,
    PaymentCommand,
    VoidPayment,
)
from schemas.identifiers import MerchantId, PaymentIntentId, TransactionId, payment_intent_id
from schemas.partitioner import partition
from schemas.payment import (
    CaptureMethod,
    PaymentIntent,
    PaymentIntentStatus,
    Transaction,
    TransactionStatus,
    TransactionType,
)
from schemas.times import Micros
from sinks.postgres.errors import ReadModelUnavailable

NOW = Micros(1_800_000_000_000_000)
PARTITIONS = 4
MERCHANT = MerchantId("mer_demo")


@dataclass
class FakeClock:
    """A clock that stands."""

    at: Micros = NOW

    def now(self) -> Micros:
        return self.at


class FakeReplies(Waiters):
    """Replies that tests give."""

    partition: int | None = 2


@dataclass
class FakeEvents:
    """The ends of the partitions of events."""

    partitions: int | None = PARTITIONS
    ends_by_partition: dict[int, int] = field(default_factory=dict)
    asked: list[frozenset[int]] = field(default_factory=list)
    away: bool = False

    async def ends(self, partitions: Collection[int]) -> Mapping[int, int | None]:
        self.asked.append(frozenset(partitions))
        await asyncio.sleep(0)
        return {one: None if self.away else self.ends_by_partition.get(one, 0) for one in partitions}


@dataclass(frozen=True)
class FakeReading:
    """What a read gives."""

    intent: PaymentIntent | None
    next_offset: int


@dataclass(frozen=True)
class FakeLookUp:
    """What a look-up gives."""

    intents: Mapping[PaymentIntentId, PaymentIntent]
    watermarks: Mapping[int, Micros]


@dataclass
class FakeReadModel:
    """A read model whose progress is set by hand."""

    intents: dict[PaymentIntentId, PaymentIntent] = field(default_factory=dict)
    next_offsets: dict[int, int] = field(default_factory=dict)
    watermark: Micros = NOW
    away: bool = False
    looked_up: list[list[PaymentIntentId]] = field(default_factory=list)
    reads: int = 0

    async def look_up(self, ids: Sequence[PaymentIntentId], *, at: Micros) -> FakeLookUp:
        self.looked_up.append(list(ids))
        await self._answer()
        watermark = Micros(min(self.watermark, at))
        found = {one: self.intents[one] for one in ids if one in self.intents}
        return FakeLookUp(found, dict.fromkeys(range(PARTITIONS), watermark))

    async def read(self, payment_intent_id: PaymentIntentId, *, partition: int) -> FakeReading:
        self.reads += 1
        await self._answer()
        return FakeReading(self.intents.get(payment_intent_id), self.next_offsets.get(partition, 0))

    async def ready(self) -> bool:
        return not self.away

    async def _answer(self) -> None:
        await asyncio.sleep(0)
        if self.away:
            raise ReadModelUnavailable("away")


@dataclass
class FakeLog:
    """A log that delivers, or does what a test says, and hands what is delivered to a fold."""

    replies: FakeReplies
    fold: FakeFold
    commands: list[PaymentCommand] = field(default_factory=list)
    delivery: Delivery | None = Delivery.delivered
    """None: the delivery stays open."""
    up: bool = True
    silent: bool = False
    ahead_seconds: float = 0.0

    def connected(self) -> bool:
        return self.up

    def clock_ahead_seconds(self) -> float:
        return self.ahead_seconds

    def send(self, command: PaymentCommand) -> asyncio.Future[Delivery]:
        if not self.up:
            raise NotHandedOver("down")
        assert decode(encode(command)) == command, "the command survives the log"
        self.commands.append(command)
        loop = asyncio.get_running_loop()
        delivery: asyncio.Future[Delivery] = loop.create_future()
        if self.delivery is not None:
            delivery.set_result(self.delivery)
        if self.delivery is Delivery.delivered and not self.silent:
            for number, reply in enumerate(self.fold.decide(command)):
                if command.reply_partition == self.replies.partition:
                    loop.call_later(0.001 + 0.01 * number, self.replies.hear, reply)
        return delivery


@dataclass
class FakeFold:
    """Opens, authorizes and cancels; what else it says is set by hand, by the kind of command."""

    intents: dict[PaymentIntentId, PaymentIntent] = field(default_factory=dict)
    refusals: dict[type, str] = field(default_factory=dict)
    forgotten_up_to: Micros | None = None
    outcome: TransactionStatus = TransactionStatus.succeeded
    stays_processing: bool = False

    def decide(self, command: PaymentCommand) -> list[CommandReply]:
        body = command.body
        if type(body) in self.refusals:
            return [self._refused(command, self.refusals[type(body)])]
        known = self.intents.get(command.payment_intent_id)
        if isinstance(body, CreatePaymentIntent):
            return [self._create(command, body, known)]
        if known is None or known.merchant_id != command.merchant_id:
            return [self._refused(command, "unknown_payment_intent")]
        if isinstance(body, CancelPaymentIntent):
            canceled = replace(known, status=PaymentIntentStatus.canceled, sequence=known.sequence + 1)
            return [self._reply(command, self._keep(canceled))]
        assert isinstance(body, Authorize | CapturePayment | VoidPayment)
        opened = next((one for one in known.transactions if one.id == body.transaction_id), None)
        if opened is not None:
            if opened.fingerprint != body.fingerprint:
                return [self._refused(command, "idempotency_mismatch")]
            return [replace(self._reply(command, known, opened.id), replayed=True)]
        return self._attempt(command, body, known)

    def _create(self, command: PaymentCommand, body: CreatePaymentIntent, known: PaymentIntent | None) -> CommandReply:
        if known is not None:
            if known.fingerprint != body.fingerprint:
                return self._refused(command, "idempotency_mismatch")
            return replace(self._reply(command, known), replayed=True)
        opened = PaymentIntent(
            id=command.payment_intent_id,
            merchant_id=command.merchant_id,
            livemode=command.livemode,
            status=PaymentIntentStatus.requires_payment_method,
            amount_minor=body.amount_minor,
            currency=body.currency,
            capture_method=body.capture_method,
            description=body.description,
            metadata=body.metadata,
            fingerprint=body.fingerprint,
            sequence=1,
            created_at=command.at,
            updated_at=command.at,
        )
        return self._reply(command, self._keep(opened))

    def _attempt(
        self, command: PaymentCommand, body: Authorize | CapturePayment | VoidPayment, known: PaymentIntent
    ) -> list[CommandReply]:
        created = a_transaction(
            body.transaction_id, known, status=TransactionStatus.created, fingerprint=body.fingerprint
        )
        opened = replace(created, command_at=command.at)
        processing = self._keep(
            replace(known, status=PaymentIntentStatus.processing, sequence=2, transactions=(opened,))
        )
        replies = [self._reply(command, processing, opened.id)]
        if command.wait and not self.stays_processing:
            approved = self.outcome is TransactionStatus.succeeded
            done = replace(
                processing,
                status=PaymentIntentStatus.succeeded if approved else PaymentIntentStatus.requires_payment_method,
                sequence=4,
                transactions=(replace(opened, status=self.outcome, completed_at=command.at),),
            )
            replies.append(replace(self._reply(command, self._keep(done), opened.id), left_processing=True))
        return replies

    def _keep(self, intent: PaymentIntent) -> PaymentIntent:
        self.intents[intent.id] = intent
        return intent

    def _reply(
        self, command: PaymentCommand, intent: PaymentIntent, transaction_id: TransactionId | None = None
    ) -> CommandReply:
        return CommandReply(
            command_id=command.id,
            payment_intent_id=intent.id,
            sequence=intent.sequence,
            payment_intent=intent,
            transaction_id=transaction_id,
        )

    def _refused(self, command: PaymentCommand, refusal: str) -> CommandReply:
        """With the intent as it is, where who asks may know of it."""
        known = None if refusal == "unknown_payment_intent" else self.intents.get(command.payment_intent_id)
        return CommandReply(
            command_id=command.id,
            payment_intent_id=command.payment_intent_id,
            sequence=0 if known is None else known.sequence,
            refusal=refusal,
            payment_intent=known,
            forgotten_up_to=self.forgotten_up_to,
        )


def an_intent(key: str = "some key") -> PaymentIntent:
    """A PaymentIntent of the demo merchant, as the read model has it."""
    return PaymentIntent(
        id=payment_intent_id(merchant_id=MERCHANT, livemode=False, idempotency_key=key),
        merchant_id=MERCHANT,
        livemode=False,
        status=PaymentIntentStatus.requires_payment_method,
        amount_minor=1999,
        currency="usd",
        capture_method=CaptureMethod.automatic,
        fingerprint=b"f" * 16,
        sequence=1,
        created_at=NOW,
        updated_at=NOW,
    )


def a_transaction(
    transaction_id: TransactionId,
    intent: PaymentIntent,
    *,
    status: TransactionStatus = TransactionStatus.succeeded,
    fingerprint: bytes = b"t" * 16,
) -> Transaction:
    """An authorization of the intent."""
    done = status not in (TransactionStatus.created, TransactionStatus.pending, TransactionStatus.requires_action)
    return Transaction(
        id=transaction_id,
        type=TransactionType.authorization,
        status=status,
        amount_minor=intent.amount_minor,
        currency=intent.currency,
        processor="cardnet",
        fingerprint=fingerprint,
        created_at=NOW,
        completed_at=NOW if done else None,
    )


def shard(intent_id: PaymentIntentId) -> int:
    """The partition of an intent."""
    return partition(intent_id, PARTITIONS)
