"""The state of a flow's shards: the last bytes of each key, and which of them the open epoch has changed.

The changelog topic is the truth and this its copy in memory. Values stay encoded until a key is used, because most
keys rest most of the time and bytes are several times smaller than the objects they describe. Of the keys that were
used last the records are kept as well, for a payment's inputs follow each other closely.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from schemas.codec import CodecError, Record, decode, encode
from schemas.times import Micros

__all__ = ["StateStore", "UnreadableState"]

R = TypeVar("R", bound=Record)

_RECENT_MAX = 16_384
# A record takes some ten times as much as its bytes, and how long one grows is up to a merchant.
_RECENT_BYTES_MAX = 2_048


class UnreadableState(RuntimeError):
    """A changelog record that is no state of its flow. It cannot be passed over: whatever it was would be forgotten."""

    def __init__(self, topic: str, partition: int, key: str, *, offset: int | None = None, reason: str) -> None:
        at = "" if offset is None else f" at offset {offset}"
        super().__init__(f"{topic}/{partition}{at}, key {key[:100]!r}, is no state of this flow: {reason}")


class StateStore:
    """Keyed state, restored from the changelog and written back to it once per epoch and changed key.

    `topic` is the changelog's name, for errors.
    """

    def __init__(self, topic: str = "") -> None:
        self._topic = topic
        self._values: dict[str, bytes] = {}
        self._changed: dict[str, int] = {}
        self._recent: dict[str, Record] = {}
        self._before: dict[str, Record] = {}
        """The records of the keys used last, in two generations: once the newer is full, it becomes the older."""
        self._newest_ms = 0

    @property
    def newest_at(self) -> Micros:
        """The latest of the times at which what was restored had been appended."""
        return Micros(self._newest_ms * 1_000)

    def get(self, key: str) -> bytes | None:
        """The encoded record of a key, with the open epoch's changes."""
        return self._values.get(key)

    def load(self, key: str, kind: type[R], *, partition: int) -> R | None:
        """The record of a key, decoded; raises UnreadableState."""
        record = self._recent.get(key) or self._before.get(key)
        if record is None:
            stored = self._values.get(key)
            if stored is None:
                return None
            try:
                record = decode(stored)
            except CodecError as error:
                raise UnreadableState(self._topic, partition, key, reason=str(error)) from error
        assert isinstance(record, kind)
        return record

    def save(self, key: str, record: Record | None, *, partition: int) -> None:
        """Change a key to a record; None removes it. `partition` is the shard that the key belongs to."""
        if record is None:
            self.put(key, partition=partition, value=None)
            return
        value = encode(record)
        self.put(key, partition=partition, value=value)
        if len(value) > _RECENT_BYTES_MAX:
            return
        if len(self._recent) >= _RECENT_MAX:
            self._before, self._recent = self._recent, {}
        self._recent[key] = record

    def put(self, key: str, *, partition: int, value: bytes | None) -> None:
        """Change a key to an encoded record; None removes it."""
        self._recent.pop(key, None)
        self._before.pop(key, None)
        if value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = value
        self._changed[key] = partition

    def restore(self, key: str, value: bytes | None, *, at_ms: int = 0) -> None:
        """Apply a changelog record, appended at that time: already durable, so no change of the open epoch."""
        if at_ms > self._newest_ms:
            self._newest_ms = at_ms
        if value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = value

    def take_changes(self) -> list[tuple[str, int, bytes | None]]:
        """The keys changed since the last call, as (key, partition, last value)."""
        changes = [(key, partition, self._values.get(key)) for key, partition in self._changed.items()]
        self._changed.clear()
        return changes

    def items(self) -> Iterator[tuple[str, bytes]]:
        """Every key with its encoded record."""
        return iter(self._values.items())

    def __len__(self) -> int:
        return len(self._values)
