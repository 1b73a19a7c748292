"""The processes as they are put together: they start, and tell of their health, whoever else is down."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any

import httpx
import pytest

from paystream import processes
from paystream.settings import SettingsError, load
from schemas.processing import ClockOffset
from schemas.times import Micros, from_datetime
from topology.kafka import FlowStatus, Side, StateStore
from topology.settlement import SettlementSide


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("flow", ["processing", "reconciliation"])
def test_a_processor_that_is_down_keeps_no_flow_from_starting(flow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run, required = processes.FLOWS[flow]
    port = free_port()
    settings = load(
        {
            "PAYSTREAM_KAFKA_BOOTSTRAP": "127.0.0.1:1",
            "PAYSTREAM_CARD_NETWORK_URL": f"http://127.0.0.1:{free_port()}",
            "PAYSTREAM_PUBLIC_URL": "http://127.0.0.1:1",
            "PAYSTREAM_HTTP_PORT": str(port),
        },
        required=("kafka_bootstrap", "http_port", *required),
    )
    answers: list[int] = []

    def run_flow(*_arguments: Any, side: Side, status: FlowStatus, **_settings: Any) -> None:
        answers.append(httpx.get(f"http://127.0.0.1:{port}/healthz").status_code)
        side.restored(StateStore(), (0,))
        status.shards = (0,)
        assert side.drain(10) == []
        answers.append(httpx.get(f"http://127.0.0.1:{port}/readyz").status_code)
        side.close()

    monkeypatch.setattr(processes, "run_flow", run_flow)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    began = time.monotonic()
    run(settings)
    assert answers == [200, 200]
    assert time.monotonic() - began < 5.0


@contextmanager
def accepting() -> Iterator[tuple[int, list[str]]]:
    """A port of this machine, and the message types that came in there; nothing is answered."""
    heard: list[str] = []

    def accept(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(5.0)
                if message := connection.recv(6):
                    heard.append(message[2:].decode())

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, args=(listener,))
        thread.start()
        try:
            yield listener.getsockname()[1], heard
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize(("flow", "types"), [("processing", {"0800"}), ("reconciliation", set())])
def test_only_processing_connects_to_an_iso_8583_host(
    flow: str, types: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may answer on any connection, so there must be none that nobody calls on."""
    run, required = processes.FLOWS[flow]
    names: list[str] = []

    def run_flow(*_arguments: Any, side: Any, **_settings: Any) -> None:
        names.extend(processor.name for processor in side._engine._processors.values())
        side.restored(StateStore(), (0,))
        side.close()

    monkeypatch.setattr(processes, "run_flow", run_flow)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with accepting() as (port, heard):
        settings = load(
            {
                "PAYSTREAM_KAFKA_BOOTSTRAP": "127.0.0.1:1",
                "PAYSTREAM_CARD_NETWORK_URL": f"http://127.0.0.1:{free_port()}",
                "PAYSTREAM_PUBLIC_URL": "http://127.0.0.1:1",
                "PAYSTREAM_HTTP_PORT": str(free_port()),
                "PAYSTREAM_ISO8583_ADDRESS": f"127.0.0.1:{port}",
            },
            required=("kafka_bootstrap", "http_port", *required),
        )
        run(settings)
    assert names == ["cardnet", "isonet"]
    assert set(heard) == types


@pytest.mark.parametrize(
    ("address", "known"), [({}, ("cardnet",)), ({"PAYSTREAM_ISO8583_ADDRESS": "h:1"}, ("cardnet", "isonet"))]
)
def test_ingress_knows_the_processors_that_are_configured(
    address: dict[str, str], known: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ingress import server

    served: list[server.IngressConfig] = []
    monkeypatch.setattr(server, "serve", served.append)
    environment = {"PAYSTREAM_API_KEYS": "k=mer_a", "PAYSTREAM_CLIENT_SECRET_KEY": "k1:" + "ab" * 32, **address}
    processes.run_ingress(load(environment, required=()))
    assert [config.processors for config in served] == [known]


def test_more_partitions_than_iso_8583_can_number_are_refused_at_start() -> None:
    environment = {
        "PAYSTREAM_CARD_NETWORK_URL": "http://127.0.0.1:1",
        "PAYSTREAM_PUBLIC_URL": "http://127.0.0.1:1",
        "PAYSTREAM_ISO8583_ADDRESS": "127.0.0.1:1",
        "PAYSTREAM_PARTITIONS": "1297",
    }
    with pytest.raises(SettingsError, match="1296"):
        processes.run_processing(load(environment, required=()))


def test_the_settlement_flow_starts_without_a_read_model(monkeypatch: pytest.MonkeyPatch) -> None:
    run, required = processes.FLOWS["settlement"]
    settings = load(
        {
            "PAYSTREAM_KAFKA_BOOTSTRAP": "127.0.0.1:1",
            "PAYSTREAM_POSTGRES_URI": "postgresql://nobody@127.0.0.1:1/nothing",
            "PAYSTREAM_HTTP_PORT": str(free_port()),
            "PAYSTREAM_SETTLEMENT_CUT_OFFS": "cardnet=17:00@America/New_York",
            "PAYSTREAM_SETTLEMENT_HOLIDAYS": "cardnet=2026-11-26,othernet=2026-12-25",
            "PAYSTREAM_SETTLEMENT_GRACE_DAYS": "2",
            "PAYSTREAM_TEST_CLOCK": "on",
        },
        required=("kafka_bootstrap", "http_port", *required),
    )
    sides: list[SettlementSide] = []

    def run_flow(*_arguments: Any, side: Side, status: FlowStatus, **_settings: Any) -> None:
        assert isinstance(side, SettlementSide)
        side.restored(StateStore(), (0,))
        assert side.drain(10) == []
        assert side.clocks.take(ClockOffset(offset_micros=1, actor_id="ada", at=Micros(1)), 0)
        side.close()
        sides.append(side)

    monkeypatch.setattr(processes, "run_flow", run_flow)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    run(settings)
    (side,) = sides
    # Wednesday evening in New York belongs to Thursday, a holiday: Friday and Monday are the grace.
    evening = from_datetime(datetime(2026, 11, 25, 23, 0, tzinfo=UTC))
    window = side.calendars.window("cardnet", evening)
    assert window.settlement_date == date(2026, 11, 26)
    assert window.due_at == from_datetime(datetime(2026, 11, 30, 22, 0, tzinfo=UTC))
    christmas = from_datetime(datetime(2026, 12, 24, 9, 0, tzinfo=UTC))
    assert side.calendars.window("othernet", christmas).due_at == from_datetime(datetime(2026, 12, 30, tzinfo=UTC))
