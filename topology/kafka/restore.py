"""Restore: a flow's state, read back from its changelog.

The reader is `read_committed` and reads each partition until past the high watermark that was taken after the
committed offsets were read. It cannot pass an undecided transaction, so this waits until every record that could
belong to a committed epoch is decided. The `read_committed` end would not do: the marker on the offsets partition may
be written before the one on the changelog, and an update would be lost.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import cache

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from schemas.codec import HEADER_BYTES, CodecError, headers_of, record_name
from schemas.topics import Topic
from topology.kafka.clients import KafkaConfig, changelog_consumer
from topology.kafka.failures import OffsetsExpired
from topology.kafka.flow import FlowSpec
from topology.kafka.membership import Assignment
from topology.kafka.store import StateStore, UnreadableState

__all__ = ["restore"]

log = logging.getLogger("paystream.kafka")

_BATCH = 10_000
_WAIT_SECONDS = 0.05
_NEVER = 1 << 63


def restore(
    spec: FlowSpec, assignment: Assignment, *, config: KafkaConfig, keep_membership: Callable[[], bool]
) -> StateStore | None:
    """The state of all shards of an assignment, or None when `keep_membership` said that they are no longer ours.

    `keep_membership` is called between batches and polls the group; nothing is read from the inputs meanwhile. Raises
    KafkaException, OffsetsExpired when a shard without committed offsets has state, and UnreadableState when the last
    record of a key is none of this changelog's; its content is decoded on first use only.
    """
    store = StateStore("" if spec.changelog is None else spec.changelog.name)
    behind = {shard: high for shard, (low, high) in assignment.changelogs.items() if high > low}
    if spec.changelog is None or not behind:
        return store
    started = time.monotonic()
    unreadable: dict[str, UnreadableState] = {}
    consumer = changelog_consumer(config, flow=spec.name)
    try:
        topic = spec.changelog.name
        # From the first offset as it was asked for: to look it up by name would cost half a second.
        consumer.assign([TopicPartition(topic, shard, assignment.changelogs[shard][0]) for shard in behind])
        while behind:
            if not keep_membership():
                return None
            # Waits for a first message only, never to fill the batch.
            for message in consumer.consume(1, _WAIT_SECONDS) + consumer.consume(_BATCH, 0):
                _apply(message, store, behind, spec.changelog, unreadable)
                if message.error() is None and message.partition() in assignment.unread:
                    raise OffsetsExpired(f"{spec.name}: shard {message.partition()} has state but no committed offsets")
    finally:
        consumer.close()
    for error in unreadable.values():
        raise error
    log.info("%s restored %d keys in %.2f s", spec.name, len(store), time.monotonic() - started)
    return store


def _apply(
    message: Message,
    store: StateStore,
    behind: dict[int, int],
    changelog: Topic,
    unreadable: dict[str, UnreadableState],
) -> None:
    """Take one changelog record, or the news of a partition's end, into the store.

    What cannot be read is only noted: a later record of its key is what an operator mends it with.
    """
    shard, offset, error = message.partition(), message.offset(), message.error()
    assert shard is not None
    assert offset is not None
    if error is None:
        _take(message, store, changelog, unreadable)
        # Markers occupy offsets, so the end may be reached by the news of it only.
        reached = offset + 1
    elif error.code() == KafkaError._PARTITION_EOF:
        reached = offset
    else:
        raise KafkaException(error)
    if reached >= behind.get(shard, _NEVER):
        del behind[shard]


def _take(message: Message, store: StateStore, changelog: Topic, unreadable: dict[str, UnreadableState]) -> None:
    """This runs for every record of a changelog, while nobody is served: so what is common comes first."""
    raw_key, value = message.key(), message.value()
    key = raw_key.decode(errors="backslashreplace") if isinstance(raw_key, bytes) else ""
    if raw_key != key.encode() or not (value is None or value[:HEADER_BYTES] in _headers(changelog)):
        reason = "no_key" if raw_key != key.encode() else _unreadable(value or b"")
        shard, offset = message.partition() or 0, message.offset()
        unreadable[key] = UnreadableState(changelog.name, shard, key, offset=offset, reason=reason)
    elif unreadable:
        unreadable.pop(key, None)
    store.restore(key, value, at_ms=message.timestamp()[1])


@cache
def _headers(changelog: Topic) -> frozenset[bytes]:
    """How every record that may lie in a changelog begins."""
    return frozenset(header for name in changelog.records for header in headers_of(name))


def _unreadable(value: bytes) -> str:
    """Why a value is no record of this changelog, as far as its header tells."""
    try:
        return f"wrong_record: {record_name(value)}"
    except CodecError as error:
        return str(error)
