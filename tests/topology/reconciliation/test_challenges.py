"""A challenge that is open: its time-out, and the look-ups that the customer's return starts, however often."""

from __future__ import annotations

from itertools import pairwise

from msgspec.structs import replace

from schemas.commands import ReturnFromChallenge
from schemas.processing import CallKind, Outcome
from schemas.topics import EVENTS
from tests.topology.domain.script import command
from tests.topology.reconciliation.rig import APPROVED, MINUTE, NO_ANSWER, Rig
from topology.processors import Answer, Capabilities

STILL_OPEN = Answer(outcome=Outcome.challenge, challenge_url="http://n/c", processor_reference="cn_1")


def test_a_challenge_times_out_after_15_minutes() -> None:
    rig = Rig().tell("attempt", "authorization: challenge")
    since = rig.clock.now()
    assert rig.timers() == ["challenge_timeout"]
    rig.advance_to(since, 15 * MINUTE)
    assert rig.feed() == ["challenge_timeout"]
    assert rig.payment.intent.status == "processing"
    assert rig.payment.transactions()[-1] == "void (challenge_timeout) created"
    assert "challenge_timeout" not in rig.timers()


def test_each_return_from_a_challenge_looks_up_at_once_then_by_the_ladder() -> None:
    rig = Rig().tell("attempt", "authorization: challenge")
    rig.advance(MINUTE)
    assert rig.looking_up() == [], "nobody is asked before the customer came back"
    rig.tell("return")
    since = rig.clock.now()
    assert rig.looking_up() == [CallKind.authorize]
    rig.answer(STILL_OPEN)
    rig.feed()
    for seconds in (10.0, MINUTE):
        rig.advance_to(since, seconds - 0.01)
        assert rig.looking_up() == []
        rig.advance_to(since, seconds)
        assert rig.looking_up() == [CallKind.authorize]
        rig.answer(STILL_OPEN)
        rig.feed()
    rig.advance(5.0)
    rig.tell("return")
    again = rig.clock.now()
    assert rig.looking_up() == [CallKind.authorize], "at once, again"
    rig.answer(NO_ANSWER)
    rig.feed()
    rig.advance_to(again, 10.0)
    assert rig.looking_up() == [CallKind.authorize], "and from the first step, again"
    rig.answer(APPROVED)
    rig.feed()
    assert rig.payment.transactions() == ["authorization succeeded", "capture created"]
    assert rig.timers() == ["unanswered_alert"]


def test_a_return_during_a_look_up_is_followed_by_another() -> None:
    """What the first finds may be older than what the customer has just done."""
    rig = Rig().tell("attempt", "authorization: challenge", "return")
    assert rig.looking_up() == [CallKind.authorize]
    # As the fold writes it when the first look-up's answer (another challenge) and the next return crossed.
    event = rig.payment.events[-1]
    rig.driver.pipe(EVENTS, replace(event, sequence=event.sequence + 1))
    assert rig.looking_up() == [CallKind.authorize]
    rig.answer(NO_ANSWER)
    rig.advance(5.0)
    assert rig.looking_up() == [CallKind.authorize]
    rig.answer(NO_ANSWER)
    rig.advance(4.99)
    assert rig.looking_up() == []
    rig.advance(0.01)
    assert rig.looking_up() == [CallKind.authorize], "the ladder begins at its first step all the same"


def test_a_hundred_returns_in_a_second_are_two_look_ups_and_the_last_one_counts() -> None:
    """Anybody may call the return, and each answer that the challenge is still open lets the next one through."""
    rig = Rig().tell("attempt", "authorization: challenge")
    events = len(rig.payment.events)
    first_return = rig.clock.now()
    for number in range(100):
        returned = command(ReturnFromChallenge(), at=rig.clock.now(), command_id=f"cmd_return_{number}")
        rig.payment.give(returned)
        rig.pipe()
        if rig.engine.running:
            rig.answer(STILL_OPEN)
            rig.feed()
        rig.advance(0.01)
    assert len(rig.engine.orders) == 1
    assert len(rig.payment.events) == events + 3, "two returns, and one look-up that was noted"
    rig.advance_to(first_return, 5.0)
    assert len(rig.engine.orders) == 2
    rig.answer(APPROVED)
    rig.feed()
    assert rig.payment.transactions() == ["authorization succeeded", "capture created"]


def test_returns_without_end_are_looked_up_a_few_times_a_minute() -> None:
    rig = Rig().tell("attempt", "authorization: challenge")
    for number in range(599):
        rig.payment.give(command(ReturnFromChallenge(), at=rig.clock.now(), command_id=f"cmd_return_{number}"))
        rig.pipe()
        rig.advance(0.1)
        if rig.engine.running:
            rig.answer(STILL_OPEN)
            rig.feed()
    asked_at = [order.asked.first_sent_at or 0 for order in rig.engine.orders]
    apart = [(after - before) / 1_000_000 for before, after in pairwise(asked_at)]
    assert len(asked_at) == 12
    assert min(apart) >= 5.0


def test_after_a_restart_too_returns_are_looked_up_apart() -> None:
    rig = Rig().tell("attempt", "authorization: challenge", "return")
    rig.answer(STILL_OPEN)
    rig.feed()
    rig.restart()
    rig.tell("return")
    assert rig.looking_up() == []
    rig.restart()
    rig.advance(5.0)
    assert rig.looking_up() == [CallKind.authorize]


def test_without_a_look_up_a_return_changes_nothing() -> None:
    rig = Rig(capabilities=Capabilities()).tell("attempt", "authorization: challenge", "return")
    assert rig.looking_up() == []
    assert rig.fired() == []
    assert "challenge_timeout" in rig.timers()


def test_before_the_return_nothing_that_is_noted_starts_a_look_up() -> None:
    rig = Rig().tell("attempt", "authorization: challenge", "authorization: lookup unknown")
    assert rig.payment.events[-1].type == "transaction.noted"
    assert rig.timers() == ["challenge_timeout"]


def test_a_challenge_found_by_a_look_up_is_not_looked_up_further() -> None:
    rig = Rig().tell("attempt", "authorization: unknown")
    rig.advance(10.0)
    rig.answer(STILL_OPEN)
    rig.feed()
    assert rig.payment.intent.status == "requires_action"
    assert rig.timers() == ["challenge_timeout"]
