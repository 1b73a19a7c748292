"""Shards that the group takes away: a flow that has something to finish keeps them until that is committed."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from schemas.topics import Topic
from tests.harness.kafka_fakes import group_error
from tests.topology.kafka.sourced import KEY, PLACE, SHARD, OneInjected, Sourced, record
from tests.topology.kafka.test_membership import Joined
from topology.kafka import FlowSpec, Injected

A = Topic(name="a", key="intent", records=(), retention_ms=1)
B = Topic(name="b", key="intent", records=(), retention_ms=1)
LOG = Topic(name="log", key="intent", records=(), retention_ms=None)
FINISHES = FlowSpec(name="flow", inputs=(A, B), changelog=LOG, finishes_before_leaving=True)


def holding(spec: FlowSpec = FINISHES, *, is_read: bool = True) -> Joined:
    joined = Joined(spec=spec)
    joined.member.give(("a", 0), ("b", 0))
    if is_read:
        joined.membership.resume()
    joined.asked.clear()
    return joined


def revoke(joined: Joined) -> None:
    joined.member.callbacks["on_revoke"](joined.member, [])


def test_the_shards_and_their_generation_are_kept_until_they_are_released() -> None:
    joined = holding()
    held = joined.membership.assignment
    revoke(joined)
    assert joined.membership.is_revoked
    assert joined.membership.assignment is held, "it may commit under the generation in it"
    assert joined.member.assigned == [], "no input comes any more"
    assert "unassign" not in joined.asked, "the group waits"
    joined.membership.release()
    assert joined.asked == ["unassign"]
    assert joined.membership.assignment is None
    assert not joined.membership.is_revoked


def test_what_comes_next_is_a_generation_like_any_other() -> None:
    joined = holding()
    revoke(joined)
    joined.membership.release()
    joined.member.generation = object()
    joined.member.give(("a", 1), ("b", 1))
    given = joined.membership.assignment
    assert given is not None
    assert (given.shards, given.metadata) == ((1,), joined.member.generation)
    revoke(joined)
    assert joined.membership.assignment is None, "nothing of it was read yet"


@pytest.mark.parametrize(
    ("spec", "is_read"),
    [(FlowSpec(name="flow", inputs=(A, B), changelog=LOG), True), (FINISHES, False)],
    ids=["nothing to finish", "not restored yet"],
)
def test_otherwise_they_are_given_up_at_once(spec: FlowSpec, is_read: bool) -> None:
    joined = holding(spec, is_read=is_read)
    before = joined.member.assigned
    revoke(joined)
    assert joined.membership.assignment is None
    assert not joined.membership.is_revoked
    assert joined.member.assigned is before, "the client unassigns by itself"


def test_shards_that_are_lost_are_nobodys_to_finish() -> None:
    joined = holding()
    joined.member.callbacks["on_lost"](joined.member, [])
    assert joined.membership.assignment is None
    assert not joined.membership.is_revoked


def test_a_process_that_ends_meanwhile_gives_them_up_first() -> None:
    joined = holding()
    revoke(joined)
    joined.membership.close()
    assert joined.asked == ["unassign", "close", "close"]


def test_a_run_that_ends_by_itself_gives_up_nothing() -> None:
    joined = holding()
    held = joined.membership.assignment
    joined.membership.release()
    assert joined.asked == []
    assert joined.membership.assignment is held


def test_others_do_not_wait_for_more_than_half_the_time_that_the_group_has(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr("topology.kafka.membership.time.monotonic", lambda: now)
    joined = holding()
    assert not joined.membership.is_overdue
    revoke(joined)
    now += 29.9
    assert not joined.membership.is_overdue
    now += 0.2
    assert joined.membership.is_overdue


class Leaving(OneInjected):
    """A side that awaits one answer, which comes when the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = []
        self.awaits = True
        self.left = 0

    def leave(self) -> None:
        self.left += 1

    def idle(self) -> bool:
        return not self.awaits

    def answer(self) -> None:
        self.waiting, self.awaits = [(KEY, SHARD, "answer")], False


def leaving() -> tuple[Sourced, Leaving]:
    """A source that has handed out one record, and whose shards are taken away by the next poll."""
    side = Leaving()
    sourced = Sourced([record(7)], [record(8)], side=side)
    sourced.source.next_batch()
    sourced.membership.before_poll = lambda: setattr(sourced.membership, "is_revoked", True)
    assert sourced.source.next_batch() == []
    assert sourced.source.next_batch() == []
    return sourced, side


def test_the_run_goes_on_until_what_is_awaited_has_come_and_is_committed() -> None:
    sourced, side = leaving()
    assert (side.left, side.stopped) == (1, False)
    assert sourced.run.may_commit
    side.answer()
    assert Injected(KEY, SHARD, "answer") in sourced.next_items()
    sourced.commits.begin([], [])
    with pytest.raises(StopIteration):
        sourced.source.next_batch()
    assert sourced.producer.committed == 1
    assert sourced.producer.metadata == [sourced.run.assignment.metadata]
    assert side.left == 1


def test_a_record_that_came_with_the_news_is_left_to_the_next_owner() -> None:
    sourced, _side = leaving()
    assert sourced.membership.batches == [], "it did come"
    assert sourced.source.positions() == {PLACE: 8}


def test_after_a_failed_commit_nothing_is_awaited() -> None:
    sourced, _side = leaving()
    failure = KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION))
    sourced.producer.failing["send_offsets_to_transaction"] = failure
    sourced.commits.begin([], [])
    with pytest.raises(StopIteration):
        sourced.source.next_batch()
    assert sourced.run.failure is failure


def test_a_member_that_is_fenced_meanwhile_awaits_nothing() -> None:
    sourced, _side = leaving()
    fenced = KafkaException(KafkaError(KafkaError.FENCED_INSTANCE_ID))
    sourced.membership.after_poll = lambda: setattr(sourced.membership, "failure", fenced)
    with pytest.raises(StopIteration):
        sourced.source.next_batch()
    assert sourced.run.failure is fenced


def test_a_member_that_was_dropped_meanwhile_awaits_nothing() -> None:
    sourced, _side = leaving()
    sourced.membership.after_poll = lambda: setattr(sourced.membership, "assignment", None)
    with pytest.raises(StopIteration):
        sourced.source.next_batch()
    assert sourced.run.left_group


def test_what_is_overdue_is_not_awaited() -> None:
    sourced, side = leaving()
    side.waiting = [(KEY, SHARD, "too late")]
    sourced.membership.is_overdue = True
    with pytest.raises(StopIteration):
        sourced.source.next_batch()


def test_shards_taken_away_during_a_clean_stop_are_kept_until_it_has_ended() -> None:
    stopping = False
    side = Leaving()
    sourced = Sourced([record(7)], side=side, stopping=lambda: stopping)
    sourced.source.next_batch()
    stopping = True
    assert sourced.source.next_batch() == []
    sourced.membership.is_revoked = True
    assert sourced.source.next_batch() == []
    assert (side.stopped, side.left) == (True, 0)
    side.answer()
    assert Injected(KEY, SHARD, "answer") in sourced.next_items()
    with pytest.raises(StopIteration):
        sourced.source.next_batch()


def test_a_fatal_error_among_what_came_with_the_news_counts() -> None:
    joined = holding()
    revoke(joined)
    joined.member.messages = [group_error(KafkaError._FATAL, "Fatal error: fenced")]
    joined.membership.poll(1, 0)
    assert joined.membership.failure is not None
