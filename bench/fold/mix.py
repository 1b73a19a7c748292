"""The inputs of the bench: payments that are created, attempted, approved and captured.

Four inputs a payment, five events: created; authorization opened; authorization approved and the capture opened by the
fold; captured. Each comes in its own stage, so that a stage can follow when the one before has been folded.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from schemas.codec import Record
from schemas.commands import Authorize, CommandBody, CreatePaymentIntent, PaymentCommand
from schemas.identifiers import (
    MerchantId,
    PaymentIntentId,
    command_id,
    fingerprint,
    opened_transaction_id,
    payment_intent_id,
    transaction_id,
)
from schemas.partitioner import partition
from schemas.payment import Actor, ActorType, CaptureMethod, Card
from schemas.processing import CallKind, Outcome, ProcessorResult, ResultSource
from schemas.registry import latest_ids, registered_schemas
from schemas.times import Micros
from schemas.topics import COMMANDS, PROCESSOR_RESULTS
from schemas.writer import Write, writer

__all__ = ["EVENTS_PER_PAYMENT", "PARTITIONS", "STAGES", "Input", "Payment", "stage"]

PARTITIONS = 12
STAGES = 4
EVENTS_PER_PAYMENT = 5
_MERCHANT = MerchantId("mer_bench")
_PROCESSOR = "cardnet"
_AMOUNT_MINOR = 4_999
# The capture is opened by the fold with the payment's fourth event.
_CAPTURE_SEQUENCE = 4


class Input(NamedTuple):
    """A message to append."""

    topic: str
    partition: int
    key: str
    value: bytes


class Payment:
    """One payment by number; the same number is the same payment."""

    def __init__(self, number: int) -> None:
        key = f"bench-{number}"
        self.id: PaymentIntentId = payment_intent_id(merchant_id=_MERCHANT, livemode=False, idempotency_key=key)
        self._key = key
        self._partition = partition.__wrapped__(self.id, PARTITIONS)

    def input(self, number: int, at: Micros) -> Input:
        """Its input of that stage (0 to 3), said at that time."""
        record = (self._create, self._attempt, self._approved, self._captured)[number](at)
        topic = COMMANDS if isinstance(record, PaymentCommand) else PROCESSOR_RESULTS
        return Input(topic.name, self._partition, self.id, _newest(record))

    def _create(self, at: Micros) -> Record:
        body = CreatePaymentIntent(
            amount_minor=_AMOUNT_MINOR,
            currency="eur",
            capture_method=CaptureMethod.automatic,
            description="Order of a customer",
            metadata={"order_id": self._key, "cart": "b7c1f0de"},
            absent_at=Micros(at),
            fingerprint=fingerprint("create", self._key),
        )
        return self._command("create", body, at)

    def _attempt(self, at: Micros) -> Record:
        body = Authorize(
            transaction_id=transaction_id(payment_intent_id=self.id, idempotency_key=self._key),
            payment_method="ct_0123456789abcdef0123456789abcdef",
            card=Card(brand="visa", last4="4242", exp_month=12, exp_year=2031),
            route=(_PROCESSOR,),
            fingerprint=fingerprint("authorize", self._key),
        )
        return self._command("authorize", body, at)

    def _command(self, kind: str, body: CommandBody, at: Micros) -> PaymentCommand:
        named = command_id(
            payment_intent_id=self.id,
            kind=kind,
            idempotency_key=self._key,
            fingerprint=body.fingerprint,  # type: ignore[union-attr]
        )
        return PaymentCommand(
            id=named,
            payment_intent_id=self.id,
            merchant_id=_MERCHANT,
            livemode=False,
            at=at,
            actor=Actor(type=ActorType.key, id="key_bench"),
            reply_partition=0,
            body=body,
        )

    def _approved(self, at: Micros) -> Record:
        own = transaction_id(payment_intent_id=self.id, idempotency_key=self._key)
        return self._result(own, CallKind.authorize, at)

    def _captured(self, at: Micros) -> Record:
        own = opened_transaction_id(payment_intent_id=self.id, sequence=_CAPTURE_SEQUENCE)
        return self._result(own, CallKind.capture, at)

    def _result(self, own: str, call: CallKind, at: Micros) -> ProcessorResult:
        return ProcessorResult(
            payment_intent_id=self.id,
            transaction_id=own,  # type: ignore[arg-type]
            processor=_PROCESSOR,
            call=call,
            outcome=Outcome.approved,
            source=ResultSource.answer,
            at=at,
            amount_minor=_AMOUNT_MINOR,
            currency="eur",
            processor_reference=f"ref-{own[3:15]}",
        )


def _newest(record: Record) -> bytes:
    """The message of a record under the newest schema, for the application on Kafka Streams reads no other."""
    header, write = _newest_writer(type(record).__name__)
    return header + write(record)


@cache
def _newest_writer(name: str) -> tuple[bytes, Write]:
    version = latest_ids()[name]
    return b"\x00" + version.to_bytes(4, "big"), writer(registered_schemas()[version].schema)


def stage(number: int, payments: range, at: Micros) -> Iterator[Input]:
    """The inputs of one stage of many payments."""
    return (Payment(payment).input(number, at) for payment in payments)
