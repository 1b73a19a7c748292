"""Deadlines: abandonment, expiry, the end of a hold, and the alerts about a doubt or a silence that lasts."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY

from schemas.payment import CaptureMethod
from schemas.processing import TimerFired
from schemas.times import later
from schemas.topics import TIMERS
from tests.topology.domain.script import Payment
from tests.topology.processing.rig import DEDUPLICATES
from tests.topology.reconciliation.rig import DAY, HOUR, Rig
from topology.processors import Capabilities
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
    assert "abandonment" not in rig.timers()
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
    assert "authorization_expiry" not in rig.timers()
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


@pytest.mark.parametrize("kind", ["authorization", "capture", "void", "compensation"])
def test_what_nobody_answers_for_a_day_is_alerted_once_though_it_is_in_no_doubt(kind: str) -> None:
    """Its call has perhaps never left: the processor is not configured, or its circuit never closes."""

    def sample(name: str) -> float:
        rig.driver.settle()
        return REGISTRY.get_sample_value(name) or 0.0

    rig = Rig(payment=Payment(route=("a",)), processors=())
    rig.tell("attempt")
    if kind == "capture":
        rig.tell("authorization: approved")
    elif kind == "void":
        rig.tell("authorization: challenge", "cancel")
    elif kind == "compensation":
        rig.tell("authorization: declined card_declined", "authorization: approved ref=late")
    before = sample("paystream_doubt_alerts_total")
    transaction = rig.payment.latest(kind)
    assert transaction.status == "created"
    in_doubt = sample("paystream_payments_in_doubt")
    assert in_doubt == (kind == "compensation")
    rig.advance_to(transaction.created_at, DAY - 0.001)
    assert all("alert" not in fired for fired in rig.fired())
    rig.advance_to(transaction.created_at, DAY)
    alert = "doubt_alert" if kind == "compensation" else "unanswered_alert"
    assert alert in rig.feed()
    assert rig.payment.events[-1].transaction == transaction
    assert sample("paystream_doubts_overdue") == 1
    rig.advance(5 * DAY)
    assert all("alert" not in fired for fired in rig.feed())
    assert sample("paystream_doubt_alerts_total") == before + 1


def test_doubt_counts_from_its_beginning_whenever_the_call_was_asked_for() -> None:
    rig = Rig(capabilities=Capabilities())
    rig.tell("attempt", "authorization: approved")
    rig.advance(DAY / 2)
    rig.tell("capture: unknown")
    since = rig.clock.now()
    assert rig.timers() == ["doubt_alert"]
    rig.advance_to(since, DAY)
    assert rig.feed() == ["doubt_alert"]


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
