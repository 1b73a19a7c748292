"""A process of a flow on the simulated log: reads, decides, commits, dies, joins again.

An epoch has two moments, in which other things may happen between: `begin` reads and decides, `commit` makes it stand.
What ends in between has never been. Driven by `world`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from schemas.times import Micros, later
from schemas.topics import Topic
from tests.harness.driver import FakeClock
from tests.simulation.epochs import Build, Epochs
from tests.simulation.log import Change, Place, SimulatedLog
from tests.topology.processing.rig import FakeEngine
from topology.kafka import AfterCommit, FlowSpec, Injected, Produce, Received, Side
from topology.kafka.items import Item

__all__ = ["Flow", "Process", "SkewedClock"]

_INJECTED_MAX = 1_000


class SkewedClock:
    """A machine's clock, which is a little off."""

    def __init__(self, true: FakeClock, seconds: float) -> None:
        self._true = true
        self._seconds = seconds

    def now(self) -> Micros:
        """This moment, as this machine has it."""
        return later(self._true.at, seconds=self._seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What all processes of a flow have in common. `side` makes the side of a new one, and its engine if it has one."""

    spec: FlowSpec
    build: Build
    side: Callable[[SkewedClock], tuple[Side, FakeEngine | None]]

    @property
    def changelog(self) -> Topic:
        """Where its state lies."""
        assert self.spec.changelog is not None
        return self.spec.changelog


@dataclass(slots=True, kw_only=True)
class _OpenEpoch:
    """What has been decided and does not stand yet."""

    messages: list[Produce]
    changes: list[Change]
    positions: dict[Place, int]
    effects: list[object]
    at: Micros


class Process:
    """One process, from its start to its end; it may join its group again with other shards."""

    def __init__(
        self, flow: Flow, log: SimulatedLog, clock: SkewedClock, shards: tuple[int, ...], epochs: type[Epochs]
    ) -> None:
        self.flow = flow
        self.clock = clock
        self.asleep_until = 0
        """The move of the world from which on it reads again."""
        self.side, self.engine = flow.side(clock)
        self._log = log
        self._kind = epochs
        self._join(shards)

    @property
    def is_open(self) -> bool:
        """Whether an epoch was begun that does not stand yet."""
        return self._open is not None

    def _join(self, shards: tuple[int, ...]) -> None:
        self.shards = shards
        self._open: _OpenEpoch | None = None
        self._positions = self._log.positions(self.flow.spec.name, self.flow.spec.inputs, shards)
        self._store = self._log.restore(self.flow.changelog, shards)
        self.side.restored(self._store, shards)
        self._epochs = self._kind(
            self.flow.build,
            store=self._store,
            side=self.side,
            partitions=self._log.partitions,
            clock=self.clock,
        )

    def leave(self) -> None:
        """The dataflow ends: an open epoch has never been, and the calls under way are nobody's any more."""
        self._open = None
        self.side.close()

    def rejoin(self, shards: tuple[int, ...]) -> None:
        """The same process goes on with these shards."""
        self.leave()
        self._join(shards)

    def unread(self) -> list[tuple[Topic, int]]:
        """The partitions of its inputs that hold more than it has read."""
        return [
            (topic, shard)
            for topic in self.flow.spec.inputs
            for shard in self.shards
            if self._positions[topic.name, shard] < len(self._log.entries(topic, shard))
        ]

    def begin(self, places: Callable[[bool], Sequence[tuple[Topic, int]]], count: Callable[[], int]) -> bool:
        """Read what the side brings and some records of these places, and decide; whether there was any.

        `places` is told whether the side brought anything, for then the source does not wait for records.
        """
        assert self._open is None
        injected = [(key, Injected(key, shard, value)) for key, shard, value in self.side.drain(_INJECTED_MAX)]
        positions = dict(self._positions)
        items: list[Item] = []
        for topic, shard in places(bool(injected)):
            start = positions[topic.name, shard]
            for offset, entry in enumerate(self._log.entries(topic, shard)[start : start + count()], start):
                assert entry.value is not None
                assert entry.raw is not None
                received = Received(entry.key, topic.name, shard, offset, entry.value, entry.raw)
                items.append((entry.key, received))
                positions[topic.name, shard] = offset + 1
        items.extend(injected)
        if not items:
            return False
        written = self._epochs.run(items)
        self._open = _OpenEpoch(
            messages=[item for item in written if isinstance(item, Produce)],
            changes=self._store.take_changes(),
            positions=positions,
            effects=[item.effect for item in written if isinstance(item, AfterCommit)],
            at=self.clock.now(),
        )
        return True

    def commit(self) -> list[object]:
        """Make the open epoch stand; what follows from it is also returned."""
        epoch, self._open = self._open, None
        assert epoch is not None
        self._log.commit(
            self.flow.spec.name,
            messages=epoch.messages,
            changelog=self.flow.changelog,
            changes=epoch.changes,
            positions=epoch.positions,
            at=epoch.at,
        )
        self._positions = epoch.positions
        self.side.committed(epoch.effects)
        return epoch.effects
