"""Money, identifiers, times, the partitioner and the table of topics."""

from __future__ import annotations

import doctest

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from hypothesis import given
from hypothesis import strategies as st

import schemas.identifiers
import schemas.money
import schemas.partitioner
import schemas.times
from schemas.identifiers import (
    InvalidIdentifier,
    MerchantId,
    command_id,
    event_id,
    fingerprint,
    opened_transaction_id,
    parse_merchant_id,
    parse_payment_intent_id,
    parse_transaction_id,
    payment_intent_id,
    transaction_id,
)
from schemas.money import CURRENCIES, Money, UnknownCurrency
from schemas.partitioner import _murmur2, partition
from schemas.times import from_datetime, to_datetime
from schemas.topics import ALL, EVENTS, Topic
from topology.kafka.admin import create_topics

MERCHANT = MerchantId("mer_a")


@pytest.mark.parametrize("module", [schemas.identifiers, schemas.money, schemas.partitioner, schemas.times])
def test_doctests(module: object) -> None:
    outcome = doctest.testmod(module)  # type: ignore[arg-type]
    assert outcome.failed == 0
    assert outcome.attempted > 0


def test_exponents_are_those_of_iso_4217() -> None:
    assert {CURRENCIES[c] for c in ("usd", "eur", "gbp")} == {2}
    assert {CURRENCIES[c] for c in ("jpy", "krw", "clp")} == {0}
    assert {CURRENCIES[c] for c in ("kwd", "bhd", "tnd")} == {3}
    assert len(CURRENCIES) > 150


def test_money_is_never_a_float_nor_in_an_unknown_currency() -> None:
    with pytest.raises(TypeError):
        Money(amount_minor=10.5, currency="usd")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Money(amount_minor=True, currency="usd")
    with pytest.raises(UnknownCurrency):
        Money(amount_minor=1, currency="USD")
    assert str(Money(amount_minor=-5, currency="kwd")) == "-0.005 kwd"


@given(st.text(max_size=20), st.text(max_size=20))
def test_other_fields_are_another_id(one: str, other: str) -> None:
    first, second = (
        payment_intent_id(merchant_id=MERCHANT, livemode=False, idempotency_key=key) for key in (one, other)
    )
    assert (first == second) == (one == other)
    assert parse_payment_intent_id(first) == first


def test_ids_do_not_run_together() -> None:
    """Fields are length-prefixed: ("ab", "c") is not ("a", "bc")."""
    assert fingerprint("ab", "c") != fingerprint("a", "bc")
    intent = payment_intent_id(merchant_id=MERCHANT, livemode=False, idempotency_key="k")
    assert payment_intent_id(merchant_id=MERCHANT, livemode=True, idempotency_key="k") != intent
    by_key = transaction_id(payment_intent_id=intent, idempotency_key="3")
    assert by_key != opened_transaction_id(payment_intent_id=intent, sequence=3)
    assert event_id(payment_intent_id=intent, sequence=1) != event_id(payment_intent_id=intent, sequence=2)
    bodies = {
        command_id(payment_intent_id=intent, kind="void", idempotency_key="k", fingerprint=f) for f in (b"1", b"2")
    }
    assert len(bodies) == 2


@pytest.mark.parametrize(
    "text",
    ["", "pi_" + "0" * 31, "pi_" + "0" * 33, "pi_" + "G" * 32, "tx_" + "0" * 32, "pi_" + "0" * 32 + "\n"],
)
def test_what_is_no_id_is_refused_without_an_echo(text: str) -> None:
    with pytest.raises(InvalidIdentifier) as refused:
        parse_payment_intent_id(text)
    assert text == "" or text not in str(refused.value)


def test_each_kind_of_id_is_checked() -> None:
    with pytest.raises(InvalidIdentifier):
        parse_transaction_id("pi_" + "0" * 32)
    with pytest.raises(InvalidIdentifier):
        parse_merchant_id("mer_../x")
    assert parse_merchant_id("mer_demo") == "mer_demo"


@given(st.integers(min_value=0, max_value=4_102_444_800_000_000))
def test_times_survive_the_way_there_and_back(at: int) -> None:
    assert from_datetime(to_datetime(schemas.times.Micros(at))) == at


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
def test_murmur2_is_javas(key: str, expected: int) -> None:
    """The vectors of Kafka's own UtilsTest."""
    assert _murmur2(key.encode()) == expected & 0xFFFFFFFF


def test_the_producers_agree_on_the_partition(kafka_bootstrap: str) -> None:
    topic = Topic(name="partitioner-test", key="intent", records=(), retention_ms=3_600_000)
    create_topics(AdminClient({"bootstrap.servers": kafka_bootstrap}), [topic], partitions=12, replication_factor=1)
    producer = Producer({"bootstrap.servers": kafka_bootstrap, "partitioner": "murmur2_random", "linger.ms": 0})
    keys = [payment_intent_id(merchant_id=MERCHANT, livemode=False, idempotency_key=str(n)) for n in range(200)]
    for key in keys:
        producer.produce(topic.name, key=key, value=b"")
    assert producer.flush(20) == 0
    consumer = Consumer({"bootstrap.servers": kafka_bootstrap, "group.id": "partitioner-test"})
    consumer.assign([TopicPartition(topic.name, number, 0) for number in range(12)])
    found: dict[bytes, int] = {}
    while len(found) < len(keys):
        for message in consumer.consume(200, 5):
            assert message.error() is None
            read_key, number = message.key(), message.partition()
            assert isinstance(read_key, bytes)
            assert number is not None
            found[read_key] = number
    consumer.close()
    assert found == {key.encode(): partition(key, 12) for key in keys}


def test_topics_have_names_of_their_own_and_changelogs_are_compacted() -> None:
    assert len({topic.name for topic in ALL}) == len(ALL)
    compacted = {topic.name for topic in ALL if topic.compacted}
    assert compacted == {
        "payments.intents",
        "payments.in-flight",
        "payments.pending",
        "payments.open-captures",
        "payments.settlement-files",
        "merchants",
    }
    assert EVENTS.config()["retention.ms"] == str(30 * 24 * 3_600_000)
    assert {topic.config()["message.timestamp.type"] for topic in ALL} == {"LogAppendTime"}
