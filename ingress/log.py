"""Commands into `payments.commands`, and what became of each: delivered, never sent, or in doubt.

Only what no broker can have may be answered with "ask again, nothing was done". librdkafka knows for each message
(its status), but the Python client does not tell, and the error codes alone do not: a message that was sent, got no
answer and went back into the queue ends with the same _MSG_TIMED_OUT or _PURGE_QUEUE as one that never left. What
proves it is librdkafka's count, per partition, of the messages that it has written into requests: where that was the
same before the message was produced and after it had failed, the message is with nobody. Anything else is doubt.

What a broker says of when it appended a command is evidence for `clock_check`.

Driven by `server`: a thread serves the producer's callbacks and hands them to the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError, KafkaException, Message, Producer

from ingress.clock_check import ClockCheck
from ingress.metrics import Metrics
from ingress.ports import Clock, Delivery, NotHandedOver
from schemas.codec import encode
from schemas.commands import PaymentCommand
from schemas.times import Micros
from schemas.topics import COMMANDS

__all__ = ["KafkaCommandLog", "Written"]

DELIVERY_TIMEOUT_SECONDS = 8.0
"""Below the 10 s that a client waits, so that the answer can say how the delivery ended."""
_LINGER_SECONDS = 0.001
_STATISTICS_INTERVAL_SECONDS = 0.25
_QUEUED_COMMANDS_MAX = 20_000
_FLUSH_SECONDS = 2.0
_PURGE_SECONDS = 1.0
_POLL_SECONDS = 0.1
_UNASSIGNED = -1

_logger = logging.getLogger(__name__)


class _Broker(msgspec.Struct, frozen=True):
    state: str
    source: str


class _Partition(msgspec.Struct, frozen=True):
    txmsgs: int


class _Topic(msgspec.Struct, frozen=True):
    age: int
    partitions: dict[int, _Partition]


class _Statistics(msgspec.Struct, frozen=True):
    brokers: dict[str, _Broker] = {}
    topics: dict[str, _Topic] = {}


@dataclass(frozen=True, slots=True)
class Written:
    """What librdkafka had written into requests for a topic at one moment, and whether a broker was connected."""

    messages: Mapping[int, int]
    """By partition: how often a message was written into a request, repeats included."""
    age_ms: int = 0
    """Of librdkafka's topic object, with which the counts begin."""
    connected: bool = True

    @classmethod
    def parse(cls, statistics: str | bytes, *, topic: str) -> Written:
        """Out of librdkafka's statistics."""
        told = msgspec.json.decode(statistics, type=_Statistics)
        connected = any(one.state in ("UP", "UPDATE") for one in told.brokers.values() if one.source != "logical")
        found = told.topics.get(topic)
        if found is None:
            return cls({}, connected=connected)
        messages = {number: partition.txmsgs for number, partition in found.partitions.items()}
        return cls(messages, age_ms=found.age, connected=connected)

    def none_until(self, later: Written, *, partition: int) -> bool:
        """Whether it is certain that no message of the partition was written into a request between the two moments."""
        same_counts = self.messages.get(partition, 0) == later.messages.get(partition, 0)
        return same_counts and later.age_ms >= self.age_ms


@dataclass(frozen=True, slots=True)
class _Sent:
    """A command that the producer has taken."""

    at: Micros
    before: Written
    outcome: asyncio.Future[Delivery]


@dataclass(slots=True)
class _Failed:
    """A delivery that failed, and is judged once it is known what was sent until after that."""

    command: _Sent
    partition: int
    # The statistics that come first may have been drawn up before the failure, the second ones were not.
    statistics_to_come: int = 2


class KafkaCommandLog:
    """The producer of commands. `on_fatal` is told, in the event loop, when it has failed for good."""

    def __init__(
        self,
        *,
        bootstrap: str,
        client_id: str,
        metrics: Metrics,
        clock: Clock,
        on_fatal: Callable[[str], None],
        topic: str = COMMANDS.name,
        delivery_timeout_seconds: float = DELIVERY_TIMEOUT_SECONDS,
        linger_seconds: float = _LINGER_SECONDS,
    ) -> None:
        self._config: dict[str, object] = {
            "bootstrap.servers": bootstrap,
            "client.id": client_id,
            "acks": "all",
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "linger.ms": int(linger_seconds * 1000),
            "delivery.timeout.ms": int(delivery_timeout_seconds * 1000),
            "request.timeout.ms": 5_000,
            "queue.buffering.max.messages": _QUEUED_COMMANDS_MAX,
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 500,
            "retry.backoff.max.ms": 250,
            "topic.metadata.refresh.interval.ms": 10_000,
            "statistics.interval.ms": int(_STATISTICS_INTERVAL_SECONDS * 1000),
            "stats_cb": self._on_statistics,
            "error_cb": self._on_error,
            # Each attempt to connect would be an error; that the brokers are away is said once, below.
            "log_level": 2,
        }
        self._topic = topic
        self._metrics = metrics
        self._on_fatal = on_fatal
        self._clock = clock
        self._clock_check = ClockCheck(metrics)
        self._stopping = threading.Event()
        self._written: Written | None = None
        self._failed: list[_Failed] = []
        self._all_brokers_down = False

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._loop = asyncio.get_running_loop()
        self._producer = Producer(self._config)
        self._thread = threading.Thread(target=self._serve_callbacks, name="command-log", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Send what is still queued, for some seconds; what remains is in doubt."""
        await asyncio.to_thread(self._producer.flush, _FLUSH_SECONDS)
        self._producer.purge()
        await asyncio.to_thread(self._producer.flush, _PURGE_SECONDS)
        self._stopping.set()
        await asyncio.to_thread(self._thread.join)
        for failed in self._failed:
            self._settle(failed.command.outcome, Delivery.in_doubt)
        self._failed.clear()

    def connected(self) -> bool:
        """Whether a broker was connected when the producer last said so."""
        return self._written is not None and self._written.connected and not self._all_brokers_down

    def clock_ahead_seconds(self) -> float:
        """By how much at least our clock is ahead of most brokers'; below zero: behind them."""
        return self._clock_check.ahead_seconds()

    def send(self, command: PaymentCommand) -> asyncio.Future[Delivery]:
        """Give the command to the producer; raises NotHandedOver where no broker is connected or the queue is full."""
        before = self._written
        if before is None or not self.connected():
            self._metrics.deliveries.labels("not_connected").inc()
            raise NotHandedOver("no broker is connected")
        value = encode(command)
        sent = _Sent(self._clock.now(), before, self._loop.create_future())

        def on_delivery(error: KafkaError | None, message: Message) -> None:
            self._in_loop(self._delivered, sent, error, message, self._clock.now())

        try:
            self._producer.produce(self._topic, key=command.payment_intent_id, value=value, on_delivery=on_delivery)
        except BufferError:
            self._metrics.deliveries.labels("queue_full").inc()
            raise NotHandedOver("the producer's queue is full") from None
        except KafkaException as error:
            self._metrics.deliveries.labels("refused").inc()
            raise NotHandedOver(str(error)) from error
        return sent.outcome

    def _delivered(self, sent: _Sent, error: KafkaError | None, message: Message, at: Micros) -> None:
        """What the producer said of a command, and when."""
        number = message.partition()
        partition = _UNASSIGNED if number is None else number
        if error is not None:
            _logger.warning("a command was not delivered: %s", error)
            self._failed.append(_Failed(sent, partition))
            return
        self._settle(sent.outcome, Delivery.delivered)
        kind, milliseconds = message.timestamp()
        if kind == TIMESTAMP_LOG_APPEND_TIME:
            appended_at = Micros(milliseconds * 1_000)
            self._clock_check.note(partition, sent_at=sent.at, appended_at=appended_at, acknowledged_at=at)

    def _observe(self, written: Written) -> None:
        """Take note of statistics, and judge the failed deliveries that waited for them."""
        self._written = written
        if written.connected and self._all_brokers_down:
            self._all_brokers_down = False
            _logger.warning("a broker is connected again")
        for failed in self._failed:
            failed.statistics_to_come -= 1
            if failed.statistics_to_come == 0:
                never_sent = failed.command.before.none_until(written, partition=failed.partition)
                self._settle(failed.command.outcome, Delivery.never_sent if never_sent else Delivery.in_doubt)
        self._failed = [failed for failed in self._failed if failed.statistics_to_come > 0]

    def _settle(self, outcome: asyncio.Future[Delivery], delivery: Delivery) -> None:
        self._metrics.deliveries.labels(delivery.name).inc()
        if not outcome.done():
            outcome.set_result(delivery)

    def _lost_connection(self) -> None:
        if not self._all_brokers_down:
            self._all_brokers_down = True
            _logger.warning("no broker is connected: requests are refused until one is")

    # What follows runs in the producer's thread.

    def _serve_callbacks(self) -> None:
        try:
            while not self._stopping.is_set():
                self._producer.poll(_POLL_SECONDS)
        except Exception as bug:
            _logger.exception("the thread of the producer of commands has ended")
            self._in_loop(self._on_fatal, f"the producer of commands is no longer served: {type(bug).__name__}")

    def _on_statistics(self, statistics: str) -> None:
        self._in_loop(self._observe, Written.parse(statistics, topic=self._topic))

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._in_loop(self._lost_connection)
        elif error.code() not in (KafkaError._TRANSPORT, KafkaError._RESOLVE):
            _logger.error("the producer of commands: %s", error)
        if error.fatal():
            self._in_loop(self._on_fatal, f"the producer of commands failed for good: {error}")

    def _in_loop(self, call: Callable[..., None], *arguments: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *arguments)
