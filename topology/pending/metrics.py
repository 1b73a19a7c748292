"""What reconciliation tells Prometheus; its look-ups count among the processor calls."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

__all__ = ["DOUBT_ALERTS", "IN_DOUBT", "LOOKUPS_WAITING", "OLDEST_DOUBT_SECONDS", "OVERDUE_DOUBTS", "TIMERS_FIRED"]

IN_DOUBT = Gauge("paystream_payments_in_doubt", "Payments with a Transaction pending or a compensating void open.")
OLDEST_DOUBT_SECONDS = Gauge("paystream_oldest_doubt_seconds", "For how long the oldest of them has been in doubt.")
OVERDUE_DOUBTS = Gauge(
    "paystream_doubts_overdue", "Payments in doubt, or with a call that nobody answered, beyond the alert (24 h)."
)
DOUBT_ALERTS = Counter("paystream_doubt_alerts_total", "Transactions in doubt or unanswered that reached the alert.")
TIMERS_FIRED = Counter("paystream_timers_fired_total", "Timers written to payments.timers, by name.", ["name"])
LOOKUPS_WAITING = Gauge("paystream_lookups_waiting", "Look-ups that wait for one of the processor's slots.")
