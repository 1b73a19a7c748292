"""What the host's answers mean: request and answer in, `Answer` out. Pure.

An answer that was matched counts only if it is whole and about our Transaction, amount and currency; a code that is
not in the table may mean anything, so it is *unknown*. Of an answer nothing goes further but the amount, the approval
code and the names that stand here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from schemas.processing import AuthorizationState, CallKind, Outcome
from topology.processors.iso8583.currencies import by_number
from topology.processors.iso8583.masking import Message
from topology.processors.port import Answer, Cause

__all__ = ["answer_of", "approval_code"]

APPROVED: Final = "00"
PARTLY_APPROVED: Final = "10"
_REFUSED: Final = "12"
_VOIDED: Final = "VOIDED"

_GENERIC: Final = ("card_declined", "generic_decline")
_DECLINES: Final[Mapping[str, tuple[str, str | None]]] = {
    "05": _GENERIC,
    "51": ("card_declined", "insufficient_funds"),
    "54": ("card_declined", "expired_card"),
    "82": ("card_declined", "incorrect_cvc"),
    "N7": ("card_declined", "incorrect_cvc"),
    "14": ("invalid_payment_method", None),
    "12": ("processing_error", None),
    "30": ("processing_error", None),
    "1A": ("authentication_required", None),
    **dict.fromkeys(
        ("01", "02", "04", "07", "41", "43", "57", "59", "61", "62", "63", "65", "75", "91", "93"), _GENERIC
    ),
}
"""DE 39 of a declined authorization, and what we call it."""

_REFUSALS: Final[Mapping[CallKind, Mapping[str, str]]] = {
    CallKind.capture: {
        "12": "invalid_transaction",
        "13": "amount_exceeds_authorized",
        "25": "authorization_not_found",
    },
    CallKind.void: {"12": "invalid_transaction", "21": "authorization_captured"},
}
"""DE 39 of a refused capture or reversal. It decides only together with what DE 44 says of the authorization."""

_STATES: Final = {
    "OPEN": AuthorizationState.open,
    "GONE": AuthorizationState.gone,
    "CAPTURED": AuthorizationState.captured,
}

_AMOUNT = re.compile(r"[0-9]{12}", re.ASCII)
_APPROVAL_CODE = re.compile(r"[A-Za-z0-9]{1,6}", re.ASCII)


def answer_of(kind: CallKind, *, request: Message, response: Message) -> Answer:
    """What the call was answered. The response is one that was matched with the request."""
    reference = request.get(37)
    cause = _why_not(kind, request, response)
    if cause is not None:
        return Answer(outcome=Outcome.unknown, code=cause, processor_reference=reference)
    code = response.get(39) or ""
    if code == APPROVED or (code == PARTLY_APPROVED and kind is CallKind.authorize):
        return _approved(kind, response, reference)
    if kind is CallKind.authorize:
        return _declined(code, response, reference)
    return _refused(kind, code, response, reference)


def approval_code(response: Message) -> str | None:
    """DE 38 of an approved authorization."""
    found = (response.get(38) or "").strip()
    approved = response.get(39) in (APPROVED, PARTLY_APPROVED)
    return found if approved and _APPROVAL_CODE.fullmatch(found) else None


def _why_not(kind: CallKind, request: Message, response: Message) -> Cause | None:
    """Why the answer says nothing, whatever its code."""
    amount, currency, reference = response.get(4), response.get(49), response.get(62)
    if amount is None or currency is None or reference is None or not response.get(39):
        return Cause.unreadable_answer
    if not _AMOUNT.fullmatch(amount):
        return Cause.unreadable_answer
    if currency != request.get(49) or reference != request.get(62):
        return Cause.mismatched_answer
    # Only money that is held or taken can be less than was asked for. What is made of that, the fold decides.
    told = kind is not CallKind.void and response.get(39) in (APPROVED, PARTLY_APPROVED)
    return None if told or amount == request.get(4) else Cause.mismatched_answer


def _approved(kind: CallKind, response: Message, reference: str | None) -> Answer:
    code = approval_code(response)
    of_money = kind is not CallKind.void
    return Answer(
        outcome=Outcome.approved,
        amount_minor=int(response.get(4) or "") if of_money else None,
        currency=by_number(response.get(49) or "") if of_money else None,
        processor_reference=reference,
        processor_data={} if code is None or kind is not CallKind.authorize else {"de38": code},
    )


def _declined(code: str, response: Message, reference: str | None) -> Answer:
    known = _DECLINES.get(code)
    if known is None:
        return Answer(outcome=Outcome.unknown, code=Cause.unknown_code, processor_reference=reference)
    name, reason = known
    if code == _REFUSED and _word(response) == _VOIDED:
        name = "voided_before_arrival"
    return Answer(outcome=Outcome.declined, code=name, decline_code=reason, processor_reference=reference)


def _refused(kind: CallKind, code: str, response: Message, reference: str | None) -> Answer:
    name, state = _REFUSALS[kind].get(code), _STATES.get(_word(response))
    if name is None or state is None:
        return Answer(outcome=Outcome.unknown, code=Cause.unknown_code, processor_reference=reference)
    return Answer(outcome=Outcome.declined, code=name, authorization_state=state, processor_reference=reference)


def _word(response: Message) -> str:
    return (response.get(44) or "").strip()
