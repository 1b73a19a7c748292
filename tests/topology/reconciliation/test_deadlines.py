"""Deadlines: abandonment, challenge, expiry, the end of a hold, and the alert about a doubt that lasts."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client import REGISTRY

from schemas.payment import CaptureMethod
from schemas.processing import CallKind, Outcome, TimerFired
from schemas.times import later
from schemas.topics import EVENTS, TIMERS
from tests.topology.domain.script import Payment
from tests.topology.processing.rig import DEDUPLICATES
from tests.topology.reconciliation.rig import APPROVED, DAY, HOUR, MINUTE, NO_ANSWER, Rig
from topology.processors import Answer, Capabilities
from topology.reconciliation import ReconciliationTimes


def test_an_intent_that_nobody_pays_is_abandoned_after_a_day() -> None:
    rig = Rig()
    rig.pipe()
    since = rig.payment.events[0].at
    rig.advance_to(since, DAY - 0.001)
    assert rig.fired() == []
    rig.advance_to(since, DAY)
    (timer,) = rig.driver.read(TIMERS)
    assert timer == TimerFired(
        payment_intent_id=rig.payment.intent.id,
        transaction_id=None,
        name="abandonment",
        due_at=later(since, seconds=DAY),
        at=rig.clock.now(),
    )
    rig.payment.give(timer)
    rig.pipe()
    assert rig.payment.intent.status == "canceled"
    assert rig.pending() is None


def test_abandonment_names_the_latest_attempt_and_counts_from_its_end() -> None:
    rig = Rig()
    rig.advance(DAY / 2)
    rig.tell("attempt")
    assert rig.timers() == []
    rig.tell("authorization: declined card_declined")
    since = rig.clock.now()
    rig.advance_to(since, DAY)
    (timer,) = rig.driver.read(TIMERS)
    assert timer.transaction_id == rig.payment.latest("authorization").id
    rig.payment.give(timer)
    assert rig.payment.intent.status == "canceled"


def test_later_events_do_not_restart_abandonment() -> None:
    rig = Rig().tell("attempt", "authorization: declined card_declined")
    since = rig.clock.now()
    rig.advance(HOUR)
    rig.tell("authorization: approved ref=late")
    assert rig.payment.intent.status == "requires_payment_method"
    rig.tell("compensation: approved")
    rig.advance_to(since, DAY)
    assert rig.fired() == ["abandonment"]


def test_a_timer_fires_once_even_if_its_state_goes_on() -> None:
    rig = Rig()
    rig.pipe()
    rig.advance(DAY)
    assert rig.fired() == ["abandonment"]
    rig.advance(DAY)
    assert rig.fired() == []
    assert rig.timers() == ["abandonment"]


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
    still_open = Answer(outcome=Outcome.challenge, challenge_url="http://n/c", processor_reference="cn_1")
    rig.tell("return")
    since = rig.clock.now()
    assert rig.looking_up() == [CallKind.authorize]
    rig.answer(still_open)
    rig.feed()
    for seconds in (10.0, MINUTE):
        rig.advance_to(since, seconds - 0.01)
        assert rig.looking_up() == []
        rig.advance_to(since, seconds)
        assert rig.looking_up() == [CallKind.authorize]
        rig.answer(still_open)
        rig.feed()
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
    assert rig.pending() is None


def test_a_return_during_a_look_up_is_followed_by_another() -> None:
    """What the first finds may be older than what the customer has just done."""
    rig = Rig().tell("attempt", "authorization: challenge", "return")
    assert rig.looking_up() == [CallKind.authorize]
    # As the fold writes it when the first look-up's answer (another challenge) and the next return crossed.
    event = rig.payment.events[-1]
    rig.driver.pipe(EVENTS, replace(event, sequence=event.sequence + 1))
    assert rig.looking_up() == [CallKind.authorize]
    rig.answer(NO_ANSWER)
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
    rig.answer(Answer(outcome=Outcome.challenge, challenge_url="http://n/c", processor_reference="cn_1"))
    rig.feed()
    assert rig.payment.intent.status == "requires_action"
    assert rig.timers() == ["challenge_timeout"]


def test_an_authorization_expires_when_the_processor_says() -> None:
    rig = Rig(payment=Payment(capture=CaptureMethod.manual, route=("a",)))
    rig.tell("attempt", "authorization: approved")
    authorization = rig.payment.latest("authorization")
    assert authorization.capture_before is not None
    assert rig.timers() == ["authorization_expiry"]
    rig.advance_to(authorization.capture_before, -0.001)
    assert rig.fired() == []
    rig.advance_to(authorization.capture_before, 0.0)
    (timer,) = rig.driver.read(TIMERS)
    assert (timer.name, timer.due_at) == ("authorization_expiry", authorization.capture_before)
    rig.payment.give(timer)
    rig.pipe()
    assert rig.payment.transactions()[-1] == "void (expiry) created"


def test_a_capture_that_failed_brings_the_expiry_back() -> None:
    rig = Rig(payment=Payment(capture=CaptureMethod.manual, route=("a",)))
    rig.tell("attempt", "authorization: approved", "capture")
    assert rig.timers() == []
    rig.tell("capture: declined open")
    assert rig.timers() == ["authorization_expiry"]


def test_a_doubt_that_lasts_a_day_is_alerted_once() -> None:
    def alerts() -> float:
        return REGISTRY.get_sample_value("paystream_doubt_alerts_total") or 0.0

    def gauge(name: str) -> float | None:
        rig.driver.settle()
        return REGISTRY.get_sample_value(name)

    before = alerts()
    rig = Rig(capabilities=Capabilities())
    rig.tell("attempt", "authorization: approved", "capture: unknown")
    since = rig.clock.now()
    assert gauge("paystream_payments_in_doubt") == 1
    rig.advance_to(since, HOUR)
    assert gauge("paystream_oldest_doubt_seconds") == HOUR
    assert gauge("paystream_doubts_overdue") == 0
    rig.advance_to(since, DAY)
    assert rig.feed() == ["doubt_alert"]
    assert gauge("paystream_doubts_overdue") == 1
    rig.advance(5 * DAY)
    assert rig.feed() == []
    assert alerts() == before + 1
    rig.tell("operator: capture approved")
    assert gauge("paystream_payments_in_doubt") == 0
    assert gauge("paystream_doubts_overdue") == 0
    assert gauge("paystream_oldest_doubt_seconds") == 0


def test_the_end_of_the_longest_hold_is_evidence() -> None:
    rig = Rig(capabilities=DEDUPLICATES, times=ReconciliationTimes(ladder_seconds=(100 * DAY,)))
    rig.tell("attempt", "authorization: unknown")
    since = rig.payment.latest("authorization").created_at
    rig.advance_to(since, 8 * DAY - 1)
    assert rig.feed() == ["doubt_alert"]
    rig.advance_to(since, 8 * DAY)
    assert rig.feed() == ["hold_ended"]
    assert rig.payment.intent.status == "requires_payment_method"
    assert rig.timers() == ["abandonment"]


def test_a_late_approval_puts_the_end_of_the_hold_off() -> None:
    rig = Rig(times=ReconciliationTimes(ladder_seconds=(100 * DAY,)), payment=Payment(route=("a", "b")))
    rig.tell("attempt", "authorization: not_sent", "authorization: unknown", "authorization: lookup not_found")
    rig.tell("authorization: lookup not_found", "void: unknown")
    rig.advance(2 * DAY)
    rig.tell("authorization: approved by=a ref=of_a")
    voids = [said for said in rig.payment.transactions() if said.startswith("void")]
    assert voids == ["void (doubt) pending", "void (late_approval) created"]
    rig.feed()
    rig.advance_to(rig.payment.latest("compensation").created_at, 8 * DAY - 1)
    assert "hold_ended" not in rig.feed()
    rig.advance(1.0)
    assert "hold_ended" in rig.feed()
    assert all("pending" not in said and "created" not in said for said in rig.payment.transactions())
    assert rig.timers() == ["abandonment"]


def test_who_does_not_say_how_long_it_holds_gives_no_such_evidence() -> None:
    rig = Rig(capabilities=Capabilities(lookup=True)).tell("attempt", "authorization: unknown")
    assert rig.timers() == ["doubt_alert", "ladder"]
