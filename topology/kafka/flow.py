"""How a flow is described, apart from the runtime that executes it.

A flow module offers a `FlowSpec` and a function that builds its Bytewax `Dataflow` on a `FlowContext`. The context is
made by the Kafka runtime (`topology.kafka.runner`) or, in tests, by a driver in memory; the flow cannot tell.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

import bytewax.operators as op
from bytewax.dataflow import Dataflow, Stream
from bytewax.inputs import DynamicSource
from bytewax.outputs import FixedPartitionedSink

from schemas.times import Micros
from schemas.topics import Topic
from topology.kafka.items import Item
from topology.kafka.store import StateStore

__all__ = [
    "Clock",
    "FlowContext",
    "FlowSpec",
    "NoSide",
    "Side",
    "WallClock",
    "WrongPartitions",
    "check_partitions",
    "inputs",
    "output",
]


class Clock(Protocol):
    """Where a flow's runtime, never its decisions, takes the time from."""

    def now(self) -> Micros:
        """This moment."""


class WallClock:
    """The machine's clock."""

    def now(self) -> Micros:
        """This moment."""
        return Micros(time.time_ns() // 1000)


class Side(Protocol):
    """What a flow hears besides its topics, and does once an epoch has committed.

    All methods are called by the dataflow's thread.
    """

    def restored(self, store: StateStore, shards: tuple[int, ...]) -> None:
        """The shards' state is complete; called once, before the first input."""

    def drain(self, limit: int) -> list[tuple[str, int, object]]:
        """What has come since the last call, as (key, partition, value): each arrives as `Injected`."""

    def is_full(self) -> bool:
        """Whether no topic input may come for now, because too much waits here already; it stays in the log."""

    def committed(self, effects: list[object]) -> None:
        """The epoch that yielded these `AfterCommit` effects has committed."""

    def work(self, seconds: float | None, until: Future[None] | None = None) -> None:
        """Use this time, which the flow would wait in: until that has come to be, or else until there is news.

        So long at most (None: without a limit), and with 0 for what can be done at once, which is asked for before each
        batch. Returns early where there is nothing to wait for; then the flow waits itself.
        """

    def stop(self) -> None:
        """A clean stop has begun: no more topic input will come."""

    def leave(self) -> None:
        """As `stop`, because the group takes the shards away: other members stand still until they are given up."""

    def idle(self) -> bool:
        """Whether a clean stop, or the leaving, may end; `drain` goes on being called until then."""

    def close(self) -> None:
        """The dataflow has ended, for whatever reason: abandon everything."""


class NoSide:
    """The side of a flow that only reads topics and writes topics."""

    def restored(self, store: StateStore, shards: tuple[int, ...]) -> None:
        """Nothing to prepare."""

    def drain(self, limit: int) -> list[tuple[str, int, object]]:
        """Nothing comes."""
        return []

    def is_full(self) -> bool:
        """Nothing waits."""
        return False

    def committed(self, effects: list[object]) -> None:
        """No effect is expected; one that came anyway would be lost, which is a bug."""
        assert not effects

    def work(self, seconds: float | None, until: Future[None] | None = None) -> None:
        """There is nothing to do."""

    def stop(self) -> None:
        """Nothing to stop."""

    def leave(self) -> None:
        """Nothing to stop."""

    def idle(self) -> bool:
        """Always."""
        return True

    def close(self) -> None:
        """Nothing to abandon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSpec:
    """What a flow reads and where its state lies; its name is its consumer group and prefixes its transactions.

    A flow that `follows_ends` also has an epoch when a partition's end moved without a record (markers of transactions
    occupy offsets), and every second while its partitions rest there.

    `skippable` are those of the inputs whose old records the flow can do without: what retention has taken of them
    before it was read is passed over. Of any other input that is a loss, and the flow does not start.

    A flow that `finishes_before_leaving` does what a clean stop does before it gives up shards that the group takes
    away: its side is told to leave, and what that awaits is committed. All members stand still meanwhile, so it is for
    a flow that leaves something in doubt otherwise.
    """

    name: str
    inputs: tuple[Topic, ...]
    changelog: Topic | None
    follows_ends: bool = False
    skippable: tuple[Topic, ...] = ()
    finishes_before_leaving: bool = False


def _raise(error: Exception) -> None:
    raise error


@dataclass(slots=True, kw_only=True)
class FlowContext:
    """One run of a flow: between joining the group and leaving it.

    `settle` waits until the commit that is under way is decided. `fail` ends the run with an error, and nothing of its
    open epoch is committed; raised out of a step the error would be buried in a panic of Bytewax.
    """

    source: DynamicSource[tuple[str, object]]
    sink: FixedPartitionedSink[object, None]
    store: StateStore
    side: Side
    partitions: int
    clock: Clock
    fail: Callable[[Exception], None] = _raise
    settle: Callable[[], object] = lambda: None


class WrongPartitions(ValueError):
    """The setting says another number of partitions than the topics have: keys would go to other shards."""


def check_partitions(context: FlowContext, configured: int) -> None:
    """Refuse to run a flow that would place keys by another number of partitions; raises WrongPartitions."""
    if configured != context.partitions:
        raise WrongPartitions(f"the topics have {context.partitions} partitions, PAYSTREAM_PARTITIONS is {configured}")


BuildFlow = Callable[[FlowContext], Dataflow]


def inputs(flow: Dataflow, context: FlowContext) -> Stream[Item]:
    """What the flow receives, by paymentIntentId; and what goes round its steps, dead letters and epoch marks."""
    return op.input("inputs", flow, context.source)


def output(outputs: Stream[Item], context: FlowContext) -> None:
    """Write what the flow decided, in the epoch's transaction."""
    op.output("log", outputs, context.sink)
