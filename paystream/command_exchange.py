"""Sends one command to the log and waits for what came of it: what a command line needs of `ingress.log` and `replies`.

Writes `payments.commands`, reads one partition of `payments.replies` from its end on. The position is known before the
partition is named in the command, so its reply cannot lie before it. Driven by `paystream.reconcile`.
"""

from __future__ import annotations

import secrets
import time
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from schemas.codec import CodecError, decode, encode
from schemas.commands import CommandReply, PaymentCommand
from schemas.topics import COMMANDS, REPLIES

__all__ = ["CommandExchange", "NotHeard", "NotSent"]

_ASK_SECONDS = 10.0
_DELIVERY_SECONDS = 8.0
_POLL_SECONDS = 0.1


class NotSent(Exception):
    """The log was not reached: nothing was asked, and nothing will come of it."""


class NotHeard(Exception):
    """The command was sent, and its reply cannot be read: it may have been carried out, or may be still."""


class CommandExchange:
    """Entered, it knows the `partition` on which replies are heard, to be named in commands; raises NotSent."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self.partition = -1

    def __enter__(self) -> Self:
        self._consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                # The client insists on a group; nothing is ever committed and no group is joined.
                "group.id": "paystream-operator-unused",
                "enable.auto.commit": False,
                "isolation.level": "read_uncommitted",
                "auto.offset.reset": "latest",
                "log_level": 2,
                "error_cb": lambda _error: None,
            }
        )
        try:
            self.partition = self._take_place()
        except KafkaException as error:
            self._consumer.close()
            raise NotSent(str(error)) from error
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._consumer.close()

    def ask(self, command: PaymentCommand, *, within_seconds: float) -> CommandReply | None:
        """The reply, or None where none came in time, which says nothing about the command.

        Raises NotSent, and NotHeard, which says nothing about the command either.
        """
        until = time.monotonic() + within_seconds
        self._send(command)
        while (left_seconds := until - time.monotonic()) > 0:
            message = self._consumer.poll(min(left_seconds, _POLL_SECONDS))
            reply = None if message is None else _reply(message)
            if reply is not None and reply.command_id == command.id:
                return reply
        return None

    def _take_place(self) -> int:
        """Stand at the end of any partition; raises KafkaException."""
        topic = self._consumer.list_topics(REPLIES.name, timeout=_ASK_SECONDS).topics[REPLIES.name]
        if topic.error is not None:
            raise KafkaException(topic.error)
        partition: int = secrets.choice(list(topic.partitions))
        place = TopicPartition(REPLIES.name, partition)
        _, end = self._consumer.get_watermark_offsets(place, timeout=_ASK_SECONDS)
        self._consumer.assign([TopicPartition(REPLIES.name, partition, end)])
        return partition

    def _send(self, command: PaymentCommand) -> None:
        """Give it to the log. One whose delivery failed may have arrived all the same: the reply tells, if any."""
        config: dict[str, Any] = {
            "bootstrap.servers": self._bootstrap,
            "client.id": "paystream-operator",
            "acks": "all",
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "delivery.timeout.ms": int(_DELIVERY_SECONDS * 1000),
            "request.timeout.ms": 5_000,
            "log_level": 2,
            "error_cb": lambda _error: None,
        }
        producer = Producer(config)
        try:
            producer.produce(COMMANDS.name, key=command.payment_intent_id, value=encode(command))
        except KafkaException as error:
            raise NotSent(str(error)) from error
        producer.flush(_DELIVERY_SECONDS + 1)


def _reply(message: Message) -> CommandReply | None:
    """The reply, if it is one. Raises NotHeard: by then the command has been sent."""
    error = message.error()
    if error is not None:
        if error.fatal() or error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise NotHeard(str(error))
        return None
    try:
        record = decode(message.value() or b"")
    except CodecError:
        return None
    return record if isinstance(record, CommandReply) else None
