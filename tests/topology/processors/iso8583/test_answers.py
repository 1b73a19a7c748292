"""What each answer means. The table is the profile's, line by line; what is not in it means nothing."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.identifiers import PaymentIntentId
from schemas.processing import AuthorizationState, CallKind, Outcome
from tests.topology.processors.iso8583.calls import ACQUIRER, asked, numbers
from topology.processors import Answer, Cause
from topology.processors.iso8583.answers import answer_of, approval_code
from topology.processors.iso8583.masking import Message
from topology.processors.iso8583.messages import request_of
from topology.processors.iso8583.spec import answering

GENERIC = ("card_declined", "generic_decline")
DECLINED: dict[str, tuple[str, str | None]] = {
    "01": GENERIC,
    "02": GENERIC,
    "04": GENERIC,
    "05": GENERIC,
    "07": GENERIC,
    "12": ("processing_error", None),
    "14": ("invalid_payment_method", None),
    "1A": ("authentication_required", None),
    "30": ("processing_error", None),
    "41": GENERIC,
    "43": GENERIC,
    "51": ("card_declined", "insufficient_funds"),
    "54": ("card_declined", "expired_card"),
    "57": GENERIC,
    "59": GENERIC,
    "61": GENERIC,
    "62": GENERIC,
    "63": GENERIC,
    "65": GENERIC,
    "75": GENERIC,
    "82": ("card_declined", "incorrect_cvc"),
    "91": GENERIC,
    "93": GENERIC,
    "N7": ("card_declined", "incorrect_cvc"),
}
EVERY_CODE = [f"{number:02}" for number in range(100)] + ["1A", "N7", "XA", "A1", "Z9", "n7", "1a", " 0"]
STATES = {"OPEN": AuthorizationState.open, "GONE": AuthorizationState.gone, "CAPTURED": AuthorizationState.captured}
REFUSED = {
    CallKind.capture: {
        "12": "invalid_transaction",
        "13": "amount_exceeds_authorized",
        "25": "authorization_not_found",
    },
    CallKind.void: {"12": "invalid_transaction", "21": "authorization_captured"},
}
RRN = numbers(1)["de37"]


def told(kind: CallKind, code: str = "00", **other: Any) -> Answer:
    """What comes of an answer with this code; `de4="…"` says it otherwise, `de4=None` leaves it out."""
    request = request_of(asked(kind), payment_intent_id=PaymentIntentId("pi_1"), acquirer=ACQUIRER)
    fields = {number: request.get(number) or "" for number in (3, 4, 7, 11, 32, 37, 41, 42, 49, 62)}
    fields |= {39: code} | {int(name.removeprefix("de")): value for name, value in other.items()}
    said = {number: value for number, value in fields.items() if value is not None}
    return answer_of(kind, request=request, response=Message(answering(request.mti), said))


def unknown(cause: Cause) -> Answer:
    return Answer(outcome=Outcome.unknown, code=cause, processor_reference=RRN)


@pytest.mark.parametrize("code", EVERY_CODE)
def test_every_code_of_an_authorization(code: str) -> None:
    answer = told(CallKind.authorize, code)
    if code in ("00", "10"):
        assert (answer.outcome, answer.amount_minor, answer.currency) == (Outcome.approved, 1_999, "usd")
    elif code in DECLINED:
        name, reason = DECLINED[code]
        expected = Answer(outcome=Outcome.declined, code=name, decline_code=reason, processor_reference=RRN)
        assert answer == expected
    else:
        assert answer == unknown(Cause.unknown_code)


@pytest.mark.parametrize("kind", [CallKind.capture, CallKind.void])
@pytest.mark.parametrize("word", ["OPEN", "GONE", "CAPTURED", "VOIDED", "open", "", None])
@pytest.mark.parametrize("code", EVERY_CODE)
def test_every_code_of_a_capture_and_a_void(kind: CallKind, word: str | None, code: str) -> None:
    answer = told(kind, code, de44=word)
    if code == "00":
        assert answer.outcome is Outcome.approved
    elif code in REFUSED[kind] and word in STATES:
        assert answer == Answer(
            outcome=Outcome.declined,
            code=REFUSED[kind][code],
            authorization_state=STATES[word],
            processor_reference=RRN,
        )
    else:
        assert answer == unknown(Cause.unknown_code)


def test_an_approval_says_all_that_is_known() -> None:
    assert told(CallKind.authorize, de38="A1B2C3") == Answer(
        outcome=Outcome.approved,
        amount_minor=1_999,
        currency="usd",
        processor_reference=RRN,
        processor_data={"de38": "A1B2C3"},
    )
    captured = Answer(outcome=Outcome.approved, amount_minor=1_999, currency="usd", processor_reference=RRN)
    assert told(CallKind.capture, de38="A1B2C3") == captured
    assert told(CallKind.void) == Answer(outcome=Outcome.approved, processor_reference=RRN)


@pytest.mark.parametrize("code", ["00", "10"])
def test_another_amount_that_is_approved_is_passed_on(code: str) -> None:
    answer = told(CallKind.authorize, code, de4="000000001000")
    assert (answer.outcome, answer.amount_minor) == (Outcome.approved, 1_000)


def test_another_amount_that_is_captured_is_passed_on() -> None:
    assert told(CallKind.capture, de4="000000001000").amount_minor == 1_000
    assert told(CallKind.capture, "10", de4="000000001000") == unknown(Cause.unknown_code)


@pytest.mark.parametrize(
    ("kind", "code", "other"),
    [
        (CallKind.authorize, "00", {"de49": "978"}),
        (CallKind.authorize, "00", {"de62": "tx_other"}),
        (CallKind.authorize, "05", {"de62": "tx_other"}),
        (CallKind.authorize, "05", {"de49": "978"}),
        (CallKind.authorize, "05", {"de4": "000000001000"}),
        (CallKind.capture, "00", {"de49": "978"}),
        (CallKind.capture, "12", {"de4": "000000001000", "de44": "GONE"}),
        (CallKind.void, "00", {"de4": "000000001000"}),
        (CallKind.void, "00", {"de62": "tx_other"}),
    ],
)
def test_what_is_not_about_our_call_says_nothing(kind: CallKind, code: str, other: dict[str, str]) -> None:
    assert told(kind, code, **other) == unknown(Cause.mismatched_answer)


@pytest.mark.parametrize("kind", [CallKind.authorize, CallKind.capture, CallKind.void])
@pytest.mark.parametrize("missing", ["de4", "de39", "de49", "de62"])
def test_what_is_not_whole_says_nothing(kind: CallKind, missing: str) -> None:
    assert told(kind, "00", **{missing: None}) == unknown(Cause.unreadable_answer)


@pytest.mark.parametrize("amount", ["00000000199a", "-00000001999", "000000001 99", "1999"])
def test_an_amount_that_is_none_says_nothing(amount: str) -> None:
    assert told(CallKind.authorize, de4=amount) == unknown(Cause.unreadable_answer)


def test_a_reversal_that_was_first_is_said_by_its_name() -> None:
    assert told(CallKind.authorize, "12", de44="VOIDED").code == "voided_before_arrival"
    assert told(CallKind.authorize, "12", de44="GONE").code == "processing_error"
    assert told(CallKind.authorize, "05", de44="VOIDED").code == "card_declined"


@pytest.mark.parametrize("code", [None, "      ", "A1B2C!", "\x00" * 6, "1234567"])
def test_an_approval_code_that_is_none_is_not_kept(code: str | None) -> None:
    assert told(CallKind.authorize, de38=code).processor_data == {}
    assert approval_code(Message("0110", {39: "05", 38: "A1B2C3"})) is None
