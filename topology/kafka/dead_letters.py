"""Dead letters: records that could not be processed, as they came, on their way to `payments.dead-letters`.

Made by the source, of what it cannot read, and by flows, of what they can make nothing of. All are counted here.
"""

from __future__ import annotations

from confluent_kafka import Message

from schemas.codec import encode
from schemas.operations import DeadLetter
from schemas.times import Micros
from schemas.topics import DEAD_LETTERS
from topology.kafka.items import Produce, Received
from topology.kafka.metrics import DEAD_LETTERED

__all__ = ["dead_letter"]


def dead_letter(given: Received | Message, cause: str, *, detail: str = "", flow: str, at: Micros) -> Produce:
    """The dead letter of a record, for the flow's output; `cause` is a stable name."""
    DEAD_LETTERED.labels(flow, cause).inc()
    key: str | bytes | None
    value: bytes | None
    if isinstance(given, Received):
        topic, partition, offset, key, value = given.topic, given.partition, given.offset, given.key, given.raw
    else:
        topic, partition, offset = given.topic() or "", given.partition() or 0, given.offset() or 0
        key, value = given.key(), given.value()
    letter = DeadLetter(
        topic=topic,
        partition=partition,
        offset=offset,
        key=key.encode() if isinstance(key, str) else key,
        value=value,
        cause=cause,
        detail=detail,
        flow=flow,
        at=at,
    )
    return Produce(DEAD_LETTERS.name, partition, letter.key, encode(letter))
