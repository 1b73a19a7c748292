"""What a member accepts from its group: shards, generation, start offsets, changelog ends; and what it refuses."""

from __future__ import annotations

from unittest import mock

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from schemas.topics import TIMERS, Topic
from tests.harness.kafka_fakes import FakeConsumer, group_error, message, partition_end, partition_error
from topology import payments, reconciliation, settlement
from topology.kafka import FlowSpec, KafkaConfig, OffsetsExpired, StartOffsets
from topology.kafka import membership as membership_module
from topology.kafka.failures import NotCoPartitioned, failure_of
from topology.kafka.membership import Membership

A = Topic(name="a", key="intent", records=(), retention_ms=1)
B = Topic(name="b", key="intent", records=(), retention_ms=1)
LOG = Topic(name="log", key="intent", records=(), retention_ms=None)
SPEC = FlowSpec(name="flow", inputs=(A, B), changelog=LOG)
EVEN = {"a": 12, "b": 12, "log": 12}


class Joined:
    """A membership between two fake consumers."""

    def __init__(self, *, spec: FlowSpec = SPEC, start: StartOffsets | None = None) -> None:
        self.asked: list[str] = []
        self.member = FakeConsumer(partitions=EVEN, asked=self.asked)
        self.watcher = FakeConsumer(asked=self.asked)
        with (
            mock.patch.object(membership_module, "member_consumer", return_value=self.member),
            mock.patch.object(membership_module, "high_watermark_consumer", return_value=self.watcher),
        ):
            self.membership = Membership(
                spec, KafkaConfig(bootstrap="nowhere:1"), instance="0", start=start or StartOffsets()
            )


@pytest.fixture
def joined() -> Joined:
    return Joined()


def test_a_shard_is_the_same_number_of_every_input_with_its_committed_offsets(joined: Joined) -> None:
    joined.member.offsets = {("a", 2): 20, ("b", 2): 0, ("a", 10): 7, ("b", 10): 9}
    joined.watcher.watermarks = {("log", 2): (3, 30), ("log", 10): (0, 5)}
    joined.member.give(("a", 10), ("a", 2), ("b", 2), ("b", 10))
    given = joined.membership.assignment
    assert given is not None
    assert given.shards == (2, 10)
    assert given.positions == {("a", 2): 20, ("b", 2): 0, ("a", 10): 7, ("b", 10): 9}
    assert given.changelogs == {2: (3, 30), 10: (0, 5)}
    assert given.metadata is joined.member.generation
    assert given.partitions == 12
    assert given.unread == frozenset()


def test_first_the_generation_then_the_offsets_and_only_then_the_ends_of_the_changelogs(joined: Joined) -> None:
    joined.member.offsets = {("a", 0): 1, ("b", 0): 1}
    joined.member.give(("a", 0), ("b", 0))
    assert joined.asked == ["metadata", "committed", "watermark log/0"]


def test_nothing_is_read_before_the_shards_are_restored(joined: Joined) -> None:
    joined.member.offsets = {("a", 0): 4, ("b", 0): 5}
    joined.member.give(("a", 0), ("b", 0))
    assert joined.member.assigned == []
    joined.membership.resume()
    assert joined.member.assigned == [TopicPartition("a", 0), TopicPartition("b", 0)]
    assert [place.offset for place in joined.member.assigned or []] == [4, 5]


def test_no_committed_offset_on_any_input_is_a_first_start_if_the_restore_finds_no_state(joined: Joined) -> None:
    joined.member.offsets = {("a", 1): 4}
    joined.watcher.watermarks = {("log", 0): (0, 9), ("log", 1): (0, 9)}
    joined.member.give(("a", 0), ("b", 0), ("a", 1), ("b", 1))
    given = joined.membership.assignment
    assert given is not None
    assert given.positions == {("a", 0): 0, ("b", 0): 0, ("a", 1): 4, ("b", 1): 0}
    assert given.unread == {0}


def test_an_input_that_was_never_read_and_does_not_begin_at_0_is_refused(joined: Joined) -> None:
    joined.watcher.watermarks = {("b", 0): (3, 9)}
    joined.member.give(("a", 0), ("b", 0))
    assert joined.membership.assignment is None
    with pytest.raises(OffsetsExpired, match="b/0 begins at 3 and was never read"):
        joined.membership.serve(0)


def test_a_member_without_shards_holds_none(joined: Joined) -> None:
    joined.member.give()
    given = joined.membership.assignment
    assert given is not None
    assert given.shards == ()
    assert given.positions == {}


@pytest.mark.parametrize("partitions", [{**EVEN, "b": 11}, {**EVEN, "log": 6}], ids=["input", "log"])
def test_topics_with_other_partition_counts_are_refused(joined: Joined, partitions: dict[str, int]) -> None:
    joined.member.partitions = partitions
    joined.member.give(("a", 0), ("b", 0))
    with pytest.raises(NotCoPartitioned):
        joined.membership.serve(0)


@pytest.mark.parametrize("partitions", [{"a": 12, "b": 12}, {}], ids=["log", "all"])
def test_a_topic_that_a_broker_does_not_know_yet_is_asked_for_again(joined: Joined, partitions: dict[str, int]) -> None:
    joined.member.partitions = partitions
    joined.member.give(("a", 0), ("b", 0))
    with pytest.raises(KafkaException) as raised:
        joined.membership.serve(0)
    assert raised.value.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART
    assert not raised.value.args[0].fatal(), "the process joins again"


def test_an_input_that_the_assigning_member_does_not_know_yet_is_waited_for(joined: Joined) -> None:
    joined.member.give(("a", 0))
    with pytest.raises(KafkaException, match=r"not known \(yet\): b"):
        joined.membership.serve(0)


def test_a_shard_that_is_not_given_in_every_input_is_refused(joined: Joined) -> None:
    joined.member.give(("a", 0), ("b", 1))
    with pytest.raises(NotCoPartitioned):
        joined.membership.serve(0)


def test_a_flow_without_state_needs_no_changelog() -> None:
    joined = Joined(spec=FlowSpec(name="flow", inputs=(A,), changelog=None))
    joined.member.partitions = {"a": 3}
    joined.member.give(("a", 0))
    given = joined.membership.assignment
    assert given is not None
    assert given.changelogs == {0: (0, 0)}


def test_an_error_in_place_of_the_offsets_is_no_first_start(joined: Joined) -> None:
    joined.member.commit_error = KafkaException(KafkaError(KafkaError._TIMED_OUT))
    joined.member.give(("a", 0), ("b", 0))
    assert joined.membership.assignment is None
    with pytest.raises(KafkaException):
        joined.membership.serve(0)


def test_a_flow_may_bring_its_own_start_offsets() -> None:
    class Mine(StartOffsets):
        def load(self, _consumer: object, partitions: list[TopicPartition]) -> dict[tuple[str, int], int]:
            return {(place.topic, place.partition): 42 for place in partitions}

    joined = Joined(start=Mine())
    joined.member.give(("a", 0), ("b", 0))
    assert joined.membership.assignment is not None
    assert joined.membership.assignment.positions == {("a", 0): 42, ("b", 0): 42}


@pytest.mark.parametrize("how", ["on_revoke", "on_lost"])
def test_what_the_group_takes_is_no_longer_held(joined: Joined, how: str) -> None:
    joined.member.give(("a", 0), ("b", 0))
    assert joined.membership.assignment is not None
    joined.member.callbacks[how](joined.member, [])
    assert joined.membership.assignment is None


def test_a_poll_takes_all_that_is_there_up_to_its_limit(joined: Joined) -> None:
    there = [message("a", 0, offset, key=b"k", value=b"v") for offset in range(5)]
    joined.member.messages = list(there)
    assert joined.membership.poll(3, 0) == there[:3]
    assert joined.membership.poll(3, 0) == there[3:]
    assert joined.membership.poll(3, 0) == []


def test_a_member_fenced_by_its_own_name_hears_of_it_while_it_joins(joined: Joined) -> None:
    joined.member.messages = [group_error(KafkaError._FATAL, "Fatal error: fenced")]
    with pytest.raises(KafkaException) as raised:
        joined.membership.serve(0)
    assert raised.value.args[0].code() == KafkaError.FENCED_INSTANCE_ID


def test_a_member_fenced_as_it_loses_its_shards_does_not_wait_for_others_for_ever(joined: Joined) -> None:
    joined.member.give(("a", 0), ("b", 0))
    joined.member.callbacks["on_lost"](joined.member, [])
    joined.member.messages = [
        message("a", 0, 0, key=b"k", value=b"v"),
        group_error(KafkaError._FATAL, "Fatal error: fenced"),
    ]
    joined.membership.poll(3, 0)
    with pytest.raises(KafkaException):
        joined.membership.serve(0)


def test_passing_trouble_does_not_end_a_membership(joined: Joined) -> None:
    joined.member.messages = [group_error(KafkaError.UNKNOWN_TOPIC_OR_PART)]
    joined.membership.serve(0)


def test_a_record_that_comes_before_the_restore_is_a_bug_and_not_lost_in_silence(joined: Joined) -> None:
    joined.member.messages = [message("a", 0, 0, key=b"k", value=b"v")]
    with pytest.raises(AssertionError):
        joined.membership.serve(0)


def test_records_and_ends_are_no_failures() -> None:
    assert failure_of(message("a", 0, 0, key=b"k", value=b"v")) is None
    assert failure_of(partition_end("a", 0, 0)) is None
    assert isinstance(failure_of(partition_error("a", 0, 0, KafkaError._AUTO_OFFSET_RESET)), OffsetsExpired)


def test_an_assignment_that_arrives_while_it_leaves_is_asked_nothing(
    joined: Joined, monkeypatch: pytest.MonkeyPatch
) -> None:
    """librdkafka may never answer then (see `watchdog`)."""
    close = joined.member.close

    def given_meanwhile() -> None:
        joined.member.give(("a", 0), ("b", 0))
        close()

    monkeypatch.setattr(joined.member, "close", given_meanwhile)
    joined.membership.close()
    assert joined.asked == ["close", "close"]
    assert joined.membership.assignment is None


def test_an_input_that_the_flow_reads_as_of_this_version_is_read_from_where_it_begins(joined: Joined) -> None:
    """Its retention may have taken what is older, which was not for this flow to read."""
    joined.member.offsets = {("a", 0): 4}
    joined.watcher.watermarks = {("b", 0): (3, 9)}
    joined.member.give(("a", 0), ("b", 0))
    given = joined.membership.assignment
    assert given is not None
    assert given.positions == {("a", 0): 4, ("b", 0): 3}
    assert given.unread == frozenset()


DOES_WITHOUT_OLD_B = FlowSpec(name="flow", inputs=(A, B), changelog=LOG, skippable=(B,))


def test_what_retention_took_before_a_first_start_is_no_loss_where_the_flow_can_do_without() -> None:
    joined = Joined(spec=DOES_WITHOUT_OLD_B)
    joined.watcher.watermarks = {("b", 0): (1_200, 1_300)}
    joined.member.give(("a", 0), ("b", 0))
    given = joined.membership.assignment
    assert given is not None
    assert given.positions == {("a", 0): 0, ("b", 0): 1_200}
    assert given.unread == {0}


def test_of_another_input_it_is_a_loss_all_the_same() -> None:
    joined = Joined(spec=DOES_WITHOUT_OLD_B)
    joined.watcher.watermarks = {("a", 0): (3, 9), ("b", 0): (1_200, 1_300)}
    joined.member.give(("a", 0), ("b", 0))
    with pytest.raises(OffsetsExpired, match="a/0 begins at 3 and was never read"):
        joined.membership.serve(0)


@pytest.mark.parametrize(("low", "expected"), [(50, 50), (40, 40), (3, 40)], ids=["gone", "just there", "there"])
def test_after_a_long_stop_an_input_it_can_do_without_goes_on_from_where_it_begins(low: int, expected: int) -> None:
    joined = Joined(spec=DOES_WITHOUT_OLD_B)
    joined.member.offsets = {("a", 0): 4, ("b", 0): 40}
    # What is gone of the other one is not asked for here: reading it fails, and ends the process.
    joined.watcher.watermarks = {("a", 0): (9, 9), ("b", 0): (low, 60)}
    joined.member.give(("a", 0), ("b", 0))
    given = joined.membership.assignment
    assert given is not None
    assert given.positions == {("a", 0): 4, ("b", 0): expected}
    assert given.unread == frozenset()


@pytest.mark.parametrize("spec", [settlement.FLOW, reconciliation.FLOW], ids=lambda spec: spec.name)
def test_a_deployment_of_more_than_a_week_can_still_start_its_flows(spec: FlowSpec) -> None:
    joined = Joined(spec=spec)
    assert spec.changelog is not None
    joined.member.partitions = {topic.name: 1 for topic in (*spec.inputs, spec.changelog)}
    joined.watcher.watermarks = {(TIMERS.name, 0): (1_200, 1_300)}
    joined.member.give(*((topic.name, 0) for topic in spec.inputs))
    given = joined.membership.assignment
    assert given is not None
    assert given.positions[TIMERS.name, 0] == 1_200


def test_a_deadline_that_the_fold_never_read_is_a_loss() -> None:
    assert payments.FLOW.skippable == ()
