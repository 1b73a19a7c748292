"""A processor that has not said what it promises: look-ups wait for it, and nothing is taken for a promise."""

from __future__ import annotations

from dataclasses import replace

from schemas.processing import CallKind
from tests.topology.processing.rig import DEDUPLICATES
from tests.topology.reconciliation.rig import APPROVED, DAY, HOUR, NO_ANSWER, NOT_FOUND, Rig
from topology.processors import Capabilities


def say(rig: Rig, capabilities: Capabilities = DEDUPLICATES) -> None:
    """The processor has come up and answered."""
    rig.processors["a"].capabilities = capabilities
    rig.driver.settle()


def test_a_look_up_that_is_due_is_made_as_soon_as_it_is_known() -> None:
    rig = Rig(capabilities=None).tell("attempt", "authorization: unknown")
    rig.advance(HOUR)
    assert rig.looking_up() == []
    rig.restart()
    assert rig.looking_up() == []
    assert rig.results() == []
    say(rig)
    assert rig.looking_up() == [CallKind.authorize]
    rig.answer(APPROVED)
    rig.feed()
    assert rig.payment.transactions() == ["authorization succeeded", "capture created"]


def test_others_are_asked_meanwhile() -> None:
    rig = Rig().tell("attempt", "authorization: unknown")
    rig.processors["b"].capabilities = None
    rig.advance(10.0)
    assert rig.looking_up() == [CallKind.authorize]


def test_deadlines_and_alerts_need_no_processor() -> None:
    rig = Rig(capabilities=None).tell("attempt", "authorization: unknown")
    rig.advance(DAY)
    assert rig.fired() == ["doubt_alert"]
    rig = Rig(capabilities=None).tell("attempt", "authorization: challenge")
    rig.advance(HOUR)
    assert rig.feed() == ["challenge_timeout"]


def test_a_capture_is_not_repeated_before_it_is_known_to_be_deduplicated() -> None:
    rig = Rig(capabilities=None).tell("attempt", "authorization: approved", "capture: unknown")
    rig.advance(HOUR)
    assert rig.fired() == []
    say(rig, Capabilities(lookup=True))
    rig.answer(NOT_FOUND)
    assert rig.feed() == ["lookup not_found"]
    assert rig.payment.latest("capture").repeats == 0


def test_what_follows_from_its_promises_is_awaited_from_its_first_answer_on() -> None:
    rig = Rig(capabilities=None).tell("attempt", "authorization: unknown")
    since = rig.payment.latest("authorization").created_at
    assert rig.timers() == ["doubt_alert", "ladder"]
    rig.advance(HOUR)
    say(rig, replace(DEDUPLICATES, longest_hold_seconds=2 * 86_400))
    rig.answer(NO_ANSWER)
    rig.feed()
    assert rig.timers() == ["doubt_alert", "hold_ended", "ladder"]
    rig.advance_to(since, 3 * DAY)
    assert "hold_ended" in rig.fired()
