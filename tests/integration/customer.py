"""A customer without an API: writes commands, and a processor's answers, straight to the topics of the payments flow.

Each is the answer to a committed event, so that an input which is lost leaves a payment unfinished, and one that is
applied twice leaves a repeat or a gap in a payment's sequence. `read_all` reads what has come of it.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict

from confluent_kafka import Consumer, Producer, TopicPartition

from schemas.codec import decode, encode
from schemas.commands import Authorize, CancelPaymentIntent, CommandBody, CreatePaymentIntent, PaymentCommand
from schemas.identifiers import (
    MerchantId,
    PaymentIntentId,
    TransactionId,
    command_id,
    fingerprint,
    payment_intent_id,
    transaction_id,
)
from schemas.partitioner import partition as partition_of
from schemas.payment import Actor, ActorType, CaptureMethod, PaymentEvent, PaymentIntentStatus, TransactionStatus
from schemas.processing import CallKind, Outcome, ProcessorResult, ResultSource
from schemas.times import Micros
from schemas.topics import COMMANDS, EVENTS, PROCESSOR_RESULTS, Topic

__all__ = ["ATTEMPTS", "EVENTS_EACH", "PARTITIONS", "Customer", "read_all"]

PARTITIONS = 4
ATTEMPTS = 3
# Created, an opening and a decline for each attempt, canceled.
EVENTS_EACH = 1 + 2 * ATTEMPTS + 1
_MERCHANT = MerchantId("mer_a")
_NEW_EACH_SECOND = 10
_SAID = fingerprint("said")


class Customer(threading.Thread):
    """Opens payments all the while, tries to pay each of them, is declined, tries again, and cancels in the end."""

    def __init__(self, bootstrap: str) -> None:
        super().__init__(name="customer", daemon=True)
        self.histories: defaultdict[str, list[PaymentEvent]] = defaultdict(list)
        self.written: defaultdict[tuple[str, int], int] = defaultdict(int)
        self.opened: set[str] = set()
        self._opens_no_more = threading.Event()
        self._producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 0})
        self._events = _reader(bootstrap, EVENTS)

    @property
    def events_seen(self) -> int:
        """How many committed events there were so far."""
        return sum(len(events) for events in list(self.histories.values()))

    def opens_no_more(self) -> None:
        """Open no more payments."""
        self._opens_no_more.set()

    def finish(self, *, within_seconds: float) -> None:
        """See that all that were opened come to their end."""
        self.join(within_seconds)
        assert not self.is_alive(), f"unfinished: {sorted(self._unfinished())}"
        self._events.close()
        self._producer.close()

    def run(self) -> None:
        """Until `finish`."""
        next_at = time.monotonic()
        while not self._opens_no_more.is_set() or self._unfinished():
            if not self._opens_no_more.is_set() and time.monotonic() >= next_at:
                next_at += 1 / _NEW_EACH_SECOND
                self._open()
            for message in self._events.consume(1000, 0.02):
                event = decode(message.value() or b"")
                assert isinstance(event, PaymentEvent)
                self.histories[event.payment_intent.id].append(event)
                self._react(event)
            self._producer.poll(0)
        assert self._producer.flush(20.0) == 0

    def _unfinished(self) -> set[str]:
        return {intent for intent in self.opened if len(self.histories[intent]) < EVENTS_EACH}

    def _open(self) -> None:
        intent = payment_intent_id(merchant_id=_MERCHANT, livemode=False, idempotency_key=f"order-{len(self.opened)}")
        self.opened.add(intent)
        body = CreatePaymentIntent(
            amount_minor=500, currency="usd", capture_method=CaptureMethod.manual, absent_at=_now(), fingerprint=_SAID
        )
        self._command(intent, "create", body)

    def _react(self, event: PaymentEvent) -> None:
        intent, concerned = event.payment_intent, event.transaction
        if intent.status is PaymentIntentStatus.requires_payment_method:
            attempt = len(intent.transactions)
            opened = transaction_id(payment_intent_id=intent.id, idempotency_key=f"attempt-{attempt}")
            if attempt == ATTEMPTS:
                self._command(intent.id, "cancel", CancelPaymentIntent(transaction_id=opened, fingerprint=_SAID))
            else:
                body = Authorize(
                    transaction_id=opened, payment_method="tok_visa", route=("cardnet",), fingerprint=_SAID
                )
                self._command(intent.id, f"attempt-{attempt}", body)
        elif concerned is not None and concerned.status is TransactionStatus.created:
            self._write(PROCESSOR_RESULTS, intent.id, _declined(intent.id, concerned.id))

    def _command(self, intent: PaymentIntentId, kind: str, body: CommandBody) -> None:
        command = PaymentCommand(
            id=command_id(payment_intent_id=intent, kind=kind, idempotency_key="", fingerprint=_SAID),
            payment_intent_id=intent,
            merchant_id=_MERCHANT,
            livemode=False,
            at=_now(),
            actor=Actor(type=ActorType.key, id="key"),
            body=body,
        )
        self._write(COMMANDS, intent, command)

    def _write(self, topic: Topic, intent: PaymentIntentId, record: PaymentCommand | ProcessorResult) -> None:
        shard = partition_of(intent, PARTITIONS)
        self.written[topic.name, shard] += 1
        self._producer.produce(topic.name, key=intent, value=encode(record), partition=shard)


def _now() -> Micros:
    return Micros(time.time_ns() // 1000)


def _declined(intent: PaymentIntentId, transaction: TransactionId) -> ProcessorResult:
    return ProcessorResult(
        payment_intent_id=intent,
        transaction_id=transaction,
        processor="cardnet",
        call=CallKind.authorize,
        outcome=Outcome.declined,
        source=ResultSource.answer,
        at=_now(),
        code="card_declined",
    )


def _reader(bootstrap: str, topic: Topic, *, ends: bool = False) -> Consumer:
    """A committed reader of a whole topic; `ends`: it also tells of the partitions' ends."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "test",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": ends,
            "auto.offset.reset": "error",
            "fetch.wait.max.ms": 10,
        }
    )
    consumer.assign([TopicPartition(topic.name, number, 0) for number in range(PARTITIONS)])
    return consumer


def read_all(bootstrap: str, topic: Topic) -> list[tuple[str, bytes | None]]:
    """Every committed record of a topic."""
    found: list[tuple[str, bytes | None]] = []
    consumer = _reader(bootstrap, topic, ends=True)
    ended: set[int | None] = set()
    while len(ended) < PARTITIONS:
        for message in consumer.consume(1000, 0.1):
            if message.error() is not None:
                ended.add(message.partition())
            else:
                found.append(((message.key() or b"").decode(), message.value()))
    consumer.close()
    return found
