"""Appends inputs to a broker, and knows how far a system under test has folded them.

How far it has come is told by the offsets that its group has committed, beside the ends of the partitions: only plain
records lie in the input topics, so offsets count them, whoever has appended them (the probes of `serving` do too).
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from bench.fold.mix import PARTITIONS, Input
from schemas.topics import COMMANDS, PROCESSOR_RESULTS

__all__ = ["Feed"]

_POLL_SECONDS = 0.05
_STALLED_SECONDS = 90.0
_WARM_UP_SECONDS = 20.0


class Feed:
    """What one system is given."""

    def __init__(self, bootstrap: str, group: str) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "linger.ms": 20,
                "batch.num.messages": 10_000,
                "compression.type": "lz4",
                "queue.buffering.max.messages": 2_000_000,
                "queue.buffering.max.kbytes": 2_000_000,
                "log_level": 2,
            }
        )
        self._group = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "log_level": 2})
        topics = (COMMANDS.name, PROCESSOR_RESULTS.name)
        self._places = [TopicPartition(topic, number) for topic in topics for number in range(PARTITIONS)]

    def append(self, inputs: Iterable[Input]) -> None:
        """Append; returns when the broker has it all."""
        for topic, partition, key, value in inputs:
            self._producer.produce(topic, key=key, value=value, partition=partition)
        if self._producer.flush(60):
            raise SystemExit("the broker does not take the inputs")

    def appended(self) -> int:
        """How many have been appended, by everybody."""
        ends = (self._group.get_watermark_offsets(place, timeout=10, cached=False)[1] for place in self._places)
        return sum(ends)

    def folded(self) -> int:
        """How many have been folded, and committed."""
        until = time.monotonic() + _WARM_UP_SECONDS
        while True:
            try:
                committed = self._group.committed(self._places, timeout=10)
            except KafkaException:
                # A broker that has just started has no coordinator for the group yet.
                if time.monotonic() > until:
                    raise
                time.sleep(_POLL_SECONDS)
            else:
                return sum(max(0, place.offset) for place in committed)

    def wait(self, goal: int) -> None:
        """Wait until so many have been folded; raises SystemExit when nothing moves."""
        before, moved = -1, time.monotonic()
        while (folded := self.folded()) < goal:
            if folded > before:
                before, moved = folded, time.monotonic()
            elif time.monotonic() > moved + _STALLED_SECONDS:
                raise SystemExit(f"stalled at {folded} of {goal} inputs")
            time.sleep(_POLL_SECONDS)

    def fold(self, inputs: Iterable[Input]) -> None:
        """Append, and wait until it is folded."""
        self.append(inputs)
        self.wait(self.appended())

    def close(self) -> None:
        """Let the connections go."""
        self._group.close()
