"""What callers ask: authorization, capture and void, checked once on the way in.

Reads and writes nothing; `app` decodes, everything behind it handles these types. Strings and amounts are checked
here: an amount is an integer of minor units, a payment method is a token, and a card number in any string refuses
the whole request without an echo of it.
"""

from typing import Annotated, TypeVar
from urllib.parse import urlsplit

import msgspec

from sandbox.card_network.booking import Booking, Kind
from sandbox.card_network.cards import holds_card_number

__all__ = [
    "AuthorizationRequest",
    "BadRequest",
    "CaptureRequest",
    "Request",
    "VoidRequest",
    "decode",
    "is_same_request",
    "kind_of",
]

Reference = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.:-]{1,255}$")]
AmountMinor = Annotated[int, msgspec.Meta(ge=1, le=999_999_999_999)]
Currency = Annotated[str, msgspec.Meta(pattern="^[a-z]{3}$")]
Token = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Url = Annotated[str, msgspec.Meta(max_length=2048)]


class BadRequest(Exception):
    """The caller's request cannot be read. `detail` says why and repeats nothing of it."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class _Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    reference: Reference
    payment_intent: Reference


class AuthorizationRequest(_Asked, frozen=True, kw_only=True):
    """Hold `amount_minor`. `notify_url` is told when a customer's challenge is decided."""

    amount_minor: AmountMinor
    currency: Currency
    token: Token
    notify_url: Url | None = None


class CaptureRequest(_Asked, frozen=True, kw_only=True):
    """Take `amount_minor` of the held money; the rest is released."""

    authorization_reference: Reference
    amount_minor: AmountMinor
    currency: Currency


class VoidRequest(_Asked, frozen=True, kw_only=True):
    """Release the held money, or refuse the authorization if it comes later. With `remaining_minor`: all but that."""

    authorization_reference: Reference
    remaining_minor: AmountMinor | None = None


Request = AuthorizationRequest | CaptureRequest | VoidRequest
RequestT = TypeVar("RequestT", AuthorizationRequest, CaptureRequest, VoidRequest)

_KINDS: dict[type[Request], Kind] = {
    AuthorizationRequest: Kind.authorization,
    CaptureRequest: Kind.capture,
    VoidRequest: Kind.void,
}


def kind_of(request: Request) -> Kind:
    return _KINDS[type(request)]


def decode(body: bytes, request_type: type[RequestT]) -> RequestT:
    """The request in `body`; raises BadRequest."""
    try:
        request = msgspec.json.decode(body, type=request_type)
    except msgspec.MsgspecError as error:
        # The name of an unknown field is the caller's text, everything else in these messages is ours.
        raise BadRequest("unknown field" if "unknown field" in str(error) else str(error)) from None
    strings = [value for value in msgspec.structs.astuple(request) if isinstance(value, str)]
    if any(holds_card_number(text) for text in strings):
        raise BadRequest("a card number is not accepted here: send a token")
    if isinstance(request, AuthorizationRequest) and request.notify_url is not None:
        _check_url(request.notify_url)
    return request


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise BadRequest("notify_url is not an http or https URL")


def is_same_request(request: Request, booking: Booking) -> bool:
    """Whether `request` asks for what `booking` has under its reference. Where to call back is not part of it."""
    if kind_of(request) is not booking.kind or request.payment_intent != booking.payment_intent:
        return False
    if isinstance(request, AuthorizationRequest):
        asked = (request.amount_minor, request.currency, request.token)
        return asked == (booking.requested_minor, booking.currency, booking.token)
    if request.authorization_reference != booking.authorization_reference:
        return False
    if isinstance(request, CaptureRequest):
        return (request.amount_minor, request.currency) == (booking.amount_minor, booking.currency)
    return request.remaining_minor == booking.remaining_minor
