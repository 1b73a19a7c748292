"""Which event asks for which call, and that a call leaves after the commit and never before."""

from __future__ import annotations

from schemas.payment import CaptureMethod
from schemas.processing import AuthorizationState, CallKind, Outcome, ResultSource
from schemas.times import later
from schemas.topics import IN_FLIGHT, PROCESSOR_RESULTS
from tests.topology.domain.script import Payment
from tests.topology.processing.rig import APPROVED, Rig, not_sent, unknown
from topology.processors import Answer, Cause


def test_an_authorization_is_called_once_its_entry_has_committed() -> None:
    rig = Rig()
    rig.tell("attempt")
    (order,) = rig.engine.orders
    authorization = rig.payment.latest("authorization")
    assert order.kind is CallKind.authorize
    assert order.asked == rig.call()
    assert order.asked.transaction_id == authorization.id
    assert (order.asked.processor, order.asked.amount_minor, order.asked.currency) == ("a", 1_000, "usd")
    assert order.asked.payment_method == "tok_visa"
    assert order.asked.command_at == authorization.command_at
    assert order.asked.first_sent_at == rig.clock.now()
    assert (order.asked.in_flight, order.asked.repeat, order.asked.restored) == (True, False, False)
    assert order.send_before == rig.boot.seconds + 5.0
    (changelog,) = rig.driver.log[IN_FLIGHT.name]
    assert changelog[1] == rig.payment.intent.id


def test_nothing_is_called_when_the_commit_fails() -> None:
    rig = Rig()
    rig.tell("attempt", lost=True)
    assert rig.engine.orders == []
    assert rig.driver.log[IN_FLIGHT.name] == []
    rig.pipe(*rig.payment.events)
    assert len(rig.engine.orders) == 1


def test_the_result_and_the_end_of_the_entry_are_one_transaction() -> None:
    rig = Rig()
    rig.tell("attempt")
    rig.engine.finish(APPROVED)
    rig.driver.settle(lost=True)
    assert rig.results() == []
    rig.crash()
    rig.driver.settle()
    rig.driver.settle()
    assert len(rig.engine.running) == 1, "still in flight on record, so called again under the same key"
    rig.answer(APPROVED)
    (result,) = rig.results()
    assert rig.calls() == ()
    assert result.outcome is Outcome.approved
    assert rig.driver.log[IN_FLIGHT.name][-1][2] is None


def test_what_the_processor_said_stands_in_the_result() -> None:
    rig = Rig()
    rig.tell("attempt")
    capture_before = later(rig.clock.now(), seconds=86_400)
    rig.clock.advance(2.0)
    answer = Answer(
        outcome=Outcome.approved,
        amount_minor=1_000,
        currency="usd",
        processor_reference="cn_7",
        capture_before=capture_before,
        processor_data={"rrn": "123"},
    )
    rig.answer(answer)
    (result,) = rig.results()
    assert result.payment_intent_id == rig.payment.intent.id
    assert result.transaction_id == rig.payment.latest("authorization").id
    assert (result.processor, result.call, result.source) == ("a", CallKind.authorize, ResultSource.answer)
    assert (result.amount_minor, result.currency, result.processor_reference) == (1_000, "usd", "cn_7")
    assert result.capture_before == capture_before
    assert result.processor_data == {"rrn": "123"}
    assert result.at == rig.clock.now()
    written = rig.driver.log[PROCESSOR_RESULTS.name][0]
    assert written[1] == rig.payment.intent.id


def test_a_challenge_and_a_decline() -> None:
    rig = Rig()
    rig.tell("attempt")
    rig.answer(Answer(outcome=Outcome.challenge, challenge_url="http://n/c", processor_reference="cn_1"))
    (result,) = rig.results()
    assert (result.outcome, result.challenge_url) == (Outcome.challenge, "http://n/c")
    rig = Rig()
    rig.tell("attempt")
    rig.answer(Answer(outcome=Outcome.declined, code="card_declined", decline_code="insufficient_funds"))
    (result,) = rig.results()
    assert (result.code, result.decline_code) == ("card_declined", "insufficient_funds")


def test_automatic_capture_of_what_was_authorized() -> None:
    rig = Rig()
    rig.tell("attempt")
    rig.answer(APPROVED)
    rig.tell("authorization: approved ref=cn_1")
    capture = rig.payment.latest("capture")
    (order,) = rig.engine.running
    assert order.kind is CallKind.capture
    assert order.asked.transaction_id == capture.id
    assert order.asked.authorization_id == rig.payment.latest("authorization").id
    assert order.asked.authorization_reference == "cn_1"
    assert order.asked.payment_method is None


def test_partial_capture_and_void() -> None:
    rig = Rig(payment=Payment(capture=CaptureMethod.manual))
    rig.tell("attempt")
    rig.answer(APPROVED)
    rig.tell("authorization: approved", "capture 400")
    (order,) = rig.engine.running
    assert (order.kind, order.asked.amount_minor) == (CallKind.capture, 400)
    rig.answer(Answer(outcome=Outcome.declined, code="x", authorization_state=AuthorizationState.open))
    assert rig.results()[-1].authorization_state is AuthorizationState.open
    rig.tell("capture: declined open", "void")
    (order,) = rig.engine.running
    assert order.kind is CallKind.void


def test_a_void_of_what_was_never_heard_of_has_no_reference() -> None:
    rig = Rig()
    rig.tell("attempt")
    rig.answer(unknown())
    rig.tell("authorization: unknown", "authorization: lookup not_found", "authorization: lookup not_found")
    (order,) = rig.engine.running
    assert order.kind is CallKind.void
    assert order.asked.authorization_id == rig.payment.latest("authorization").id
    assert order.asked.authorization_reference is None


def test_a_compensating_void_goes_to_the_processor_that_approved() -> None:
    rig = Rig()
    rig.tell("attempt")
    rig.answer(not_sent())
    rig.tell("authorization: not_sent no_connection")
    rig.answer(APPROVED)
    rig.tell("authorization: approved ref=of_b")
    rig.answer(APPROVED)
    rig.tell("capture: approved", "authorization: approved by=a ref=of_a")
    order = rig.engine.running[-1]
    assert (order.kind, order.asked.processor) == (CallKind.void, "a")
    assert order.asked.authorization_reference is None, "what b said of it is not for a"


def test_not_sent_leads_to_the_next_processor_of_the_route() -> None:
    rig = Rig()
    rig.tell("attempt")
    rig.answer(not_sent())
    assert rig.said() == [("authorize", "not_sent", "no_connection")]
    rig.tell("authorization: not_sent no_connection")
    (order,) = rig.engine.running
    assert order.asked.processor == "b"


def test_events_that_ask_for_nothing() -> None:
    rig = Rig()
    rig.tell("attempt")
    rig.answer(unknown())
    rig.tell("authorization: unknown", "authorization: lookup unknown")
    assert rig.engine.running == []
    rig.tell("authorization: lookup challenge", "return")
    assert rig.engine.running == []
    assert rig.calls() == ()


def test_repeats_say_that_they_are() -> None:
    rig = Rig()
    rig.tell("attempt")
    rig.answer(APPROVED)
    rig.tell("authorization: approved")
    rig.answer(unknown())
    rig.tell("capture: unknown", "timer: ladder of capture")
    (order,) = rig.engine.running
    capture = rig.payment.latest("capture")
    assert (order.kind, order.asked.transaction_id, order.asked.repeat) == (CallKind.capture, capture.id, True)
    assert order.asked.first_sent_at == capture.created_at
    rig.tell("timer: ladder of capture")
    assert rig.engine.running == [order], "one that is under way already is not made twice"


def test_a_repeat_that_cannot_leave_is_unknown() -> None:
    rig = Rig()
    rig.tell("attempt")
    rig.answer(APPROVED)
    rig.tell("authorization: approved")
    rig.answer(unknown())
    rig.tell("capture: unknown", "timer: ladder of capture")
    rig.results()
    rig.answer(not_sent(Cause.no_connection))
    assert rig.said() == [("capture", "unknown", "no_connection")]
    assert rig.calls() == ()


def test_a_capture_is_not_repeated_beyond_the_promise_and_a_void_is() -> None:
    rig = Rig()
    rig.tell("attempt")
    rig.answer(APPROVED)
    rig.tell("authorization: approved")
    rig.answer(unknown())
    rig.tell("capture: unknown")
    rig.results()
    rig.advance(86_400.0)
    rig.tell("timer: ladder of capture")
    assert rig.engine.running == []
    assert rig.said() == [("capture", "unknown", Cause.deduplication_ended)]

    rig = Rig()
    rig.tell("attempt")
    rig.answer(unknown())
    rig.tell("authorization: unknown", "authorization: lookup not_found", "authorization: lookup not_found")
    rig.answer(unknown())
    rig.tell("void: unknown")
    rig.advance(10 * 86_400.0)
    rig.tell("timer: ladder of void")
    assert [order.kind for order in rig.engine.running] == [CallKind.void]


def test_an_event_that_was_acted_upon_does_nothing_again() -> None:
    rig = Rig()
    events = rig.tell("attempt")
    rig.pipe(*events)
    assert len(rig.engine.orders) == 1
    rig.answer(APPROVED)
    rig.tell("authorization: approved")
    rig.pipe(*events)
    assert [order.kind for order in rig.engine.orders] == [CallKind.authorize, CallKind.capture]


def test_an_authorization_whose_customer_has_gone_is_not_sent() -> None:
    rig = Rig()
    rig.clock.advance(400.0)
    rig.tell("attempt")
    assert rig.engine.orders == []
    assert rig.said() == [("authorize", "not_sent", "expired_before_send")]
    assert rig.calls() == ()


def test_a_processor_that_is_not_configured() -> None:
    rig = Rig(processors=("b",))
    rig.tell("attempt")
    assert rig.said() == [("authorize", "not_sent", Cause.processor_not_configured)]
    rig.tell("authorization: not_sent processor_not_configured")
    assert [order.asked.processor for order in rig.engine.running] == ["b"]


def test_one_batch_of_many_events_makes_each_call_once() -> None:
    rig = Rig()
    rig.payment.tell("attempt", "authorization: approved", "capture: approved")
    rig.clock.at = rig.payment.now
    rig.pipe(*rig.payment.events)
    kinds = [order.kind for order in rig.engine.orders]
    assert kinds == [CallKind.authorize, CallKind.capture], "a flow that lags calls what it reads, under the same keys"
