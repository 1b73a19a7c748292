"""The unfriendly ways of answering: time-outs, resets, late requests, answers twice."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from .network_process import NetworkProcess, unique


def wait_for_row(network: NetworkProcess, reference: object, *, seconds: float = 5) -> dict[str, object]:
    deadline = time.monotonic() + seconds
    while (row := network.row(reference)) is None:
        assert time.monotonic() < deadline, "not booked in time"
        time.sleep(0.02)
    return row


@contextmanager
def faults(network: NetworkProcess, **changes: object) -> Iterator[None]:
    """Another plan for a while; then the one before."""
    before = network.client.get("/faults").json()
    network.client.post("/faults", json=changes).raise_for_status()
    try:
        yield
    finally:
        network.client.post("/faults", json=before).raise_for_status()


def ask_raw(network: NetworkProcess, body: dict[str, object], *, path: str = "/authorizations") -> socket.socket:
    """Send one request on a socket of its own, and leave the answer to the caller."""
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(content)}\r\n\r\n"
    connection = socket.create_connection(("127.0.0.1", network.port), timeout=5)
    connection.sendall(head.encode() + content)
    return connection


@pytest.mark.parametrize(
    ("token", "status"), [("tok_timeoutThenApproved", "approved"), ("tok_timeoutThenDeclined", "declined")]
)
def test_a_time_out_is_booked_before_it_hangs(network: NetworkProcess, token: str, status: str) -> None:
    body = network.authorization(token)
    with faults(network, hang_seconds=1), ask_raw(network, body) as connection:
        started = time.monotonic()
        assert wait_for_row(network, body["reference"])["status"] == status
        connection.setblocking(False)
        with pytest.raises(BlockingIOError):
            connection.recv(1)
        connection.settimeout(5)
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
        assert time.monotonic() - started >= 0.9
    # Asked again, it answers: only the first answer was lost.
    assert network.post("/authorizations", body)["status"] == status
    row = network.row(body["reference"])
    assert row is not None
    assert row["requests"] == 2


def test_what_never_arrives_is_never_booked(network: NetworkProcess) -> None:
    body = network.authorization("tok_timeoutNeverArrived")
    for _ in range(2):
        with pytest.raises(httpx.TransportError):
            network.client.post("/authorizations", json=body)
    assert network.row(body["reference"]) is None
    assert network.look_up(str(body["reference"])) is None
    assert network.void(str(body["reference"]))["status"] == "approved"


def test_a_late_request_is_booked_when_it_arrives(network: NetworkProcess) -> None:
    body = network.authorization("tok_arrivesLate")
    started = time.monotonic()
    with pytest.raises(httpx.TransportError):
        network.client.post("/authorizations", json=body)
    assert network.row(body["reference"]) is None
    assert wait_for_row(network, body["reference"])["status"] == "approved"
    assert time.monotonic() - started >= 1
    assert network.post("/authorizations", body)["status"] == "approved"


def test_a_void_wins_over_a_late_request(network: NetworkProcess) -> None:
    body = network.authorization("tok_arrivesLate")
    with ask_raw(network, body):
        time.sleep(0.1)
        assert network.void(str(body["reference"]))["status"] == "approved"
        assert wait_for_row(network, body["reference"])["status"] == "declined"
    answer = network.look_up(str(body["reference"]))
    assert answer is not None
    assert answer["code"] == "voided_before_arrival"


def test_a_caller_who_gives_up_does_not_stop_a_late_request(network: NetworkProcess) -> None:
    body = network.authorization("tok_arrivesLate")
    ask_raw(network, body).close()
    assert wait_for_row(network, body["reference"])["status"] == "approved"


def test_a_slow_card_is_slow_once(network: NetworkProcess) -> None:
    body = network.authorization("tok_slow")
    with faults(network, slow_seconds=1):
        started = time.monotonic()
        assert network.post("/authorizations", body)["status"] == "approved"
        assert time.monotonic() - started >= 1
        started = time.monotonic()
        assert network.post("/authorizations", body)["status"] == "approved"
        assert time.monotonic() - started < 1


def test_a_reset_is_booked_and_has_no_answer(network: NetworkProcess) -> None:
    body = network.authorization("tok_connectionReset")
    with ask_raw(network, body) as connection, pytest.raises(ConnectionResetError):
        connection.recv(1)
    assert wait_for_row(network, body["reference"])["status"] == "approved"
    assert network.post("/authorizations", body)["status"] == "approved"


def test_resets_by_chance_lose_requests_and_answers(network: NetworkProcess) -> None:
    bodies = [network.authorization() for _ in range(30)]
    with faults(network, reset_rate=1, seed=1):
        for body in bodies:
            with pytest.raises(httpx.TransportError):
                network.client.post("/authorizations", json=body)
    booked = {row["reference"] for row in network.ledger()} & {body["reference"] for body in bodies}
    assert 0 < len(booked) < 30


def test_time_outs_by_chance_reach_captures_and_voids(network: NetworkProcess) -> None:
    reference = network.authorize()["reference"]
    body = {"reference": unique(), "payment_intent": "pi_1", "authorization_reference": reference}
    with faults(network, timeout_rate=1, kinds=["capture", "void"]):
        assert network.authorize()["status"] == "approved"
        for path, sent in (("/voids", body), ("/captures", {**body, "amount_minor": 1, "currency": "usd"})):
            with pytest.raises(httpx.TransportError):
                network.client.post(path, json=sent)


def test_declines_by_chance_leave_the_authorization_open(network: NetworkProcess) -> None:
    reference = network.authorize()["reference"]
    with faults(network, decline_rate=1):
        assert network.authorize()["code"] == "card_declined"
        assert network.capture(reference)["authorization_state"] == "open"
        assert network.void(reference)["authorization_state"] == "open"
    assert network.capture(reference)["status"] == "approved"


@pytest.mark.parametrize(
    ("token", "path"), [("tok_captureTimesOutOnce", "/captures"), ("tok_voidTimesOutOnce", "/voids")]
)
def test_a_capture_or_void_times_out_once(network: NetworkProcess, token: str, path: str) -> None:
    authorization = network.authorize(token)
    assert authorization["status"] == "approved"
    body = {"reference": unique(), "payment_intent": "pi_1", "authorization_reference": authorization["reference"]}
    if path == "/captures":
        body |= {"amount_minor": 1999, "currency": "usd"}
    with pytest.raises(httpx.TransportError):
        network.client.post(path, json=body)
    assert wait_for_row(network, body["reference"])["status"] == "approved"
    assert network.post(path, body)["status"] == "approved"


def test_an_answer_of_another_names_another(network: NetworkProcess) -> None:
    body = network.authorization("tok_answerOfAnother")
    stray = network.post("/authorizations", body)
    # Taken for the right one, it would end the payment otherwise.
    assert (stray["reference"], stray["status"]) == ("tx_of_nobody", "declined")
    assert network.post("/authorizations", body)["reference"] == body["reference"]


def test_what_is_lost_can_be_the_request_or_its_answer_for_certain(network: NetworkProcess) -> None:
    for share, booked in ((1, False), (0, True)):
        body = network.authorization()
        with faults(network, timeout_rate=1, lost_request_share=share), pytest.raises(httpx.TransportError):
            network.client.post("/authorizations", json=body)
        assert (network.row(body["reference"]) is not None) is booked


def test_an_answer_twice_is_two_answers_on_the_wire(network: NetworkProcess) -> None:
    body = network.authorization()
    with faults(network, duplicate_rate=1), ask_raw(network, body) as connection:
        received = b""
        while received.count(b'"status":"approved"') < 2:
            chunk = connection.recv(65_536)
            assert chunk
            received += chunk
    assert received.count(b"HTTP/1.1 200 OK") == 2
    row = network.row(body["reference"])
    assert row is not None
    assert row["requests"] == 1


def test_latency_is_added(network: NetworkProcess) -> None:
    with faults(network, latency_ms=200):
        started = time.monotonic()
        network.authorize()
        assert time.monotonic() - started >= 0.2


def test_the_plan_in_force_can_be_read(network: NetworkProcess) -> None:
    plan = network.client.get("/faults").json()
    assert (plan["timeout_rate"], plan["late_seconds"], plan["hang_seconds"]) == (0, 1, 0.4)
    assert sorted(plan["kinds"]) == ["authorization", "capture", "void"]


def test_the_command_line_sets_the_plan(tmp_path: Path) -> None:
    options = "--latency-ms 5 --timeout-rate 0.1 --reset-rate 0.2 --duplicate-rate 0.3 --decline-rate 0.4 --seed 9"
    options += " --iso-doubt-rate 0.1 --iso-response-codes 09,96"
    with NetworkProcess(tmp_path / "ledger.sqlite", *options.split()) as network:
        plan = network.client.get("/faults").json()
    del plan["kinds"]
    assert plan == {
        "latency_ms": 5,
        "timeout_rate": 0.1,
        "reset_rate": 0.2,
        "duplicate_rate": 0.3,
        "decline_rate": 0.4,
        "seed": 9,
        "late_seconds": 90,
        "slow_seconds": 2,
        "hang_seconds": 60,
        "short_hold_seconds": 10,
        "lost_request_share": 0.5,
        "iso_other_connection_rate": 0,
        "iso_doubt_rate": 0.1,
        "iso_response_codes": ["09", "96"],
    }


def test_it_tells_what_arrived_and_what_befell_it(network: NetworkProcess) -> None:
    before = network.client.get("/faults/thrown").json()["http"]
    with faults(network, duplicate_rate=1):
        network.post("/authorizations", network.authorization("tok_visa"))
    network.post("/authorizations", network.authorization("tok_visa"))
    after = network.client.get("/faults/thrown").json()["http"]
    assert after["arrivals"] - before["arrivals"] == 2
    assert after["duplicate"] - before.get("duplicate", 0) == 1
