"""A source on prepared batches of messages, and a side that has something to say, for the tests of the source."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from confluent_kafka import Message

from schemas.codec import encode
from schemas.partitioner import partition as partition_of
from schemas.topics import Topic
from tests.harness.counting import given
from tests.harness.driver import FakeClock
from tests.harness.kafka_fakes import FakeMembership, FakeProducer, as_membership, assignment, commits_on, message
from topology.kafka import FlowSpec, NoSide
from topology.kafka.epoch import Run
from topology.kafka.membership import Positions
from topology.kafka.source import GroupSource

__all__ = ["GOOD", "KEY", "PLACE", "SHARD", "TOPIC", "OneInjected", "Sourced", "record"]

TOPIC = "inputs"
KEY = "pi_00000000000000000000000000000001"
SHARD = partition_of(KEY, 4)
PLACE = (TOPIC, SHARD)
GOOD = encode(given(KEY, "first"))


class OneInjected(NoSide):
    """A side that has something to say once, and is busy until it was taken."""

    def __init__(self) -> None:
        self.waiting: list[tuple[str, int, object]] = [(KEY, SHARD, "due")]
        self.stopped = False

    def drain(self, limit: int) -> list[tuple[str, int, object]]:
        taken, self.waiting = self.waiting[:limit], self.waiting[limit:]
        return taken

    def stop(self) -> None:
        self.stopped = True

    def idle(self) -> bool:
        return not self.waiting


class Sourced:
    """A source on prepared batches of messages."""

    def __init__(
        self,
        *batches: Sequence[Message],
        positions: Positions | None = None,
        follows_ends: bool = False,
        side: NoSide | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        topic = Topic(name=TOPIC, key="intent", records=("TimerFired",), retention_ms=1)
        held = assignment({PLACE: 7} if positions is None else positions)
        self.clock = FakeClock()
        self.membership = FakeMembership(held, batches)
        self.run = Run(held)
        self.producer = FakeProducer()
        self.commits = commits_on(self.producer, self.run, side=side)
        self.source = GroupSource(
            spec=FlowSpec(name="flow", inputs=(topic,), changelog=None, follows_ends=follows_ends),
            membership=as_membership(self.membership),
            run=self.run,
            commits=self.commits,
            side=side or NoSide(),
            clock=self.clock,
            stopping=stopping,
        )

    def next_items(self) -> list[object]:
        """The items of the next batch, without keys."""
        return [item for _key, item in self.source.next_batch()]


def record(offset: int = 7, *, key: bytes | None = KEY.encode(), value: bytes | None = GOOD) -> Message:
    return message(TOPIC, SHARD, offset, key=key, value=value)
