"""Commands: who may ask for what, what is refused by which name, and that the same again is answered as before."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from schemas.commands import Authorize, CancelPaymentIntent, CapturePayment, ResolveTransaction, ReturnFromChallenge
from schemas.identifiers import MerchantId, fingerprint
from schemas.payment import Actor, ActorType, CaptureMethod, PaymentIntentStatus
from schemas.processing import Outcome, ResultSource, TimerFired
from schemas.times import Micros, later
from tests.topology.domain.script import INTENT, KEY, START, Payment, authorize_body, command, create_body, result, tx
from topology.domain import DeadLetterCause, EventType, Refusal, decide
from topology.domain.commands import TRANSACTIONS_MAX, VOIDS_ASKED_FOR_MAX

AUTHORIZED = ("attempt", "authorization: approved")


def manual(*steps: str) -> Payment:
    """A payment with manual capture, so far."""
    return Payment(capture=CaptureMethod.manual).tell(*steps)


# fmt: off
REFUSED_STEPS = {
    "a second attempt while one is under way": ("attempt", "attempt ! transaction_in_doubt"),
    "an attempt while the customer is challenged":
        ("attempt", "authorization: challenge", "attempt ! transaction_in_doubt"),
    "an attempt on what is authorized": (*AUTHORIZED, "attempt ! already_authorized"),
    "an attempt on what is paid": (*AUTHORIZED, "capture", "capture: approved", "attempt ! already_succeeded"),
    "an attempt on what is canceled": ("cancel", "attempt ! already_canceled"),
    "a capture of nothing": ("capture ! not_capturable",),
    "a capture of what is in doubt": ("attempt", "authorization: unknown", "capture ! transaction_in_doubt"),
    "a capture of more than is authorized": (*AUTHORIZED, "capture 1001 ! amount_exceeds_capturable"),
    "a capture of no amount": (*AUTHORIZED, "capture 0 ! amount_not_positive"),
    "a second capture": (*AUTHORIZED, "capture", "capture ! transaction_in_doubt"),
    "a capture of what is canceled": ("cancel", "capture ! already_canceled"),
    "a void of nothing": ("void ! nothing_to_void",),
    "a void of what is not approved yet": ("attempt", "authorization: challenge", "void ! transaction_in_doubt"),
    "a void of what is captured": (*AUTHORIZED, "capture", "capture: approved", "void ! already_succeeded"),
    "a cancel while processing": ("attempt", "cancel ! transaction_in_doubt"),
    "a cancel of what is paid": (*AUTHORIZED, "capture", "capture: approved", "cancel ! already_succeeded"),
    "a return without a challenge": ("attempt", "return ! no_open_challenge"),
    "a return after the time-out":
        ("attempt", "authorization: challenge", "timer: challenge_timeout", "return ! no_open_challenge"),
    "a person's word where nothing is in doubt": ("attempt", "operator: authorization approved ! not_in_doubt"),
    "a person's word that is no evidence":
        ("attempt", "authorization: unknown", "operator: authorization not_found ! outcome_is_no_evidence"),
    "abandonment after an attempt has come": ("attempt", "timer: abandonment ! timer_is_stale"),
    "a challenge's time-out after it was passed":
        ("attempt", "authorization: challenge", "authorization: approved", "timer: challenge_timeout ! timer_is_stale"),
    "a ladder step before there is doubt": ("attempt", "timer: ladder ! timer_is_stale"),
    "a ladder step for a challenge": ("attempt", "authorization: challenge", "timer: ladder ! timer_is_stale"),
    "a ladder step for an authorization whose void is open":
        ("attempt", "authorization: unknown", "timer: ladder", "timer: ladder ! timer_is_stale"),
    "an alert about what is decided": (*AUTHORIZED, "timer: doubt_alert ! timer_is_stale"),
    "an alert about a silence that has ended":
        ("attempt", "timer: unanswered_alert", "authorization: unknown", "timer: unanswered_alert ! timer_is_stale"),
    "the end of a hold that is not in doubt": (*AUTHORIZED, "timer: hold_ended ! timer_is_stale"),
    "a timer that nobody knows": ("attempt", "timer: teatime ! unknown_timer"),
}
# fmt: on


@pytest.mark.parametrize("steps", REFUSED_STEPS.values(), ids=REFUSED_STEPS.keys())
def test_refused_by_name(steps: tuple[str, ...]) -> None:
    manual(*steps)


def test_abandonment_names_the_latest_attempt_so_that_a_newer_one_makes_it_stale() -> None:
    payment = manual()
    set_before = TimerFired(payment_intent_id=INTENT, name="abandonment", due_at=START, at=START)
    payment.tell("attempt", "authorization: declined")
    assert payment.give(set_before).refusal is Refusal.timer_is_stale
    payment.tell("timer: abandonment")


def test_an_expiry_before_the_processors_word_is_stale() -> None:
    payment = manual("attempt")
    authorization = payment.latest("authorization")
    capture_before = later(START, seconds=3600)
    payment.give(result(authorization, Outcome.approved, at=START, capture_before=capture_before))
    assert payment.latest("authorization").capture_before == capture_before
    early = TimerFired(
        payment_intent_id=INTENT,
        transaction_id=authorization.id,
        name="authorization_expiry",
        due_at=Micros(capture_before - 1),
        at=capture_before,
    )
    assert payment.give(early).refusal is Refusal.timer_is_stale
    assert payment.give(replace(early, due_at=capture_before)).events


def test_without_the_processors_word_an_authorization_can_be_captured_for_seven_days() -> None:
    payment = manual(*AUTHORIZED)
    assert payment.latest("authorization").capture_before == later(payment.now, seconds=7 * 24 * 3600)


def test_create_again_is_answered_with_the_intent_as_it_is_now() -> None:
    payment = Payment().tell("attempt")
    again = payment.give(command(create_body(), at=payment.now))
    assert (again.replayed, again.events, again.refusal) == (True, (), None)
    other = payment.give(command(create_body(amount_minor=1), at=payment.now))
    assert (other.refusal, other.events) == (Refusal.idempotency_mismatch, ())


def test_create_below_what_was_forgotten_is_refused() -> None:
    behind = decide(None, command(create_body(absent_at=START)), forgotten_up_to=Micros(START + 1))
    assert behind.refusal is Refusal.read_model_behind
    assert decide(None, command(create_body(absent_at=START)), forgotten_up_to=START).events


def test_create_of_nothing_is_refused() -> None:
    assert decide(None, command(create_body(amount_minor=0))).refusal is Refusal.amount_not_positive


def test_what_nobody_knows() -> None:
    payment = Payment().tell("attempt")
    attempt = command(authorize_body("k"))
    timer = TimerFired(payment_intent_id=INTENT, transaction_id=tx("no"), name="ladder", due_at=START, at=START)
    approved = result(payment.latest("authorization"), Outcome.approved)
    assert decide(None, attempt).refusal is Refusal.unknown_payment_intent
    assert decide(None, timer).refusal is Refusal.unknown_payment_intent
    assert decide(None, approved).dead_letter is DeadLetterCause.unknown_payment_intent
    assert payment.give(replace(approved, transaction_id=tx("no"))).dead_letter is DeadLetterCause.unknown_transaction
    assert payment.give(timer).refusal is Refusal.unknown_transaction
    unknown = ResolveTransaction(transaction_id=tx("no"), outcome=Outcome.approved, evidence="seen")
    assert payment.give(command(unknown)).refusal is Refusal.unknown_transaction
    returned = ReturnFromChallenge(transaction_id=tx("no"))
    assert payment.give(command(returned)).refusal is Refusal.unknown_transaction


def test_another_merchants_intent_is_none() -> None:
    payment = Payment()
    for given in (command(authorize_body("k")), command(create_body())):
        strange = payment.give(replace(given, merchant_id=MerchantId("mer_other")))
        assert (strange.refusal, strange.replayed) == (Refusal.unknown_payment_intent, False)
        live = payment.give(replace(given, livemode=True))
        assert live.refusal is Refusal.unknown_payment_intent


@pytest.mark.parametrize("who", [ActorType.client, ActorType.processor])
def test_who_comes_back_from_a_challenge_need_not_know_the_merchant(who: ActorType) -> None:
    payment = manual("attempt", "authorization: challenge")
    returned = command(ReturnFromChallenge(), actor=Actor(type=who, id="unauthenticated"))
    assert payment.give(replace(returned, merchant_id=MerchantId("mer_unknown"), livemode=True)).events


def test_the_same_transaction_command_again_finds_its_transaction() -> None:
    payment = manual()
    attempt = command(authorize_body("k"))
    opened = payment.give(attempt)
    assert opened.transaction_id == tx("k")
    payment.tell("authorization: approved")
    again = payment.give(attempt)
    assert (again.replayed, again.transaction_id, again.events) == (True, tx("k"), ())
    other = CapturePayment(transaction_id=tx("k"), fingerprint=fingerprint("capture"))
    assert payment.give(command(other)).refusal is Refusal.idempotency_mismatch


def test_a_cancel_is_answered_with_the_canceled_intent_however_often() -> None:
    payment = manual(*AUTHORIZED)
    cancel = command(CancelPaymentIntent(transaction_id=tx("c"), fingerprint=fingerprint("c")), at=payment.now)
    assert payment.give(cancel).transaction_id == tx("c")
    assert payment.latest("void").id == tx("c")
    assert payment.intent.cancel_requested
    assert payment.give(cancel).replayed
    voided = payment.tell("cancel ! transaction_in_doubt", "void: approved").intent
    assert not voided.cancel_requested
    assert payment.give(cancel).replayed
    other = CancelPaymentIntent(transaction_id=tx("d"), fingerprint=fingerprint("d"))
    answered = payment.give(command(other))
    assert (answered.refusal, answered.events, answered.replayed) == (None, (), False)


def test_a_return_may_name_the_challenge_that_is_meant() -> None:
    payment = manual("attempt", "authorization: declined", "attempt", "authorization: challenge")
    declined, challenged = payment.latest("first authorization"), payment.latest("authorization")
    other = payment.give(command(ReturnFromChallenge(transaction_id=declined.id)))
    assert other.refusal is Refusal.no_open_challenge
    meant = payment.give(command(ReturnFromChallenge(transaction_id=challenged.id)))
    assert [event.type for event in meant.events] == [EventType.transaction_challenge_returned]
    assert meant.transaction_id == challenged.id


def test_an_attempt_needs_a_route() -> None:
    attempt = Authorize(transaction_id=tx("k"), payment_method="tok_visa", route=(), fingerprint=b"f")
    assert manual().give(command(attempt)).refusal is Refusal.no_route


def test_a_disabled_merchant_begins_nothing_and_is_told_what_was_begun() -> None:
    opened = command(create_body())
    assert decide(None, replace(opened, merchant_disabled=True)).refusal is Refusal.merchant_disabled
    payment, attempt = manual(), command(authorize_body("k"))
    payment.give(attempt)
    for given in (command(create_body(capture=CaptureMethod.manual)), attempt):
        again = payment.give(replace(given, merchant_disabled=True))
        assert (again.refusal, again.events, again.replayed) == (None, (), True)
    payment.tell("authorization: declined")
    another = payment.give(replace(command(authorize_body("l")), merchant_disabled=True))
    assert (another.refusal, another.events) == (Refusal.merchant_disabled, ())
    other = Authorize(transaction_id=tx("k"), payment_method="tok_visa", route=("a",), fingerprint=b"f")
    assert payment.give(replace(command(other), merchant_disabled=True)).refusal is Refusal.idempotency_mismatch


def test_nothing_is_said_of_a_disabled_merchants_create_that_may_have_been_forgotten() -> None:
    """It may have been carried out, so *not carried out* would be a guess."""
    behind = replace(command(create_body(absent_at=START)), merchant_disabled=True)
    assert decide(None, behind, forgotten_up_to=Micros(START + 1)).refusal is Refusal.read_model_behind
    assert decide(None, replace(behind), forgotten_up_to=START).refusal is Refusal.merchant_disabled


def test_transactions_are_bounded_but_never_a_void_that_resolves() -> None:
    payment = manual(*["attempt", "authorization: declined"] * (TRANSACTIONS_MAX - 1), "attempt")
    payment.tell("authorization: approved", "capture ! too_many_transactions")
    extra = VOIDS_ASKED_FOR_MAX - TRANSACTIONS_MAX
    payment.tell(*["void", "void: declined open"] * extra, "void ! too_many_transactions")
    payment.tell("timer: authorization_expiry", "void: approved")
    assert payment.intent.status is PaymentIntentStatus.canceled

    full = manual(*["attempt", "authorization: declined"] * TRANSACTIONS_MAX, "attempt ! too_many_transactions")
    full.tell("first authorization: approved", "compensation: approved", "cancel")


def test_the_actor_the_cause_and_the_time_are_on_record() -> None:
    payment = manual("attempt", "authorization: unknown", "timer: doubt_alert", "operator: authorization approved")
    told = [(event.actor.type, event.actor.id, event.cause) for event in payment.events]
    authorization = payment.latest("authorization").id
    assert told == [
        ("key", KEY.id, "cmd_1"),
        ("key", KEY.id, "cmd_1"),
        ("processor", "a", f"result:authorize:{authorization}"),
        ("timer", "doubt_alert", f"timer:doubt_alert:{authorization}"),
        ("operator", "ada", "cmd_4"),
    ]


def test_what_is_believed_on_other_evidence_than_an_answer_says_on_which() -> None:
    payment = Payment().tell(
        "attempt", "authorization: unknown", "operator: authorization approved", "capture: unknown"
    )
    capture = result(payment.latest("capture"), Outcome.approved, at=payment.now, source=ResultSource.settlement)
    payment.give(replace(capture, evidence="settlement file 7 (ab), line 3"))
    told = [(event.type, event.evidence) for event in payment.events]
    by_mail = "the processor's books, seen by mail"
    assert told == [
        (EventType.payment_intent_created, None),
        (EventType.transaction_created, None),
        (EventType.transaction_pending, None),
        (EventType.transaction_completed, by_mail),
        (EventType.transaction_created, by_mail),
        (EventType.transaction_pending, None),
        (EventType.transaction_completed, "settlement file 7 (ab), line 3"),
    ]


def test_time_never_runs_backwards_in_a_payment() -> None:
    payment = manual("attempt")
    late = payment.now
    early = result(payment.latest("authorization"), Outcome.approved, at=START)
    assert [event.at for event in payment.give(early).events] == [late]
