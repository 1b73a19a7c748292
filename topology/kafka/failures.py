"""Why a member of a flow's group cannot go on: what its consumer's messages say, and what its shards' offsets do.

Used by `membership`, `source` and `restore`.
"""

from __future__ import annotations

import logging

from confluent_kafka import KafkaError, KafkaException, Message

__all__ = ["NotCoPartitioned", "OffsetsExpired", "failure_of", "is_fatal", "unknown_topics"]

log = logging.getLogger("paystream.kafka")


class OffsetsExpired(RuntimeError):
    """A shard has state and no committed offsets: to start anywhere would lose or repeat input. A person decides."""


class NotCoPartitioned(RuntimeError):
    """The flow's topics differ in their partitions, so that one shard would not be one number everywhere."""


def is_fatal(message: Message) -> bool:
    """Whether it says that the consumer has failed for good."""
    error = message.error()
    return error is not None and error.code() == KafkaError._FATAL


def failure_of(message: Message) -> Exception | None:
    """Why reading cannot go on after this message; None for a record, the news of an end, and passing trouble."""
    error = message.error()
    if error is None or error.code() == KafkaError._PARTITION_EOF:
        return None
    where = f"{message.topic()}/{message.partition()}"
    if is_fatal(message):
        # The one fatal error that a consumer has, and it does not come with its code.
        return KafkaException(KafkaError(KafkaError.FENCED_INSTANCE_ID, error.str()))
    if error.code() == KafkaError._AUTO_OFFSET_RESET:
        return OffsetsExpired(f"{where}: {error.str()}")
    if message.partition() is not None:
        # A record that cannot be read is not skipped.
        return KafkaException(error)
    log.warning("kafka: %s: %s", where, error)
    return None


def unknown_topics(names: list[str]) -> KafkaException:
    """For a moment some broker, or the member that assigns, does not know a new topic: the join is tried again."""
    return KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, f"not known (yet): {', '.join(names)}"))
