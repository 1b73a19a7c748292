"""What travels through a dataflow: what it received, and what is to be written.

Every item on a stream is a pair (key, item); the key is the paymentIntentId, the partition number is the shard.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from schemas.codec import Record

__all__ = ["AfterCommit", "EpochMark", "Injected", "Input", "Item", "Output", "Produce", "Received", "each"]


class Received(Struct, frozen=True):
    """A record read from one of the flow's input topics, decoded once, when it came in; `raw` is as it came."""

    key: str
    topic: str
    partition: int
    offset: int
    value: Record
    raw: bytes = b""


class Injected(Struct, frozen=True):
    """What the flow's own side (a processor's answer, a timer that is due) brings in."""

    key: str
    partition: int
    value: object


class Produce(Struct, frozen=True):
    """A message to write in the epoch's transaction; `value` is an encoded record, None a tombstone."""

    topic: str
    partition: int
    key: str | bytes | None
    value: bytes | None


class AfterCommit(Struct, frozen=True):
    """Something to do once the epoch that decided it has committed: handed to the flow's side."""

    effect: object


class EpochMark(Struct, frozen=True):
    """Wakes the sink in an epoch whose inputs yield nothing to write, so that their offsets are committed."""


Item = tuple[str, object]
Input = Received | Injected
Output = Produce | AfterCommit


def each(items: Iterable[object]) -> Iterator[object]:
    """What is on its way to the log, one by one: the outputs of a keyed step travel as one item, a list."""
    for item in items:
        if isinstance(item, list):
            yield from item
        else:
            yield item
