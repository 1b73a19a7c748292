"""The Kafka clients of a flow, with the settings that exactly-once rests on.

Each setting that is not a default says why. Times are milliseconds, as librdkafka has them.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, KafkaError, Producer

from schemas.topics import DEAD_LETTER_BYTES_MAX

__all__ = ["KafkaConfig", "changelog_consumer", "high_watermark_consumer", "member_consumer", "plain_producer"]
__all__ += ["transactional_producer"]

log = logging.getLogger("paystream.kafka")

_REPORT_EVERY_SECONDS = 10.0

Setting = str | int | float | bool

# A broker that stands still keeps its connections, and a fetch that waits on one would stand still with it for a minute
# after its partitions have moved to other brokers. (A transactional producer's is its transaction's time-out anyway.)
_CONSUMER_SOCKET_TIMEOUT_MS = 6_000


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaConfig:
    """Where Kafka is, and the times of group membership.

    `session_timeout_ms` decides how soon a dead owner's shards are taken over, `transaction_timeout_ms` how long its
    open transaction can hold up whoever takes over; it must be above an epoch and the worst stall of its commit.
    """

    bootstrap: str
    session_timeout_ms: int = 6_000
    heartbeat_interval_ms: int = 1_000
    max_poll_interval_ms: int = 60_000
    transaction_timeout_ms: int = 10_000
    extra: dict[str, Setting] = field(default_factory=dict)


def _common(config: KafkaConfig, client: str) -> dict[str, Any]:
    return {
        "bootstrap.servers": config.bootstrap,
        "client.id": client,
        "error_cb": _report,
        # librdkafka's own lines would repeat to stderr what comes to `error_cb`.
        "log_level": 2,
        # A broker that restarts is back within seconds; the default back-off of 10 s would double that.
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 1_000,
        "socket.nagle.disable": True,
        **config.extra,
    }


_last_reported: dict[int, float] = {}


def _report(error: KafkaError) -> None:
    """Log what a client reports, each kind once in a while: a broker that is away is tried many times a second."""
    now = time.monotonic()
    if now - _last_reported.get(error.code(), -_REPORT_EVERY_SECONDS) >= _REPORT_EVERY_SECONDS:
        _last_reported[error.code()] = now
        log.warning("kafka: %s", error.str())


def member_consumer(config: KafkaConfig, *, group: str, instance: str) -> Consumer:
    """The one consumer of a flow's process: a static member of the flow's group."""
    return Consumer(
        {
            **_common(config, f"{group}-{instance}"),
            "group.id": group,
            "group.instance.id": f"{group}-{instance}",
            "group.protocol": "classic",
            "partition.assignment.strategy": "range",
            "session.timeout.ms": config.session_timeout_ms,
            "heartbeat.interval.ms": config.heartbeat_interval_ms,
            "max.poll.interval.ms": config.max_poll_interval_ms,
            "isolation.level": "read_committed",
            # Offsets are committed by the producer's transaction and by nothing else.
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            # An offset that is gone is lost input: stop and say so.
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "socket.timeout.ms": _CONSUMER_SOCKET_TIMEOUT_MS,
            "fetch.error.backoff.ms": 50,
            # A partition of which something waits here is not fetched again. A fetch is answered at the first record of
            # any partition and costs the broker more than the record: while an epoch is committed and nothing is taken,
            # there would be one for each record. The wait bounds how long the others hold up one that was emptied.
            "queued.min.messages": 1,
            "fetch.queue.backoff.ms": 1,
            "fetch.wait.max.ms": 20,
            # A member that assigned before it knew of a new topic does so again by then, and not after five minutes.
            "topic.metadata.refresh.interval.ms": 10_000,
        }
    )


def _reader(config: KafkaConfig, *, client: str, isolation: str) -> Consumer:
    return Consumer(
        {
            **_common(config, client),
            # librdkafka wants a group id; nothing is ever committed under it.
            "group.id": f"{client}-unused",
            "enable.auto.commit": False,
            "isolation.level": isolation,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "socket.timeout.ms": _CONSUMER_SOCKET_TIMEOUT_MS,
            "fetch.wait.max.ms": 50,
            "fetch.error.backoff.ms": 50,
            # A restore fills the local queue again and again; by default it would rest for a second each time.
            "fetch.queue.backoff.ms": 1,
        }
    )


def changelog_consumer(config: KafkaConfig, *, flow: str) -> Consumer:
    """Reads a changelog for a restore: `read_committed`, so that it cannot pass an undecided transaction."""
    return _reader(config, client=f"{flow}-restore", isolation="read_committed")


def high_watermark_consumer(config: KafkaConfig, *, flow: str) -> Consumer:
    """Asks for the end of a partition. `read_uncommitted`, or the answer is the last stable offset, which may trail."""
    return _reader(config, client=f"{flow}-watermark", isolation="read_uncommitted")


def transactional_producer(config: KafkaConfig, *, flow: str, instance: str) -> Producer:
    """The one transactional producer of a flow's process."""
    return Producer(
        {
            **_common(config, f"{flow}-{instance}"),
            "transactional.id": f"{flow}-{instance}",
            "transaction.timeout.ms": config.transaction_timeout_ms,
            # Every message carries its partition: the shard it belongs to.
            "enable.idempotence": True,
            "acks": "all",
            # The commit flushes; until then an epoch's messages gather into one request for each partition.
            "linger.ms": 5,
            # What a transaction meets most often is that the markers of the one before are still being written: for
            # a few milliseconds, so that the default of 100 would rule how long an epoch takes. It grows from here.
            "retry.backoff.ms": 1,
            "compression.type": "lz4",
            # A dead letter is the record that was refused, whole, and a little more.
            "message.max.bytes": DEAD_LETTER_BYTES_MAX,
            "queue.buffering.max.messages": 1_000_000,
            "delivery.report.only.error": True,
        }
    )


def plain_producer(config: KafkaConfig, *, client: str) -> Producer:
    """For what is told after the commit, outside any transaction."""
    return Producer(
        {
            **_common(config, client),
            "enable.idempotence": True,
            "acks": "all",
            # Those of an epoch come together, and go together.
            "linger.ms": 2,
            "delivery.timeout.ms": 5_000,
        }
    )
