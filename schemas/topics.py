"""The topics: name, key, records, how long they are kept. The one table that everything else reads.

Topics keyed by intent are co-partitioned: they all have the number of partitions that the deployment was founded
with, which is for life.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = [
    "ALL",
    "CAPTURES",
    "COMMANDS",
    "DEAD_LETTERS",
    "DEAD_LETTER_BYTES_MAX",
    "EVENTS",
    "INTENTS",
    "IN_FLIGHT",
    "MERCHANTS",
    "OPEN_CAPTURES",
    "PENDING",
    "PROCESSOR_RESULTS",
    "REPLIES",
    "SETTLEMENTS",
    "SETTLEMENT_FILES",
    "SETTLEMENT_LINES",
    "TIMERS",
    "WEBHOOK_ATTEMPTS",
    "Topic",
]

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS

DEAD_LETTER_BYTES_MAX = 4 * 1024 * 1024
"""Whatever a broker takes by default (1 MiB) fits in a dead letter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A topic. `retention_ms` is None where it is compacted: then the last record of each key is kept for ever."""

    name: str
    key: str
    records: tuple[str, ...]
    retention_ms: int | None
    message_bytes_max: int | None = None

    @property
    def compacted(self) -> bool:
        """Whether the broker keeps the last record of each key instead of a span of time."""
        return self.retention_ms is None

    def config(self) -> dict[str, str]:
        """The topic's settings at the broker, as `kafka-configs` names them."""
        # The broker's clock, not that of whoever writes: a record's time decides how long it is kept, when a segment
        # rolls, and up to when the read model is known to be complete.
        common = {"message.timestamp.type": "LogAppendTime"}
        if self.message_bytes_max is not None:
            common["max.message.bytes"] = str(self.message_bytes_max)
        if self.retention_ms is not None:
            return {"cleanup.policy": "delete", "retention.ms": str(self.retention_ms), **common}
        # Segments roll early and the cleaner starts early, or compaction never reaches what matters for a restore.
        return {
            "cleanup.policy": "compact",
            "segment.ms": str(5 * 60_000),
            "segment.bytes": str(64 * 1024 * 1024),
            "min.cleanable.dirty.ratio": "0.1",
            **common,
        }


def _kept(name: str, key: str, *records: str, days: float) -> Topic:
    return Topic(name=name, key=key, records=records, retention_ms=int(days * _DAY_MS))


def _compacted(name: str, key: str, *records: str) -> Topic:
    return Topic(name=name, key=key, records=records, retention_ms=None)


COMMANDS = _kept("payments.commands", "intent", "PaymentCommand", days=30)
PROCESSOR_RESULTS = _kept("payments.processor-results", "intent", "ProcessorResult", days=30)
TIMERS = _kept("payments.timers", "intent", "TimerFired", "ClockOffset", days=7)
EVENTS = _kept("payments.events", "intent", "PaymentEvent", days=30)
INTENTS = _compacted("payments.intents", "intent", "PaymentIntent", "Forgotten")
IN_FLIGHT = _compacted("payments.in-flight", "intent", "InFlight", "Numbering")
PENDING = _compacted("payments.pending", "intent", "Pending", "ShardClock")
REPLIES = _kept("payments.replies", "command", "CommandReply", days=1 / 24)
CAPTURES = _kept("payments.captures", "processor:reference", "Capture", days=30)
SETTLEMENT_LINES = _kept("payments.settlement-lines", "processor:reference", "SettlementLine", days=90)
SETTLEMENT_FILES = _compacted("payments.settlement-files", "processor:sequence", "SettlementFile")
OPEN_CAPTURES = _compacted("payments.open-captures", "processor:reference", "OpenCapture", "ShardClock")
SETTLEMENTS = _kept(
    "payments.settlements", "intent, else unmatched:reference", "Settlement", "MismatchResolved", days=30
)
WEBHOOK_ATTEMPTS = _kept("payments.webhook-attempts", "intent", "WebhookAttempt", days=30)
DEAD_LETTERS = replace(
    _kept("payments.dead-letters", "as it came", "DeadLetter", days=90), message_bytes_max=DEAD_LETTER_BYTES_MAX
)
MERCHANTS = _compacted("merchants", "merchant", "Merchant")

ALL = (
    COMMANDS,
    PROCESSOR_RESULTS,
    TIMERS,
    EVENTS,
    INTENTS,
    IN_FLIGHT,
    PENDING,
    REPLIES,
    CAPTURES,
    SETTLEMENT_LINES,
    SETTLEMENT_FILES,
    OPEN_CAPTURES,
    SETTLEMENTS,
    WEBHOOK_ATTEMPTS,
    DEAD_LETTERS,
    MERCHANTS,
)
