"""Adapters to card processors, behind one port. They know their protocol and nothing of flows, Kafka or events."""

from __future__ import annotations

from topology.processors.http_json import HttpJsonProcessor, HttpProcessorConfig
from topology.processors.port import (
    Answer,
    Call,
    Capabilities,
    Cause,
    Departure,
    HeldBack,
    Lease,
    Number,
    Processor,
    boot_seconds,
)

__all__ = [
    "Answer",
    "Call",
    "Capabilities",
    "Cause",
    "Departure",
    "HeldBack",
    "HttpJsonProcessor",
    "HttpProcessorConfig",
    "Lease",
    "Number",
    "Processor",
    "boot_seconds",
]
