"""What is in doubt is looked up step by step, or repeated, or waits; never longer and never shorter than it should."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from msgspec.structs import replace

from schemas.processing import CallKind, Outcome, ResultSource
from tests.topology.domain.script import Payment
from tests.topology.processing.rig import DEDUPLICATES, not_sent
from tests.topology.reconciliation.rig import APPROVED, DAY, HOUR, MINUTE, NO_ANSWER, NOT_FOUND, Rig
from topology.processors import Answer, Capabilities
from topology.reconciliation import ReconciliationTimes

LADDER = [10.0, MINUTE, 5 * MINUTE, 30 * MINUTE, HOUR, 6 * HOUR, 6 * HOUR + DAY, 6 * HOUR + 2 * DAY, 6 * HOUR + 3 * DAY]
NO_LOOKUP = dataclasses.replace(DEDUPLICATES, lookup=False)
LOOKUP_ONLY = Capabilities(lookup=True)
NOTHING = Capabilities()


def in_doubt(kind: str, **settings: Any) -> Rig:
    """A payment whose authorization, capture or void has just become pending."""
    rig = Rig(**settings)
    rig.tell("attempt")
    if kind == "authorization":
        rig.tell("authorization: unknown")
    elif kind == "capture":
        rig.tell("authorization: approved ref=cn_1", "capture: unknown")
    else:
        rig.tell("authorization: challenge", "cancel", "void: unknown")
    return rig


def test_an_authorization_is_looked_up_by_the_ladder_then_daily() -> None:
    rig = in_doubt("authorization")
    since = rig.clock.now()
    for seconds in LADDER:
        rig.advance_to(since, seconds - 0.001)
        assert rig.looking_up() == [], seconds
        rig.advance_to(since, seconds)
        assert rig.looking_up() == [CallKind.authorize], seconds
        rig.answer(NO_ANSWER)
        rig.feed()
    assert rig.payment.latest("authorization").lookups_unanswered == len(LADDER)


def test_a_look_up_asks_for_what_is_in_doubt() -> None:
    rig = in_doubt("authorization")
    rig.advance(10.0)
    (order,) = rig.engine.running
    authorization = rig.payment.latest("authorization")
    assert (order.kind, order.asked.call) == (CallKind.lookup, CallKind.authorize)
    assert (order.asked.transaction_id, order.asked.processor) == (authorization.id, "a")
    assert (order.deadline_seconds, order.send_before) == (10.0, None)
    rig.answer(APPROVED)
    (result,) = rig.results()
    assert (result.call, result.source, result.outcome) == (CallKind.lookup, ResultSource.lookup, Outcome.approved)
    assert (result.transaction_id, result.processor) == (authorization.id, "a")
    assert (result.amount_minor, result.currency, result.processor_reference) == (1_000, "usd", "cn_1")


def test_the_answer_ends_the_ladder() -> None:
    rig = in_doubt("authorization")
    rig.advance(10.0)
    rig.answer(APPROVED)
    assert rig.feed() == ["lookup approved"]
    assert rig.payment.transactions() == ["authorization succeeded", "capture created"]
    assert rig.timers() == ["unanswered_alert"]
    rig.advance(30 * DAY)
    assert rig.looking_up() == []
    assert rig.fired() == ["unanswered_alert"]


def test_a_look_up_that_could_not_be_asked_is_one_without_an_answer() -> None:
    rig = in_doubt("authorization")
    rig.advance(10.0)
    rig.answer(not_sent())
    (result,) = rig.results()
    assert (result.outcome, result.code) == (Outcome.unknown, "no_connection")


def test_not_found_twice_opens_the_void_and_ends_the_looking_up() -> None:
    rig = in_doubt("authorization")
    rig.advance(10.0)
    rig.answer(NOT_FOUND)
    rig.feed()
    assert rig.payment.transactions() == ["authorization pending"]
    rig.advance(MINUTE)
    rig.answer(NOT_FOUND)
    rig.feed()
    assert rig.payment.transactions() == ["authorization pending", "void (doubt) created"]
    assert rig.timers() == ["doubt_alert", "hold_ended", "unanswered_alert"]
    rig.advance(HOUR)
    assert rig.looking_up() == []


def test_without_a_look_up_the_fold_hears_at_once_and_opens_the_void() -> None:
    rig = in_doubt("authorization", capabilities=NO_LOOKUP)
    assert rig.feed() == ["ladder 0"]
    assert rig.payment.transactions() == ["authorization pending", "void (doubt) created"]
    rig.advance(DAY / 2)
    assert rig.fired() == []


def test_without_a_look_up_and_with_a_fold_that_lags_each_step_is_told() -> None:
    rig = in_doubt("authorization", capabilities=NO_LOOKUP)
    since = rig.clock.now()
    assert rig.fired() == ["ladder 0"]
    for seconds in LADDER[:3]:
        rig.advance_to(since, seconds)
    assert rig.fired() == ["ladder 0", "ladder 1", "ladder 2"]


def test_a_capture_that_is_not_found_is_repeated_where_captures_are_deduplicated() -> None:
    rig = in_doubt("capture")
    since = rig.clock.now()
    for step, seconds in enumerate(LADDER[:4]):
        rig.advance_to(since, seconds)
        assert rig.looking_up() == [CallKind.capture]
        rig.answer(NOT_FOUND)
        assert rig.feed() == ["lookup not_found", f"ladder {step}"]
        assert rig.payment.latest("capture").repeats == step + 1
        rig.advance(1.0)
        assert rig.looking_up() == [], "the repeat does not start the ladder again"


def test_a_capture_that_was_looked_up_in_vain_is_not_repeated() -> None:
    rig = in_doubt("capture")
    rig.advance(10.0)
    rig.answer(NO_ANSWER)
    assert rig.feed() == ["lookup unknown"]


def test_a_capture_is_never_repeated_where_it_would_be_a_second_one() -> None:
    rig = in_doubt("capture", capabilities=LOOKUP_ONLY)
    rig.advance(10.0)
    rig.answer(NOT_FOUND)
    assert rig.feed() == ["lookup not_found"]
    assert rig.payment.latest("capture").repeats == 0

    rig = in_doubt("capture", capabilities=NOTHING)
    rig.advance(HOUR)
    assert rig.looking_up() == []
    assert rig.fired() == []
    assert rig.timers() == ["doubt_alert"], "the settlement file decides it, or a person"


@pytest.mark.parametrize(
    ("kind", "capabilities"), [("capture", NO_LOOKUP), ("void", NO_LOOKUP), ("void", DEDUPLICATES)]
)
def test_an_advice_is_repeated_at_each_step(kind: str, capabilities: Capabilities) -> None:
    rig = in_doubt(kind, capabilities=capabilities)
    since = rig.clock.now()
    for step, seconds in enumerate(LADDER):
        rig.advance_to(since, seconds)
        assert [said for said in rig.feed() if said.startswith("ladder")] == [f"ladder {step}"]
        assert rig.payment.latest(kind).repeats == step + 1
    assert rig.looking_up() == []


def test_a_void_that_was_never_called_is_in_processing_s_hands() -> None:
    rig = Rig().tell("attempt", "authorization: challenge", "cancel")
    rig.advance(HOUR)
    assert rig.fired() == []


def test_a_compensating_void_is_repeated_although_the_payment_is_over() -> None:
    rig = Rig().tell("attempt", "authorization: unknown", "authorization: lookup not_found")
    rig.tell("authorization: lookup not_found", "void: approved", "authorization: approved ref=late")
    assert rig.payment.latest("compensation").status == "created"
    assert "doubt_alert" in rig.timers()
    rig.tell("compensation: unknown")
    rig.advance(10.0)
    assert rig.feed() == ["ladder 0"]
    rig.tell("compensation: approved")
    assert "ladder" not in rig.timers()
    assert "doubt_alert" not in rig.timers()


def test_steps_that_were_slept_through_are_not_made_up_for() -> None:
    rig = in_doubt("authorization")
    since = rig.clock.now()
    rig.advance_to(since, 2 * HOUR)
    rig.answer(NO_ANSWER)
    assert rig.looking_up() == []
    assert len(rig.results()) == 1
    rig.advance_to(since, 6 * HOUR - 1)
    assert rig.looking_up() == []
    rig.advance_to(since, 6 * HOUR)
    assert rig.looking_up() == [CallKind.authorize]
    rig.answer(NO_ANSWER)
    rig.advance_to(since, 6 * HOUR + 10.5 * DAY)
    rig.answer(NO_ANSWER)
    rig.advance_to(since, 6 * HOUR + 11 * DAY - 1)
    assert rig.looking_up() == []
    rig.advance_to(since, 6 * HOUR + 11 * DAY)
    assert rig.looking_up() == [CallKind.authorize]


def test_a_step_that_comes_due_while_a_look_up_is_under_way_waits_for_its_answer() -> None:
    rig = in_doubt("authorization")
    rig.advance(10.0)
    rig.advance(MINUTE)
    assert rig.looking_up() == [CallKind.authorize], "one at a time"
    assert rig.driver.side.drain(10) == [], "and nothing is brought in vain meanwhile"
    rig.advance(DAY)
    assert rig.fired() == ["doubt_alert"]
    assert rig.looking_up() == [CallKind.authorize], "another timer does not start a second one either"
    rig.answer(NO_ANSWER)
    assert rig.looking_up() == [CallKind.authorize], "the next at once"


def test_an_answer_that_nobody_waits_for_any_more_is_dropped() -> None:
    rig = in_doubt("authorization")
    rig.advance(10.0)
    rig.tell("authorization: declined")
    rig.answer(APPROVED)
    assert rig.results() == []


def test_an_operator_s_word_ends_it_too() -> None:
    rig = in_doubt("capture")
    rig.tell("operator: capture approved")
    assert rig.pending() is None


def test_at_a_processor_that_is_not_configured_nothing_is_guessed() -> None:
    rig = in_doubt("authorization", processors=())
    assert rig.fired() == []
    rig.advance(10.0)
    assert rig.looking_up() == [CallKind.authorize], "the engine will say that it knows no such processor"


def test_each_processor_is_asked_so_many_at_once() -> None:
    rig = in_doubt("authorization", lookups_max=1)
    rig.advance(10.0)
    (order,) = rig.engine.running
    other = replace(order, asked=replace(order.asked, processor="b"))
    rig.side.committed([order, order, other])
    assert [each.asked.processor for each in rig.engine.running] == ["a", "b"]
    rig.engine.finish(Answer(outcome=Outcome.not_found))
    rig.side.drain(10)
    assert [each.asked.processor for each in rig.engine.running] == ["b", "a"]


def test_durations_can_be_shortened() -> None:
    times = ReconciliationTimes(ladder_seconds=(0.1, 0.2), ladder_then_every_seconds=0.5, challenge_seconds=1.0)
    rig = in_doubt("authorization", times=times)
    since = rig.clock.now()
    for seconds in (0.1, 0.2, 0.7, 1.2, 1.7):
        rig.advance_to(since, seconds)
        assert rig.looking_up() == [CallKind.authorize], seconds
        rig.answer(NO_ANSWER)
    with pytest.raises(ValueError, match="ladder"):
        ReconciliationTimes(ladder_seconds=())


def test_a_payment_that_goes_well_leaves_nothing() -> None:
    rig = Rig(payment=Payment(route=("a",)))
    rig.tell("attempt", "authorization: approved", "capture: approved")
    assert rig.pending() is None
    assert len(rig.driver.store) == 0
