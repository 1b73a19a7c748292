"""One batch is one epoch, on Bytewax itself: all of a batch is handed over before the source is polled again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from bytewax.run import cli_main
from bytewax.testing import TestingSource, run_main
from confluent_kafka import KafkaError, KafkaException

from schemas.codec import encode
from schemas.partitioner import partition as partition_of
from schemas.processing import InFlight, TimerFired
from schemas.topics import Topic
from tests.harness.counting import given
from tests.harness.driver import FakeClock
from tests.harness.kafka_fakes import FakeMembership, FakeProducer, as_membership, assignment, commits_on, message
from topology import kafka
from topology.kafka import AfterCommit, FlowContext, FlowSpec, Input, NoSide, Output, Produce, Received, StateStore
from topology.kafka.commits import Commits
from topology.kafka.epoch import Run
from topology.kafka.items import Item
from topology.kafka.runner import _EPOCH_PER_BATCH
from topology.kafka.sink import TransactionSink
from topology.kafka.source import GroupSource

TOPIC = Topic(name="inputs", key="intent", records=("TimerFired",), retention_ms=1)
SPEC = FlowSpec(name="flow", inputs=(TOPIC,), changelog=None)
KEYS = [f"pi_{number:032x}" for number in range(30)]
BATCHES = 5


def relay(
    key: str, partition: int, before: InFlight | None, inputs: list[Input]
) -> tuple[InFlight | None, list[Output]]:
    """Passes on what it is given; an input named "silent" yields nothing, "broken" is a bug."""
    outputs: list[Output] = []
    for value in inputs:
        assert isinstance(value, Received)
        assert isinstance(value.value, TimerFired)
        if value.value.name == "broken":
            raise ZeroDivisionError
        if value.value.name != "silent":
            outputs.append(Produce("outputs", partition, key, str(value.offset).encode()))
    return before, outputs


def again(item: Item) -> Item:
    """Adds an effect for each message."""
    key, outputs = item
    return (key, [*outputs, *map(AfterCommit, outputs)]) if isinstance(outputs, list) else item


def _settle(commits: Commits) -> None:
    assert commits.settle()


class Flowing(NoSide):
    """A flow of two keyed steps between a fake group and a fake producer."""

    def __init__(self, names: Callable[[int], str] = lambda _number: "loud", *, keys: Sequence[str] = KEYS) -> None:
        count, self.batches = 0, []
        offsets = dict.fromkeys(range(4), 0)
        for _ in range(BATCHES):
            batch = []
            for key in keys:
                shard = partition_of(key, 4)
                value = encode(given(key, names(count)))
                batch.append(message(TOPIC.name, shard, offsets[shard], key=key.encode(), value=value))
                offsets[shard] += 1
                count += 1
            self.batches.append(batch)
        self.ends = {(TOPIC.name, shard): offset for shard, offset in offsets.items()}
        held = assignment({(TOPIC.name, shard): 0 for shard in range(4)})
        self.membership = FakeMembership(held, self.batches)
        self.producer = FakeProducer()
        self.run = Run(held)
        self.effects = 0
        self.followed = 0
        self.handed_over: list[int] = []
        self.membership.before_poll = self._look

    def _look(self) -> None:
        self.handed_over.append(len(self.producer.produced))

    def committed(self, effects: list[object]) -> None:
        self.followed += 1
        assert self.followed <= self.producer.committed, "effects come after their commit"
        self.effects += len(effects)

    def execute(self, run: Callable[..., None] = cli_main, *, one_by_one: bool = False) -> None:
        """Run the flow, and await its last commit as a runner does; one by one, each before the next poll."""
        commits = commits_on(self.producer, self.run, side=self)
        if one_by_one:
            self.membership.before_poll = lambda: _settle(commits)
        try:
            run(self._build(commits), epoch_interval=_EPOCH_PER_BATCH)
        finally:
            commits.close()

    def _build(self, commits: Commits) -> Dataflow:
        store = StateStore()
        context = FlowContext(
            source=GroupSource(
                spec=SPEC,
                membership=as_membership(self.membership),
                run=self.run,
                commits=commits,
                side=self,
                clock=FakeClock(),
                stopping=lambda: not self.membership.batches,
            ),
            sink=TransactionSink(commits),
            store=store,
            side=self,
            partitions=4,
            clock=FakeClock(),
        )
        flow = Dataflow("flow")
        inputs = kafka.inputs(flow, context)
        relayed = kafka.stateful("relay", inputs, context, state=InFlight, decide=relay)
        kafka.output(op.map("again", relayed, again), context)
        return flow


@pytest.mark.parametrize("execute", [run_main, cli_main], ids=["run_main", "cli_main"])
def test_a_batch_is_handed_over_before_the_source_is_polled_again_and_committed_with_its_effects(
    execute: Callable[..., None],
) -> None:
    flowing = Flowing()
    flowing.execute(execute)
    size = len(KEYS)
    assert len(flowing.handed_over) >= BATCHES
    for polled, produced in enumerate(flowing.handed_over):
        # A second poll adds to a batch while the commit before it is under way.
        assert produced in (polled * size, (polled - 1) * size)
    assert flowing.effects == BATCHES * size
    assert flowing.producer.offsets[-1] == flowing.ends


def test_offsets_are_the_highest_of_each_partition_although_keys_leave_in_another_order() -> None:
    keys = [*KEYS, *KEYS[:-1]]
    flowing = Flowing(keys=keys)
    flowing.execute(one_by_one=True)
    left = [(partition, int(value or b"")) for _topic, partition, _key, value in flowing.producer.produced]
    first = [offset for partition, offset in left[: len(keys)] if partition == partition_of(KEYS[-1], 4)]
    assert first[-1] != max(first), "the last to leave was not the last to come"
    for number, offsets in enumerate(flowing.producer.offsets):
        done = left[: (number + 1) * len(keys)]
        assert offsets == {
            (TOPIC.name, shard): 1 + max(offset for partition, offset in done if partition == shard)
            for shard in range(4)
        }


def test_inputs_that_yield_nothing_still_advance_the_offsets() -> None:
    flowing = Flowing(lambda _number: "silent")
    flowing.execute(one_by_one=True)
    assert flowing.producer.produced == []
    assert flowing.producer.offsets[-1] == flowing.ends
    assert flowing.producer.committed == BATCHES


def test_an_exception_in_a_step_commits_nothing_of_its_epoch() -> None:
    broken = 2 * len(KEYS) + 7
    flowing = Flowing(lambda number: "broken" if number == broken else "loud")
    with pytest.raises(RuntimeError):
        flowing.execute(one_by_one=True)
    assert flowing.producer.committed == 2
    assert flowing.effects == 2 * len(KEYS)


def test_a_failed_commit_ends_the_dataflow_quietly(capfd: pytest.CaptureFixture[str]) -> None:
    flowing = Flowing()
    flowing.producer.failing["commit_transaction"] = KafkaException(KafkaError(KafkaError._TIMED_OUT))
    flowing.execute(one_by_one=True)
    assert flowing.run.failure is flowing.producer.failing["commit_transaction"]
    assert flowing.producer.calls.count("begin_transaction") == 1
    assert "panicked" not in capfd.readouterr().err


def test_no_setting_back_of_the_clock_keeps_an_epoch_open() -> None:
    assert timedelta(days=-3650) > _EPOCH_PER_BATCH


class Partitions(FixedPartitionedSink[str, None]):
    """Two parts, and a `part_fn` that always answers 0."""

    def __init__(self) -> None:
        self.written: dict[str, list[str]] = {"2": [], "10": []}

    def list_parts(self) -> list[str]:
        return list(self.written)

    def part_fn(self, _item_key: str) -> int:
        return 0

    def build_part(self, _step_id: str, for_part: str, _resume_state: None) -> Any:
        written = self.written[for_part]

        class Part(StatefulSinkPartition[str, None]):
            def write_batch(self, values: list[str]) -> None:
                written.extend(values)

            def snapshot(self) -> None:
                return None

        return Part()


def test_bytewax_counts_the_parts_of_a_sink_in_the_order_of_their_names() -> None:
    sink = Partitions()
    flow = Dataflow("flow")
    op.output("out", op.input("in", flow, TestingSource([("key", "value")])), sink)
    run_main(flow)
    assert sink.written == {"2": [], "10": ["value"]}
