"""The network's bookings as answers of the ISO 8583 link: what DE 39, 38, 44 and 4 say of them.

Reads and writes nothing; `server` drives it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from sandbox.card_network.booking import Booking, Code, Kind, Status
from sandbox.card_network.cards import holds_card_number
from sandbox.card_network.iso8583.frames import Frame, encode
from sandbox.card_network.iso8583.reading import is_well_formed

__all__ = ["DUPLICATE", "FORMAT_ERROR", "OK", "SYSTEM_MALFUNCTION", "Outcome", "answer", "outcome_of", "stray"]

OK = "00"
_APPROVED_FOR_LESS = "10"
FORMAT_ERROR = "30"
DUPLICATE = "94"
SYSTEM_MALFUNCTION = "96"
_REFUSED = "12"

_ANSWERS = {
    "0100": "0110",
    "0220": "0230",
    "0221": "0230",
    "0400": "0410",
    "0401": "0410",
    "0420": "0430",
    "0421": "0430",
    "0800": "0810",
}
_ECHOED = (3, 4, 7, 11, 32, 37, 41, 42, 49, 62, 70)

_CARD_DECLINED = {"insufficient_funds": "51", "expired_card": "54", "incorrect_cvc": "82"}
_DECLINED: dict[str, str] = {
    Code.card_declined: "05",
    Code.invalid_token: "14",
    Code.authentication_required: "1A",
}
_CAPTURE_REFUSED: dict[str, str] = {Code.authorization_not_found: "25", Code.amount_exceeds_authorized: "13"}
_VOID_REFUSED: dict[str, str] = {Code.authorization_not_found: "25", Code.authorization_captured: "21"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an answer says beside the echo of the request: DE 39, 38, 44, and DE 4 where it is another amount."""

    response_code: str
    approval_code: str | None = None
    additional: str | None = None
    amount_minor: int | None = None


def outcome_of(booking: Booking) -> Outcome:
    """What the caller is told of a booking."""
    if booking.kind is Kind.authorization:
        return _outcome_of_authorization(booking)
    if booking.status is Status.approved:
        return Outcome(response_code=OK)
    refused = _CAPTURE_REFUSED if booking.kind is Kind.capture else _VOID_REFUSED
    assert booking.authorization_state is not None
    code = refused.get(booking.code or "", _REFUSED)
    return Outcome(response_code=code, additional=booking.authorization_state.upper())


def _outcome_of_authorization(booking: Booking) -> Outcome:
    if booking.status is Status.approved:
        assert booking.amount_minor is not None
        assert booking.requested_minor is not None
        is_less = booking.amount_minor < booking.requested_minor
        return Outcome(
            response_code=_APPROVED_FOR_LESS if is_less else OK,
            approval_code=_approval_code(booking),
            amount_minor=booking.amount_minor,
        )
    if booking.code == Code.voided_before_arrival:
        return Outcome(response_code=_REFUSED, additional="VOIDED")
    if booking.decline_code in _CARD_DECLINED:
        return Outcome(response_code=_CARD_DECLINED[booking.decline_code])
    return Outcome(response_code=_DECLINED.get(booking.code or "", _REFUSED))


def answer(frame: Frame, outcome: Outcome) -> bytes:
    """The answer to a frame, as it goes on the wire. Echoed is only what the profile knows, and no card number."""
    elements = {number: frame.elements[number] for number in _ECHOED if _may_be_echoed(frame.elements, number)}
    elements[39] = outcome.response_code
    if outcome.approval_code is not None:
        elements[38] = outcome.approval_code
    if outcome.additional is not None:
        elements[44] = outcome.additional
    if outcome.amount_minor is not None:
        elements[4] = f"{outcome.amount_minor:012}"
    return encode(_ANSWERS[frame.mti], elements)


def stray(frame: Frame) -> bytes:
    """A decline that looks like the answer to `frame`, and belongs to a request that nobody has made.

    Whoever takes it for their own ends otherwise than by the right answer, which follows it.
    """
    elements = {**frame.elements}
    elements[11] = f"{(int(elements[11]) + 500_000) % 1_000_000:06}"
    elements[37] = elements[37][::-1]
    elements[62] = "tx_of_nobody"
    return answer(Frame(frame.mti, elements), Outcome(response_code=_DECLINED[Code.card_declined]))


def _may_be_echoed(elements: Mapping[int, str], number: int) -> bool:
    value = elements.get(number)
    return value is not None and is_well_formed(number, value) and not holds_card_number(value)


def _approval_code(authorization: Booking) -> str:
    """DE 38: six characters, another for each hold."""
    named = f"{authorization.reference}#{authorization.processor_reference}"
    return hashlib.sha256(named.encode()).hexdigest()[:6].upper()
