"""Whether the card network threw as many faults as it was told to: what a run shows depends on it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from sandbox.card_network.faults import FaultPlan, WireProtocol

__all__ = ["Thrown", "rates", "rates_missed", "since"]

Thrown = Mapping[str, Mapping[str, int]]
"""By protocol: `arrivals`, and how often each fault was thrown, as `GET /faults/thrown` tells it."""

_SHARE_OFF_MAX = 0.2
_SIGMAS_OFF_MAX = 4.0
_ARRIVALS = "arrivals"


def since(before: Thrown, after: Thrown) -> Thrown:
    """What was thrown between two moments."""
    return {
        protocol: {name: count - before.get(protocol, {}).get(name, 0) for name, count in counts.items()}
        for protocol, counts in after.items()
    }


def rates(thrown: Thrown) -> Mapping[str, Mapping[str, float]]:
    """How often each fault was thrown for an arrival, by protocol."""
    return {
        protocol: {
            name: round(count / counts[_ARRIVALS], 4)
            for name, count in counts.items()
            if name != _ARRIVALS and counts[_ARRIVALS]
        }
        for protocol, counts in thrown.items()
    }


def rates_missed(plan: Mapping[str, float], thrown: Thrown) -> list[str]:
    """The faults of a plan that were thrown much less or much more often than it says, by either protocol.

    Much is a fifth, or four standard deviations where that is more: of few arrivals chance makes more of a difference.
    """
    wanted = _wanted(msgspec.convert(plan, FaultPlan))
    missed = []
    for protocol in WireProtocol:
        counts = thrown.get(protocol, {})
        arrivals = counts.get(_ARRIVALS, 0)
        if not arrivals:
            missed.append(f"{protocol}: nothing arrived")
        for name, rate in wanted.items():
            expected, count = rate * arrivals, counts.get(name, 0)
            off_max = max(_SHARE_OFF_MAX * expected, _SIGMAS_OFF_MAX * math.sqrt(expected * (1 - rate)))
            if abs(count - expected) > off_max:
                missed.append(f"{protocol}: {name} befell {count} of {arrivals}, not {expected:.0f}")
    return missed


def _wanted(plan: FaultPlan) -> Mapping[str, float]:
    """The rates of a plan under the names by which faults are counted."""
    lost = plan.lost_request_share
    return {
        "timeout": plan.timeout_rate * (1 - lost),
        "timeout_request_lost": plan.timeout_rate * lost,
        "reset": plan.reset_rate * (1 - lost),
        "reset_request_lost": plan.reset_rate * lost,
        "duplicate": plan.duplicate_rate,
    }
