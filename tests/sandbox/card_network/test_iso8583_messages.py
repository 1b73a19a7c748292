"""What is no message, or not one of the profile: closed or refused, and nothing of it repeated or logged."""

from __future__ import annotations

import contextlib
import socket
import struct

import iso8583
import pytest
from hypothesis import given
from hypothesis import strategies as st
from iso8583.specs import default_ascii

from sandbox.card_network.booking import Kind
from sandbox.card_network.iso8583.frames import Frame, Unreadable, decode, encode
from sandbox.card_network.iso8583.reading import KINDS, BadMessage, read_request
from sandbox.card_network.requests import AuthorizationRequest, CaptureRequest, VoidRequest

from .iso_client import IsoClient, authorization, capture, original_of, reversal
from .network_process import NetworkProcess

CANARY = "4242424242424242"
AMEX_CANARY = "378282246310005"


def on_wire(mti: str, elements: dict[int, str]) -> bytes:
    message, _ = iso8583.encode({"t": mti, **{str(k): v for k, v in elements.items()}}, default_ascii)
    return bytes(message)


# By hand: type, bitmap of 7, 11 and secondary, bitmap of 70, then the elements.
SIGN_ON = b"0800" + b"8220000000000000" + b"0400000000000000" + b"1020120000" + b"000001" + b"001"


def test_a_message_is_read_and_written_as_the_profile_has_it() -> None:
    assert decode(SIGN_ON) == Frame("0800", {7: "1020120000", 11: "000001", 70: "001"})
    assert encode("0800", {7: "1020120000", 11: "000001", 70: "001"}) == struct.pack(">H", len(SIGN_ON)) + SIGN_ON


def test_what_is_asked_is_read() -> None:
    asked = authorization(e32="12")
    read = read_request(Frame("0100", asked))
    assert read.request == AuthorizationRequest(
        reference=asked[62], payment_intent="pi_1", amount_minor=1999, currency="usd", token="tok_visa"
    )
    assert read.message.trace == (asked[7], asked[11], "00000000012", asked[41], asked[37])
    assert (read.message.merchant, read.message.original) == ("mer_demo", None)
    taken = read_request(Frame("0221", capture(asked, amount=5, e49="392")))
    assert isinstance(taken.request, CaptureRequest)
    assert (taken.request.amount_minor, taken.request.currency) == (5, "jpy")
    assert taken.message.original == read.message.trace.original
    released = read_request(Frame("0420", reversal(asked, remaining=7)))
    assert isinstance(released.request, VoidRequest)
    assert released.request.remaining_minor == 7
    whole = read_request(Frame("0400", reversal(asked, remaining=0)))
    assert isinstance(whole.request, VoidRequest)
    assert whole.request.remaining_minor is None


ASKED = authorization()


@pytest.mark.parametrize(
    ("mti", "elements"),
    [
        *(("0100", {k: v for k, v in ASKED.items() if k != missing}) for missing in ASKED),
        *(("0220", {k: v for k, v in capture(ASKED).items() if k != missing}) for missing in (4, 37, 49, 62, 63, 90)),
        *(("0400", {k: v for k, v in reversal(ASKED).items() if k != missing}) for missing in (7, 11, 32, 41, 90)),
        ("0100", {**ASKED, 3: "200000"}),
        ("0100", {**ASKED, 4: "000000000000"}),
        ("0100", {**ASKED, 4: "00000000019.9"[:12]}),
        ("0100", {**ASKED, 7: "1320120000"}),
        ("0100", {**ASKED, 11: "00000A"}),
        ("0100", {**ASKED, 12: "250000"}),
        ("0100", {**ASKED, 22: "051"}),
        ("0100", {**ASKED, 49: "000"}),
        ("0100", {**ASKED, 62: "a reference"}),
        ("0100", {**ASKED, 2: CANARY}),
        ("0100", {**ASKED, 2: ""}),
        ("0100", {**ASKED, 14: "3012"}),
        ("0100", {**ASKED, 35: CANARY + "=3012101"}),
        ("0100", {**ASKED, 48: CANARY}),
        ("0100", {**ASKED, 60: f"card {CANARY}"}),
        ("0220", capture(ASKED, e90="0200" + original_of(ASKED)[4:])),
        ("0220", capture(ASKED, e90=original_of(ASKED)[:31] + "1" * 11)),
        ("0400", reversal(ASKED, e95="X" * 42)),
    ],
)
def test_what_is_not_of_the_profile_is_refused(mti: str, elements: dict[int, str]) -> None:
    assert KINDS[mti] in Kind
    with pytest.raises(BadMessage) as refusal:
        read_request(Frame(mti, elements))
    assert CANARY not in repr(refusal.value)


def test_a_frame_does_not_print_itself() -> None:
    assert repr(Frame("0100", {48: CANARY})) == "Frame(mti='0100')"


@given(st.binary(max_size=300) | st.binary(max_size=60).map(lambda tail: on_wire("0100", ASKED)[:-30] + tail))
def test_any_bytes_are_a_frame_or_unreadable(message: bytes) -> None:
    with contextlib.suppress(Unreadable):
        assert all(1 < number < 129 for number in decode(message).elements)


def test_a_card_number_is_refused_and_not_repeated(network: NetworkProcess) -> None:
    with IsoClient(network.iso_port) as link:
        for number, text in ((48, CANARY), (62, CANARY), (63, CANARY), (2, CANARY), (42, AMEX_CANARY)):
            asked = {**authorization(), number: text}
            answer = link.ask("0100", asked)
            assert answer.code == "30"
            assert text not in answer.elements.values()
            assert answer.elements[11] == asked[11]
    assert CANARY not in network.client.get("/ledger").text


def test_a_malformed_element_is_not_repeated(network: NetworkProcess) -> None:
    with IsoClient(network.iso_port) as link:
        answer = link.ask("0100", authorization(e62="no reference"))
        assert answer.code == "30"
        assert 62 not in answer.elements


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\x00",
        b"\xff\xff",
        struct.pack(">H", 4097) + b"0" * 4097,
        struct.pack(">H", 5) + b"08000",
        struct.pack(">H", 40) + b"\x00" * 40,
        struct.pack(">H", len(SIGN_ON) + 1) + SIGN_ON + b"0",
        # Decodable, but nothing that a caller says.
        struct.pack(">H", len(SIGN_ON)) + b"0810" + SIGN_ON[4:],
        struct.pack(">H", len(SIGN_ON)) + b"0200" + SIGN_ON[4:],
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" + b" " * 20_000,
    ],
)
def test_garbage_closes_the_connection(network: NetworkProcess, sent: bytes) -> None:
    with IsoClient(network.iso_port) as link, IsoClient(network.iso_port) as other:
        link.socket.sendall(sent)
        assert link.is_closed()
        assert other.manage("301").code == "00"


def test_a_request_before_the_sign_on_closes_the_connection(network: NetworkProcess) -> None:
    asked = authorization()
    for mti, elements in (("0100", asked), ("0800", {7: "1020120000", 11: "000001", 70: "301"})):
        with IsoClient(network.iso_port, signs_on=False) as link:
            link.send(mti, elements)
            assert link.is_closed()
    assert network.row(asked[62]) is None


def test_what_was_asked_before_garbage_is_booked(network: NetworkProcess) -> None:
    asked = authorization()
    with IsoClient(network.iso_port) as link:
        link.send("0100", asked)
        assert link.receive().code == "00"
        link.socket.sendall(b"\x00\x00")
        assert link.is_closed()


def test_messages_may_come_in_pieces_and_together(network: NetworkProcess) -> None:
    message = on_wire("0100", authorization())
    frame = struct.pack(">H", len(message)) + message
    with IsoClient(network.iso_port) as link:
        link.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(frame), 97):
            link.socket.sendall(frame[at : at + 97])
        assert link.receive().code == "00"
        link.socket.sendall(frame * 3)
        assert [link.receive().code for _ in range(3)] == ["00"] * 3


def test_half_a_message_is_no_message(network: NetworkProcess) -> None:
    asked = authorization()
    message = on_wire("0100", asked)
    with IsoClient(network.iso_port) as link:
        link.socket.sendall(struct.pack(">H", len(message)) + message[:-1])
        assert link.hears_nothing()
        link.socket.shutdown(socket.SHUT_WR)
        assert link.is_closed()
    assert network.row(asked[62]) is None
