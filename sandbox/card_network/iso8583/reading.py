"""What a frame asks: data elements in, the network's own types of request out.

Reads and writes nothing; `server` drives it. Everything that the profile of the link (docs/iso8583.md) says of a
request is checked, so that the network finds out about a caller who keeps to it only by half; such a request is
answered with 30 and not booked. So is one that holds card data, in an element of its own or anywhere else.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from iso4217 import Currency

from sandbox.card_network.arrivals import IsoMessage
from sandbox.card_network.booking import Kind
from sandbox.card_network.cards import holds_card_number
from sandbox.card_network.iso8583.frames import Frame
from sandbox.card_network.requests import AuthorizationRequest, CaptureRequest, Request, VoidRequest
from sandbox.card_network.traces import Original, Trace

__all__ = ["KINDS", "NETWORK_MANAGEMENT", "BadMessage", "IsoRequest", "acquirer_of", "is_well_formed", "read_request"]

KINDS: dict[str, Kind] = {
    "0100": Kind.authorization,
    "0220": Kind.capture,
    "0221": Kind.capture,
    "0400": Kind.void,
    "0401": Kind.void,
    "0420": Kind.void,
    "0421": Kind.void,
}
NETWORK_MANAGEMENT = "0800"

# Account number, expiry, tracks 2 and 1, PIN block, chip data: none of them has a place on this link.
_CARD_DATA = frozenset({2, 14, 35, 36, 45, 52, 55})

_REFERENCE = "[A-Za-z0-9_.:-]{1,255}"
_PATTERNS: dict[int, re.Pattern[str]] = {
    number: re.compile(pattern)
    for number, pattern in {
        3: "000000",
        4: "[0-9]{12}",
        7: "(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])([01][0-9]|2[0-3])([0-5][0-9]){2}",
        11: "[0-9]{6}",
        12: "([01][0-9]|2[0-3])([0-5][0-9]){2}",
        13: "(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])",
        22: "810",
        25: "59",
        32: "[0-9]{1,11}",
        37: "[0-9A-Za-z]{12}",
        38: "[0-9A-Za-z ]{6}",
        41: "[ -~]{8}",
        42: "[ -~]{15}",
        48: "[ -~]{1,255}",
        49: "[0-9]{3}",
        62: _REFERENCE,
        63: _REFERENCE,
        70: "[0-9]{3}",
        # Type, DE 11, DE 7 and DE 32 of the authorization, and DE 33, which it does not have.
        90: "0100[0-9]{27}0{11}",
        # What remains of the amount; of the amount in the settlement currency and of the fees nothing is said.
        95: "[0-9]{24}([CD0][0-9]{8}){2}",
    }.items()
}
_ALWAYS = (7, 11, 32, 37, 41, 62, 63)
_REQUIRED: dict[Kind, tuple[int, ...]] = {
    Kind.authorization: (3, 4, 12, 13, 22, 25, 42, 48, 49, *_ALWAYS),
    Kind.capture: (3, 4, 49, 90, *_ALWAYS),
    Kind.void: (90, *_ALWAYS),
}


class BadMessage(Exception):
    """The request does not keep to the profile. Says nothing of what stands in it."""


@dataclass(frozen=True, slots=True)
class IsoRequest:
    """What was asked, and what it is known by."""

    request: Request
    message: IsoMessage


def read_request(frame: Frame) -> IsoRequest:
    """The request in a frame of one of `KINDS`; raises BadMessage."""
    kind, elements = KINDS[frame.mti], frame.elements
    if not elements.keys().isdisjoint(_CARD_DATA):
        raise BadMessage("card data in an element of its own")
    if any(holds_card_number(value) for value in elements.values()):
        raise BadMessage("a card number in a text")
    if any(number not in elements for number in _REQUIRED[kind]):
        raise BadMessage("an element is missing")
    if not all(is_well_formed(number, value) for number, value in elements.items()):
        raise BadMessage("an element is malformed")
    trace = Trace(elements[7], elements[11], acquirer_of(elements[32]), elements[41], elements[37])
    original = None if kind is Kind.authorization else _original(elements)
    merchant = elements.get(42, "").strip() or None
    return IsoRequest(_request(kind, elements, original), IsoMessage(trace=trace, merchant=merchant, original=original))


def is_well_formed(number: int, value: str) -> bool:
    """Whether a data element is what the profile says; one that it does not name may be anything."""
    pattern = _PATTERNS.get(number)
    return pattern is None or pattern.fullmatch(value) is not None


def acquirer_of(element: str) -> str:
    """DE 32 as it is compared: with all its zeros, as it stands in DE 90."""
    return element.zfill(11)


def _original(elements: Mapping[int, str]) -> Original:
    named = elements[90]
    return Original(transmitted=named[10:20], trace=named[4:10], acquirer=named[20:31], terminal=elements[41])


def _request(kind: Kind, elements: Mapping[int, str], original: Original | None) -> Request:
    reference, payment_intent = elements[62], elements[63]
    if kind is Kind.authorization:
        return AuthorizationRequest(
            reference=reference,
            payment_intent=payment_intent,
            amount_minor=_amount(elements[4]),
            currency=_currency(elements[49]),
            token=elements[48],
        )
    assert original is not None
    if kind is Kind.capture:
        return CaptureRequest(
            reference=reference,
            payment_intent=payment_intent,
            authorization_reference=original.name,
            amount_minor=_amount(elements[4]),
            currency=_currency(elements[49]),
        )
    replacement = int(elements[95][:12]) if 95 in elements else 0
    return VoidRequest(
        reference=reference,
        payment_intent=payment_intent,
        authorization_reference=original.name,
        remaining_minor=replacement or None,
    )


def _amount(element: str) -> int:
    amount_minor = int(element)
    if amount_minor == 0:
        raise BadMessage("no amount")
    return amount_minor


def _currency(element: str) -> str:
    code = _currencies().get(element)
    if code is None:
        raise BadMessage("an unknown currency")
    return code


@cache
def _currencies() -> dict[str, str]:
    """Lower-case codes of ISO 4217 by their number, three digits."""
    return {f"{currency.number:03}": currency.code.lower() for currency in Currency if currency.number is not None}
