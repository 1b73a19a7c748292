"""The source: what it hands out, what becomes a dead letter, which positions it notes, and when it ends."""

from __future__ import annotations

import threading
import time
from unittest import mock

import pytest
from confluent_kafka import KafkaError, KafkaException, Message

from schemas.codec import decode
from schemas.operations import DeadLetter
from schemas.partitioner import partition as partition_of
from schemas.processing import TimerFired
from schemas.topics import DEAD_LETTERS
from tests.harness.counting import given
from tests.harness.kafka_fakes import (
    group_error,
    partition_end,
    partition_error,
)
from tests.topology.kafka.sourced import GOOD, KEY, PLACE, SHARD, TOPIC, Sourced, record
from topology.kafka import OffsetsExpired, Produce, Received
from topology.kafka import source as source_module
from topology.kafka.items import EpochMark


def test_a_record_is_decoded_once_and_handed_out_with_its_place_and_bytes() -> None:
    sourced = Sourced([record(7)])
    (pair, mark) = sourced.source.next_batch()
    assert pair == (KEY, Received(KEY, TOPIC, SHARD, 7, given(KEY, "first"), GOOD))
    assert mark == ("", EpochMark())
    assert sourced.source.positions() == {PLACE: 8}
    assert sourced.source.record_times() == {PLACE: 1_000_000}


POISON: list[tuple[str, bytes | None, bytes | None, str]] = [
    ("garbage", KEY.encode(), b"\xde\xad\xbe\xef", "not_framed"),
    ("nothing", KEY.encode(), b"", "not_framed"),
    ("unknown schema id", KEY.encode(), b"\x00\x7f\xff\xff\xffabc", "unknown_schema_id"),
    ("cut short", KEY.encode(), GOOD[:9], "corrupt"),
    ("bytes after the end", KEY.encode(), GOOD + b"x", "corrupt"),
    ("no key", None, GOOD, "no_key"),
    ("key that is no UTF-8", b"\xff\xfe", GOOD, "no_key"),
    ("null value", KEY.encode(), None, "no_value"),
    ("key of another partition", b"pi_another", GOOD, "wrong_partition"),
]


@pytest.mark.parametrize(("what", "key", "value", "cause"), POISON, ids=[row[0] for row in POISON])
def test_poison_becomes_a_dead_letter_as_it_came_and_the_shard_goes_on(
    what: str, key: bytes | None, value: bytes | None, cause: str
) -> None:
    assert key != b"pi_another" or partition_of("pi_another", 4) != SHARD
    sourced = Sourced([record(7, key=key, value=value), record(8)])
    poison, good, _mark = sourced.next_items()
    assert isinstance(poison, Produce), what
    assert (poison.topic, poison.partition, poison.key) == (DEAD_LETTERS.name, SHARD, key)
    assert poison.value is not None
    letter = decode(poison.value)
    assert isinstance(letter, DeadLetter)
    assert (letter.topic, letter.partition, letter.offset) == (TOPIC, SHARD, 7)
    assert (letter.key, letter.value, letter.cause, letter.flow) == (key, value, cause, "flow")
    assert letter.at == sourced.clock.at
    assert isinstance(good, Received)
    assert sourced.source.positions() == {PLACE: 9}


def test_without_news_a_batch_is_empty_so_that_no_epoch_is_committed() -> None:
    assert Sourced([]).source.next_batch() == []


def test_the_news_of_an_end_moves_the_position_past_markers_and_never_back() -> None:
    sourced = Sourced([record(7), partition_end(TOPIC, SHARD, 9)], [partition_end(TOPIC, SHARD, 8)])
    sourced.source.next_batch()
    assert sourced.source.positions() == {PLACE: 9}
    sourced.source.next_batch()
    assert sourced.source.positions() == {PLACE: 9}


def test_an_end_without_records_is_an_epoch_for_a_flow_that_follows_ends() -> None:
    batch = [partition_end(TOPIC, SHARD, 9)]
    follower = Sourced(batch, follows_ends=True)
    assert follower.next_items() == [EpochMark()]
    assert follower.source.reached_end() == {PLACE: (9, follower.clock.at)}
    assert Sourced(batch).next_items() == []


def test_an_end_without_records_is_saved_by_any_flow_once_input_is_quiet() -> None:
    sourced = Sourced([partition_end(TOPIC, SHARD, 9)])
    with mock.patch.object(source_module, "_QUIET_SECONDS", 0.0):
        assert sourced.next_items() == [EpochMark()]
        sourced.run.committed = dict(sourced.run.positions)
        assert sourced.next_items() == []


def test_an_end_is_renewed_every_second_while_the_broker_says_that_the_partition_rests_there() -> None:
    sourced = Sourced([partition_end(TOPIC, SHARD, 9)], follows_ends=True)
    sourced.source.next_batch()
    seen_at = sourced.clock.at
    sourced.clock.advance(0.9)
    assert sourced.next_items() == []
    sourced.clock.advance(0.2)
    assert sourced.next_items() == [], "no answer is no proof"
    sourced.membership.ends[PLACE] = 9
    sourced.clock.advance(1.0)
    assert sourced.next_items() == [EpochMark()]
    assert sourced.source.reached_end() == {PLACE: (9, sourced.clock.at)}
    renewed_at = sourced.clock.at
    assert renewed_at > seen_at
    sourced.membership.ends[PLACE] = 10
    sourced.clock.advance(1.0)
    assert sourced.next_items() == []
    assert sourced.source.reached_end() == {PLACE: (9, renewed_at)}


def test_the_next_call_is_always_due_whatever_the_wall_clock_says() -> None:
    partition = Sourced().source.build("step", 0, 1)
    due = partition.next_awake()
    assert due is not None
    assert due.timestamp() == 0


def test_a_poll_in_which_the_group_took_the_shards_hands_out_nothing() -> None:
    sourced = Sourced([record(7)])

    def lose() -> None:
        sourced.membership.assignment = None

    sourced.membership.after_poll = lose
    with pytest.raises(StopIteration):
        sourced.source.next_batch()
    assert sourced.run.left_group
    assert not sourced.run.may_commit
    assert sourced.source.positions() == {PLACE: 7}


ENDINGS: list[tuple[str, Message, type[Exception], int | None]] = [
    (
        "fenced by its own name",
        group_error(KafkaError._FATAL, "Fatal error: fenced"),
        KafkaException,
        KafkaError.FENCED_INSTANCE_ID,
    ),
    ("input is gone", partition_error(TOPIC, SHARD, 7, KafkaError._AUTO_OFFSET_RESET), OffsetsExpired, None),
    (
        "a record that cannot be read",
        partition_error(TOPIC, SHARD, 7, KafkaError._BAD_COMPRESSION),
        KafkaException,
        KafkaError._BAD_COMPRESSION,
    ),
]


@pytest.mark.parametrize(("what", "bad", "kind", "code"), ENDINGS, ids=[row[0] for row in ENDINGS])
def test_an_error_in_place_of_a_record_ends_the_run(
    what: str, bad: Message, kind: type[Exception], code: int | None
) -> None:
    sourced = Sourced([bad])
    with pytest.raises(StopIteration):
        sourced.source.next_batch()
    failure = sourced.run.failure
    assert isinstance(failure, kind), what
    assert code is None or failure.args[0].code() == code


def test_passing_trouble_of_the_group_ends_nothing() -> None:
    sourced = Sourced([group_error(KafkaError._MAX_POLL_EXCEEDED), record(7)])
    received, _mark = sourced.next_items()
    assert isinstance(received, Received)
    assert sourced.run.may_commit


def test_a_refused_assignment_ends_the_run_with_its_reason() -> None:
    sourced = Sourced([])
    sourced.membership.assignment = None
    sourced.membership.failure = OffsetsExpired("state without offsets")
    with pytest.raises(StopIteration):
        sourced.source.next_batch()
    assert sourced.run.failure is sourced.membership.failure


def test_a_sink_that_cannot_write_ends_the_run_without_a_commit() -> None:
    sourced = Sourced([record(7)])
    sourced.source.restart(ValueError("moved"))
    assert not sourced.source.may_commit()
    with pytest.raises(StopIteration):
        sourced.source.next_batch()


def test_what_a_record_says_is_its_own() -> None:
    received = Sourced([record(7)]).next_items()[0]
    assert isinstance(received, Received)
    assert isinstance(received.value, TimerFired)


def test_what_comes_during_a_commit_goes_into_the_next_epoch_together() -> None:
    sourced = Sourced([record(7)], [record(8)], [record(9), record(10)])
    sourced.next_items()
    sourced.producer.may_commit.clear()
    sourced.commits.begin([], [])
    threading.Timer(0.2, sourced.producer.may_commit.set).start()
    began = time.monotonic()
    offsets = [item.offset for item in sourced.next_items() if isinstance(item, Received)]
    assert offsets == [8, 9, 10]
    assert time.monotonic() - began > 0.15
    assert sourced.source.positions() == {PLACE: 11}


def test_an_end_is_as_old_as_the_last_look_when_the_process_stood_still() -> None:
    sourced = Sourced([], [partition_end(TOPIC, SHARD, 9)], follows_ends=True)
    sourced.source.next_batch()
    looked_at = sourced.clock.at
    sourced.clock.advance(1_200.0)
    assert sourced.next_items() == [EpochMark()]
    assert sourced.source.reached_end() == {PLACE: (9, looked_at)}


def test_an_end_behind_what_has_not_been_looked_through_is_as_old_as_the_last_look() -> None:
    with mock.patch.object(source_module, "_BATCH", 2):
        sourced = Sourced([record(7), record(8)], [partition_end(TOPIC, SHARD, 9)], follows_ends=True)
        made_at = sourced.clock.at
        sourced.clock.advance(5.0)
        sourced.source.next_batch()
        sourced.clock.advance(5.0)
        sourced.source.next_batch()
        assert sourced.source.reached_end() == {PLACE: (9, made_at)}


def test_a_full_batch_does_not_wait_for_the_commit_before() -> None:
    with mock.patch.object(source_module, "_BATCH", 2):
        sourced = Sourced([record(7)], [record(8), record(9)], [record(10)])
        sourced.next_items()
        sourced.producer.may_commit.clear()
        sourced.commits.begin([], [])
        offsets = [item.offset for item in sourced.next_items() if isinstance(item, Received)]
        assert offsets == [8, 9]
        sourced.producer.may_commit.set()


def test_nothing_is_gathered_for_shards_that_are_gone() -> None:
    sourced = Sourced([record(7)], [record(8)])
    sourced.next_items()
    sourced.producer.may_commit.clear()
    sourced.commits.begin([], [])
    sourced.membership.after_poll = lambda: setattr(sourced.membership, "assignment", None)
    with pytest.raises(StopIteration):
        sourced.source.next_batch()
    assert sourced.run.left_group
    sourced.producer.may_commit.set()
