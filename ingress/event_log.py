"""Where the partitions of `payments.events` end: the only thing that ingress wants to know of that topic.

The end is the high watermark, asked for with read_uncommitted: the last stable offset, which librdkafka gives by
default, was seen to trail a commit that had been acknowledged. One request per leading broker answers for all
partitions asked for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

# The package has both in its documentation, but its typing does not export them.
from confluent_kafka.admin._listoffsets import ListOffsetsResultInfo, OffsetSpec

from schemas.topics import EVENTS

__all__ = ["KafkaEventLog"]

_ASK_SECONDS = 2.0
_ENDS_SECONDS = 1.0
_RETRY_SECONDS = 0.2

_LATEST: Callable[[], OffsetSpec] = OffsetSpec.latest

_logger = logging.getLogger(__name__)


class KafkaEventLog:
    """Asks the brokers for the ends of partitions."""

    def __init__(self, *, bootstrap: str, client_id: str, topic: str = EVENTS.name) -> None:
        self._config: dict[str, str | int | float | bool] = {
            "bootstrap.servers": bootstrap,
            "client.id": client_id,
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 500,
            "log_level": 2,
        }
        self._topic = topic
        self._partitions: int | None = None

    @property
    def partitions(self) -> int | None:
        """How many partitions there are, for the life of the deployment; None until that is known."""
        return self._partitions

    def start(self) -> None:
        """Begin to ask how many partitions there are; returns at once."""
        self._admin = AdminClient(self._config)
        self._counting = asyncio.create_task(self._count(), name="event-log")

    async def stop(self) -> None:
        """Stop asking."""
        self._counting.cancel()
        await asyncio.wait([self._counting])

    async def _count(self) -> None:
        while True:
            try:
                cluster = await asyncio.to_thread(self._admin.list_topics, self._topic, timeout=_ASK_SECONDS)
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
        latest = _LATEST()
        asked: Mapping[TopicPartition, Future[ListOffsetsResultInfo]] = self._admin.list_offsets(
            {TopicPartition(self._topic, partition): latest for partition in partitions},
            isolation_level=IsolationLevel.READ_UNCOMMITTED,
            request_timeout=_ENDS_SECONDS,
        )
        answers = await asyncio.gather(*map(asyncio.wrap_future, asked.values()), return_exceptions=True)
        ends: dict[int, int | None] = {}
        for partition, answer in zip(asked, answers, strict=True):
            if isinstance(answer, ListOffsetsResultInfo):
                ends[partition.partition] = answer.offset
            elif isinstance(answer, KafkaException):
                _logger.warning("%s [%s] does not say where it ends: %s", self._topic, partition.partition, answer)
                ends[partition.partition] = None
            else:
                raise answer
        return ends
