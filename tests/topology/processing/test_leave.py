"""The group takes the shards away: as a clean stop, but what the next owner can repeat is left to it."""

from __future__ import annotations

from dataclasses import replace

from schemas.processing import CallKind
from tests.topology.domain.script import Payment
from tests.topology.processing.rig import APPROVED, DEDUPLICATES, Rig, not_sent, renamed
from topology.calls.slots import ProcessorLimits
from topology.processing import FLOW, ProcessingConfig
from topology.processors import Cause

# As an ISO 8583 host: whatever is sent twice counts once, but for an authorization.
ONCE_ONLY = replace(DEDUPLICATES, deduplicates=frozenset({CallKind.capture, CallKind.void}))


def test_the_flow_asks_for_it() -> None:
    assert FLOW.finishes_before_leaving


def test_an_authorization_that_cannot_be_repeated_is_awaited_and_committed() -> None:
    rig = Rig(capabilities=ONCE_ONLY)
    rig.tell("attempt")
    rig.side.leave()
    assert rig.engine.held_back is Cause.stopping
    assert not rig.side.idle()
    rig.answer(APPROVED)
    assert rig.side.idle()
    assert rig.said() == [("authorize", "approved", None)]
    assert rig.successor(capabilities=ONCE_ONLY).calls() == ()


def test_left_alone_it_would_have_been_in_doubt() -> None:
    rig = Rig(capabilities=ONCE_ONLY)
    rig.tell("attempt")
    other = rig.successor(capabilities=ONCE_ONLY)
    assert other.said() == [("authorize", "unknown", Cause.restarted)]


def test_one_that_was_announced_and_never_sent_waits_for_the_next_owner_in_no_doubt() -> None:
    rig = Rig(capabilities=ONCE_ONLY)
    rig.tell("attempt")
    rig.side.leave()
    rig.answer(not_sent(Cause.stopping))
    assert rig.side.idle()
    assert rig.results() == []
    assert not rig.call().in_flight
    other = rig.successor(capabilities=ONCE_ONLY)
    assert [order.asked.restored for order in other.engine.running] == [False]


def test_one_whose_entry_commits_when_the_leaving_has_begun_is_not_called() -> None:
    rig = Rig(capabilities=ONCE_ONLY)
    rig.tell("attempt")
    (order,) = rig.engine.orders
    rig.engine.running.clear()
    rig.side._unrepeatable.clear()
    rig.side.leave()
    rig.side.committed([order])
    assert rig.engine.orders == [order], "not handed over again"
    rig.driver.settle()
    assert rig.side.idle()
    assert not rig.call().in_flight


def test_what_is_repeated_under_the_same_key_is_not_awaited() -> None:
    rig = Rig()
    rig.tell("attempt")
    rig.side.leave()
    assert rig.side.idle(), "others stand still meanwhile"
    other = rig.successor()
    assert [order.asked.restored for order in other.engine.running] == [True]


def test_of_two_kinds_only_the_one_that_cannot_be_repeated_is_awaited() -> None:
    rig = Rig(capabilities=ONCE_ONLY)
    rig.tell("attempt")
    rig.answer(APPROVED)
    rig.tell("authorization: approved")
    rig.pipe(renamed(Payment().tell("attempt").events[-1], 1))
    captures = [order for order in rig.engine.running if order.kind is CallKind.capture]
    authorizations = [order for order in rig.engine.running if order.kind is CallKind.authorize]
    assert (len(captures), len(authorizations)) == (1, 1)
    rig.side.leave()
    rig.answer(APPROVED, authorizations[0])
    assert rig.side.idle()
    assert rig.engine.running == captures


def test_it_does_not_wait_longer_than_the_deadline_of_a_call() -> None:
    rig = Rig(capabilities=ONCE_ONLY, config=ProcessingConfig(default_limits=ProcessorLimits(deadline_seconds=60.0)))
    rig.tell("attempt")
    rig.side.leave()
    rig.boot.seconds += 14.9
    assert not rig.side.idle()
    rig.boot.seconds += 0.2
    assert rig.side.idle(), "15 s at most"


def test_the_next_life_in_this_process_knows_nothing_of_it() -> None:
    rig = Rig(capabilities=ONCE_ONLY)
    rig.tell("attempt")
    rig.side.leave()
    rig.crash()
    rig.driver.settle()
    rig.side.leave()
    assert rig.side.idle()
