"""What an answer means, by its status and body."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas.identifiers import TransactionId
from schemas.processing import AuthorizationState, CallKind, Outcome
from schemas.times import Micros
from topology.processors import Answer, Cause
from topology.processors.http_answers import HttpAnswer, read_answer, read_lookup

KEY = TransactionId("tx_" + "1" * 32)
AUTHORIZATION: dict[str, Any] = {"reference": KEY, "type": "authorization"}
CAPTURE: dict[str, Any] = {"reference": KEY, "type": "capture"}
VOID: dict[str, Any] = {"reference": KEY, "type": "void"}
MONEY: dict[str, Any] = {"processor_reference": "cn_1", "amount_minor": 500, "currency": "jpy"}


def read(body: dict[str, Any], kind: CallKind = CallKind.authorize, status: int = 200) -> Answer:
    return read_answer(HttpAnswer(status, json.dumps(body).encode()), kind=kind, key=KEY)


def test_approved() -> None:
    body = AUTHORIZATION | MONEY | {"status": "approved", "capture_before": "2026-01-01T00:00:00.5Z"}
    assert read(body) == Answer(
        outcome=Outcome.approved,
        amount_minor=500,
        currency="jpy",
        processor_reference="cn_1",
        capture_before=Micros(1_767_225_600_500_000),
    )
    assert read(CAPTURE | MONEY | {"status": "approved"}, CallKind.capture).outcome is Outcome.approved
    void = read(VOID | {"status": "approved", "processor_reference": "cn_2"}, CallKind.void)
    assert void == Answer(outcome=Outcome.approved, processor_reference="cn_2")


def test_declined() -> None:
    body = AUTHORIZATION | {"status": "declined", "code": "card_declined", "decline_code": "insufficient_funds"}
    assert read(body) == Answer(outcome=Outcome.declined, code="card_declined", decline_code="insufficient_funds")
    body = AUTHORIZATION | {"status": "declined", "code": "processing_error", "decline_code": None}
    assert read(body) == Answer(outcome=Outcome.declined, code="processing_error")
    body = AUTHORIZATION | {"status": "declined", "code": "invalid_token"}
    assert read(body).code == "invalid_payment_method"
    body = AUTHORIZATION | {"status": "declined", "code": "card_declined", "decline_code": "a_new_reason"}
    assert read(body).decline_code == "generic_decline"


def test_a_refused_capture_or_void_tells_of_the_authorization() -> None:
    body = CAPTURE | {"status": "declined", "code": "authorization_expired", "authorization_state": "gone"}
    assert read(body, CallKind.capture) == Answer(
        outcome=Outcome.declined, code="authorization_expired", authorization_state=AuthorizationState.gone
    )
    body = VOID | {"status": "declined", "code": "authorization_captured", "authorization_state": "captured"}
    assert read(body, CallKind.void).authorization_state is AuthorizationState.captured


def test_challenge() -> None:
    body = AUTHORIZATION | {"status": "challenge", "processor_reference": "cn_3", "url": "http://n/challenges/cn_3"}
    assert read(body) == Answer(
        outcome=Outcome.challenge, processor_reference="cn_3", challenge_url="http://n/challenges/cn_3"
    )


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (AUTHORIZATION | MONEY | {"status": "approved", "reference": "tx_other"}, Cause.mismatched_answer),
        (CAPTURE | MONEY | {"status": "approved"}, Cause.mismatched_answer),
        (AUTHORIZATION | {"status": "approved"}, Cause.unreadable_answer),
        (AUTHORIZATION | MONEY | {"status": "approved", "amount_minor": None}, Cause.unreadable_answer),
        (AUTHORIZATION | MONEY | {"status": "approved", "amount_minor": "500"}, Cause.unreadable_answer),
        (AUTHORIZATION | MONEY | {"status": "approved", "amount_minor": 5.5}, Cause.unreadable_answer),
        (AUTHORIZATION | MONEY | {"status": "approved", "amount_minor": True}, Cause.unreadable_answer),
        (AUTHORIZATION | MONEY | {"status": "approved", "amount_minor": -1}, Cause.unreadable_answer),
        (AUTHORIZATION | MONEY | {"status": "approved", "currency": "JPY"}, Cause.unreadable_answer),
        (AUTHORIZATION | MONEY | {"status": "approved", "capture_before": "tomorrow"}, Cause.unreadable_answer),
        (
            AUTHORIZATION | MONEY | {"status": "approved", "capture_before": "2026-01-01T00:00:00"},
            Cause.unreadable_answer,
        ),
        (AUTHORIZATION | {"status": "declined"}, Cause.unknown_code),
        (AUTHORIZATION | {"status": "declined", "code": "09"}, Cause.unknown_code),
        (AUTHORIZATION | {"status": "perhaps"}, Cause.unknown_code),
        (AUTHORIZATION | {"status": "challenge", "processor_reference": "cn_3"}, Cause.unreadable_answer),
        (
            AUTHORIZATION | {"status": "challenge", "processor_reference": "cn_3", "url": "javascript:alert(1)"},
            Cause.unreadable_answer,
        ),
        ({"status": "approved"}, Cause.unreadable_answer),
        ({}, Cause.unreadable_answer),
    ],
)
def test_what_is_not_understood_is_unknown(body: dict[str, Any], cause: Cause) -> None:
    assert read(body) == Answer(outcome=Outcome.unknown, code=cause)


def test_only_an_authorization_can_be_challenged() -> None:
    body = CAPTURE | {"status": "challenge", "processor_reference": "cn_3", "url": "http://n/c"}
    assert read(body, CallKind.capture).code == Cause.unknown_code


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"\xff", b'{"reference": 1}', b"<html>"])
def test_bytes_that_are_no_answer(body: bytes) -> None:
    answer = read_answer(HttpAnswer(200, body), kind=CallKind.void, key=KEY)
    assert answer == Answer(outcome=Outcome.unknown, code=Cause.unreadable_answer)


def test_not_found_is_the_network_s_own_word() -> None:
    def look_up(status: int, body: bytes) -> Answer:
        return read_lookup(HttpAnswer(status, body), kind=CallKind.authorize, key=KEY)

    assert look_up(404, b'{"error":"not_found"}') == Answer(outcome=Outcome.not_found)
    assert look_up(404, b"<h1>404</h1>").outcome is Outcome.unknown
    assert look_up(404, b'{"error":"no_such_page"}').outcome is Outcome.unknown
    found = json.dumps(AUTHORIZATION | MONEY | {"status": "approved"}).encode()
    assert look_up(200, found).outcome is Outcome.approved


def test_not_found_is_no_answer_to_a_call() -> None:
    assert read({"error": "not_found"}, status=404).code == Cause.unexpected_status
