"""What settlement tells Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

__all__ = ["LINES_WAITING", "OLDEST_OPEN_SECONDS", "OPEN_CAPTURES", "RESULTS_WRITTEN", "SETTLEMENTS_WRITTEN"]

SETTLEMENTS_WRITTEN = Counter(
    "paystream_settlements_total",
    "Settlements by what they came to: settled, the name of a mismatch, or unmatched_kind.",
    ["processor", "outcome"],
)
RESULTS_WRITTEN = Counter(
    "paystream_settlement_results_total", "Captures in doubt that a line decided; told again until the fold has it."
)
OPEN_CAPTURES = Gauge("paystream_open_captures", "Captures that wait for their settlement line.")
OLDEST_OPEN_SECONDS = Gauge("paystream_oldest_open_capture_seconds", "For how long the oldest of them has waited.")
LINES_WAITING = Gauge(
    "paystream_settlement_questions_waiting",
    "Lines without an open capture, and captures past their window, that wait for the read model.",
)
