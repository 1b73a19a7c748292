import json

import pytest

from sandbox.card_network.decisions import authorize, capture, void
from sandbox.card_network.requests import (
    AuthorizationRequest,
    BadRequest,
    CaptureRequest,
    VoidRequest,
    decode,
    is_same_request,
)

GOOD: dict[str, object] = {
    "reference": "tx_1",
    "payment_intent": "pi_1",
    "amount_minor": 1999,
    "currency": "usd",
    "token": "tok_visa",
}


def test_a_good_request_is_read() -> None:
    request = decode(json.dumps(GOOD).encode(), AuthorizationRequest)
    assert (request.reference, request.amount_minor, request.token) == ("tx_1", 1999, "tok_visa")


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_minor": 0},
        {"amount_minor": -1},
        {"amount_minor": 1.0},
        {"amount_minor": "1"},
        {"amount_minor": True},
        {"amount_minor": 1_000_000_000_000},
        {"currency": "USD"},
        {"currency": "us"},
        {"reference": ""},
        {"reference": "a/b"},
        {"reference": "a\u0000"},
        {"reference": "x" * 256},
        {"token": ""},
        {"token": None},
        {"token": "4242424242424242"},
        {"reference": "4242-4242-4242-4242"},
        {"4242424242424242": "x"},
        {"notify_url": "file:///etc/passwd"},
        {"notify_url": "http://"},
        {"notify_url": "http://[::1"},
        {"cvc": "123"},
    ],
)
def test_a_bad_field_is_refused_without_an_echo(changes: dict[str, object]) -> None:
    with pytest.raises(BadRequest) as caught:
        decode(json.dumps({**GOOD, **changes}).encode(), AuthorizationRequest)
    assert "4242" not in caught.value.detail


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b"{}"])
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        decode(body, VoidRequest)


def test_the_same_request_is_known_again() -> None:
    asked = AuthorizationRequest(
        reference="tx_1", payment_intent="pi_1", amount_minor=5, currency="usd", token="tok_visa"
    )
    booking = authorize(asked, card=None, voided_before_arrival=False, declined_by_fault=False, at_micros=0)
    elsewhere = AuthorizationRequest(
        reference="tx_1",
        payment_intent="pi_1",
        amount_minor=5,
        currency="usd",
        token="tok_visa",
        notify_url="http://127.0.0.1:1/",
    )
    other_token = AuthorizationRequest(
        reference="tx_1", payment_intent="pi_1", amount_minor=5, currency="usd", token="tok_slow"
    )
    assert is_same_request(asked, booking)
    assert is_same_request(elsewhere, booking)
    assert not is_same_request(other_token, booking)


def test_a_capture_and_a_void_under_one_reference_are_not_the_same() -> None:
    taken = CaptureRequest(
        reference="tx_2", payment_intent="pi_1", authorization_reference="tx_1", amount_minor=5, currency="usd"
    )
    voided = VoidRequest(reference="tx_2", payment_intent="pi_1", authorization_reference="tx_1")
    capture_booking = capture(taken, authorization=None, declined_by_fault=False, at_micros=0).booking
    void_booking = void(voided, authorization=None, declined_by_fault=False, at_micros=0).booking
    assert is_same_request(taken, capture_booking)
    assert is_same_request(voided, void_booking)
    assert not is_same_request(taken, void_booking)
    assert not is_same_request(voided, capture_booking)
