"""The ISO 8583 side as a part of the process: kills, SIGTERM, many connections, the clock, the logs."""

from __future__ import annotations

import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from .iso_client import IsoClient, authorization, capture, reversal
from .network_process import NetworkProcess, free_port
from .test_service_faults import wait_for_row


def test_the_link_ends_with_the_process_whatever_hangs(tmp_path: Path) -> None:
    with NetworkProcess(tmp_path / "ledger.sqlite") as network, ExitStack() as links:
        link = links.enter_context(IsoClient(network.iso_port))
        tokens = ("tok_timeoutThenApproved", "tok_slow", "tok_arrivesLate", "tok_timeoutNeverArrived")
        asked = [authorization(token) for token in tokens]
        for elements in asked:
            link.send("0100", elements)
        links.enter_context(IsoClient(network.iso_port, signs_on=False)).socket.sendall(b"\x01")
        wait_for_row(network, link_marker(link))
        began = time.monotonic()
        assert network.end(signal.SIGTERM) == 0
        assert time.monotonic() - began < 2
        network.start()
        # What had arrived is booked; what was on its way when the network ended never gets there.
        booked = [network.row(elements[62]) is not None for elements in asked]
        assert booked == [True, True, False, False]


def link_marker(link: IsoClient) -> str:
    """Ask something more, so that all before it has been taken; its reference."""
    link.send("0100", asked := authorization())
    return asked[62]


def test_what_was_answered_and_what_names_it_survive_a_kill(tmp_path: Path) -> None:
    with NetworkProcess(tmp_path / "ledger.sqlite") as network:
        held, early = authorization(), authorization()
        taken, released = capture(held), reversal(early)
        with IsoClient(network.iso_port) as link:
            link.ask("0100", held)
            link.ask("0220", taken)
            link.ask("0400", released)
        network.end(signal.SIGKILL)
        network.start()
        with IsoClient(network.iso_port) as link:
            assert link.ask("0221", taken).told == ("00", None)
            assert link.ask("0400", reversal(held)).told == ("21", "CAPTURED")
            assert link.ask("0401", released).told == ("00", None)
            assert link.ask("0100", early).told == ("12", "VOIDED")


def test_what_cannot_be_booked_is_a_system_malfunction(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with NetworkProcess(path) as network, IsoClient(network.iso_port) as link:
        asked = authorization()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("ALTER TABLE messages RENAME TO lost")
            assert link.ask("0100", asked).told == ("96", None)
            assert network.row(asked[62]) is None
            connection.execute("ALTER TABLE lost RENAME TO messages")
        assert link.ask("0100", asked).code == "00"


def test_five_hundred_connections_are_served(tmp_path: Path) -> None:
    with NetworkProcess(tmp_path / "ledger.sqlite") as network, ExitStack() as stack:
        links = [stack.enter_context(IsoClient(network.iso_port)) for _ in range(500)]
        asked = [authorization() for _ in links]
        for link, elements in zip(links, asked, strict=True):
            link.send("0100", elements)
        answers = [link.receive() for link in links]
        assert [answer.elements[62] for answer in answers] == [elements[62] for elements in asked]
        assert {answer.code for answer in answers} == {"00"}
        assert len(network.ledger()) == 500


def test_a_caller_who_does_not_read_costs_nobody_else(tmp_path: Path) -> None:
    with NetworkProcess(tmp_path / "ledger.sqlite") as network, IsoClient(network.iso_port) as deaf:
        echo = b"0800" + b"8220000000000000" + b"0400000000000000" + b"1020120000" + b"000001" + b"301"
        thousand = (struct.pack(">H", len(echo)) + echo) * 1000
        deaf.socket.settimeout(1)
        # What the kernel keeps for both ends is some ten megabytes.
        with pytest.raises(TimeoutError):
            deaf.socket.sendall(thousand * 1000)
        with IsoClient(network.iso_port) as link:
            assert link.ask("0100", authorization()).code == "00"


def test_a_hold_runs_out_by_the_networks_clock_which_stays_ahead(tmp_path: Path) -> None:
    with NetworkProcess(tmp_path / "ledger.sqlite") as network:
        asked, short = authorization(), authorization("tok_shortHold")
        with IsoClient(network.iso_port) as link:
            link.ask("0100", asked)
            link.ask("0100", short)
            before = network.client.get("/clock").json()["now"]
            assert network.post("/clock", {"advance_seconds": 11})["now"] > before
            assert link.ask("0220", capture(short)).told == ("12", "GONE")
            assert link.ask("0400", reversal(short)).told == ("12", "GONE")
            network.post("/clock", {"advance_seconds": 7 * 86_400 - 60})
            assert link.ask("0220", capture(asked, amount=1)).told == ("00", None)
            link.ask("0100", late := authorization())
            network.post("/clock", {"advance_seconds": 7 * 86_400})
        network.end(signal.SIGKILL)
        network.start()
        with IsoClient(network.iso_port) as link:
            assert link.ask("0220", capture(late)).told == ("12", "GONE")


def test_nothing_of_a_frame_is_logged(tmp_path: Path) -> None:
    ports = free_port(), free_port()
    command = [sys.executable, "-m", "sandbox.card_network", "--database", str(tmp_path / "ledger.sqlite")]
    command += ["--port", str(ports[0]), "--iso-port", str(ports[1])]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=Path(__file__).parents[3]
    ) as process:
        deadline = time.monotonic() + 20
        while True:
            try:
                link = IsoClient(ports[1])
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        with link:
            assert link.ask("0100", authorization(e48="4242424242424242")).code == "30"
            link.socket.sendall(b"\x00\x104242424242424242")
            assert link.is_closed()
        process.terminate()
        output, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert "4242" not in output


def test_a_port_that_somebody_else_has_ends_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sandbox.card_network", "--database", str(tmp_path / "ledger.sqlite")]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command += ["--port", str(free_port()), "--iso-port", str(taken.getsockname()[1])]
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=20, check=False, cwd=Path(__file__).parents[3]
        )
    assert ended.returncode != 0
    assert "address already in use" in ended.stderr.lower()
