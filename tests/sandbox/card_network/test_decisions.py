from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.card_network import decisions
from sandbox.card_network.booking import HOLD_SECONDS, AuthorizationState, Booking, Code, Hold, Status
from sandbox.card_network.cards import CARDS
from sandbox.card_network.decisions import Decision
from sandbox.card_network.requests import AuthorizationRequest, CaptureRequest, VoidRequest

AT = 1_700_000_000_000_000
EXPIRED_AT = AT + HOLD_SECONDS * 1_000_000


def authorized(token: str = "tok_visa", *, voided: bool = False, fault: bool = False) -> Booking:
    request = AuthorizationRequest(
        reference="tx_a", payment_intent="pi_1", amount_minor=1000, currency="usd", token=token
    )
    return decisions.authorize(
        request, card=CARDS.get(token), voided_before_arrival=voided, declined_by_fault=fault, at_micros=AT
    )


def captured(
    authorization: Booking | None, *, amount: int = 1000, currency: str = "usd", fault: bool = False, at: int = AT
) -> Decision:
    request = CaptureRequest(
        reference="tx_c", payment_intent="pi_1", authorization_reference="tx_a", amount_minor=amount, currency=currency
    )
    return decisions.capture(request, authorization=authorization, declined_by_fault=fault, at_micros=at)


def voided(
    authorization: Booking | None, *, remaining: int | None = None, fault: bool = False, at: int = AT
) -> Decision:
    request = VoidRequest(
        reference="tx_v", payment_intent="pi_1", authorization_reference="tx_a", remaining_minor=remaining
    )
    return decisions.void(request, authorization=authorization, declined_by_fault=fault, at_micros=at)


def after(decision: Decision) -> Booking:
    assert decision.authorization is not None
    return decision.authorization


HELD = authorized()
CHALLENGED = authorized("tok_threeDSecureRequired")
DECLINED = authorized("tok_chargeDeclined")
CAPTURED = after(captured(HELD))
VOIDED = after(voided(HELD))
CHALLENGE_VOIDED = after(voided(CHALLENGED))
DROPPED = authorized("tok_authorizationGone")
REDUCED = after(voided(HELD, remaining=400))


def test_an_approval_holds_the_money_for_seven_days() -> None:
    assert (HELD.status, HELD.hold, HELD.capture_before_micros) == (Status.approved, Hold.held, EXPIRED_AT)
    assert HELD.processor_reference.startswith("cn_")


@pytest.mark.parametrize(
    ("token", "status", "code", "decline_code"),
    [
        ("tok_visa", "approved", None, None),
        ("tok_chargeDeclined", "declined", "card_declined", "generic_decline"),
        ("tok_chargeDeclinedInsufficientFunds", "declined", "card_declined", "insufficient_funds"),
        ("tok_chargeDeclinedProcessingError", "declined", "processing_error", None),
        ("tok_chargeDeclinedExpiredCard", "declined", "card_declined", "expired_card"),
        ("tok_chargeDeclinedIncorrectCvc", "declined", "card_declined", "incorrect_cvc"),
        ("tok_threeDSecureRequired", "challenge", None, None),
        ("tok_partialApproval", "approved", None, None),
        ("tok_shortHold", "approved", None, None),
        ("tok_timeoutThenApproved", "approved", None, None),
        ("tok_timeoutThenDeclined", "declined", "card_declined", "generic_decline"),
        ("tok_arrivesLate", "approved", None, None),
        ("tok_slow", "approved", None, None),
        ("tok_connectionReset", "approved", None, None),
        ("tok_nobody", "declined", "invalid_token", None),
    ],
)
def test_each_card_has_its_verdict(token: str, status: str, code: str | None, decline_code: str | None) -> None:
    booking = authorized(token)
    assert (booking.status, booking.code, booking.decline_code) == (status, code, decline_code)
    assert (booking.hold is Hold.held) is (status == "approved")


@pytest.mark.parametrize(("amount", "approved"), [(1000, 500), (1001, 500), (1, 1)])
def test_a_partial_approval_holds_half_of_the_amount(amount: int, approved: int) -> None:
    request = AuthorizationRequest(
        reference="tx_a", payment_intent="pi_1", amount_minor=amount, currency="usd", token="tok_partialApproval"
    )
    booking = decisions.authorize(
        request,
        card=CARDS[request.token],
        voided_before_arrival=False,
        declined_by_fault=False,
        at_micros=AT,
    )
    assert (booking.amount_minor, booking.requested_minor, booking.hold) == (approved, amount, Hold.held)


def test_a_hold_that_was_dropped_is_approved_and_gone() -> None:
    assert (DROPPED.status, DROPPED.capture_before_micros) == (Status.approved, EXPIRED_AT)
    for decision in (captured(DROPPED), voided(DROPPED), voided(DROPPED, remaining=1)):
        assert decision.authorization is None
        assert decision.booking.code == Code.authorization_expired
        assert decision.booking.authorization_state is AuthorizationState.gone


def test_where_nobody_can_be_challenged_the_card_is_declined() -> None:
    request = AuthorizationRequest(
        reference="tx_a", payment_intent="pi_1", amount_minor=5, currency="usd", token="tok_threeDSecureRequired"
    )
    booking = decisions.authorize(
        request,
        card=CARDS[request.token],
        voided_before_arrival=False,
        declined_by_fault=False,
        at_micros=AT,
        can_challenge=False,
    )
    assert (booking.status, booking.code, booking.hold) == (
        Status.declined,
        Code.authentication_required,
        Hold.none,
    )


def test_a_void_of_a_part_leaves_the_rest_held() -> None:
    decision = voided(HELD, remaining=400)
    assert (decision.booking.status, decision.booking.amount_minor) == (Status.approved, 600)
    assert (REDUCED.amount_minor, REDUCED.requested_minor, REDUCED.hold) == (400, 1000, Hold.held)
    assert captured(REDUCED, amount=401).booking.code == Code.amount_exceeds_authorized
    assert captured(REDUCED, amount=400).booking.status is Status.approved
    assert voided(REDUCED).booking.amount_minor == 400


@pytest.mark.parametrize(
    ("authorization", "remaining", "code", "state"),
    [
        (HELD, 1000, Code.amount_exceeds_authorized, "open"),
        (CHALLENGED, 1, Code.authorization_not_approved, "open"),
        (CAPTURED, 1, Code.authorization_captured, "captured"),
        (VOIDED, 1, Code.authorization_voided, "gone"),
        (None, 1, Code.authorization_not_found, "gone"),
    ],
)
def test_a_void_of_a_part_is_refused_by_name(
    authorization: Booking | None, remaining: int, code: Code, state: str
) -> None:
    decision = voided(authorization, remaining=remaining)
    assert decision.authorization is None
    assert (decision.booking.code, decision.booking.authorization_state) == (code, state)


def test_a_void_that_came_first_refuses_even_a_challenge() -> None:
    booking = authorized("tok_threeDSecureRequired", voided=True)
    assert (booking.status, booking.code) == (Status.declined, Code.voided_before_arrival)


def test_chance_declines_what_would_have_been_approved() -> None:
    assert authorized(fault=True).code == "card_declined"
    assert captured(HELD, fault=True).booking.authorization_state is AuthorizationState.open
    assert voided(HELD, fault=True).booking.authorization_state is AuthorizationState.open
    assert captured(HELD, fault=True).authorization is None
    # An acknowledged void of what has not come is evidence, so chance does not touch it.
    assert voided(None, fault=True).booking.status is Status.approved


@pytest.mark.parametrize(
    ("decision", "code", "state"),
    [
        (captured(None), Code.authorization_not_found, "gone"),
        (captured(DECLINED), Code.authorization_declined, "gone"),
        (captured(CHALLENGED), Code.authorization_not_approved, "open"),
        (captured(VOIDED), Code.authorization_voided, "gone"),
        (captured(CHALLENGE_VOIDED), Code.authorization_voided, "gone"),
        (captured(CAPTURED), Code.authorization_captured, "captured"),
        (captured(CAPTURED, at=EXPIRED_AT), Code.authorization_captured, "captured"),
        (captured(HELD, at=EXPIRED_AT), Code.authorization_expired, "gone"),
        (captured(HELD, amount=1001), Code.amount_exceeds_authorized, "open"),
        (captured(HELD, currency="eur"), Code.currency_mismatch, "open"),
    ],
)
def test_a_capture_is_refused_by_name(decision: Decision, code: Code, state: str) -> None:
    assert decision.authorization is None
    assert decision.booking.status is Status.declined
    assert (decision.booking.code, decision.booking.authorization_state) == (code, state)


def test_a_partial_capture_is_final() -> None:
    decision = captured(HELD, amount=400, at=EXPIRED_AT - 1)
    assert (decision.booking.status, decision.booking.amount_minor) == (Status.approved, 400)
    assert captured(after(decision), amount=600).booking.code is Code.authorization_captured
    assert voided(after(decision)).booking.authorization_state is AuthorizationState.captured


@pytest.mark.parametrize(
    ("authorization", "at", "code", "state"),
    [
        (DECLINED, AT, Code.authorization_declined, "gone"),
        (VOIDED, AT, Code.authorization_voided, "gone"),
        (CHALLENGE_VOIDED, AT, Code.authorization_voided, "gone"),
        (CAPTURED, AT, Code.authorization_captured, "captured"),
        (HELD, EXPIRED_AT, Code.authorization_expired, "gone"),
    ],
)
def test_a_void_is_refused_by_name(authorization: Booking, at: int, code: Code, state: str) -> None:
    decision = voided(authorization, at=at)
    assert decision.authorization is None
    assert (decision.booking.code, decision.booking.authorization_state) == (code, state)


def test_a_void_books_what_it_releases() -> None:
    assert (voided(HELD).booking.amount_minor, voided(HELD).booking.currency) == (1000, "usd")
    assert (voided(None).booking.amount_minor, voided(None).booking.currency) == (None, None)


def test_a_void_closes_an_open_challenge() -> None:
    assert voided(CHALLENGED).booking.status is Status.approved
    assert (CHALLENGE_VOIDED.status, CHALLENGE_VOIDED.code) == (Status.declined, Code.voided)


def test_a_challenge_is_passed_or_failed() -> None:
    passed = decisions.complete_challenge(CHALLENGED, passed=True, at_micros=AT + 5)
    assert (passed.status, passed.hold, passed.at_micros) == (Status.approved, Hold.held, AT + 5)
    assert passed.capture_before_micros == EXPIRED_AT + 5
    failed = decisions.complete_challenge(CHALLENGED, passed=False, at_micros=AT + 5)
    assert (failed.status, failed.hold, failed.code) == (Status.declined, Hold.none, Code.authentication_failed)


def test_a_network_that_does_not_deduplicate_holds_again() -> None:
    second = decisions.hold_again(HELD, hold_number=2, at_micros=AT + 7)
    assert second.status is Status.approved
    assert second.processor_reference != HELD.processor_reference
    assert second.capture_before_micros == EXPIRED_AT + 7
    assert decisions.hold_again(DECLINED, hold_number=2, at_micros=AT) == DECLINED
    assert decisions.hold_again(CHALLENGED, hold_number=2, at_micros=AT) == CHALLENGED


@pytest.mark.parametrize("first", [VOIDED, CHALLENGE_VOIDED])
def test_a_void_stands_against_the_second_hold_too(first: Booking) -> None:
    second = decisions.hold_again(first, hold_number=2, at_micros=AT)
    assert (second.status, second.code) == (Status.declined, Code.voided_before_arrival)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("capture"), st.integers(1, 1500), st.booleans()),
        st.tuples(st.just("void"), st.just(0), st.booleans()),
        st.tuples(st.just("challenge"), st.just(0), st.booleans()),
    ),
    max_size=8,
)


@given(token=st.sampled_from(sorted(CARDS)), steps=STEPS, hours=st.lists(st.integers(0, 100), min_size=8, max_size=8))
def test_money_moves_once_and_never_more_than_was_held(
    token: str, steps: list[tuple[str, int, bool]], hours: list[int]
) -> None:
    authorization, at = authorized(token), AT
    approved: list[Booking] = []
    for (step, amount, flag), wait_hours in zip(steps, hours, strict=False):
        at += wait_hours * 3_600_000_000
        if step == "challenge":
            if authorization.hold is Hold.challenged:
                authorization = decisions.complete_challenge(authorization, passed=flag, at_micros=at)
            continue
        before = authorization
        decision = (
            captured(before, amount=amount, fault=flag, at=at)
            if step == "capture"
            else voided(before, fault=flag, at=at)
        )
        if decision.booking.status is Status.approved:
            approved.append(decision.booking)
            authorization = after(decision)
            assert replace(authorization, hold=before.hold) == before or before.hold is Hold.challenged
        else:
            assert decision.authorization is None
    assert len(approved) <= 1
    assert all(booking.amount_minor is not None and booking.amount_minor <= 1000 for booking in approved)
