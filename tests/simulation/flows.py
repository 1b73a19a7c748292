"""The three flows that a world runs, as their processes are made: real flows and sides, no threads, time by hand."""

from __future__ import annotations

import random
from collections.abc import Sequence

from tests.simulation.process import Flow, SkewedClock
from tests.topology.processing.rig import BootClock, FakeEngine, StubProcessor
from topology import payments, processing, reconciliation
from topology.calls.circuit import Backoff
from topology.calls.slots import ProcessorLimits
from topology.kafka import Side
from topology.processing import ProcessingConfig, ProcessingSide
from topology.reconciliation import ReconciliationSide, ReconciliationTimes

__all__ = ["FORGET_AFTER_SECONDS", "TIMES", "flows"]

FORGET_AFTER_SECONDS = 30.0
"""More than two clocks are apart, and an epoch is open."""

# Every duration short against production, and in the same order.
TIMES = ReconciliationTimes(
    ladder_seconds=(10.0, 60.0, 300.0),
    ladder_then_every_seconds=1_800.0,
    abandonment_seconds=3_000.0,
    challenge_seconds=600.0,
    doubt_alert_seconds=1_800.0,
    hold_margin_seconds=600.0,
)
_LIMITS = ProcessorLimits(
    in_flight_max=3,
    waiting_max=2,
    circuit_failures_max=5,
    circuit=Backoff(seconds_min=1.0, seconds_max=8.0),
    retry=Backoff(seconds_min=0.5, seconds_max=8.0),
)
_CONFIG = ProcessingConfig(default_limits=_LIMITS, authorization_age_seconds_max=300.0)


def flows(
    chance: random.Random, boot: BootClock, processors: Sequence[StubProcessor], *, partitions: int
) -> tuple[Flow, Flow, Flow]:
    """Payments, processing and reconciliation."""

    def fold(_clock: SkewedClock) -> tuple[Side, None]:
        return _TellingSide(forget_after_seconds=FORGET_AFTER_SECONDS), None

    def calls(_clock: SkewedClock) -> tuple[Side, FakeEngine]:
        engine = FakeEngine()
        side = ProcessingSide(
            processors, _CONFIG, partitions=partitions, engine=engine, boot_seconds=boot, chance=chance
        )
        return side, engine

    def pending(clock: SkewedClock) -> tuple[Side, FakeEngine]:
        engine = FakeEngine()
        return ReconciliationSide(processors, TIMES, partitions=partitions, clock=clock, engine=engine), engine

    return (
        Flow(spec=payments.FLOW, build=payments.build, side=fold),
        Flow(spec=processing.FLOW, build=processing.build, side=calls),
        Flow(spec=reconciliation.FLOW, build=reconciliation.build, side=pending),
    )


class _TellingSide(payments.FoldSide):
    """The fold's side; the world takes the replies to those who wait for them."""

    def committed(self, effects: list[object]) -> None:
        """Nothing is sent from here."""
