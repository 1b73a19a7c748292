"""Replies to commands: one partition of `payments.replies`, read from its end on by this process alone.

The partition is drawn by chance at the start, so that processes spread, and named in every command; replies that nobody
here awaits are other processes' and are ignored. The position is known before the partition is named to anybody, so no
reply to a command of ours can lie before it. A reply that is lost costs its client a wait and nothing else.

Driven by `server`: a thread reads and hands the replies to the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from msgspec.structs import replace

from ingress.metrics import Metrics
from ingress.ports import Waiter
from schemas.codec import CodecError, decode
from schemas.commands import CommandReply, asked_at
from schemas.identifiers import CommandId
from schemas.times import Micros
from schemas.topics import REPLIES

__all__ = ["KafkaReplies", "Waiters"]

_ASK_SECONDS = 2.0
_RETRY_SECONDS = 0.2
_POLL_SECONDS = 0.1
_BATCH_MAX = 500

_logger = logging.getLogger(__name__)


class Waiters:
    """Who waits for the replies to which command. Several requests may wait for one command: a client that repeats."""

    def __init__(self) -> None:
        self._by_command: dict[CommandId, list[Waiter]] = {}

    def expect(self, command_id: CommandId, *, wait: bool, at: Micros | None = None) -> Waiter:
        """Begin to wait for replies to the command of that time; `wait`: it asks for a second reply."""
        waiters = self._by_command.setdefault(command_id, [])
        outcome_follows = waiters[0].outcome_follows if waiters else wait
        waiter = Waiter(command_id, at=at, outcome_follows=outcome_follows, repeats=bool(waiters))
        waiters.append(waiter)
        return waiter

    def dismiss(self, waiter: Waiter) -> None:
        """No longer wait."""
        waiters = self._by_command[waiter.command_id]
        waiters.remove(waiter)
        if not waiters:
            del self._by_command[waiter.command_id]

    def hear(self, reply: CommandReply, *, at: Micros | None = None) -> bool:
        """Give the reply to those who wait for it; whether there was anybody.

        `at` is the time of the command that it answers; None where that is not known. What was said to the same request
        asked before may have lain here while this process stood still, and be older than what was told elsewhere since.
        """
        waiters = [
            waiter
            for waiter in self._by_command.get(reply.command_id, ())
            if at is None or waiter.at is None or at == waiter.at
        ]
        for waiter in waiters:
            # The fold answers a repeated command as well, but later: the first reply is the first one's.
            # What was refused has not been done, so nothing of it is repeated.
            told = replace(reply, replayed=True) if waiter.repeats and reply.refusal is None else reply
            if not waiter.first.done():
                # The second reply says all that the first would have said, should that one be lost.
                waiter.first.set_result(told)
                waiter.outcome_follows &= not reply.replayed
            if reply.left_processing and not waiter.left_processing.done():
                waiter.left_processing.set_result(told)
        return bool(waiters)


class KafkaReplies(Waiters):
    """The consumer of replies. `on_fatal` is told, in the event loop, when it has failed for good."""

    def __init__(
        self,
        *,
        bootstrap: str,
        client_id: str,
        metrics: Metrics,
        on_fatal: Callable[[str], None],
        topic: str = REPLIES.name,
    ) -> None:
        super().__init__()
        self._config: dict[str, object] = {
            "bootstrap.servers": bootstrap,
            "client.id": client_id,
            # The client insists on a group; nothing is ever committed and no group is joined.
            "group.id": client_id,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "isolation.level": "read_uncommitted",
            "auto.offset.reset": "latest",
            # A broker that stands still keeps its connections: by default a request to it would be waited for a minute.
            "socket.timeout.ms": 6_000,
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 500,
            "fetch.error.backoff.ms": 50,
            "error_cb": lambda error: _logger.debug("replies: %s", error),
            "log_level": 2,
        }
        self._topic = topic
        self._metrics = metrics
        self._on_fatal = on_fatal
        self._partition: int | None = None
        self._stopping = threading.Event()

    @property
    def partition(self) -> int | None:
        """The partition that is read; None until its position is known."""
        return self._partition

    def start(self) -> None:
        """Begin to look for a partition; returns at once."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="replies", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Stop reading."""
        self._stopping.set()
        await asyncio.to_thread(self._thread.join)

    def _in_place(self, partition: int | None) -> None:
        self._partition = partition

    def _hear_all(self, replies: list[tuple[CommandReply, Micros | None]]) -> None:
        for reply, at in replies:
            self._metrics.replies.labels("yes" if self.hear(reply, at=at) else "no").inc()

    # What follows runs in the consumer's thread.

    def _run(self) -> None:
        try:
            self._read_again_and_again()
        except Exception as bug:
            _logger.exception("the thread of the replies has ended")
            self._in_loop(self._on_fatal, f"replies are no longer read: {type(bug).__name__}")

    def _read_again_and_again(self) -> None:
        consumer = Consumer(self._config)
        try:
            while not self._stopping.is_set():
                try:
                    self._read(consumer)
                except KafkaException as error:
                    _logger.warning("replies cannot be read: %s", error)
                    self._in_loop(self._in_place, None)
                    self._stopping.wait(_RETRY_SECONDS)
        finally:
            consumer.close()

    def _read(self, consumer: Consumer) -> None:
        """Take a partition at its end and read it until told to stop; raises KafkaException."""
        topic = consumer.list_topics(self._topic, timeout=_ASK_SECONDS).topics[self._topic]
        if topic.error is not None:
            raise KafkaException(topic.error)
        partition = secrets.choice(list(topic.partitions))
        _, end = consumer.get_watermark_offsets(TopicPartition(self._topic, partition), timeout=_ASK_SECONDS)
        consumer.assign([TopicPartition(self._topic, partition, end)])
        self._in_loop(self._in_place, partition)
        while not self._stopping.is_set():
            message = consumer.poll(_POLL_SECONDS)
            if message is not None:
                messages = [message, *consumer.consume(_BATCH_MAX, 0)]
                self._in_loop(self._hear_all, [reply for one in messages if (reply := _reply(one)) is not None])

    def _in_loop(self, call: Callable[..., None], *arguments: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *arguments)


def _reply(message: Message) -> tuple[CommandReply, Micros | None] | None:
    """The reply in a message, and the time of the command that it answers."""
    error = message.error()
    if error is not None:
        if error.fatal() or error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise KafkaException(error)
        _logger.warning("replies: %s", error)
        return None
    try:
        headers = message.headers()
        record, at = decode(message.value() or b""), asked_at(headers if isinstance(headers, list) else None)
    except (CodecError, ValueError) as corrupt:
        _logger.error("offset %s of the replies is no record: %s", message.offset(), corrupt)  # noqa: TRY400
        return None
    return (record, at) if isinstance(record, CommandReply) else None
