"""The runner between two runs: what it gets over, what ends the process, and how long it waits."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
from bytewax.dataflow import Dataflow
from confluent_kafka import KafkaError, KafkaException
from prometheus_client import REGISTRY

from schemas.topics import COMMANDS
from tests.harness.kafka_fakes import FakeProducer
from topology.kafka import FlowContext, FlowSpec, FlowStatus, KafkaConfig, NoSide, OffsetsExpired
from topology.kafka.epoch import RunEnded
from topology.kafka.runner import FlowRunner, _Fencing

fence_module = importlib.import_module("topology.kafka.fence")

SPEC = FlowSpec(name="flow", inputs=(), changelog=None)


class Running:
    """A runner whose runs raise, one after another, what a test prepares; it is stopped when they are used up."""

    def __init__(self, *raised: Exception) -> None:
        self.raised = list(raised)
        self.slept: list[float] = []
        self.left = 0
        self.runner = FlowRunner(
            SPEC,
            self._never_built,
            config=KafkaConfig(bootstrap="nowhere:1"),
            instance="0",
            side=NoSide(),
            stopping=lambda: not self.raised,
            status=FlowStatus(),
        )

    def _never_built(self, _context: FlowContext) -> Dataflow:
        raise AssertionError

    def run(self) -> None:
        def fail() -> None:
            raise self.raised.pop(0)

        def leave() -> None:
            self.left += 1

        with (
            mock.patch.object(self.runner, "_run_once", fail),
            mock.patch.object(self.runner, "_sleep", self.slept.append),
            mock.patch.object(self.runner, "_leave", leave),
        ):
            self.runner.run()


def kafka_error(code: int, **flags: bool) -> KafkaException:
    return KafkaException(KafkaError(code, "as it happens", **flags))


def fenced_times() -> float:
    return REGISTRY.get_sample_value("paystream_fenced_total", {"flow": "flow"}) or 0.0


def test_a_run_that_failed_is_followed_by_another_as_a_new_member() -> None:
    running = Running(kafka_error(KafkaError._TIMED_OUT), RunEnded("moved"))
    running.run()
    assert running.slept == [0.5, 0.5]
    assert running.left == 3


def test_a_member_that_is_not_given_its_topics_comes_back_when_the_group_has_forgotten_it() -> None:
    running = Running(*[kafka_error(KafkaError.UNKNOWN_TOPIC_OR_PART) for _ in range(8)])
    running.run()
    assert running.slept == [0.5] * 5 + [6.5] + [0.5] * 2


@pytest.mark.parametrize(
    "code",
    [
        KafkaError._FENCED,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError._FATAL,
    ],
)
def test_whoever_is_fenced_by_its_own_name_waits_longer_every_time(code: int) -> None:
    running = Running(*[kafka_error(code, fatal=True) for _ in range(6)])
    before = fenced_times()
    running.run()
    assert running.slept == [2.0, 5.0, 15.0, 30.0, 60.0, 60.0]
    assert fenced_times() == before + 6, "an alert is on this"


def test_a_fencing_long_ago_does_not_make_the_next_wait_longer() -> None:
    fencing = _Fencing()
    assert [fencing.wait_seconds(now=now) for now in (0.0, 10.0, 100.0)] == [2.0, 5.0, 15.0]
    assert fencing.wait_seconds(now=10_000.0) == 2.0


def test_another_fatal_error_ends_the_process() -> None:
    running = Running(kafka_error(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, fatal=True))
    with pytest.raises(KafkaException):
        running.run()
    assert running.left == 2


@pytest.mark.parametrize("error", [OffsetsExpired("gone"), ZeroDivisionError()])
def test_what_a_restart_cannot_mend_ends_the_process(error: Exception) -> None:
    running = Running(error)
    with pytest.raises(type(error)):
        running.run()
    assert running.slept == []
    assert running.left == 1


class SlowFence(FakeProducer):
    """A coordinator that answers the third call."""

    def __init__(self, answers: Iterator[Exception | None]) -> None:
        super().__init__()
        self.answers = answers

    def init_transactions(self, timeout: float) -> None:
        assert timeout <= 5.0, "a stop must not have to wait for this"
        self.calls.append("init_transactions")
        answer = next(self.answers)
        if answer is not None:
            raise answer


def fenced(producer: SlowFence, stopping: Callable[[], bool]) -> Any:
    spec = FlowSpec(name="flow", inputs=(COMMANDS,), changelog=None)
    with mock.patch.object(fence_module, "transactional_producer", return_value=producer):
        return fence_module.fence(spec, KafkaConfig(bootstrap="127.0.0.1:1"), instance="0", stopping=stopping)


def test_a_fence_that_takes_long_is_taken_up_again() -> None:
    slow = kafka_error(KafkaError._TIMED_OUT, retriable=True)
    producer = SlowFence(iter([slow, slow, None]))
    assert fenced(producer, lambda: False) is producer
    assert producer.calls == ["init_transactions"] * 3


def test_a_fence_gives_up_when_the_process_is_asked_to_stop() -> None:
    producer = SlowFence(iter([kafka_error(KafkaError._TIMED_OUT, retriable=True)]))
    with pytest.raises(KafkaException):
        fenced(producer, lambda: True)


def test_a_fence_that_is_refused_is_not_asked_for_again() -> None:
    producer = SlowFence(iter([kafka_error(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, fatal=True)]))
    with pytest.raises(KafkaException):
        fenced(producer, lambda: False)
    assert producer.calls == ["init_transactions"]
