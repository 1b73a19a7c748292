"""What the card network's HTTP answers mean: status and body in, `Answer` out. Pure.

An answer counts only if it is whole, is about our reference and kind of transaction, and says something that we know.
Everything else is *unknown*, never a guess: a code that we do not know may mean anything. Bodies are not echoed.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, NamedTuple

import msgspec

from schemas.identifiers import TransactionId
from schemas.processing import AuthorizationState, CallKind, Outcome
from schemas.times import from_datetime
from topology.processors.port import Answer, Cause

__all__ = ["HttpAnswer", "read_answer", "read_lookup"]

# The network's words for our kinds of call.
_TYPES = {CallKind.authorize: "authorization", CallKind.capture: "capture", CallKind.void: "void"}

# Every code that the network declines with, and what we call it. A code that is not here is *unknown*.
_CODES = {
    code: code
    for code in (
        "card_declined",
        "processing_error",
        "authentication_failed",
        "voided",
        "voided_before_arrival",
        "authorization_not_found",
        "authorization_not_approved",
        "authorization_declined",
        "authorization_voided",
        "authorization_expired",
        "authorization_captured",
        "amount_exceeds_authorized",
        "currency_mismatch",
    )
} | {"invalid_token": "invalid_payment_method"}

_DECLINE_CODES = {code: code for code in ("generic_decline", "insufficient_funds", "expired_card", "incorrect_cvc")}

_AmountMinor = Annotated[int, msgspec.Meta(ge=0, le=999_999_999_999)]
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
_Currency = Annotated[str, msgspec.Meta(pattern="^[a-z]{3}$")]
_Url = Annotated[str, msgspec.Meta(pattern="^https?://[^ ]+$", max_length=2048)]
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class HttpAnswer(NamedTuple):
    """An answer as it came off the wire."""

    status: int
    body: bytes


class _Body(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in every 200. Fields that we do not know are ignored, for the network may say more one day."""

    reference: str
    type: str
    status: str
    processor_reference: _Text | None = None
    amount_minor: _AmountMinor | None = None
    currency: _Currency | None = None
    capture_before: _Moment | None = None
    code: _Text | None = None
    decline_code: _Text | None = None
    url: _Url | None = None
    authorization_state: AuthorizationState | None = None


class _Error(msgspec.Struct, frozen=True):
    error: str


_BODY = msgspec.json.Decoder(_Body)
_ERROR = msgspec.json.Decoder(_Error)


def read_answer(answer: HttpAnswer, *, kind: CallKind, key: TransactionId) -> Answer:
    """What a call of this kind under this key was answered."""
    if answer.status != 200:
        return _unknown(Cause.server_error if answer.status >= 500 else Cause.unexpected_status)
    try:
        body = _BODY.decode(answer.body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _unknown(Cause.unreadable_answer)
    if body.reference != key or body.type != _TYPES[kind]:
        return _unknown(Cause.mismatched_answer)
    if body.status == "approved":
        return _approved(body, kind)
    if body.status == "declined":
        return _declined(body, kind)
    if body.status == "challenge" and kind is CallKind.authorize:
        return _challenge(body)
    return _unknown(Cause.unknown_code)


def read_lookup(answer: HttpAnswer, *, kind: CallKind, key: TransactionId) -> Answer:
    """What a look-up of a call of this kind under this key was answered."""
    if answer.status == 404:
        try:
            error = _ERROR.decode(answer.body).error
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return _unknown(Cause.unreadable_answer)
        # Any other 404 comes from something on the way that does not know the path, not from the network's books.
        return Answer(outcome=Outcome.not_found) if error == "not_found" else _unknown(Cause.unexpected_status)
    return read_answer(answer, kind=kind, key=key)


def _approved(body: _Body, kind: CallKind) -> Answer:
    if body.processor_reference is None:
        return _unknown(Cause.unreadable_answer)
    # A void approves no amount; of money that is held or taken the network must say how much.
    if kind is not CallKind.void and (body.amount_minor is None or body.currency is None):
        return _unknown(Cause.unreadable_answer)
    return Answer(
        outcome=Outcome.approved,
        amount_minor=body.amount_minor,
        currency=body.currency,
        processor_reference=body.processor_reference,
        capture_before=None if body.capture_before is None else from_datetime(body.capture_before),
    )


def _declined(body: _Body, kind: CallKind) -> Answer:
    code = _CODES.get(body.code or "")
    if code is None:
        return _unknown(Cause.unknown_code)
    decline_code = None
    if kind is CallKind.authorize and body.decline_code is not None:
        # The reason behind a decline only informs; that it is one is certain.
        decline_code = _DECLINE_CODES.get(body.decline_code, "generic_decline")
    return Answer(
        outcome=Outcome.declined,
        code=code,
        decline_code=decline_code,
        authorization_state=body.authorization_state,
        processor_reference=body.processor_reference,
    )


def _challenge(body: _Body) -> Answer:
    if body.url is None or body.processor_reference is None:
        return _unknown(Cause.unreadable_answer)
    return Answer(outcome=Outcome.challenge, challenge_url=body.url, processor_reference=body.processor_reference)


def _unknown(cause: Cause) -> Answer:
    return Answer(outcome=Outcome.unknown, code=cause)
