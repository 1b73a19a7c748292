"""The network as a process: kill -9, SIGTERM while callers hang, deduplication off, bad command lines."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from .network_process import NetworkProcess
from .test_service_faults import ask_raw, wait_for_row


def test_kill_9_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    answers: list[dict[str, object]] = []

    def pay(network: NetworkProcess) -> None:
        with httpx.Client(base_url=network.base_url) as client:
            while True:
                try:
                    response = client.post("/authorizations", json=network.authorization())
                except httpx.TransportError:
                    return
                answers.append(response.json())

    with NetworkProcess(tmp_path / "ledger.sqlite") as network:
        payers = [threading.Thread(target=pay, args=(network,), daemon=True) for _ in range(8)]
        for payer in payers:
            payer.start()
        deadline = time.monotonic() + 10
        while len(answers) < 300:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        network.end(signal.SIGKILL)
        for payer in payers:
            payer.join()
        network.start()
        booked = {row["reference"]: row for row in network.ledger()}
        assert all(booked[answer["reference"]]["status"] == "approved" for answer in answers)
        assert len(answers) <= len(booked) <= len(answers) + len(payers)
        assert network.look_up(str(answers[-1]["reference"])) == answers[-1]


def test_an_open_challenge_survives_a_kill(tmp_path: Path) -> None:
    with NetworkProcess(tmp_path / "ledger.sqlite") as network:
        answer = network.authorize("tok_threeDSecureRequired")
        network.end(signal.SIGKILL)
        network.start()
        assert network.look_up(answer["reference"]) == answer
        assert network.client.post(answer["url"], data={"outcome": "complete"}).status_code == 200
        row = network.row(answer["reference"])
        assert row is not None
        assert row["status"] == "approved"


def test_sigterm_ends_it_while_callers_hang(tmp_path: Path) -> None:
    with NetworkProcess(tmp_path / "ledger.sqlite") as network:
        tokens = ("tok_timeoutThenApproved", "tok_timeoutNeverArrived", "tok_arrivesLate", "tok_slow", "tok_visa")
        bodies = [network.authorization(token) for token in tokens for _ in range(4)]
        hanging = [ask_raw(network, body) for body in bodies]
        wait_for_row(network, bodies[0]["reference"])
        started = time.monotonic()
        assert network.end(signal.SIGTERM) == 0
        assert time.monotonic() - started < 2
        for connection in hanging:
            connection.close()
        network.start()
        # What had arrived is booked; what was on its way when the network ended never gets there.
        statuses = [network.row(body["reference"]) is not None for body in bodies]
        assert statuses == [True] * 4 + [False] * 8 + [True] * 8


def test_without_deduplication_an_authorization_holds_again(tmp_path: Path) -> None:
    options = ("--no-authorization-deduplication", "--hang-seconds", "0.2")
    with NetworkProcess(tmp_path / "ledger.sqlite", *options) as network:
        assert network.client.get("/capabilities").json()["deduplicates"] == {
            "authorization": False,
            "capture": True,
            "void": True,
        }
        body = network.authorization()
        reference = str(body["reference"])
        first, second = network.post("/authorizations", body), network.post("/authorizations", body)
        assert first["status"] == second["status"] == "approved"
        assert first["processor_reference"] != second["processor_reference"]
        assert network.look_up(reference) == first
        row = network.row(reference)
        assert row is not None
        assert row["requests"] == 2
        assert network.client.post("/authorizations", json={**body, "amount_minor": 5}).status_code == 409

        capture = network.capture(reference, reference="tx_capture")
        assert network.capture(reference, reference="tx_capture") == capture
        void = network.void(reference, reference="tx_void")
        assert network.void(reference, reference="tx_void") == void
        assert [row["requests"] for row in network.ledger()] == [2, 2, 2]

        late = network.authorization()
        network.void(str(late["reference"]))
        assert network.post("/authorizations", late)["code"] == "voided_before_arrival"
        # Nothing is remembered for the caller, so a time-out is one again.
        lost = network.authorization("tok_timeoutThenApproved")
        for _ in range(2):
            with pytest.raises(httpx.TransportError):
                network.client.post("/authorizations", json=lost)
        row = network.row(lost["reference"])
        assert row is not None
        assert row["requests"] == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--timeout-rate", "2"], "timeout_rate"),
        (["--timeout-rate", "0.6", "--reset-rate", "0.6"], "add up to more than 1"),
        (["--iso-response-codes", "9"], "iso_response_codes"),
        (["--settlement-cut-off", "soon"], "Invalid isoformat"),
        (["--settlement-cut-off", "17:00", "--settlement-time-zone", "Mars/Olympus"], "no time zone"),
        (["--database", "/nowhere/at/all/ledger.sqlite"], "cannot be opened"),
    ],
)
def test_a_bad_command_line_is_one_sentence(tmp_path: Path, options: list[str], message: str) -> None:
    command = [sys.executable, "-m", "sandbox.card_network", "--port", "1", "--database", str(tmp_path / "l.sqlite")]
    ended = subprocess.run(
        [*command, *options], capture_output=True, text=True, timeout=20, check=False, cwd=Path(__file__).parents[3]
    )
    assert ended.returncode != 0
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
