"""What the network answers: the rules of authorization, capture, void and challenge.

Pure: the ledger's rows and the time are arguments, and the result is what is to be written. `network` drives it.

What has become of an authorization's hold, and what moves it:

    (asked) ──▶ challenged ──passed──▶ held ──capture──▶ captured
       │             ├──────failed───▶ none   └──void───▶ voided
       ├──▶ held     └──────void─────▶ voided
       ├──▶ dropped (approved, and let go of by the bank)
       └──▶ none (declined)

A held authorization whose `capture_before` has passed is gone, which nobody writes down. A void of a part leaves the
rest held.
"""

from dataclasses import dataclass, replace

from sandbox.card_network.booking import (
    HOLD_SECONDS,
    AuthorizationState,
    Booking,
    Code,
    Hold,
    Kind,
    Status,
    processor_reference,
)
from sandbox.card_network.cards import Card, Standing, Verdict
from sandbox.card_network.requests import AuthorizationRequest, CaptureRequest, VoidRequest

__all__ = ["Decision", "authorize", "capture", "complete_challenge", "hold_again", "state_of", "void"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The new booking, and the authorization's booking as it stands afterwards where that has changed."""

    booking: Booking
    authorization: Booking | None = None


def authorize(
    request: AuthorizationRequest,
    *,
    card: Card | None,
    voided_before_arrival: bool,
    declined_by_fault: bool,
    at_micros: int,
    short_hold_seconds: float = HOLD_SECONDS,
    can_challenge: bool = True,
) -> Booking:
    """The booking of an authorization that the network sees for the first time.

    Where there is no way to challenge the customer, a card that asks for it is declined.
    """
    booking = Booking(
        reference=request.reference,
        kind=Kind.authorization,
        status=Status.declined,
        payment_intent=request.payment_intent,
        amount_minor=request.amount_minor,
        currency=request.currency,
        processor_reference=processor_reference(request.reference),
        at_micros=at_micros,
        requested_minor=request.amount_minor,
        token=request.token,
        notify_url=request.notify_url,
        hold=Hold.none,
    )
    if voided_before_arrival:
        return replace(booking, code=Code.voided_before_arrival)
    if card is None:
        return replace(booking, code=Code.invalid_token)
    if card.verdict is Verdict.declined:
        return replace(booking, code=card.code, decline_code=card.decline_code)
    if declined_by_fault:
        return replace(booking, code=Code.card_declined, decline_code="generic_decline")
    if card.verdict is Verdict.challenge:
        if not can_challenge:
            return replace(booking, code=Code.authentication_required)
        return replace(booking, status=Status.challenge, hold=Hold.challenged)
    if card.verdict is Verdict.partial:
        booking = replace(booking, amount_minor=max(1, request.amount_minor // 2))
    hold_seconds = short_hold_seconds if card.standing is Standing.short else HOLD_SECONDS
    approved = _held(booking, at_micros=at_micros, hold_seconds=hold_seconds)
    return replace(approved, hold=Hold.dropped) if card.standing is Standing.dropped else approved


def hold_again(first: Booking, *, hold_number: int, at_micros: int) -> Booking:
    """The answer to an authorization that was asked before, where the network does not deduplicate.

    A second hold that no row shows: the ledger keeps one row per reference and counts how often it was asked. Only
    what stands against the first stands against this one too.
    """
    if first.hold is Hold.voided:
        return replace(_declined(first), code=Code.voided_before_arrival)
    if first.status is not Status.approved:
        return first
    number = processor_reference(first.reference, hold_number=hold_number)
    return _held(replace(first, processor_reference=number), at_micros=at_micros)


def complete_challenge(authorization: Booking, *, passed: bool, at_micros: int) -> Booking:
    """The authorization after its customer's challenge; the caller has seen that the challenge is open."""
    assert authorization.hold is Hold.challenged
    decided = replace(authorization, at_micros=at_micros)
    if passed:
        return _held(decided, at_micros=at_micros)
    return replace(_declined(decided), code=Code.authentication_failed)


def capture(
    request: CaptureRequest, *, authorization: Booking | None, declined_by_fault: bool, at_micros: int
) -> Decision:
    """Take the money, once, up to what was authorized."""
    booking = Booking(
        reference=request.reference,
        kind=Kind.capture,
        status=Status.approved,
        payment_intent=request.payment_intent,
        amount_minor=request.amount_minor,
        currency=request.currency,
        processor_reference=processor_reference(request.reference),
        at_micros=at_micros,
        authorization_reference=request.authorization_reference,
    )
    refusal = _capture_refusal(request, authorization, at_micros)
    if refusal is None and declined_by_fault:
        refusal = Code.processing_error
    if refusal is not None:
        return Decision(booking=_refused(booking, refusal, state_of(authorization, at_micros)))
    assert authorization is not None
    return Decision(booking=booking, authorization=replace(authorization, hold=Hold.captured))


def void(request: VoidRequest, *, authorization: Booking | None, declined_by_fault: bool, at_micros: int) -> Decision:
    """Release the hold or a part of it, or close its open challenge. One that has not arrived is refused when it comes.

    Of one that has not arrived no part can be released: nobody knows how much there is.
    """
    booking = Booking(
        reference=request.reference,
        kind=Kind.void,
        status=Status.approved,
        payment_intent=request.payment_intent,
        amount_minor=authorization.amount_minor if authorization else None,
        currency=authorization.currency if authorization else None,
        processor_reference=processor_reference(request.reference),
        at_micros=at_micros,
        remaining_minor=request.remaining_minor,
        authorization_reference=request.authorization_reference,
    )
    if authorization is None:
        if request.remaining_minor is None:
            return Decision(booking=booking)
        return Decision(booking=_refused(booking, Code.authorization_not_found, state_of(None, at_micros)))
    refusal = _void_refusal(request, authorization, at_micros)
    if refusal is None and declined_by_fault:
        refusal = Code.processing_error
    if refusal is not None:
        return Decision(booking=_refused(booking, refusal, state_of(authorization, at_micros)))
    if authorization.hold is Hold.challenged:
        closed = replace(_declined(authorization), code=Code.voided, at_micros=at_micros)
        return Decision(booking=booking, authorization=replace(closed, hold=Hold.voided))
    if request.remaining_minor is not None:
        assert authorization.amount_minor is not None
        released_minor = authorization.amount_minor - request.remaining_minor
        reduced = replace(authorization, amount_minor=request.remaining_minor)
        return Decision(booking=replace(booking, amount_minor=released_minor), authorization=reduced)
    return Decision(booking=booking, authorization=replace(authorization, hold=Hold.voided))


def state_of(authorization: Booking | None, at_micros: int) -> AuthorizationState:
    """The state of an authorization as a declined capture or void tells it."""
    if authorization is None:
        return AuthorizationState.gone
    if authorization.hold is Hold.captured:
        return AuthorizationState.captured
    return AuthorizationState.gone if _closed(authorization, at_micros) else AuthorizationState.open


def _capture_refusal(request: CaptureRequest, authorization: Booking | None, at_micros: int) -> Code | None:
    if authorization is None:
        return Code.authorization_not_found
    if authorization.hold is Hold.challenged:
        return Code.authorization_not_approved
    closed = _closed(authorization, at_micros)
    if closed is not None:
        return closed
    if request.currency != authorization.currency:
        return Code.currency_mismatch
    assert authorization.amount_minor is not None
    if request.amount_minor > authorization.amount_minor:
        return Code.amount_exceeds_authorized
    return None


def _void_refusal(request: VoidRequest, authorization: Booking, at_micros: int) -> Code | None:
    closed = _closed(authorization, at_micros)
    if closed is not None or request.remaining_minor is None:
        return closed
    if authorization.hold is Hold.challenged:
        return Code.authorization_not_approved
    assert authorization.amount_minor is not None
    return Code.amount_exceeds_authorized if request.remaining_minor >= authorization.amount_minor else None


def _closed(authorization: Booking, at_micros: int) -> Code | None:
    """Why nothing can be captured or voided any more; none while the hold or its challenge is open."""
    if authorization.hold is Hold.captured:
        return Code.authorization_captured
    if authorization.hold is Hold.voided:
        return Code.authorization_voided
    if authorization.hold is Hold.none:
        return Code.authorization_declined
    if authorization.hold is Hold.dropped:
        return Code.authorization_expired
    if authorization.capture_before_micros is not None and at_micros >= authorization.capture_before_micros:
        return Code.authorization_expired
    return None


def _held(booking: Booking, *, at_micros: int, hold_seconds: float = HOLD_SECONDS) -> Booking:
    capture_before_micros = at_micros + int(hold_seconds * 1_000_000)
    return replace(booking, status=Status.approved, hold=Hold.held, capture_before_micros=capture_before_micros)


def _declined(booking: Booking) -> Booking:
    return replace(booking, status=Status.declined, hold=Hold.none, capture_before_micros=None)


def _refused(booking: Booking, code: Code, state: AuthorizationState) -> Booking:
    return replace(booking, status=Status.declined, code=code, authorization_state=state)
