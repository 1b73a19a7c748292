"""Where the partitions of `payments.events` end: the only thing that ingress wants to know of that topic.

The end is the high watermark, asked for with read_uncommitted: the last stable offset, which librdkafka gives by
default, was seen to trail a commit that had been acknowledged. It is asked for as the offset of a time that is the
latest there is: one request per leading broker answers for all partitions asked for, and it keeps its time-out. (The
admin client's `list_offsets` does neither when a broker stalls: it then answers -1001, and may never answer again.)

librdkafka gives no answer at all as soon as one leader does not answer in time. So after that the partitions of each
leader are asked for apart, and a broker that is silent keeps only its own from their readers.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from random import shuffle
from typing import ParamSpec, TypeVar

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition

from schemas.topics import EVENTS

__all__ = ["KafkaEventLog"]

_ASK_SECONDS = 2.0
_ENDS_SECONDS = 1.0
_RETRY_SECONDS = 0.2
# A thread waits for each leader. They are not the event loop's own: of these, silent brokers could take all.
_THREADS = 12
_NO_LEADER = -1
# What is said of all partitions where the leader of one is silent; any other error is an answer.
_SILENCE = (KafkaError._TIMED_OUT, KafkaError._TIMED_OUT_QUEUE, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN)

P = ParamSpec("P")
T = TypeVar("T")

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
        self._leaders: Mapping[int, int] = {}
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="event-log")

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
        self._threads.shutdown(wait=False)

    async def _count(self) -> None:
        try:
            await self._count_again_and_again()
        except Exception as bug:
            _logger.exception("the partitions are no longer asked for")
            self._on_fatal(f"the partitions of events will never be known: {type(bug).__name__}")

    async def _count_again_and_again(self) -> None:
        while True:
            try:
                self._leaders = await asyncio.to_thread(self._ask_leaders, _ASK_SECONDS)
            except KafkaException as error:
                _logger.warning("the brokers do not say which partitions there are: %s", error)
            else:
                self._partitions = len(self._leaders)
                return
            await asyncio.sleep(_RETRY_SECONDS)

    async def ends(self, partitions: Collection[int]) -> Mapping[int, int | None]:
        """The offset after the last record of each partition, committed or not; None where no broker answered."""
        ends: Mapping[int, int | None]
        if self._silent.isdisjoint(partitions):
            try:
                ends = await self._in_thread(self._ask, partitions, _ENDS_SECONDS)
            except KafkaException as error:
                if error.args[0].code() == KafkaError._ALL_BROKERS_DOWN:
                    # To ask each would only take time.
                    ends = dict.fromkeys(partitions)
                else:
                    ends = await self._ask_by_leader(partitions)
        else:
            ends = await self._ask_by_leader(partitions)
        self._note(ends)
        return ends

    async def _ask_by_leader(self, partitions: Collection[int]) -> Mapping[int, int | None]:
        """Ask for the partitions of each leader apart, and meanwhile who leads now: for the next time, if not for this.

        Takes one time-out in all.
        """
        by_leader: defaultdict[int, list[int]] = defaultdict(list)
        for partition in partitions:
            by_leader[self._leaders.get(partition, _NO_LEADER)].append(partition)
        # Where there are too few threads, those wait who were silent before, and not always the same of them.
        groups = list(by_leader.values())
        shuffle(groups)
        groups.sort(key=lambda group: not self._silent.isdisjoint(group))
        deadline = time.monotonic() + _ENDS_SECONDS
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._learn_leaders())
            asked = [tasks.create_task(self._in_thread(self._ask_group, group, deadline)) for group in groups]
        return {partition: end for one in asked for partition, end in one.result().items()}

    async def _learn_leaders(self) -> None:
        try:
            self._leaders = await self._in_thread(self._ask_leaders, _ENDS_SECONDS)
        except KafkaException as error:
            # The one that was asked may be the silent one; the next time it may be another.
            _logger.debug("the leaders of %s are not known anew: %s", self._topic, error)

    def _ask_leaders(self, timeout_seconds: float) -> Mapping[int, int]:
        """The leader of each partition, by the numbers of brokers (-1: it has none); raises KafkaException."""
        topic = self._consumer.list_topics(self._topic, timeout=timeout_seconds).topics[self._topic]
        if topic.error is not None:
            raise KafkaException(topic.error)
        return {number: known.leader for number, known in topic.partitions.items()}

    def _ask(self, partitions: Collection[int], timeout_seconds: float) -> dict[int, int | None]:
        """Put the question; raises KafkaException."""
        latest = [TopicPartition(self._topic, partition, OFFSET_END) for partition in partitions]
        return {
            answer.partition: answer.offset if answer.error is None and answer.offset >= 0 else None
            for answer in self._consumer.offsets_for_times(latest, timeout=timeout_seconds)
        }

    def _ask_group(self, partitions: Collection[int], deadline: float) -> Mapping[int, int | None]:
        """Put the question by a deadline; each by itself where there is an answer that is an error of one of them."""
        remaining_seconds = deadline - time.monotonic()
        if remaining_seconds <= 0:
            return dict.fromkeys(partitions)
        try:
            return self._ask(partitions, remaining_seconds)
        except KafkaException as error:
            if len(partitions) == 1 or error.args[0].code() in _SILENCE:
                return dict.fromkeys(partitions)
            return {one: self._ask_group([one], deadline)[one] for one in partitions}

    async def _in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(call, *args, **kwargs))

    def _note(self, ends: Mapping[int, int | None]) -> None:
        """Say once of a partition that its reads have to wait, and once that they need not any more."""
        for partition, end in ends.items():
            if end is None and partition not in self._silent:
                self._silent.add(partition)
                _logger.warning("%s [%d] does not say where it ends: its reads wait", self._topic, partition)
            elif end is not None and partition in self._silent:
                self._silent.discard(partition)
                _logger.info("%s [%d] says again where it ends", self._topic, partition)
