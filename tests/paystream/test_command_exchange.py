"""The exchange of one command for its reply, with Kafka's clients in memory: what is known of it, and when."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from msgspec.structs import replace

from paystream import command_exchange, doubts
from paystream.command_exchange import CommandExchange, NotHeard, NotSent
from schemas.codec import decode, encode
from schemas.commands import CommandReply, PaymentCommand
from tests.paystream.operator_world import OperatorWorld
from tests.topology.domain.script import Payment, authorize_body
from tests.topology.domain.script import command as a_command
from topology.domain import Refusal

FATAL = KafkaError(KafkaError._FATAL, "fenced", fatal=True)
NO_TOPIC = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)
PASSING = KafkaError(KafkaError._TRANSPORT)


class Message:
    def __init__(self, value: bytes = b"", *, error: KafkaError | None = None) -> None:
        self._value, self._error = value, error

    def value(self) -> bytes:
        return self._value

    def error(self) -> KafkaError | None:
        return self._error


class Kafka:
    """`answers`: what the consumer meets after the command was sent; a reply stands for that to the command."""

    def __init__(self) -> None:
        self.sent: list[PaymentCommand] = []
        self.answers: list[KafkaError | str] = []
        self.away: KafkaError | None = None
        self.full: KafkaError | None = None
        self.closed = False

    def install(self, monkeypatch: pytest.MonkeyPatch) -> Kafka:
        monkeypatch.setattr(command_exchange, "Consumer", lambda _config: self)
        monkeypatch.setattr(command_exchange, "Producer", lambda _config: self)
        return self

    # As a consumer.

    def list_topics(self, name: str, *, timeout: float) -> Any:
        if self.away is not None:
            raise KafkaException(self.away)
        assert timeout > 0
        topic = type("Topic", (), {"error": None, "partitions": {0: None, 1: None}})
        return type("Topics", (), {"topics": {name: topic}})

    def get_watermark_offsets(self, _place: TopicPartition, *, timeout: float) -> tuple[int, int]:
        assert timeout > 0
        return 0, 7

    def assign(self, places: list[TopicPartition]) -> None:
        assert [place.offset for place in places] == [7]

    def poll(self, _seconds: float) -> Message | None:
        if not self.answers:
            return None
        answer = self.answers.pop(0)
        if isinstance(answer, KafkaError):
            return Message(error=answer)
        reply = CommandReply(
            command_id=self.sent[0].id,
            payment_intent_id=self.sent[0].payment_intent_id,
            sequence=1,
            refusal=Refusal.not_in_doubt,
        )
        return Message(b"nothing that anybody wrote" if answer == "nonsense" else encode(_for(answer, reply)))

    def close(self) -> None:
        self.closed = True

    # As a producer.

    def produce(self, _topic: str, *, key: str, value: bytes) -> None:
        if self.full is not None:
            raise KafkaException(self.full)
        command = decode(value)
        assert isinstance(command, PaymentCommand)
        assert key == command.payment_intent_id
        self.sent.append(command)

    def flush(self, _seconds: float) -> int:
        return 0


def _for(answer: str, reply: CommandReply) -> CommandReply:
    return replace(reply, command_id=type(reply.command_id)("cmd_other")) if answer == "another's" else reply


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kafka]:
    kafka = Kafka().install(monkeypatch)
    yield kafka
    assert kafka.closed


@pytest.fixture
def command() -> PaymentCommand:
    """Any."""
    return a_command(authorize_body("attempt"))


def test_the_reply_to_the_command_is_heard_among_others(kafka: Kafka, command: PaymentCommand) -> None:
    kafka.answers = [PASSING, "another's", "nonsense", "the command's"]
    with CommandExchange("127.0.0.1:1") as exchange:
        reply = exchange.ask(command, within_seconds=5)
    assert reply is not None
    assert (reply.command_id, kafka.sent, kafka.answers) == (command.id, [command], [])


def test_silence(kafka: Kafka, command: PaymentCommand) -> None:
    with CommandExchange("127.0.0.1:1") as exchange:
        assert exchange.ask(command, within_seconds=0.05) is None
    assert kafka.sent == [command]


def test_before_the_command_was_given_away_nothing_was_sent(kafka: Kafka, command: PaymentCommand) -> None:
    kafka.full = PASSING
    with CommandExchange("127.0.0.1:1") as exchange, pytest.raises(NotSent):
        exchange.ask(command, within_seconds=5)
    kafka.away = PASSING
    with pytest.raises(NotSent), CommandExchange("127.0.0.1:1"):
        pass
    assert kafka.sent == []


@pytest.mark.parametrize("error", [FATAL, NO_TOPIC], ids=["fatal", "no topic"])
def test_what_breaks_after_that_says_nothing_about_the_command(
    kafka: Kafka, command: PaymentCommand, error: KafkaError
) -> None:
    kafka.answers = [error]
    with CommandExchange("127.0.0.1:1") as exchange, pytest.raises(NotHeard):
        exchange.ask(command, within_seconds=5)
    assert kafka.sent == [command]


@pytest.mark.parametrize("error", [FATAL, NO_TOPIC], ids=["fatal", "no topic"])
def test_whoever_resolves_is_told_that_it_is_not_known(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch, error: KafkaError
) -> None:
    world = OperatorWorld(Payment().tell("attempt", "authorization: unknown")).install(monkeypatch)
    monkeypatch.setattr(doubts, "CommandExchange", CommandExchange)
    kafka.answers = [error]
    told = world.resolve("authorization", "--outcome", "approved")
    assert told.exit_code == 3, told.output
    assert "it is not known what came of it" in told.output
    assert f"show {world.payment.latest('authorization').id}" in told.output
    assert len(kafka.sent) == 1
