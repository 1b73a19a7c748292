"""What travels through a dataflow: what it received, and what is to be written.

Every item on a stream is a pair (key, item); the key is the paymentIntentId, the partition number is the shard.
"""

from __future__ import annotations

from dataclasses import dataclass

from schemas.codec import Record

__all__ = ["AfterCommit", "Injected", "Input", "Output", "Produce", "Received"]


@dataclass(frozen=True, slots=True)
class Received:
    """A record read from one of the flow's input topics, decoded once, when it came in; `raw` is as it came."""

    key: str
    topic: str
    partition: int
    offset: int
    value: Record
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class Injected:
    """What the flow's own side (a processor's answer, a timer that is due) brings in."""

    key: str
    partition: int
    value: object


@dataclass(frozen=True, slots=True)
class Produce:
    """A message to write in the epoch's transaction; `value` is an encoded record, None a tombstone."""

    topic: str
    partition: int
    key: str | bytes | None
    value: bytes | None


@dataclass(frozen=True, slots=True)
class AfterCommit:
    """Something to do once the epoch that decided it has committed: handed to the flow's side."""

    effect: object


@dataclass(frozen=True, slots=True)
class EpochMark:
    """Wakes the sink in an epoch whose inputs yield nothing to write, so that their offsets are committed."""


Input = Received | Injected
Output = Produce | AfterCommit
