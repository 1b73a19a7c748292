"""What the processor calls tell Prometheus."""

from __future__ import annotations

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

__all__ = ["CIRCUIT_OPEN", "IN_DOUBT_RESTORED", "IN_FLIGHT", "NUMBERS_AHEAD_SECONDS", "WAITING", "count_call"]

_CALLS = Counter(
    "paystream_processor_calls_total",
    "Processor calls that ended, by what came of them (code: why nothing was learnt).",
    ["processor", "kind", "outcome", "code"],
)
_CALL_SECONDS = Histogram(
    "paystream_processor_call_seconds",
    "Time from handing a call to its adapter to its outcome.",
    ["processor", "kind"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20),
)
IN_FLIGHT = Gauge("paystream_processor_calls_in_flight", "Calls that hold a slot.", ["processor"])
WAITING = Gauge(
    "paystream_processor_calls_waiting",
    "Entries that wait: for a slot, another try, what the processor promises, or for it to be configured at all.",
    ["processor"],
)
CIRCUIT_OPEN = Gauge("paystream_processor_circuit_open", "1 while calls to the processor are held back.", ["processor"])
IN_DOUBT_RESTORED = Counter(
    "paystream_processor_calls_restored_total",
    "In-flight entries found in a restore: called again under the same key, or unknown.",
    ["processor", "kind"],
)
NUMBERS_AHEAD_SECONDS = Gauge(
    "paystream_call_numbers_ahead_seconds",
    "By how much the time in a shard's last number is ahead of the clock: it was ahead once, or it is behind now.",
    ["shard"],
)


def count_call(processor: str, kind: str, outcome: str, *, code: str, seconds: float) -> None:
    """A call has ended; `code` says why nothing was learnt, where that is so."""
    _seconds_of(processor, kind).observe(seconds)
    _count_of(processor, kind, outcome, code).inc()


# To find a metric by its labels takes longer than to count.
@cache
def _seconds_of(processor: str, kind: str) -> Histogram:
    return _CALL_SECONDS.labels(processor, kind)


@cache
def _count_of(processor: str, kind: str, outcome: str, code: str) -> Counter:
    return _CALLS.labels(processor, kind, outcome, code)
