"""What the ISO 8583 links tell Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

__all__ = ["CONNECTIONS", "LOST", "UNMATCHED"]

CONNECTIONS = Gauge("paystream_iso8583_connections", "Connections that are signed on.", ["processor"])
LOST = Counter("paystream_iso8583_connections_lost_total", "Connections that ended, and why.", ["processor", "cause"])
UNMATCHED = Counter(
    "paystream_iso8583_unmatched_messages_total",
    "Messages that no call waited for: late (the call had timed out), or nobody's (sent twice, or never asked for).",
    ["processor", "kind"],
)
