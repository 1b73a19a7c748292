"""Faults by chance: how often a request or its answer is lost, doubled or declined, and how slow everything is.

Two belong to ISO 8583 alone, which has answer codes that say nothing and answers that need not come back on the
connection that was asked on.

Reads and writes nothing; `network` throws once for each arrival, on whatever was asked: authorization, capture and
void alike. The plan comes from the command line and is changed at run time by POST /faults.
"""

import random
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import msgspec

from sandbox.card_network.booking import Kind
from sandbox.card_network.cards import Delivery

__all__ = ["Dice", "Fault", "FaultPlan", "LinkFault", "WireProtocol"]

Rate = Annotated[float, msgspec.Meta(ge=0, le=1)]
ResponseCode = Annotated[str, msgspec.Meta(pattern="^[0-9A-Z]{2}$")]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]


class WireProtocol(StrEnum):
    """How an arrival came."""

    http = "http"
    iso8583 = "iso8583"


class FaultPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What goes wrong, and how often. Raises ValueError where the rates add up to more than one."""

    # On top of the network's own time, half of it on the way in and half on the way back.
    latency_ms: Annotated[float, msgspec.Meta(ge=0, le=60_000)] = 0
    # The caller hears nothing: the request was lost, or its answer.
    timeout_rate: Rate = 0
    # The connection is reset, before the request was booked or after.
    reset_rate: Rate = 0
    # How many of these two, and of the doubtful answers, are requests that were lost.
    lost_request_share: Rate = 0.5
    # The answer is written twice on the connection.
    duplicate_rate: Rate = 0
    # What would have been approved is declined.
    decline_rate: Rate = 0
    # ISO 8583: the answer comes back on another open connection of the same acquirer, where there is one.
    iso_other_connection_rate: Rate = 0
    # ISO 8583: the answer is a code that says nothing, one of these, whether the request was booked or not.
    iso_doubt_rate: Rate = 0
    iso_response_codes: Annotated[tuple[ResponseCode, ...], msgspec.Meta(min_length=1)] = ("09", "94", "96")
    # What the rates apply to.
    kinds: frozenset[Kind] = frozenset(Kind)
    # The same seed and order of arrivals throw the same faults.
    seed: int = 0
    # How much later a late request arrives, how long a slow card thinks, how long a time-out holds the connection (of
    # HTTP: one of ISO 8583 carries other requests too), for how long a short hold lasts.
    late_seconds: Seconds = 90
    slow_seconds: Seconds = 2
    hang_seconds: Seconds = 60
    short_hold_seconds: Seconds = 10

    def __post_init__(self) -> None:
        if self.timeout_rate + self.reset_rate + self.duplicate_rate > 1:
            raise ValueError("timeout_rate, reset_rate and duplicate_rate add up to more than 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What befalls one arrival. `delivery` is none where the answer goes back as it would."""

    loses_request: bool = False
    delivery: Delivery | None = None
    declines: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkFault:
    """What befalls one answer of the ISO 8583 link besides."""

    other_connection: bool = False
    doubtful_code: str | None = None
    """Answered instead of the outcome."""
    loses_request: bool = False
    """The doubtful answer is to a request that is not booked."""


_NAMES = {Delivery.hang: "timeout", Delivery.reset: "reset", Delivery.twice: "duplicate"}


class Dice:
    """Throws the faults of a plan."""

    def __init__(self, plan: FaultPlan) -> None:
        self.plan = plan
        self._random = random.Random(plan.seed)
        self.thrown: dict[WireProtocol, Counter[str]] = {protocol: Counter() for protocol in WireProtocol}
        """How many arrivals there were, and how often each fault has been thrown."""

    def change(self, changes: dict[str, Any]) -> FaultPlan:
        """Put `changes` in force; what they do not name stays. Raises msgspec.ValidationError and changes nothing."""
        self.plan = msgspec.convert({**msgspec.to_builtins(self.plan), **changes}, FaultPlan)
        if "seed" in changes:
            self._random = random.Random(self.plan.seed)
        return self.plan

    def throw(self, kind: Kind, protocol: WireProtocol) -> Fault:
        """What befalls one arrival; counted."""
        fault = self._throw(kind)
        thrown = self.thrown[protocol]
        thrown["arrivals"] += 1
        if fault.delivery is not None:
            thrown[_NAMES[fault.delivery] + _lost(fault)] += 1
        if fault.declines:
            thrown["decline"] += 1
        return fault

    def _throw(self, kind: Kind) -> Fault:
        # Always three throws, so that what befalls the next arrival does not depend on this one's fate.
        chance, half, decline = (self._random.random() for _ in range(3))
        plan = self.plan
        if kind not in plan.kinds:
            return Fault()
        declines = decline < plan.decline_rate
        loses_request = half < plan.lost_request_share
        if chance < plan.timeout_rate:
            return Fault(loses_request=loses_request, delivery=Delivery.hang, declines=declines)
        chance -= plan.timeout_rate
        if chance < plan.reset_rate:
            return Fault(loses_request=loses_request, delivery=Delivery.reset, declines=declines)
        chance -= plan.reset_rate
        if chance < plan.duplicate_rate:
            return Fault(delivery=Delivery.twice, declines=declines)
        return Fault(declines=declines)

    def throw_link(self, kind: Kind) -> LinkFault:
        """What befalls an answer of the ISO 8583 link besides; counted. What it loses is not thrown for again."""
        fault = self._throw_link(kind)
        thrown = self.thrown[WireProtocol.iso8583]
        if fault.other_connection:
            thrown["other_connection"] += 1
        if fault.doubtful_code is not None:
            thrown["doubtful_code" + _lost(fault)] += 1
        if fault.loses_request:
            thrown["arrivals"] += 1
        return fault

    def _throw_link(self, kind: Kind) -> LinkFault:
        other, doubt, lost, code = (self._random.random() for _ in range(4))
        plan = self.plan
        if kind not in plan.kinds:
            return LinkFault()
        other_connection = other < plan.iso_other_connection_rate
        if doubt >= plan.iso_doubt_rate:
            return LinkFault(other_connection=other_connection)
        return LinkFault(
            other_connection=other_connection,
            doubtful_code=plan.iso_response_codes[int(code * len(plan.iso_response_codes))],
            loses_request=lost < plan.lost_request_share,
        )


def _lost(fault: Fault | LinkFault) -> str:
    return "_request_lost" if fault.loses_request else ""
