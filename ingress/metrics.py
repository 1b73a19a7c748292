"""What ingress counts, and GET /metrics.

Label values are routes, names of ours and status codes, never anything that a client sends.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

__all__ = ["Metrics"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The metrics of one application, in a registry of their own."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.request_seconds = Histogram(
            "paystream_ingress_request_seconds",
            "Time from the request's head to the end of its answer.",
            ["method", "route", "status"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.requests_open = Gauge(
            "paystream_ingress_requests_open", "Requests that are being answered.", registry=self.registry
        )
        self.deliveries = Counter(
            "paystream_ingress_commands_total",
            "Commands given to the producer, by what became of them.",
            ["delivery"],
            registry=self.registry,
        )
        self.replies = Counter(
            "paystream_ingress_replies_total",
            "Replies read, by whether anybody waited for them.",
            ["awaited"],
            registry=self.registry,
        )
        self.answers_without_reply = Counter(
            "paystream_ingress_answers_without_reply_total",
            "Commands whose reply did not come in time, by what was answered.",
            ["answer"],
            registry=self.registry,
        )
        self.reads_behind = Counter(
            "paystream_ingress_reads_behind_total",
            "Reads that were answered 503 because the read model did not come far enough.",
            registry=self.registry,
        )
        self.processors_skipped = Counter(
            "paystream_ingress_processors_skipped_total",
            "How often a route named a processor that is not configured; it was passed over.",
            ["processor"],
            registry=self.registry,
        )
        self.clock_ahead_seconds = Gauge(
            "paystream_ingress_clock_ahead_seconds",
            "By how much at least this process's clock is ahead of that of the broker which leads a partition of "
            "the commands; below zero, behind it.",
            ["partition"],
            registry=self.registry,
        )

    async def respond(self, _request: Request) -> Response:
        """GET /metrics."""
        return Response(generate_latest(self.registry), headers={"content-type": CONTENT_TYPE_LATEST})
