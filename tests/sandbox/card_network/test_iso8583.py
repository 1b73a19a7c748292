"""The network over ISO 8583: what it answers, and what its ledger then says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .iso_client import ACQUIRER, IsoClient, authorization, capture, original_of, reversal
from .network_process import NetworkProcess


@pytest.fixture
def link(network: NetworkProcess) -> Iterator[IsoClient]:
    with IsoClient(network.iso_port) as client:
        yield client


def booked(network: NetworkProcess, elements: dict[int, str]) -> dict[str, Any]:
    row = network.row(elements[62])
    assert row is not None
    return row


def test_a_sign_on_an_echo_and_a_sign_off_are_answered(network: NetworkProcess) -> None:
    with IsoClient(network.iso_port, signs_on=False) as link:
        for function in ("001", "301", "001", "002"):
            answer = link.manage(function)
            assert (answer.mti, answer.code, answer.elements[70]) == ("0810", "00", function)
            assert {7, 11, 32} < answer.elements.keys()
        link.send("0800", {7: "1020120000", 11: "000001", 70: "301"})
        assert link.is_closed()


def test_an_unknown_function_is_a_format_error(link: IsoClient) -> None:
    assert link.manage("999").code == "30"


def test_an_authorization_is_approved_and_booked(network: NetworkProcess, link: IsoClient) -> None:
    asked = authorization(e49="978")
    answer = link.ask("0100", asked)
    echoed = {number: asked[number] for number in (3, 4, 7, 11, 32, 37, 41, 42, 49, 62)}
    assert answer.mti == "0110"
    assert answer.elements == {**echoed, 38: answer.elements[38], 39: "00"}
    assert len(answer.elements[38].strip()) == 6
    row = booked(network, asked)
    assert {**row, "at": ""} == {
        "reference": asked[62],
        "payment_intent": "pi_1",
        "type": "authorization",
        "status": "approved",
        "amount_minor": 1999,
        "currency": "eur",
        "at": "",
        "requests": 1,
        "processor": "isonet",
        "hold": "held",
        "capture_before": row["capture_before"],
    }
    looked_up = network.look_up(asked[62])
    assert looked_up is not None
    assert looked_up["processor_reference"] == asked[37]


@pytest.mark.parametrize(
    ("token", "told"),
    [
        ("tok_chargeDeclined", ("05", None)),
        ("tok_chargeDeclinedInsufficientFunds", ("51", None)),
        ("tok_chargeDeclinedExpiredCard", ("54", None)),
        ("tok_chargeDeclinedIncorrectCvc", ("82", None)),
        ("tok_chargeDeclinedProcessingError", ("12", None)),
        ("tok_unheardOf", ("14", None)),
        ("tok_threeDSecureRequired", ("1A", None)),
    ],
)
def test_a_decline_has_its_code_and_is_booked(
    network: NetworkProcess, link: IsoClient, token: str, told: tuple[str, str | None]
) -> None:
    asked = authorization(token)
    answer = link.ask("0100", asked)
    assert answer.told == told
    assert 38 not in answer.elements
    assert booked(network, asked)["status"] == "declined"


def test_a_partial_approval_says_its_amount(network: NetworkProcess, link: IsoClient) -> None:
    asked = authorization("tok_partialApproval", amount=2001)
    answer = link.ask("0100", asked)
    assert (answer.code, answer.elements[4]) == ("10", "000000001000")
    assert booked(network, asked)["amount_minor"] == 1000
    assert link.ask("0220", capture(asked, amount=2001)).told == ("13", "OPEN")
    assert link.ask("0220", capture(asked, amount=1000)).told == ("00", None)


def test_an_authorization_asked_twice_is_two_holds(network: NetworkProcess, link: IsoClient) -> None:
    asked = authorization()
    first, second = link.ask("0100", asked), link.ask("0100", asked)
    again = {**authorization(), 62: asked[62]}
    third = link.ask("0100", again)
    assert [answer.code for answer in (first, second, third)] == ["00"] * 3
    assert first.elements[38] != second.elements[38]
    assert booked(network, asked)["requests"] == 3
    # Each of them names the same hold, and a reversal of any ends it.
    assert link.ask("0400", reversal(again)).told == ("00", None)
    assert link.ask("0220", capture(asked)).told == ("12", "GONE")
    assert link.ask("0100", asked).told == ("12", "VOIDED")


def test_another_request_under_a_reference_is_refused(network: NetworkProcess, link: IsoClient) -> None:
    asked = authorization()
    taken = capture(asked)
    link.ask("0100", asked)
    link.ask("0220", taken)
    for mti, elements in (
        ("0100", authorization(amount=5, e62=asked[62])),
        ("0100", {**asked, 62: "tx_other"}),  # two authorizations under one trace
        ("0220", capture(asked, e62=taken[62])),
        ("0400", reversal(asked, e62=taken[62])),
        ("0221", {**taken, 4: f"{5:012}"}),
    ):
        assert link.ask(mti, elements).code == "94"
    assert network.row("tx_other") is None
    assert booked(network, asked)["requests"] == 1
    assert booked(network, taken)["requests"] == 1


def test_a_capture_takes_the_money_once(network: NetworkProcess, link: IsoClient) -> None:
    asked = authorization()
    link.ask("0100", asked)
    taken = capture(asked, amount=1500)
    answer = link.ask("0220", taken)
    echoed = {number: taken[number] for number in (3, 4, 7, 11, 32, 37, 41, 42, 49, 62)}
    assert (answer.mti, answer.elements) == ("0230", {**echoed, 39: "00"})
    assert (booked(network, taken)["type"], booked(network, taken)["amount_minor"]) == ("capture", 1500)
    assert link.ask("0220", capture(asked, amount=499)).told == ("12", "CAPTURED")
    assert link.ask("0400", reversal(asked)).told == ("21", "CAPTURED")


def test_a_capture_is_refused_by_code_and_state(link: IsoClient) -> None:
    asked, declined, voided = authorization(), authorization("tok_chargeDeclined"), authorization()
    dropped = authorization("tok_authorizationGone")
    for each in (asked, declined, voided, dropped):
        link.ask("0100", each)
    link.ask("0400", reversal(voided))
    assert link.ask("0220", capture(authorization())).told == ("25", "GONE")
    assert link.ask("0220", capture(declined)).told == ("12", "GONE")
    assert link.ask("0220", capture(voided)).told == ("12", "GONE")
    assert link.ask("0220", capture(dropped)).told == ("12", "GONE")
    assert link.ask("0400", reversal(dropped)).told == ("12", "GONE")
    assert link.ask("0220", capture(asked, amount=2000)).told == ("13", "OPEN")
    assert link.ask("0220", capture(asked, e49="978")).told == ("12", "OPEN")
    assert link.ask("0220", capture(asked)).told == ("00", None)


@pytest.mark.parametrize(("first", "repeat", "answered"), [("0400", "0401", "0410"), ("0420", "0421", "0430")])
def test_a_reversal_releases_the_hold(
    network: NetworkProcess, link: IsoClient, first: str, repeat: str, answered: str
) -> None:
    asked = authorization()
    link.ask("0100", asked)
    released = reversal(asked)
    answers = [link.ask(mti, released) for mti in (first, repeat, repeat)]
    assert {(answer.mti, answer.told) for answer in answers} == {(answered, ("00", None))}
    row = booked(network, released)
    assert (row["type"], row["status"], row["amount_minor"], row["requests"]) == ("void", "approved", 1999, 3)
    assert link.ask(first, reversal(asked)).told == ("12", "GONE")


def test_a_repeat_has_the_answer_of_the_first(network: NetworkProcess, link: IsoClient) -> None:
    asked = authorization()
    link.ask("0100", asked)
    refused, taken = capture(asked, amount=2000), capture(asked)
    assert link.ask("0220", refused).told == ("13", "OPEN")
    assert link.ask("0220", taken).told == ("00", None)
    assert link.ask("0221", refused).told == ("13", "OPEN")
    assert link.ask("0221", taken).told == ("00", None)
    assert booked(network, taken)["requests"] == 2


def test_a_repeat_of_what_never_arrived_is_a_first(network: NetworkProcess, link: IsoClient) -> None:
    captured, voided = authorization(), authorization()
    link.ask("0100", captured)
    link.ask("0100", voided)
    for mti, elements in (("0221", capture(captured)), ("0401", reversal(voided))):
        assert link.ask(mti, elements).told == ("00", None)
        assert booked(network, elements)["requests"] == 1


def test_a_reversal_that_comes_first_refuses_the_authorization(network: NetworkProcess, link: IsoClient) -> None:
    asked = authorization()
    released = reversal(asked)
    assert link.ask("0400", released).told == ("00", None)
    assert network.look_up(asked[62]) is None
    assert link.ask("0100", asked).told == ("12", "VOIDED")
    # The same reversal means now what is known by its reference, and is still the same.
    assert link.ask("0401", released).told == ("00", None)
    row = booked(network, released)
    assert (row["amount_minor"], row["currency"], row["requests"]) == (None, None, 2)
    assert booked(network, asked)["status"] == "declined"


def test_a_partial_reversal_reduces_the_hold(network: NetworkProcess, link: IsoClient) -> None:
    asked = authorization()
    link.ask("0100", asked)
    released = reversal(asked, remaining=500)
    assert link.ask("0400", released).told == ("00", None)
    assert link.ask("0401", released).told == ("00", None)
    assert booked(network, released)["amount_minor"] == 1499
    assert booked(network, asked)["amount_minor"] == 500
    assert link.ask("0400", reversal(asked, remaining=500)).told == ("12", "OPEN")
    assert link.ask("0220", capture(asked, amount=501)).told == ("13", "OPEN")
    assert link.ask("0220", capture(asked, amount=500)).told == ("00", None)
    assert link.ask("0400", reversal(asked, remaining=400)).told == ("21", "CAPTURED")


def test_a_partial_reversal_of_what_is_unknown_is_no_acknowledgement(link: IsoClient) -> None:
    asked = authorization()
    assert link.ask("0400", reversal(asked, remaining=500)).told == ("25", "GONE")
    assert link.ask("0100", asked).code == "00"


def test_originals_are_told_apart_by_all_that_names_them(link: IsoClient) -> None:
    asked = authorization()
    link.ask("0100", asked)
    named = original_of(asked)
    for other in (
        capture(asked, e90="0100" + f"{(int(asked[11]) + 500_000) % 1_000_000:06}" + named[10:]),
        capture(asked, e90=named[:10] + "0101000000" + named[20:]),
        capture(asked, e90=named[:20] + "99999999999" + named[31:]),
        capture(asked, e41="PAYSTRM2"),
    ):
        assert link.ask("0220", other).told == ("25", "GONE")
    # DE 32 with and without its zeros is the same acquirer.
    assert link.ask("0220", capture(asked, e32=ACQUIRER.zfill(11))).told == ("00", None)
