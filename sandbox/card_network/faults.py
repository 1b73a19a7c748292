"""Faults by chance: how often a request or its answer is lost, doubled or declined, and how slow everything is.

Reads and writes nothing; `network` throws once for each arrival, on whatever was asked: authorization, capture and
void alike. The plan comes from the command line and is changed at run time by POST /faults.
"""

import random
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from sandbox.card_network.booking import Kind
from sandbox.card_network.cards import Delivery

__all__ = ["Dice", "Fault", "FaultPlan"]

Rate = Annotated[float, msgspec.Meta(ge=0, le=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]


class FaultPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What goes wrong, and how often. Raises ValueError where the rates add up to more than one."""

    # On top of the network's own time, half of it on the way in and half on the way back.
    latency_ms: Annotated[float, msgspec.Meta(ge=0, le=60_000)] = 0
    # The caller hears nothing. In every other case the request was lost, else its answer.
    timeout_rate: Rate = 0
    # The connection is reset. In every other case before the request was booked, else after.
    reset_rate: Rate = 0
    # The answer is written twice on the connection.
    duplicate_rate: Rate = 0
    # What would have been approved is declined.
    decline_rate: Rate = 0
    # What the rates apply to.
    kinds: frozenset[Kind] = frozenset(Kind)
    # The same seed and order of arrivals throw the same faults.
    seed: int = 0
    # How much later a late request arrives, how long a slow card thinks, how long a time-out holds the connection.
    late_seconds: Seconds = 90
    slow_seconds: Seconds = 2
    hang_seconds: Seconds = 60

    def __post_init__(self) -> None:
        if self.timeout_rate + self.reset_rate + self.duplicate_rate > 1:
            raise ValueError("timeout_rate, reset_rate and duplicate_rate add up to more than 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What befalls one arrival. `delivery` is none where the answer goes back as it would."""

    loses_request: bool = False
    delivery: Delivery | None = None
    declines: bool = False


class Dice:
    """Throws the faults of a plan."""

    def __init__(self, plan: FaultPlan) -> None:
        self.plan = plan
        self._random = random.Random(plan.seed)

    def change(self, changes: dict[str, Any]) -> FaultPlan:
        """Put `changes` in force; what they do not name stays. Raises msgspec.ValidationError and changes nothing."""
        self.plan = msgspec.convert({**msgspec.to_builtins(self.plan), **changes}, FaultPlan)
        if "seed" in changes:
            self._random = random.Random(self.plan.seed)
        return self.plan

    def throw(self, kind: Kind) -> Fault:
        # Always three throws, so that what befalls the next arrival does not depend on this one's fate.
        chance, half, decline = (self._random.random() for _ in range(3))
        plan = self.plan
        if kind not in plan.kinds:
            return Fault()
        declines = decline < plan.decline_rate
        if chance < plan.timeout_rate:
            return Fault(loses_request=half < 0.5, delivery=Delivery.hang, declines=declines)
        chance -= plan.timeout_rate
        if chance < plan.reset_rate:
            return Fault(loses_request=half < 0.5, delivery=Delivery.reset, declines=declines)
        chance -= plan.reset_rate
        if chance < plan.duplicate_rate:
            return Fault(delivery=Delivery.twice, declines=declines)
        return Fault(declines=declines)
