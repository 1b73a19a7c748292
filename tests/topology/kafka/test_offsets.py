"""Where a flow starts: first starts, expired offsets, expired input, ends without records. A real Kafka."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicPartition

from schemas.codec import encode
from schemas.partitioner import partition as partition_of
from schemas.processing import InFlight
from tests.harness.counting import Counting, given
from tests.harness.counting_flow import build_counting, changelog_topic, input_topic
from tests.harness.stack import wait_for
from topology import kafka
from topology.kafka import FlowStatus, KafkaConfig, NoSide, OffsetsExpired, source

KEY = "pi_00000000000000000000000000000001"
SHARD = partition_of(KEY, 4)


@pytest.fixture
def flow(kafka_bootstrap: str, tmp_path: Path) -> Iterator[Counting]:
    with Counting(kafka_bootstrap, tmp_path) as made:
        yield made


@contextlib.contextmanager
def running(flow: Counting, *, follows_ends: bool = False, skips: bool = False) -> Iterator[FlowStatus]:
    """The flow in a thread of this process, from the time it holds its shards until a clean stop.

    `skips`: it can do without what is gone of its input.
    """
    status, ended, failures = FlowStatus(), threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            kafka.run_flow(
                replace(flow.spec, follows_ends=follows_ends, skippable=flow.spec.inputs if skips else ()),
                lambda context: build_counting(context, flow.prefix),
                config=KafkaConfig(bootstrap=flow.bootstrap),
                instance="0",
                side=NoSide(),
                stopping=ended.is_set,
                status=status,
            )
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        wait_for(lambda: status.shards is not None or bool(failures), what="the shards", within_seconds=30.0)
        yield status
    finally:
        ended.set()
        thread.join()
    if failures:
        raise failures[0]


@contextlib.contextmanager
def transaction(flow: Counting, *names: str) -> Iterator[Producer]:
    """Inputs in a transaction that is open; committed at the end if it is still open then."""
    producer = Producer({"bootstrap.servers": flow.bootstrap, "transactional.id": f"{flow.prefix}-writer"})
    try:
        producer.init_transactions(20.0)
        producer.begin_transaction()
        for name in names:
            value = encode(given(KEY, name))
            producer.produce(input_topic(flow.prefix).name, key=KEY, value=value, partition=SHARD)
        assert producer.flush(20.0) == 0
        yield producer
    finally:
        producer.close()


def test_a_first_start_reads_from_the_beginning(flow: Counting) -> None:
    flow.send(50)
    with running(flow) as status:
        held = status.shards
        flow.check()
    assert (held, status.shards) == ((0, 1, 2, 3), None)
    flow.check_at_rest()


def test_state_without_offsets_refuses_to_start_and_says_why(flow: Counting) -> None:
    state = encode(InFlight(payment_intent_id=given(KEY, "").payment_intent_id, sequence=3, calls=()))
    producer = Producer({"bootstrap.servers": flow.bootstrap})
    producer.produce(changelog_topic(flow.prefix).name, key=KEY, value=state, partition=SHARD)
    producer.flush(20.0)
    producer.close()
    member = flow.start()
    assert member.wait(30.0) == 1
    assert f"OffsetsExpired: {flow.spec.name}: shard {SHARD} has state but no committed offsets" in member.output
    assert flow.committed() == {}


def delete_inputs(flow: Counting, *, before: int) -> None:
    """As retention does."""
    place = TopicPartition(input_topic(flow.prefix).name, SHARD, before)
    admin = flow.admin()
    for future in admin.delete_records([place], operation_timeout=20.0).values():
        future.result(timeout=30.0)


def test_input_that_was_never_read_and_is_gone_refuses_to_start(flow: Counting) -> None:
    with transaction(flow, "gone", "there") as writer:
        writer.commit_transaction(20.0)
    delete_inputs(flow, before=1)
    with pytest.raises(OffsetsExpired, match=f"/{SHARD} begins at 1 and was never read"), running(flow):
        pass


def test_input_that_is_gone_behind_the_committed_offset_refuses_to_go_on(flow: Counting) -> None:
    flow.send(50)
    with running(flow):
        flow.check()
    flow.check_at_rest()
    with transaction(flow, "gone", "there") as writer:
        writer.commit_transaction(20.0)
    delete_inputs(flow, before=flow.committed()[SHARD] + 1)
    with pytest.raises(OffsetsExpired, match=f"/{SHARD}: .*not available"), running(flow) as status:
        wait_for(lambda: status.shards is None, what="the end of the run", within_seconds=20.0)


def test_input_that_is_gone_is_passed_over_by_a_flow_that_can_do_without(flow: Counting) -> None:
    """On a first start, and again behind the committed offset (2; a marker follows)."""
    for count, name, gone_before in ((1, "first", 1), (2, "second", 4)):
        with transaction(flow, "gone", name) as writer:
            writer.commit_transaction(20.0)
        delete_inputs(flow, before=gone_before)
        with running(flow, skips=True):
            wait_for(lambda: bool(flow.read(0.1)), what=name, within_seconds=30.0)
        assert flow.counted_count == count
    assert flow.counted == {KEY: [(1, "first"), (2, "second")]}


def test_what_was_read_may_be_gone_although_a_marker_was_the_last_in_the_log(
    flow: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "_QUIET_SECONDS", 0.5)
    with running(flow):
        with transaction(flow, "read") as writer:
            writer.commit_transaction(20.0)
        flow.wait_until(lambda: flow.counted_count == 1, what="the first input")
        wait_for(lambda: flow.committed()[SHARD] == 2, what="the end past the marker", within_seconds=20.0)
    delete_inputs(flow, before=-1)
    with running(flow):
        with transaction(flow, "later") as writer:
            writer.commit_transaction(20.0)
        flow.wait_until(lambda: flow.counted_count == 2, what="the second input", within_seconds=30.0)
    assert flow.counted == {KEY: [(1, "read"), (2, "later")]}


def test_ends_move_without_records_and_never_past_what_is_undecided(flow: Counting) -> None:
    with running(flow, follows_ends=True):
        with transaction(flow, "undecided", "undecided") as writer:
            wait_for(lambda: flow.committed().get(0) == 0, what="a commit of the ends", within_seconds=20.0)
            assert flow.committed()[SHARD] == 0
            writer.abort_transaction(20.0)
        wait_for(lambda: flow.committed()[SHARD] == 3, what="the end past what was aborted", within_seconds=20.0)
        with transaction(flow, "decided") as writer:
            assert flow.read(0.5) == 0
            writer.commit_transaction(20.0)
        flow.wait_until(lambda: flow.counted_count > 0, what="the one input")
        wait_for(lambda: flow.committed()[SHARD] == 5, what="the end past the marker", within_seconds=20.0)
    assert flow.counted == {KEY: [(1, "decided")]}
