"""Where the partitions of `payments.events` end: the only thing that ingress wants to know of that topic.

The end is the high watermark, asked for with read_uncommitted: the last stable offset, which librdkafka gives by
default, was seen to trail a commit that had been acknowledged. It is asked for as the offset of a time that is the
latest there is: one request per leading broker answers for all partitions asked for, and it keeps its time-out. (The
admin client's `list_offsets` does neither when a broker stalls: it then answers -1001, and may never answer again.)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition

from schemas.topics import EVENTS

__all__ = ["KafkaEventLog"]

_ASK_SECONDS = 2.0
_ENDS_SECONDS = 1.0
_RETRY_SECONDS = 0.2
# Then to ask for each partition by itself would only take as many times as long.
_NOBODY_ANSWERS = (
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError._TIMED_OUT_QUEUE,
    KafkaError._TRANSPORT,
)

_logger = logging.getLogger(__name__)


class KafkaEventLog:
    """Asks the brokers for the ends of partitions. `on_fatal` is told when it has failed for good."""

    def __init__(
        self, *, bootstrap: str, client_id: str, on_fatal: Callable[[str], None], topic: str = EVENTS.name
    ) -> None:
        self._config: dict[str, str | int | float | bool] = {
            "bootstrap.servers": bootstrap,
            "client.id": client_id,
            # A broker that stands still keeps its connections: by default a request to it would be waited for a minute.
            "socket.timeout.ms": 6_000,
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 500,
            "log_level": 2,
            # librdkafka wants a group id; it never joins, and commits nothing.
            "group.id": f"{client_id}-unused",
            "isolation.level": "read_uncommitted",
        }
        self._silent: set[int] = set()
        self._on_fatal = on_fatal
        self._topic = topic
        self._partitions: int | None = None

    @property
    def partitions(self) -> int | None:
        """How many partitions there are, for the life of the deployment; None until that is known."""
        return self._partitions

    def start(self) -> None:
        """Begin to ask how many partitions there are; returns at once."""
        self._consumer = Consumer(self._config)
        self._counting = asyncio.create_task(self._count(), name="event-log")

    async def stop(self) -> None:
        """Stop asking."""
        self._counting.cancel()
        await asyncio.wait([self._counting])
        await asyncio.to_thread(self._consumer.close)

    async def _count(self) -> None:
        try:
            await self._count_again_and_again()
        except Exception as bug:
            _logger.exception("the partitions are no longer asked for")
            self._on_fatal(f"the partitions of events will never be known: {type(bug).__name__}")

    async def _count_again_and_again(self) -> None:
        while True:
            try:
                cluster = await asyncio.to_thread(self._consumer.list_topics, self._topic, timeout=_ASK_SECONDS)
                topic = cluster.topics[self._topic]
                if topic.error is None:
                    self._partitions = len(topic.partitions)
                    return
                _logger.warning("%s: %s", self._topic, topic.error)
            except KafkaException as error:
                _logger.warning("the brokers do not answer: %s", error)
            await asyncio.sleep(_RETRY_SECONDS)

    async def ends(self, partitions: Collection[int]) -> Mapping[int, int | None]:
        """The offset after the last record of each partition, committed or not; None where no broker answered."""
        try:
            ends = await asyncio.to_thread(self._ask, partitions)
        except KafkaException as error:
            if error.args[0].code() in _NOBODY_ANSWERS or len(partitions) == 1:
                ends = dict.fromkeys(partitions)
            else:
                # One of them may have no leader now; that is no reason to keep the others from their readers.
                answers = await asyncio.gather(*(asyncio.to_thread(self._ask_alone, one) for one in partitions))
                ends = dict(zip(partitions, answers, strict=True))
        self._note(ends)
        return ends

    def _ask(self, partitions: Collection[int]) -> dict[int, int | None]:
        """Put the question; raises KafkaException."""
        latest = [TopicPartition(self._topic, partition, OFFSET_END) for partition in partitions]
        return {
            answer.partition: answer.offset if answer.error is None and answer.offset >= 0 else None
            for answer in self._consumer.offsets_for_times(latest, timeout=_ENDS_SECONDS)
        }

    def _ask_alone(self, partition: int) -> int | None:
        try:
            return self._ask([partition])[partition]
        except KafkaException:
            return None

    def _note(self, ends: Mapping[int, int | None]) -> None:
        """Say once of a partition that its reads have to wait, and once that they need not any more."""
        for partition, end in ends.items():
            if end is None and partition not in self._silent:
                self._silent.add(partition)
                _logger.warning("%s [%d] does not say where it ends: its reads wait", self._topic, partition)
            elif end is not None and partition in self._silent:
                self._silent.discard(partition)
                _logger.info("%s [%d] says again where it ends", self._topic, partition)
