"""A record that nobody can read goes to the dead letters with its cause, and the shard goes on."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from schemas.codec import decode, encode
from schemas.commands import PaymentCommand, VoidPayment
from schemas.identifiers import CommandId, MerchantId, PaymentIntentId, TransactionId
from schemas.operations import DeadLetter
from schemas.partitioner import partition
from schemas.payment import Actor, ActorType
from schemas.processing import CallKind, Outcome, ProcessorResult, ResultSource
from schemas.times import Micros
from schemas.topics import COMMANDS, DEAD_LETTERS
from tests.harness.api import Merchant, merchant
from tests.harness.stack import RunningStack

PARTITIONS = 4


@pytest.fixture
def shop(running_stack: RunningStack) -> Iterator[Merchant]:
    with merchant(running_stack.ingress, running_stack.api_key) as client:
        yield client


def a_command(intent: str) -> bytes:
    return encode(
        PaymentCommand(
            id=CommandId("cmd_" + "0" * 32),
            payment_intent_id=PaymentIntentId(intent),
            merchant_id=MerchantId("mer_demo"),
            livemode=False,
            at=Micros(1),
            actor=Actor(type=ActorType.key, id="test"),
            body=VoidPayment(transaction_id=TransactionId("tx_" + "0" * 32), fingerprint=b""),
        )
    )


def a_result(intent: str) -> bytes:
    """Whoever may write commands cannot approve a payment with them."""
    return encode(
        ProcessorResult(
            payment_intent_id=PaymentIntentId(intent),
            transaction_id=TransactionId("tx_" + "0" * 32),
            processor="cardnet",
            call=CallKind.authorize,
            outcome=Outcome.approved,
            source=ResultSource.answer,
            at=Micros(1),
        )
    )


def test_poison_is_set_aside_with_its_cause(running_stack: RunningStack, shop: Merchant) -> None:
    intent = str(shop.create()["id"])
    home = partition(intent, PARTITIONS)
    other = "pi_" + "f" * 32
    poison = [
        (intent, b"garbage", home, "not_framed"),
        (intent, b"\x00\x7f\xff\xff\xff123", home, "unknown_schema_id"),
        (intent, b"\x00\x00\x00\x00\x01\xff\xff\xff", home, "corrupt"),
        (intent, b"\x01" + os.urandom(999_500), home, "not_framed"),
        (intent, a_result(intent), home, "wrong_record"),
        (intent, a_command(intent), home, "invalid_command"),
        (None, a_command(intent), home, "no_key"),
        (b"\xff\xfe", a_command(intent), home, "no_key"),
        (intent, None, home, "no_value"),
        (intent, a_command(intent), (home + 1) % PARTITIONS, "wrong_partition"),
        (intent, a_command(other), home, "key_mismatch"),
    ]
    producer = Producer({"bootstrap.servers": running_stack.kafka})
    for key, value, number, _cause in poison:
        producer.produce(COMMANDS.name, key=key, value=value, partition=number)
    assert producer.flush(20) == 0
    letters = dead_letters(running_stack.kafka, count=len(poison))
    assert sorted(letter.cause for letter in letters) == sorted(cause for *_, cause in poison)
    found = {(letter.key, letter.value, letter.partition) for letter in letters}
    assert found == {(k.encode() if isinstance(k, str) else k, v, number) for k, v, number, _ in poison}
    assert {letter.topic for letter in letters} == {COMMANDS.name}
    assert shop.pay(intent).json()["payment_intent"]["status"] == "succeeded"


def dead_letters(bootstrap: str, *, count: int) -> list[DeadLetter]:
    """The dead letters of commands, as soon as there are that many."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "test-dead-letters", "enable.auto.commit": False})
    consumer.assign([TopicPartition(DEAD_LETTERS.name, number, 0) for number in range(PARTITIONS)])
    found: list[DeadLetter] = []
    deadline = time.monotonic() + 30
    while len(found) < count and time.monotonic() < deadline:
        for message in consumer.consume(100, 0.5):
            value = message.value()
            assert message.error() is None
            assert value is not None
            letter = decode(value)
            assert isinstance(letter, DeadLetter)
            found.append(letter)
    consumer.close()
    return found
