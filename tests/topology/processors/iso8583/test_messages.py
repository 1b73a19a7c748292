"""What each call becomes on the wire."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from schemas.bounds import AMOUNT_MINOR_MAX
from schemas.identifiers import PaymentIntentId
from schemas.money import CURRENCIES
from schemas.processing import CallKind, InFlightCall
from tests.topology.processors.iso8583.calls import ACQUIRER, asked, numbers, transaction_id
from topology.processors import Cause
from topology.processors.iso8583.currencies import NUMERIC, by_number
from topology.processors.iso8583.frames import frame_of, message_in
from topology.processors.iso8583.masking import Message
from topology.processors.iso8583.messages import (
    Acquirer,
    NotRepresentable,
    network_message,
    replacement_amounts,
    request_of,
)

INTENT = PaymentIntentId(f"pi_{1:032x}")
COMMON = {
    3: "000000",
    4: "000000001999",
    7: "1126043340",
    12: "043340",
    13: "1126",
    32: "00000000001",
    41: "PAYSTRM1",
    42: "PAYSTREAM      ",
    49: "840",
    63: INTENT,
}
DE90 = "0100" + "000001" + "1126043340" + "00000000001" + "00000000000"


def message(entry: InFlightCall, *, acquirer: Acquirer = ACQUIRER, approval_code: str | None = None) -> Message:
    return request_of(entry, payment_intent_id=INTENT, acquirer=acquirer, approval_code=approval_code)


def own(number: int) -> dict[int, str]:
    return {11: f"{number:06}", 37: f"{number:012}", 62: transaction_id(number)}


def test_an_authorization() -> None:
    said = {**COMMON, **own(1), 22: "810", 25: "59", 48: "tok_visa"}
    assert message(asked()) == Message("0100", said)


def test_a_capture_of_less() -> None:
    entry = asked(CallKind.capture, number=2, amount_minor=500, authorized_minor=1_999, approval_code="A1B2C3")
    said = {**COMMON, **own(2), 4: "000000000500", 38: "A1B2C3", 90: DE90}
    assert message(entry) == Message("0220", said)


def test_a_reversal() -> None:
    assert message(asked(CallKind.void, number=3)) == Message("0400", {**COMMON, **own(3), 90: DE90})


def test_a_reversal_of_less_names_what_is_left() -> None:
    entry = asked(CallKind.void, number=3, amount_minor=499, authorized_minor=1_999)
    assert message(entry) == Message("0400", {**COMMON, **own(3), 90: DE90, 95: "000000001500" + "0" * 30})


def test_the_amount_that_a_reversal_begins_from_is_not_always_on_record() -> None:
    data = {**numbers(3), **{f"authorization.{name}": value for name, value in numbers(1).items()}}
    assert message(asked(CallKind.void, number=3, data=data)) == message(asked(CallKind.void, number=3))


@pytest.mark.parametrize(
    ("kind", "family", "again", "mti"),
    [
        ("capture", "0400", {}, "0220"),
        ("capture", "0400", {"repeat": True}, "0221"),
        ("capture", "0420", {"restored": True}, "0221"),
        ("void", "0400", {"restored": True}, "0401"),
        ("void", "0400", {"repeat": True}, "0401"),
        ("void", "0420", {}, "0420"),
        ("void", "0420", {"repeat": True, "restored": True}, "0421"),
    ],
)
def test_the_repeat_differs_by_its_type_alone(kind: str, family: Any, again: dict[str, Any], mti: str) -> None:
    acquirer = dataclasses.replace(ACQUIRER, reversal_family=family)
    first = message(asked(CallKind(kind), number=4), acquirer=acquirer)
    repeat = message(asked(CallKind(kind), number=4, **again), acquirer=acquirer)
    assert repeat == Message(mti, first.unmasked())


@pytest.mark.parametrize("again", [{"repeat": True}, {"restored": True}])
def test_an_authorization_has_no_repeat(again: dict[str, Any]) -> None:
    with pytest.raises(NotRepresentable) as refused:
        message(asked(**again))
    assert refused.value.cause is Cause.restarted


def test_an_approval_code_that_came_late_is_used_where_none_is_on_record() -> None:
    assert message(asked(CallKind.void), approval_code="LATE").get(38) == "LATE  "
    assert message(asked(CallKind.void, approval_code="A1B2C3"), approval_code="LATE").get(38) == "A1B2C3"


@pytest.mark.parametrize(
    ("entry", "cause"),
    [
        (asked(currency="xxx"), Cause.currency_not_representable),
        (asked(currency="USD"), Cause.currency_not_representable),
        (asked(amount_minor=1_000_000_000_000), Cause.amount_not_representable),
        (asked(amount_minor=-1), Cause.amount_not_representable),
        (asked(data={"de7": "1126043340", "de11": "000001"}), Cause.numbers_missing),
        (asked(CallKind.capture, data=numbers(1)), Cause.numbers_missing),
        (asked(CallKind.void, data=numbers(1)), Cause.numbers_missing),
    ],
)
def test_what_cannot_be_said_is_refused_by_name(entry: InFlightCall, cause: Cause) -> None:
    with pytest.raises(NotRepresentable) as refused:
        message(entry)
    assert refused.value.cause is cause


def test_the_largest_amount_that_ingress_takes_is_said_in_full() -> None:
    assert message(asked(amount_minor=AMOUNT_MINOR_MAX)).get(4) == "999999999999"
    assert AMOUNT_MINOR_MAX == 999_999_999_999


@pytest.mark.parametrize("kind", [CallKind.authorize, CallKind.capture, CallKind.void])
def test_every_message_survives_the_wire(kind: CallKind) -> None:
    sent = message(asked(kind, number=2))
    assert message_in(frame_of(sent)[2:]) == sent


def test_a_shorter_acquirer_id_is_filled_up_in_the_original_data_elements_only() -> None:
    acquirer = Acquirer(id="77", terminal_id="PAYSTRM1", merchant_id="PAYSTREAM")
    said = message(asked(CallKind.void), acquirer=acquirer)
    assert (said.get(32), said.get(90)) == ("77", "0100" + "000001" + "1126043340" + "00000000077" + "0" * 11)


def test_network_management() -> None:
    said = network_message("301", de7="1126043340", de11="000009", acquirer=ACQUIRER)
    assert said == Message("0800", {7: "1126043340", 11: "000009", 32: "00000000001", 41: "PAYSTRM1", 70: "301"})


def test_replacement_amounts_fill_the_field() -> None:
    assert len(replacement_amounts(0)) == 42


@pytest.mark.parametrize(
    "wrong",
    [{"id": ""}, {"id": "1" * 12}, {"id": "1a"}, {"terminal_id": "SHORT"}, {"merchant_id": ""}, {"merchant_id": "ä"}],
)
def test_an_acquirer_that_fits_no_message_is_refused_at_start(wrong: dict[str, str]) -> None:
    known = {"id": "1", "terminal_id": "PAYSTRM1", "merchant_id": "M"}
    with pytest.raises(ValueError, match="is"):
        Acquirer(**{**known, **wrong})  # type: ignore[arg-type]


def test_every_currency_that_is_taken_has_one_number() -> None:
    assert NUMERIC.keys() == CURRENCIES.keys()
    assert len(set(NUMERIC.values())) == len(NUMERIC)
    assert all(by_number(number) == code for code, number in NUMERIC.items())
    # By ISO 4217, List One.
    known = {"usd": "840", "eur": "978", "jpy": "392", "gbp": "826", "kwd": "414", "aud": "036", "all": "008"}
    assert known.items() <= NUMERIC.items()
