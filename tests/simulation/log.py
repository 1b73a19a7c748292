"""A log as Kafka keeps it, in memory: topics of partitions, and transactions that stand as a whole or not at all.

What a process reads is what has been committed; what it writes becomes readable with the offsets that it has read, in
one step. Records lie there as bytes; they are decoded once, when they come in, for all who read them.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from schemas.codec import Record, decode, encode
from schemas.partitioner import partition
from schemas.times import Micros
from schemas.topics import Topic
from topology.kafka import Produce, StateStore

__all__ = ["Change", "Entry", "Place", "SimulatedLog"]

Place = tuple[str, int]
"""A topic's name and a partition's number."""

Change = tuple[str, int, bytes | None]
"""A key of a flow's state, its shard, and what it is now: a record of the changelog."""


class Entry(NamedTuple):
    """A record where it lies. `at`: when it was appended, which is when its producer sent it."""

    key: str
    raw: bytes | None
    value: Record | None
    at: Micros


class SimulatedLog:
    """All topics of one world."""

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self._entries: defaultdict[Place, list[Entry]] = defaultdict(list)
        self._committed: defaultdict[str, dict[Place, int]] = defaultdict(dict)

    def entries(self, topic: Topic, shard: int) -> list[Entry]:
        """What lies in a partition; grows as more is written."""
        return self._entries[topic.name, shard]

    def all(self, topic: Topic) -> list[Entry]:
        """What lies in a topic, partition after partition."""
        return [entry for shard in range(self.partitions) for entry in self.entries(topic, shard)]

    def append(self, topic: Topic, key: str, record: Record, *, at: Micros) -> None:
        """A record of somebody who writes without a transaction."""
        shard = partition(key, self.partitions)
        self.entries(topic, shard).append(Entry(key, encode(record), record, at))

    def positions(self, group: str, topics: Sequence[Topic], shards: Sequence[int]) -> dict[Place, int]:
        """Where a group goes on reading these shards."""
        places = [(topic.name, shard) for topic in topics for shard in shards]
        return {place: self._committed[group].get(place, 0) for place in places}

    def commit(
        self,
        group: str,
        *,
        messages: Sequence[Produce],
        changelog: Topic,
        changes: Sequence[Change],
        positions: dict[Place, int],
        at: Micros,
    ) -> None:
        """One transaction: messages, changes of state and positions, sent at that moment, readable from now on."""
        self._write(messages, at)
        self._change(changelog, changes, at)
        self._move(group, positions)

    def restore(self, changelog: Topic, shards: Sequence[int]) -> StateStore:
        """The state of these shards as the changelog has it."""
        store = StateStore(changelog.name)
        for shard in shards:
            for entry in self.entries(changelog, shard):
                store.restore(entry.key, entry.raw, at_ms=entry.at // 1_000)
        return store

    def digest(self) -> str:
        """A hash over every byte that lies here, where it lies, when it came, and who has read how far."""
        sha = hashlib.sha256()
        for (topic, shard), entries in sorted(self._entries.items()):
            for entry in entries:
                sha.update(repr((topic, shard, entry.key, entry.raw, entry.at)).encode())
        for group, positions in sorted(self._committed.items()):
            sha.update(repr((group, sorted(positions.items()))).encode())
        return sha.hexdigest()

    def _write(self, messages: Sequence[Produce], at: Micros) -> None:
        for message in messages:
            assert message.value is not None, "only changelogs hold tombstones"
            key = message.key.decode() if isinstance(message.key, bytes) else message.key or ""
            entry = Entry(key, message.value, decode(message.value), at)
            self._entries[message.topic, message.partition].append(entry)

    def _change(self, changelog: Topic, changes: Sequence[Change], at: Micros) -> None:
        for key, shard, value in changes:
            self.entries(changelog, shard).append(Entry(key, value, None, at))

    def _move(self, group: str, positions: dict[Place, int]) -> None:
        self._committed[group].update(positions)
