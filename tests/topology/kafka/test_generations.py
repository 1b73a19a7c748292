"""One generation after the other in one process: fenced, joined, restored, folded; and what a process has one of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from bytewax.dataflow import Dataflow
from confluent_kafka import KafkaError, KafkaException

from schemas.topics import Topic
from tests.harness.kafka_fakes import FakeConsumer, FakeMembership, FakeProducer, as_membership, assignment
from tests.topology.kafka.sourced import Sourced, record
from topology.kafka import FlowContext, FlowSpec, FlowStatus, KafkaConfig, NoSide, StartOffsets, StateStore
from topology.kafka import membership as membership_module
from topology.kafka import runner as runner_module
from topology.kafka.membership import Membership
from topology.kafka.runner import FlowRunner

A = Topic(name="a", key="intent", records=(), retention_ms=1)
B = Topic(name="b", key="intent", records=(), retention_ms=1)
SPEC = FlowSpec(name="flow", inputs=(A, B), changelog=None)


class Purged(FakeProducer):
    """Notes when it is thrown away."""

    def __init__(self, steps: list[str]) -> None:
        super().__init__()
        self._steps = steps

    def purge(self) -> None:
        self._steps.append("purge")


class Left(FakeMembership):
    """Notes when it ends."""

    def __init__(self, steps: list[str]) -> None:
        super().__init__(assignment({("a", 0): 0, ("b", 0): 0}))
        self._steps = steps

    def close(self) -> None:
        self._steps.append("leave")


class Lives:
    """A runner whose steps only note that they came; a fold ends as a test says."""

    def __init__(self, *folds: Exception | None) -> None:
        self.folds = list(folds)
        self.steps: list[str] = []
        self.producers: list[FakeProducer] = []
        self.folded_with: list[object] = []
        self.runner = FlowRunner(
            SPEC,
            _never_built,
            config=KafkaConfig(bootstrap="nowhere:1"),
            instance="0",
            side=NoSide(),
            stopping=lambda: not self.folds,
            status=FlowStatus(),
        )

    def run(self) -> None:
        """Until the folds are used up."""
        steps: dict[str, Any] = {"fence": self._fence, "Membership": self._join, "restore": self._restore}
        with (
            mock.patch.multiple(runner_module, **steps),
            mock.patch.object(self.runner, "_fold", self._fold),
            mock.patch.object(self.runner, "_sleep"),
        ):
            self.runner.run()

    def _fence(self, *_arguments: Any, **_more: Any) -> FakeProducer:
        self.steps.append("fence")
        producer = Purged(self.steps)
        self.producers.append(producer)
        return producer

    def _join(self, *_arguments: Any, **_more: Any) -> Membership:
        self.steps.append("join")
        return as_membership(Left(self.steps))

    def _restore(self, *_arguments: Any, **_more: Any) -> StateStore:
        self.steps.append("restore")
        return StateStore()

    def _fold(self, _membership: Membership, _assignment: object, producer: object, _store: StateStore) -> None:
        self.steps.append("fold")
        self.folded_with.append(producer)
        error = self.folds.pop(0)
        if error is not None:
            raise error


def _never_built(_context: FlowContext) -> Dataflow:
    raise AssertionError


def test_each_generation_is_fenced_before_it_joins_with_a_producer_of_its_own() -> None:
    lives = Lives(None, None)
    lives.run()
    assert lives.steps == [
        *("fence", "join", "restore", "fold", "purge"),
        # It is still a member: the group has given it other shards, and only the fence comes again.
        *("fence", "restore", "fold", "purge"),
        "leave",
    ]
    assert lives.folded_with == lives.producers


def test_after_a_failed_commit_the_producer_is_thrown_away_and_the_group_joined_anew() -> None:
    lives = Lives(KafkaException(KafkaError(KafkaError._TIMED_OUT)), None)
    lives.run()
    assert lives.steps == [
        *("fence", "join", "restore", "fold", "purge", "leave"),
        *("fence", "join", "restore", "fold", "purge", "leave"),
    ]
    assert len({id(producer) for producer in lives.folded_with}) == 2


@pytest.fixture
def consumers() -> Iterator[list[FakeConsumer]]:
    """Every consumer that a membership makes for its group."""
    made: list[FakeConsumer] = []

    def make(*_arguments: Any, **_more: Any) -> FakeConsumer:
        made.append(FakeConsumer())
        return made[-1]

    with (
        mock.patch.object(membership_module, "member_consumer", make),
        mock.patch.object(membership_module, "high_watermark_consumer", return_value=FakeConsumer()),
    ):
        yield made


def test_a_process_has_one_consumer_for_all_inputs_of_all_its_shards(consumers: list[FakeConsumer]) -> None:
    with mock.patch.object(FakeConsumer, "subscribe") as subscribe:
        Membership(SPEC, KafkaConfig(bootstrap="nowhere:1"), instance="0", start=StartOffsets())
    (call,) = subscribe.call_args_list
    assert call.args[0] == ["a", "b"]
    assert len(consumers) == 1


def test_a_batch_is_no_more_than_what_does_not_stretch_an_epoch() -> None:
    sourced = Sourced([record(7)])
    with mock.patch.object(sourced.membership, "poll", return_value=[]) as poll:
        sourced.source.next_batch()
    (call,) = poll.call_args_list
    limit, wait_seconds = call.args
    assert limit == 1_000
    assert 0 < wait_seconds < 0.05


def test_the_group_is_polled_also_while_a_clean_stop_waits() -> None:
    class Busy(NoSide):
        def idle(self) -> bool:
            return False

    polls: list[bool] = []
    sourced = Sourced(side=Busy(), stopping=lambda: True)
    sourced.membership.before_poll = lambda: polls.append(sourced.membership.paused)
    for _ in range(3):
        assert sourced.source.next_batch() == []
    assert polls == [True, True, True]


def test_a_process_has_a_single_worker() -> None:
    source = Sourced().source
    source.build("inputs", 0, 1)
    with pytest.raises(AssertionError):
        source.build("inputs", 0, 2)
