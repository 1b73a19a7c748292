"""The unfriendly ways of answering over ISO 8583, by card and by chance."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from .iso_client import IsoClient, authorization, capture, reversal
from .network_process import NetworkProcess
from .test_service_faults import faults, wait_for_row


@pytest.fixture
def link(network: NetworkProcess) -> Iterator[IsoClient]:
    with IsoClient(network.iso_port) as client:
        yield client


@pytest.mark.parametrize(
    ("token", "status"), [("tok_timeoutThenApproved", "approved"), ("tok_timeoutThenDeclined", "declined")]
)
def test_a_time_out_is_booked_and_only_silent(
    network: NetworkProcess, link: IsoClient, token: str, status: str
) -> None:
    asked = authorization(token)
    link.send("0100", asked)
    assert wait_for_row(network, asked[62])["status"] == status
    assert link.hears_nothing()
    # The connection goes on as if nothing had been.
    assert link.manage("301").code == "00"


def test_a_lost_request_is_not_booked(network: NetworkProcess, link: IsoClient) -> None:
    asked = authorization("tok_timeoutNeverArrived")
    link.send("0100", asked)
    assert link.hears_nothing()
    assert network.row(asked[62]) is None


def test_a_late_request_is_answered_late(network: NetworkProcess, link: IsoClient) -> None:
    asked = authorization("tok_arrivesLate")
    began = time.monotonic()
    answer = link.ask("0100", asked)
    assert time.monotonic() - began >= 1
    assert (answer.code, answer.elements[62]) == ("00", asked[62])


def test_a_reversal_wins_over_a_late_request(network: NetworkProcess, link: IsoClient) -> None:
    asked = authorization("tok_arrivesLate")
    link.send("0100", asked)
    assert link.ask("0400", reversal(asked)).told == ("00", None)
    answer = link.receive()
    assert (answer.mti, answer.told) == ("0110", ("12", "VOIDED"))
    assert wait_for_row(network, asked[62])["status"] == "declined"


def test_a_slow_answer_does_not_hold_up_others(link: IsoClient) -> None:
    slow, quick = authorization("tok_slow"), authorization()
    link.send("0100", slow)
    link.send("0100", quick)
    assert [link.receive().elements[62] for _ in range(2)] == [quick[62], slow[62]]


def test_a_reset_is_booked_and_ends_the_connection(network: NetworkProcess) -> None:
    asked = authorization("tok_connectionReset")
    with IsoClient(network.iso_port) as link, pytest.raises(ConnectionResetError):
        link.ask("0100", asked)
    assert wait_for_row(network, asked[62])["status"] == "approved"


def test_an_answer_comes_twice(network: NetworkProcess, link: IsoClient) -> None:
    asked = authorization("tok_answeredTwice")
    assert link.ask("0100", asked) == link.receive()
    row = network.row(asked[62])
    assert row is not None
    assert row["requests"] == 1


def test_an_answer_of_nobody_comes_before_the_right_one(network: NetworkProcess, link: IsoClient) -> None:
    asked = authorization("tok_answerOfAnother")
    stray, right = link.ask("0100", asked), link.receive()
    # Taken for the right one, it would end the payment otherwise.
    assert (stray.mti, stray.code, right.code) == ("0110", "05", "00")
    assert stray.elements[11] != asked[11]
    assert stray.elements[37] != asked[37]
    assert right.elements[62] == asked[62]
    assert network.row(stray.elements[62]) is None


@pytest.mark.parametrize(
    ("token", "make", "first", "repeat"),
    [
        ("tok_captureTimesOutOnce", capture, "0220", "0221"),
        ("tok_voidTimesOutOnce", reversal, "0400", "0401"),
    ],
)
def test_a_capture_or_void_times_out_once(
    network: NetworkProcess, link: IsoClient, token: str, make: type, first: str, repeat: str
) -> None:
    asked = authorization(token)
    assert link.ask("0100", asked).code == "00"
    following = make(asked)
    link.send(first, following)
    assert wait_for_row(network, following[62])["status"] == "approved"
    assert link.hears_nothing()
    assert link.ask(repeat, following).told == ("00", None)


def test_a_captures_connection_is_reset_once(network: NetworkProcess) -> None:
    asked = authorization("tok_captureReset")
    taken = capture(asked)
    with IsoClient(network.iso_port) as link:
        link.ask("0100", asked)
        with pytest.raises(ConnectionResetError):
            link.ask("0220", taken)
    with IsoClient(network.iso_port) as link:
        assert link.ask("0221", taken).told == ("00", None)


def test_time_outs_and_resets_by_chance(network: NetworkProcess) -> None:
    with IsoClient(network.iso_port) as link, faults(network, timeout_rate=1, lost_request_share=1):
        lost = authorization()
        link.send("0100", lost)
        assert link.hears_nothing()
        assert network.row(lost[62]) is None
        network.client.post("/faults", json={"timeout_rate": 0, "reset_rate": 1, "lost_request_share": 0})
        booked = authorization()
        with pytest.raises(ConnectionResetError):
            link.ask("0100", booked)
        assert wait_for_row(network, booked[62])["status"] == "approved"


def test_the_rates_can_be_kept_to_captures(network: NetworkProcess, link: IsoClient) -> None:
    with faults(network, duplicate_rate=1, iso_doubt_rate=1, kinds=["capture"]):
        asked = authorization()
        assert link.ask("0100", asked).code == "00"
        assert link.ask("0220", capture(asked)).code in ("09", "94", "96")


def test_latency_is_added(network: NetworkProcess, link: IsoClient) -> None:
    with faults(network, latency_ms=200):
        began = time.monotonic()
        link.ask("0100", authorization())
        assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize("lost", [0, 1])
def test_a_doubtful_answer_says_nothing_of_the_booking(network: NetworkProcess, link: IsoClient, lost: int) -> None:
    asked = authorization()
    with faults(network, iso_doubt_rate=1, iso_response_codes=["68"], lost_request_share=lost):
        answer = link.ask("0100", asked)
    assert (answer.mti, answer.told) == ("0110", ("68", None))
    assert 38 not in answer.elements
    assert (network.row(asked[62]) is None) is bool(lost)


def test_doubt_about_a_capture_ends_with_its_repeat(network: NetworkProcess, link: IsoClient) -> None:
    asked = authorization()
    link.ask("0100", asked)
    taken = capture(asked)
    with faults(network, iso_doubt_rate=1):
        codes = {link.ask("0221", taken).code for _ in range(20)}
    assert codes == {"09", "94", "96"}
    assert link.ask("0221", taken).told == ("00", None)


def test_an_answer_comes_back_on_another_connection_of_the_acquirer(network: NetworkProcess, link: IsoClient) -> None:
    asked = authorization(e32="777")
    with (
        IsoClient(network.iso_port) as stranger,
        IsoClient(network.iso_port, signs_on=False) as other,
        faults(network, iso_other_connection_rate=1),
    ):
        # There is none yet: one is another's, and the other has not said whose it is.
        assert link.ask("0100", authorization(e32="777")).code == "00"
        other.ask("0800", {7: "1020120000", 11: "000001", 32: "0777", 70: "001"})
        link.send("0100", asked)
        assert other.receive().elements[62] == asked[62]
        assert link.hears_nothing()
        assert stranger.hears_nothing()


def test_an_answer_whose_connection_has_closed_takes_another(network: NetworkProcess) -> None:
    asked = authorization("tok_slow", e32="888")
    with IsoClient(network.iso_port) as first, faults(network, slow_seconds=3):
        first.send("0100", asked)
        wait_for_row(network, asked[62])
        # The answer is waiting for its time by now, and so keeps to it.
        time.sleep(0.2)
    with IsoClient(network.iso_port, signs_on=False) as second:
        second.ask("0800", {7: "1020120000", 11: "000001", 32: "888", 70: "001"})
        assert second.receive().elements[62] == asked[62]
