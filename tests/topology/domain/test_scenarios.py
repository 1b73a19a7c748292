"""Payments told as sentences: what comes in, step by step, and how the payment and its Transactions stand then."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from schemas.codec import decode, encode
from schemas.payment import CaptureMethod
from tests.topology.domain.script import AMOUNT_MINOR, Payment


@dataclass(frozen=True)
class Scenario:
    """A payment; `then` is its status, `transactions` how each of them stands."""

    name: str
    steps: tuple[str, ...]
    then: str
    transactions: tuple[str, ...]
    received: int = 0
    capturable: int = 0
    reason: str | None = None
    error: str | None = None


def _told(scenario: Scenario, capture: CaptureMethod) -> None:
    payment = Payment(capture=capture).tell(*scenario.steps)
    intent = payment.intent
    assert [decode(encode(event)) for event in payment.events] == payment.events
    assert (intent.status, tuple(payment.transactions())) == (scenario.then, scenario.transactions)
    assert intent.amount_received_minor == scenario.received
    assert intent.amount_capturable_minor == scenario.capturable
    assert intent.cancellation_reason == scenario.reason
    error = intent.last_payment_error
    assert (None if error is None else error.code) == scenario.error


_UNKNOWN = ("attempt", "authorization: unknown timed_out")
_NOT_FOUND_TWICE = (*_UNKNOWN, "authorization: lookup not_found", "authorization: lookup not_found")
_CHALLENGED = ("attempt", "authorization: challenge")
_AUTHORIZED = ("attempt", "authorization: approved")
_RPM, _SUCCEEDED, _CANCELED = "requires_payment_method", "succeeded", "canceled"
_PAID = ("authorization succeeded", "capture succeeded")

# fmt: off
AUTOMATIC = (
    Scenario("an approval opens the capture, whose approval ends the payment",
             (*_AUTHORIZED, "capture: approved"), _SUCCEEDED, _PAID, received=AMOUNT_MINOR),
    Scenario("between the two, what is authorized is not yet captured",
             _AUTHORIZED, "processing", ("authorization succeeded", "capture created"), capturable=AMOUNT_MINOR),
    Scenario("a decline leads back to a new attempt",
             ("attempt", "authorization: declined card_declined"), _RPM, ("authorization declined",),
             error="card_declined"),
    Scenario("the next attempt may succeed",
             ("attempt", "authorization: declined", *_AUTHORIZED, "capture: approved"), _SUCCEEDED,
             ("authorization declined", *_PAID), received=AMOUNT_MINOR),
    Scenario("a cancel before any attempt cancels at once", ("cancel",), _CANCELED, (), reason="requested"),
    Scenario("a day without an attempt abandons the payment",
             ("timer: abandonment",), _CANCELED, (), reason="abandoned"),
    Scenario("a day after the last attempt failed abandons it too",
             ("attempt", "authorization: declined", "timer: abandonment"), _CANCELED, ("authorization declined",),
             reason="abandoned", error="declined"),
    Scenario("not sent: the route goes on to the next processor",
             ("attempt", "authorization: not_sent no_connection"), "processing", ("authorization created",)),
    Scenario("not sent at the end of the route: the attempt failed, and nothing is in doubt",
             ("attempt", "authorization: not_sent no_connection", "authorization: not_sent circuit_open"), _RPM,
             ("authorization failed",), error="circuit_open"),
    Scenario("a card token that cannot be used ends the attempt, whatever is left of the route",
             ("attempt", "authorization: not_sent payment_method_unusable"), _RPM, ("authorization failed",),
             error="payment_method_unusable"),
    Scenario("so does an attempt that came too late to be sent",
             ("attempt", "authorization: not_sent expired_before_send"), _RPM, ("authorization failed",),
             error="expired_before_send"),
    Scenario("time-out: the authorization is in doubt and the payment waits",
             _UNKNOWN, "processing", ("authorization pending",)),
    Scenario("time-out, then found approved",
             (*_UNKNOWN, "authorization: lookup approved", "capture: approved"), _SUCCEEDED, _PAID,
             received=AMOUNT_MINOR),
    Scenario("time-out, then found declined",
             (*_UNKNOWN, "authorization: lookup declined insufficient_funds"), _RPM, ("authorization declined",),
             error="insufficient_funds"),
    Scenario("time-out, then found challenged",
             (*_UNKNOWN, "authorization: lookup challenge"), "requires_action", ("authorization requires_action",)),
    Scenario("not found once decides nothing",
             (*_UNKNOWN, "authorization: lookup not_found"), "processing", ("authorization pending",)),
    Scenario("a look-up without an answer decides nothing, however often",
             (*_UNKNOWN, *["authorization: lookup unknown"] * 5), "processing", ("authorization pending",)),
    Scenario("not found twice opens the void, and only its acknowledgement closes the doubt",
             _NOT_FOUND_TWICE, "processing", ("authorization pending", "void (doubt) created")),
    Scenario("time-out, never arrived: the acknowledged void is the evidence",
             (*_NOT_FOUND_TWICE, "void: approved"), _RPM, ("authorization failed", "void (doubt) succeeded"),
             error="outcome_unknown"),
    Scenario("a processor without look-up: the void is opened at once",
             (*_UNKNOWN, "timer: ladder", "void: approved"), _RPM,
             ("authorization failed", "void (doubt) succeeded"), error="outcome_unknown"),
    Scenario("a void in doubt is repeated until it is acknowledged",
             (*_NOT_FOUND_TWICE, "void: unknown", "timer: ladder of void", "void: unknown ! nothing_new",
              "timer: ladder of void", "void: approved"), _RPM,
             ("authorization failed", "void (doubt) succeeded"), error="outcome_unknown"),
    Scenario("an approval while the void is open is noted, and the end of the void closes both",
             (*_NOT_FOUND_TWICE, "authorization: approved", "void: approved"), _RPM,
             ("authorization failed", "void (doubt) succeeded"), error="approved_then_voided"),
    Scenario("a decline while the void is open is noted, and says how the authorization ended",
             (*_NOT_FOUND_TWICE, "authorization: declined card_declined", "void: approved"), _RPM,
             ("authorization declined", "void (doubt) succeeded"), error="card_declined"),
    Scenario("an approval after both are closed is voided by a compensating void",
             (*_NOT_FOUND_TWICE, "void: approved", "authorization: approved", "compensation: approved"), _RPM,
             ("authorization failed", "void (doubt) succeeded", "void (late_approval) succeeded"),
             error="outcome_unknown"),
    Scenario("a compensating void does not keep the customer from paying",
             ("attempt", "authorization: declined", "first authorization: approved", *_AUTHORIZED,
              "capture: approved", "compensation: unknown", "timer: ladder of compensation",
              "compensation: approved"), _SUCCEEDED,
             ("authorization declined", "void (late_approval) succeeded", *_PAID), received=AMOUNT_MINOR),
    Scenario("a void that the processor refuses without a word leaves the doubt as it is",
             (*_NOT_FOUND_TWICE, "void: declined"), "processing", ("authorization pending", "void (doubt) pending")),
    Scenario("a void that the processor refuses because there is nothing: as voided",
             (*_NOT_FOUND_TWICE, "void: declined gone"), _RPM, ("authorization failed", "void (doubt) failed"),
             error="outcome_unknown"),
    Scenario("a void that the processor refuses because the authorization stands proves it",
             (*_NOT_FOUND_TWICE, "void: declined open"), "requires_capture",
             ("authorization succeeded", "void (doubt) failed"), capturable=AMOUNT_MINOR),
    Scenario("approved over another amount: voided, and counted as declined",
             ("attempt", "authorization: approved 700", "void: approved"), _RPM,
             ("authorization declined", "void (amount_not_approved) succeeded"), error="amount_not_approved"),
    Scenario("approved in another currency: the same",
             ("attempt", "authorization: approved in=eur", "void: approved"), _RPM,
             ("authorization declined", "void (amount_not_approved) succeeded"), error="amount_not_approved"),
    Scenario("another amount is never made capturable by a void that fails: the void goes on",
             ("attempt", "authorization: approved 700", "void: declined open", "compensation: approved"), _RPM,
             ("authorization declined", "void (amount_not_approved) failed", "void (late_approval) succeeded"),
             error="amount_not_approved"),
    Scenario("another amount noted while the void is open is not made capturable either",
             (*_NOT_FOUND_TWICE, "authorization: approved 700", "void: declined open"), _RPM,
             ("authorization declined", "void (doubt) failed", "void (late_approval) created"),
             error="amount_not_approved"),
    Scenario("a challenge that is passed",
             (*_CHALLENGED, "return", "authorization: lookup approved", "capture: approved"), _SUCCEEDED, _PAID,
             received=AMOUNT_MINOR),
    Scenario("a challenge that is failed",
             (*_CHALLENGED, "return", "authorization: lookup declined authentication_failed"), _RPM,
             ("authorization declined",), error="authentication_failed"),
    Scenario("a return is asked for once, and again after its look-up found the challenge open",
             (*_CHALLENGED, "return", "return ! again", "authorization: lookup challenge", "return"),
             "requires_action", ("authorization requires_action",)),
    Scenario("a challenge runs on, whatever else is said of it",
             (*_CHALLENGED, "authorization: lookup not_found", "authorization: lookup not_found",
              "authorization: lookup unknown", "authorization: unknown ! nothing_new",
              "authorization: challenge ! challenge_open", "authorization: not_sent ! unexpected_result"),
             "requires_action", ("authorization requires_action",)),
    Scenario("a challenge that nobody passes is voided after 15 min",
             (*_CHALLENGED, "timer: challenge_timeout", "void: approved"), _RPM,
             ("authorization expired", "void (challenge_timeout) succeeded"), error="challenge_timeout"),
    Scenario("a challenge passed after its time-out: the void decides",
             (*_CHALLENGED, "timer: challenge_timeout", "authorization: lookup approved", "void: approved"), _RPM,
             ("authorization expired", "void (challenge_timeout) succeeded"), error="approved_then_voided"),
    Scenario("a challenge passed after its void was closed: a compensating void",
             (*_CHALLENGED, "timer: challenge_timeout", "void: approved", "authorization: approved"), _RPM,
             ("authorization expired", "void (challenge_timeout) succeeded", "void (late_approval) created"),
             error="challenge_timeout"),
    Scenario("a cancel during the challenge voids, then cancels",
             (*_CHALLENGED, "cancel", "void: approved"), _CANCELED,
             ("authorization canceled", "void (cancel) succeeded"), reason="requested"),
    Scenario("a cancel races with the approval: whichever is first in the log wins",
             (*_CHALLENGED, "cancel", "authorization: approved", "void: approved"), _CANCELED,
             ("authorization canceled", "void (cancel) succeeded"), reason="requested"),
    Scenario("a cancel whose void finds the authorization captured",
             (*_CHALLENGED, "cancel", "void: declined captured"), _SUCCEEDED,
             ("authorization succeeded", "void (cancel) failed"), received=AMOUNT_MINOR),
    Scenario("the capture fails and the authorization stands: voided, then a new attempt",
             (*_AUTHORIZED, "capture: declined open processing_error", "void: approved"), _RPM,
             ("authorization succeeded", "capture failed", "void (capture_failed) succeeded"),
             error="processing_error"),
    Scenario("the capture fails and the authorization is gone: a new attempt",
             (*_AUTHORIZED, "capture: declined gone"), _RPM, ("authorization succeeded", "capture failed"),
             error="capture_failed"),
    Scenario("the capture fails because the money has been taken",
             (*_AUTHORIZED, "capture: declined captured"), _SUCCEEDED, ("authorization succeeded", "capture failed"),
             received=AMOUNT_MINOR),
    Scenario("the void of a failed capture fails too: the merchant decides",
             (*_AUTHORIZED, "capture: declined open", "void: declined open", "capture", "capture: approved"),
             _SUCCEEDED,
             ("authorization succeeded", "capture failed", "void (capture_failed) failed", "capture succeeded"),
             received=AMOUNT_MINOR),
    Scenario("a capture in doubt is looked up, repeated where it is not found, and never failed for it",
             (*_AUTHORIZED, "capture: unknown", "capture: lookup not_found", "timer: ladder of capture",
              "capture: lookup not_found", "timer: ladder of capture", "capture: approved"), _SUCCEEDED, _PAID,
             received=AMOUNT_MINOR),
    Scenario("a capture in doubt stays in doubt until somebody knows",
             (*_AUTHORIZED, "capture: unknown", "capture: lookup unknown", "timer: doubt_alert of capture"),
             "processing", ("authorization succeeded", "capture pending"), capturable=AMOUNT_MINOR),
    Scenario("an operator decides a capture in doubt",
             (*_AUTHORIZED, "capture: unknown", "operator: capture approved"), _SUCCEEDED, _PAID,
             received=AMOUNT_MINOR),
    Scenario("an operator says that a capture failed and that the authorization is gone",
             (*_AUTHORIZED, "capture: unknown", "operator: capture gone"), _RPM,
             ("authorization succeeded", "capture failed"), error="resolved_by_operator"),
    Scenario("an operator decides an authorization in doubt",
             (*_UNKNOWN, "operator: authorization declined"), _RPM, ("authorization declined",),
             error="resolved_by_operator"),
    Scenario("an operator acknowledges a void that no processor answers for any more",
             (*_NOT_FOUND_TWICE, "operator: void approved"), _RPM,
             ("authorization failed", "void (doubt) succeeded"), error="outcome_unknown"),
    Scenario("the end of the longest hold proves that an authorization in doubt does not stand",
             (*_UNKNOWN, "timer: hold_ended"), _RPM, ("authorization expired",), error="hold_ended"),
    Scenario("it ends a void that is never acknowledged as well",
             (*_NOT_FOUND_TWICE, "void: unknown", "timer: hold_ended"), _RPM,
             ("authorization expired", "void (doubt) expired"), error="outcome_unknown"),
    Scenario("and a compensating void",
             ("attempt", "authorization: declined", "authorization: approved", "compensation: unknown",
              "timer: hold_ended"), _RPM, ("authorization declined", "void (late_approval) expired"),
             error="declined"),
    Scenario("a late approval by the processor that was failed over from is voided there",
             ("attempt", "authorization: not_sent no_connection", "authorization: approved by=a",
              "authorization: approved by=a ! other_processor", "authorization: approved", "capture: approved",
              "compensation: approved"), _SUCCEEDED,
             ("authorization succeeded", "void (late_approval) succeeded", "capture succeeded"),
             received=AMOUNT_MINOR),
)

MANUAL = (
    Scenario("an approval waits for the merchant's capture",
             _AUTHORIZED, "requires_capture", ("authorization succeeded",), capturable=AMOUNT_MINOR),
    Scenario("the merchant captures",
             (*_AUTHORIZED, "capture", "capture: approved"), _SUCCEEDED, _PAID, received=AMOUNT_MINOR),
    Scenario("a partial capture is final and releases the rest",
             (*_AUTHORIZED, "capture 400", "capture: approved", "capture 600 ! already_succeeded"), _SUCCEEDED, _PAID,
             received=400),
    Scenario("a capture that the processor booked over less counts for what it booked",
             (*_AUTHORIZED, "capture 400", "capture: approved 300"), _SUCCEEDED, _PAID, received=300),
    Scenario("a capture that the processor booked over more never counts for more than was asked",
             (*_AUTHORIZED, "capture 400", "capture: approved 500"), _SUCCEEDED, _PAID, received=400),
    Scenario("the merchant voids",
             (*_AUTHORIZED, "void", "void: approved"), _CANCELED,
             ("authorization succeeded", "void (requested) succeeded"), reason="void"),
    Scenario("the merchant cancels",
             (*_AUTHORIZED, "cancel", "void: approved"), _CANCELED,
             ("authorization succeeded", "void (cancel) succeeded"), reason="requested"),
    Scenario("the authorization expires: voided, then canceled",
             (*_AUTHORIZED, "timer: authorization_expiry", "void: approved"), _CANCELED,
             ("authorization succeeded", "void (expiry) succeeded"), reason="expired"),
    Scenario("a capture races with the expiry: whichever is first in the log wins",
             (*_AUTHORIZED, "capture", "timer: authorization_expiry ! timer_is_stale", "capture: approved"),
             _SUCCEEDED, _PAID, received=AMOUNT_MINOR),
    Scenario("an expiry races with the capture",
             (*_AUTHORIZED, "timer: authorization_expiry", "capture ! transaction_in_doubt"), "processing",
             ("authorization succeeded", "void (expiry) created"), capturable=AMOUNT_MINOR),
    Scenario("the void fails and the authorization stands: the merchant may still capture",
             (*_AUTHORIZED, "void", "void: declined open", "capture", "capture: approved"), _SUCCEEDED,
             ("authorization succeeded", "void (requested) failed", "capture succeeded"), received=AMOUNT_MINOR),
    Scenario("the void fails without a word about a proven authorization: it stands",
             (*_AUTHORIZED, "cancel", "void: declined"), "requires_capture",
             ("authorization succeeded", "void (cancel) failed"), capturable=AMOUNT_MINOR),
    Scenario("after an expiry the payment is canceled all the same, and a compensating void goes on",
             (*_AUTHORIZED, "timer: authorization_expiry", "void: declined open", "compensation: declined open",
              "timer: ladder of compensation", "compensation: approved"), _CANCELED,
             ("authorization succeeded", "void (expiry) failed", "void (late_approval) succeeded"),
             reason="expired"),
    Scenario("the void fails because the authorization is gone: as voided",
             (*_AUTHORIZED, "void", "void: declined gone"), _CANCELED,
             ("authorization succeeded", "void (requested) failed"), reason="void"),
    Scenario("the void fails because the money has been taken",
             (*_AUTHORIZED, "capture 400", "capture: declined open", "void", "void: declined captured"), _SUCCEEDED,
             ("authorization succeeded", "capture failed", "void (requested) failed"), received=400),
    Scenario("the capture fails and the authorization stands: the merchant decides",
             (*_AUTHORIZED, "capture", "capture: declined open"), "requires_capture",
             ("authorization succeeded", "capture failed"), capturable=AMOUNT_MINOR),
    Scenario("the capture fails and the authorization is gone: canceled",
             (*_AUTHORIZED, "capture", "capture: declined gone"), _CANCELED,
             ("authorization succeeded", "capture failed"), reason="authorization_gone"),
    Scenario("a void of what was asked for ends with the hold",
             (*_AUTHORIZED, "void", "void: unknown", "timer: hold_ended"), _CANCELED,
             ("authorization succeeded", "void (requested) expired"), reason="void"),
    Scenario("a compensating void that finds the money taken moves nothing, and somebody is alerted",
             ("attempt", "authorization: declined", "authorization: approved", "cancel",
              "compensation: declined captured"), _CANCELED,
             ("authorization declined", "void (late_approval) failed"), reason="requested", error="declined"),
    Scenario("a compensating void that finds the authorization gone is done",
             ("attempt", "authorization: declined", "authorization: approved", "compensation: declined gone"), _RPM,
             ("authorization declined", "void (late_approval) failed"), error="declined"),
)
# fmt: on


@pytest.mark.parametrize("scenario", AUTOMATIC, ids=lambda scenario: scenario.name)
def test_automatic_capture(scenario: Scenario) -> None:
    _told(scenario, CaptureMethod.automatic)


@pytest.mark.parametrize("scenario", MANUAL, ids=lambda scenario: scenario.name)
def test_manual_capture(scenario: Scenario) -> None:
    _told(scenario, CaptureMethod.manual)
