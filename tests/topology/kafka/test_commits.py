"""Commits: one transaction per epoch with everything in it, or nothing stands and the run has failed."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import pytest
from confluent_kafka import KafkaError, KafkaException

from schemas.topics import Topic
from tests.harness.kafka_fakes import FakeProducer, assignment, commits_on
from topology.kafka import AfterCommit, NoSide, Produce, StateStore
from topology.kafka.epoch import Run
from topology.kafka.items import EpochMark
from topology.kafka.sink import TransactionSink

CHANGELOG = Topic(name="changelog", key="intent", records=(), retention_ms=None)
POSITIONS = {("a", 0): 5, ("a", 10): 0, ("b", 0): 7, ("b", 10): 3}
STEPS = ("begin_transaction", "produce", "send_offsets_to_transaction", "commit_transaction")
ERRORS = (KafkaException(KafkaError(KafkaError._STATE)), BufferError("full"))


class Effects(NoSide):
    """Keeps the effects that it was handed, and what had been committed by then."""

    def __init__(self, producer: FakeProducer) -> None:
        self.handed: list[list[object]] = []
        self.committed_before: list[int] = []
        self._producer = producer

    def committed(self, effects: list[object]) -> None:
        self.handed.append(effects)
        self.committed_before.append(self._producer.committed)


class Sunk:
    """A sink on a fake producer, with its part, its run and its side."""

    def __init__(self, *, changelog: Topic | None = CHANGELOG, failing: Mapping[str, Exception] | None = None) -> None:
        self.producer = FakeProducer(failing)
        self.held = assignment(dict(POSITIONS), partitions=12)
        self.run = Run(self.held)
        self.store = StateStore()
        self.side = Effects(self.producer)
        self.commits = commits_on(self.producer, self.run, side=self.side, changelog=changelog, store=self.store)
        self.sink = TransactionSink(self.commits)
        self.part = self.sink.build_part("step", "log", None)

    def epoch(self) -> None:
        """One epoch with a message, a changed key, a removed key and an effect, and all that follows its commit."""
        self.begin()
        self.commits.settle()

    def begin(self) -> None:
        """The same, while the commit is under way."""
        self.store.put("k", partition=10, value=b"state")
        self.store.put("gone", partition=0, value=None)
        self.run.positions["a", 10] += 1
        self.part.write_batch([Produce("out", 10, "k", b"event"), AfterCommit("call"), EpochMark()])
        self.part.snapshot()


def test_one_transaction_holds_messages_state_and_offsets_and_effects_come_after_it() -> None:
    sunk = Sunk()
    sunk.epoch()
    assert sunk.producer.calls == [
        "begin_transaction",
        "produce",
        "produce",
        "produce",
        "send_offsets_to_transaction",
        "commit_transaction",
    ]
    assert sunk.producer.produced == [
        ("out", 10, "k", b"event"),
        ("changelog", 10, "k", b"state"),
        ("changelog", 0, "gone", None),
    ]
    assert sunk.side.handed == [["call"]]
    assert sunk.side.committed_before == [1]
    assert sunk.run.committed == sunk.run.positions


def test_every_commit_has_the_position_of_every_input_unchanged_ones_too() -> None:
    sunk = Sunk()
    sunk.epoch()
    sunk.epoch()
    assert sunk.producer.offsets == [{**POSITIONS, ("a", 10): 1}, {**POSITIONS, ("a", 10): 2}]


def test_the_metadata_of_every_commit_is_the_one_kept_at_assignment() -> None:
    sunk = Sunk()
    sunk.epoch()
    sunk.epoch()
    assert sunk.producer.metadata == [sunk.held.metadata, sunk.held.metadata]


def test_an_epoch_whose_inputs_yield_nothing_still_commits_its_offsets() -> None:
    sunk = Sunk()
    sunk.run.positions["b", 0] = 8
    sunk.part.write_batch([EpochMark()])
    sunk.part.snapshot()
    sunk.commits.settle()
    assert sunk.producer.offsets == [{**POSITIONS, ("b", 0): 8}]
    assert sunk.producer.committed == 1
    assert sunk.side.handed == [[]]


def test_an_epoch_has_only_its_own_messages_and_effects() -> None:
    sunk = Sunk()
    sunk.epoch()
    sunk.producer.produced.clear()
    sunk.part.write_batch([EpochMark()])
    sunk.part.snapshot()
    sunk.commits.settle()
    assert sunk.producer.produced == []
    assert sunk.side.handed == [["call"], []]


def test_a_flow_without_state_writes_no_changelog() -> None:
    sunk = Sunk(changelog=None)
    sunk.part.write_batch([Produce("out", 0, "k", b"event")])
    sunk.part.snapshot()
    sunk.commits.settle()
    assert sunk.producer.produced == [("out", 0, "k", b"event")]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("error", ERRORS, ids=["kafka", "buffer"])
def test_a_failure_at_any_step_commits_nothing_fails_the_run_and_hands_over_no_effect(
    step: str, error: Exception
) -> None:
    sunk = Sunk(failing={step: error})
    sunk.epoch()
    assert sunk.producer.committed == 0
    assert sunk.run.failure is error
    assert not sunk.run.may_commit
    assert sunk.side.handed == []
    assert sunk.run.committed == POSITIONS
    calls = list(sunk.producer.calls)
    sunk.epoch()
    assert sunk.producer.calls == calls, "a failed run calls its producer no more"
    assert sunk.run.failure is error


def test_a_full_queue_is_drained_and_the_message_is_produced_after_all() -> None:
    sunk = Sunk()
    sunk.producer.failing["produce"] = BufferError("full")
    polled: list[float] = []

    def drain(timeout_seconds: float) -> int:
        polled.append(timeout_seconds)
        sunk.producer.failing.clear()
        return 1

    sunk.producer.drain = drain
    sunk.epoch()
    assert polled
    assert sunk.producer.committed == 1
    assert len(sunk.producer.produced) == 3


@pytest.mark.parametrize("left", [True, False], ids=["left the group", "failed"])
def test_a_run_that_is_over_commits_nothing(left: bool) -> None:
    sunk = Sunk()
    if left:
        sunk.run.left_group = True
    else:
        sunk.run.fail(RuntimeError("before"))
    sunk.epoch()
    assert sunk.producer.calls == []
    assert sunk.side.handed == []


def test_what_follows_a_commit_waits_for_the_broker_and_nothing_else_does() -> None:
    sunk = Sunk()
    sunk.producer.may_commit.clear()
    sunk.begin()
    assert not sunk.commits.settle(within_seconds=0)
    assert sunk.side.handed == []
    assert sunk.run.committed == POSITIONS
    sunk.producer.may_commit.set()
    assert sunk.commits.settle()
    assert sunk.side.handed == [["call"]]
    assert sunk.run.committed == {**POSITIONS, ("a", 10): 1}


def test_what_the_source_hands_out_during_a_commit_is_not_in_it() -> None:
    sunk = Sunk()
    sunk.producer.may_commit.clear()
    sunk.begin()
    sunk.run.positions["a", 10] = 9
    sunk.producer.may_commit.set()
    sunk.commits.settle()
    assert sunk.producer.offsets == [{**POSITIONS, ("a", 10): 1}]
    assert sunk.run.committed == {**POSITIONS, ("a", 10): 1}


def test_a_commit_begins_once_the_one_before_is_decided() -> None:
    sunk = Sunk()
    sunk.producer.may_commit.clear()
    sunk.begin()
    threading.Timer(0.2, sunk.producer.may_commit.set).start()
    sunk.begin()
    first = ["begin_transaction", *["produce"] * 3, "send_offsets_to_transaction", "commit_transaction"]
    assert sunk.producer.calls[:7] == [*first, "begin_transaction"]
    assert sunk.side.handed == [["call"]]
    sunk.commits.settle()
    assert sunk.side.handed == [["call"], ["call"]]


def test_nothing_begins_after_a_commit_that_failed() -> None:
    error = KafkaException(KafkaError(KafkaError._STATE))
    sunk = Sunk(failing={"commit_transaction": error})
    sunk.begin()
    sunk.begin()
    assert sunk.producer.calls.count("begin_transaction") == 1
    assert sunk.run.failure is error
    assert sunk.side.handed == []


def test_closing_awaits_the_commit_under_way_and_what_follows_it() -> None:
    sunk = Sunk()
    sunk.producer.may_commit.clear()
    sunk.begin()
    threading.Timer(0.2, sunk.producer.may_commit.set).start()
    sunk.commits.close()
    assert sunk.side.handed == [["call"]]


def test_closing_the_sink_commits_nothing() -> None:
    sunk = Sunk()
    sunk.store.put("k", partition=10, value=b"state")
    sunk.part.write_batch([Produce("out", 10, "k", b"event"), AfterCommit("call")])
    sunk.part.close()
    assert sunk.producer.calls == []
    assert sunk.side.handed == []


def test_an_empty_list_of_offsets_is_never_sent_because_the_broker_would_not_fence_it() -> None:
    sunk = Sunk()
    sunk.run.positions.clear()
    sunk.part.write_batch([EpochMark()])
    with pytest.raises(AssertionError):
        sunk.part.snapshot()
    assert sunk.producer.committed == 0


def test_there_is_one_part_for_every_key() -> None:
    sink = Sunk().sink
    (only,) = sink.list_parts()
    assert {sorted(sink.list_parts())[sink.part_fn(key)] for key in ("a", "b", "")} == {only}
