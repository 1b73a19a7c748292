"""Topics in memory in the place of `paystream.topic_access`; every record goes through the codec, as on its way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

import pytest

from paystream.topic_access import LogUnavailable, Placed
from schemas.codec import Record, decode, encode
from schemas.partitioner import partition
from schemas.topics import Topic

__all__ = ["TopicsInMemory"]

PARTITIONS = 4


class TopicsInMemory:
    """`away`: nobody answers; `loses`: what is written is not acknowledged."""

    def __init__(self) -> None:
        self.records: defaultdict[str, list[Placed]] = defaultdict(list)
        self.away = False
        self.loses = False

    def install(self, monkeypatch: pytest.MonkeyPatch, *modules: object) -> TopicsInMemory:
        """Put these topics in the place of Kafka's, in each of the modules."""
        for module in modules:
            for name in ("partitions_of", "read_all", "write"):
                if hasattr(module, name):
                    monkeypatch.setattr(module, name, getattr(self, name))
        monkeypatch.setenv("PAYSTREAM_KAFKA_BOOTSTRAP", "127.0.0.1:1")
        return self

    def partitions_of(self, _bootstrap: str, _topic: Topic) -> int:
        self._answer()
        return PARTITIONS

    def read_all(self, _bootstrap: str, topic: Topic, *, only: str) -> Iterator[Placed]:
        self._answer()
        for placed in self.records[topic.name]:
            if placed.record is None or type(placed.record).__name__ == only:
                yield placed

    def write(self, _bootstrap: str, topic: Topic, records: Iterable[tuple[str, Record]]) -> None:
        self._answer()
        for key, record in records:
            self.put(topic, key, record)
        if self.loses:
            raise LogUnavailable("no broker has acknowledged")

    def put(self, topic: Topic, key: str, record: Record, *, at: int | None = None) -> None:
        """A record, at its key's partition or at that one."""
        assert type(record).__name__ in topic.records
        place = partition(key, PARTITIONS) if at is None else at
        self.records[topic.name].append(Placed(key=key, partition=place, record=decode(encode(record))))

    def _answer(self) -> None:
        if self.away:
            raise LogUnavailable("nobody answers")
