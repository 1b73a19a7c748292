"""The connections: signed on before they are used, kept awake, dropped and opened again."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from schemas.processing import CallKind, Outcome
from tests.topology.processors.calls import departure, run
from tests.topology.processors.iso8583.calls import a_call, adapter
from tests.topology.processors.iso8583.host import Asked, approve, hosting, nothing, packed
from topology.processors import Cause
from topology.processors.iso8583.link import LinkTimes
from topology.processors.iso8583.metrics import CONNECTIONS, LOST, UNMATCHED

NERVOUS = LinkTimes(connect_seconds_max=1.0, answer_seconds_max=0.1, idle_seconds=0.1)


def lost(cause: str) -> float:
    return float(LOST.labels("isonet", cause)._value.get())


def signed_on() -> float:
    return float(CONNECTIONS.labels("isonet")._value.get())


@asynccontextmanager
async def silent() -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that accepts connections and says nothing; what it was sent stands in the list."""
    heard: list[bytes] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(4096):
                heard.append(data)
        except ConnectionError:
            pass
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], heard
    finally:
        server.close()
        await server.wait_closed()


def test_every_connection_signs_on_first_and_off_at_the_end() -> None:
    async def test() -> None:
        async with hosting() as host:
            async with adapter(host.port, connections=3) as processor:
                await host.until(lambda: host.codes() == ["001"] * 3)
                assert (await processor.authorize(a_call(), departure())).outcome is Outcome.approved
                assert signed_on() == 3
            assert host.codes() == ["001"] * 3 + ["002"] * 3
            assert signed_on() == 0
            numbers = [(document["7"], document["11"]) for document in host.network]
            assert len(set(numbers)) == len(numbers)
            assert {document["32"] for document in host.network} == {"00000000001"}

    run(test())


def test_a_refused_sign_on_is_no_connection() -> None:
    async def test() -> None:
        refused = lost("sign_on_refused")
        async with (
            hosting(network_code="91") as host,
            adapter(host.port, connection_wait_seconds_max=0.2) as processor,
        ):
            gate = departure()
            answer = await processor.authorize(a_call(), gate)
            assert (answer.outcome, answer.code) == (Outcome.not_sent, Cause.no_connection)
            assert not gate.left
            assert host.asked == []
            # It goes on trying, and is well as soon as the host is.
            assert host.accepted > 1
            assert lost("sign_on_refused") > refused
            host.network_code = "00"
            await host.until(lambda: any(each.signed_on for each in host.connections))
            assert (await processor.authorize(a_call(), departure())).outcome is Outcome.approved

    run(test())


def test_nothing_is_written_before_the_sign_on_is_answered() -> None:
    async def test() -> None:
        async with silent() as (port, heard), adapter(port, connection_wait_seconds_max=0.2) as processor:
            answer = await processor.authorize(a_call(), departure())
            assert (answer.outcome, answer.code) == (Outcome.not_sent, Cause.no_connection)
            assert heard
            assert not any(b"0100" in data[2:6] for data in heard)

    run(test())


def test_a_host_that_is_down_is_no_reason_not_to_start() -> None:
    async def test() -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            began = time.monotonic()
            async with adapter(unused.getsockname()[1], connection_wait_seconds_max=0.1) as processor:
                answer = await processor.capture(a_call(CallKind.capture), departure())
                assert (answer.outcome, answer.code) == (Outcome.not_sent, Cause.no_connection)
            assert time.monotonic() - began < 3.0

    run(test())


def test_a_call_waits_for_a_connection_that_comes_in_time() -> None:
    async def test() -> None:
        async with hosting(network_code=None) as host, adapter(host.port) as processor:
            call = asyncio.create_task(processor.authorize(a_call(), departure()))
            await asyncio.sleep(0.1)
            assert host.asked == []
            host.network_code = "00"
            assert (await call).outcome is Outcome.approved

    run(test())


def test_a_process_without_connections_makes_no_call() -> None:
    async def test() -> None:
        async with (
            hosting() as host,
            adapter(host.port, connections=0, connection_wait_seconds_max=0.1) as processor,
        ):
            assert (await processor.void(a_call(CallKind.void), departure())).outcome is Outcome.not_sent
            assert host.accepted == 0

    run(test())


def test_an_idle_connection_is_asked_for_an_echo_and_kept() -> None:
    async def test() -> None:
        async with hosting() as host, adapter(host.port, times=NERVOUS) as processor:
            await host.until(lambda: host.codes().count("301") >= 3)
            assert host.accepted == 1
            assert (await processor.authorize(a_call(), departure())).outcome is Outcome.approved

    run(test())


@pytest.mark.parametrize(("code", "answered"), [("301", "00"), ("001", "00"), ("002", "30"), ("999", "30")])
def test_the_hosts_network_management_is_answered(code: str, answered: str) -> None:
    """An echo above all: a host that hears nothing takes the connection for dead. The connection goes on."""

    async def test() -> None:
        async with hosting() as host, adapter(host.port) as processor:
            await host.until(lambda: signed_on() == 1)
            host.behave = nothing
            unmatched = float(UNMATCHED.labels("isonet", "nobody")._value.get())
            asked = {"t": "0800", "7": "1126043340", "11": "000042", "32": "00000000001", "70": code}
            host.connections[0].send(asked)
            await host.until(lambda: host.asked)
            assert host.asked[0].document.items() >= {**asked, "t": "0810", "39": answered}.items()
            assert UNMATCHED.labels("isonet", "nobody")._value.get() == unmatched
            host.behave = approve
            assert (await processor.authorize(a_call(), departure())).outcome is Outcome.approved
            assert host.accepted == 1

    run(test())


def test_a_half_open_connection_is_dropped_after_an_unanswered_echo() -> None:
    """The peer is gone without a word: nothing comes, not even a reset."""

    async def test() -> None:
        unanswered = lost("echo_unanswered")
        async with hosting() as host, adapter(host.port, times=NERVOUS) as processor:
            await host.until(lambda: signed_on() == 1)
            host.network_code = None
            await host.until(lambda: lost("echo_unanswered") > unanswered)
            host.network_code = "00"
            await host.until(lambda: signed_on() == 1)
            assert host.accepted >= 2
            assert (await processor.authorize(a_call(), departure())).outcome is Outcome.approved

    run(test())


def test_a_half_open_connection_is_dropped_also_while_we_write_on_it() -> None:
    async def test() -> None:
        unanswered = lost("echo_unanswered")
        async with hosting(nothing) as host, adapter(host.port, times=NERVOUS) as processor:
            await host.until(lambda: signed_on() == 1)
            host.network_code = None
            calls = []
            for number in range(1, 30):
                call = processor.authorize(a_call(number=number, deadline_seconds=1.0), departure())
                calls.append(asyncio.create_task(call))
                await asyncio.sleep(0.02)
            assert lost("echo_unanswered") > unanswered
            answers = await asyncio.gather(*calls)
            left = [each for each in answers if each.outcome is Outcome.unknown]
            assert len(left) == len(host.asked)
            assert {each.code for each in answers} <= {
                Cause.connection_broken,
                Cause.timed_out,
                Cause.no_connection,
            }

    run(test())


def test_a_lost_connection_is_opened_again() -> None:
    async def test() -> None:
        async with hosting() as host, adapter(host.port) as processor:
            for number in range(1, 4):
                assert (await processor.authorize(a_call(number=number), departure())).outcome is Outcome.approved
                host.connections[0].reset()
                await host.until_accepted(number + 1)

    run(test())


def test_one_connection_that_is_down_does_not_hold_up_the_others() -> None:
    async def test() -> None:
        async with hosting() as host, adapter(host.port, connections=2) as processor:
            await host.until(lambda: signed_on() == 2)
            host.network_code = None
            host.connections[0].reset()
            await host.until(lambda: signed_on() == 1)
            began = time.monotonic()
            for number in range(1, 11):
                assert (await processor.authorize(a_call(number=number), departure())).outcome is Outcome.approved
            assert time.monotonic() - began < 1.0

    run(test())


BAD_BYTES = {
    "too long": struct.pack(">H", 4097) + b"0" * 16,
    "empty": b"\x00\x00",
    "no message": struct.pack(">H", 8) + b"\xff" * 8,
    "cut short": struct.pack(">H", 10) + b"0110F00000",
}


@pytest.mark.parametrize("data", BAD_BYTES.values(), ids=BAD_BYTES.keys())
def test_what_is_no_message_closes_the_connection_and_ends_no_wait(data: bytes) -> None:
    async def garbage(asked: Asked) -> None:
        asked.connection.writer.write(data)
        await asked.host.until(lambda: asked.host.accepted == 2)
        await asked.host.until(lambda: any(each.signed_on for each in asked.host.connections))
        asked.answer(on=asked.host.connections[-1])

    async def test() -> None:
        unreadable = lost("unreadable_message")
        async with hosting(garbage) as host, adapter(host.port) as processor:
            assert (await processor.authorize(a_call(), departure())).outcome is Outcome.approved
            assert lost("unreadable_message") == unreadable + 1
            assert len(host.asked) == 1

    run(test())


def test_messages_that_come_in_pieces_and_in_one_piece() -> None:
    async def piecewise(asked: Asked) -> None:
        other = {"t": "0110", "7": "1126043340", "11": "999999", "39": "00"}
        frame = packed(other) + packed({**other, "t": "0230"})
        asked.connection.writer.write(frame[:3])
        await asyncio.sleep(0.01)
        asked.connection.writer.write(frame[3:])
        asked.answer()

    async def test() -> None:
        async with hosting(piecewise) as host, adapter(host.port) as processor:
            assert (await processor.authorize(a_call(), departure())).outcome is Outcome.approved
            assert host.accepted == 1

    run(test())


def test_a_connection_whose_host_does_not_read_is_passed_over() -> None:
    """Back-pressure: what cannot be written is not sent, instead of lying in memory."""

    async def stop_reading(asked: Asked) -> None:
        asked.connection.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(30)

    async def test() -> None:
        async with (
            hosting(stop_reading, receive_buffer_bytes=4_096) as host,
            adapter(host.port, write_buffer_bytes_max=1_000, connection_wait_seconds_max=0.1) as processor,
        ):
            await host.until(lambda: signed_on() == 1)
            # More than all that the kernel holds between the two.
            calls = [a_call(number=number, token="x" * 950, deadline_seconds=2.0) for number in range(1, 4_001)]
            gates = [departure() for _ in calls]
            answers = await asyncio.gather(
                *(processor.authorize(call, gate) for call, gate in zip(calls, gates, strict=True))
            )
            not_sent = [each for each in answers if each.outcome is Outcome.not_sent]
            assert {each.code for each in not_sent} == {Cause.no_connection}
            assert 0 < len(not_sent) < len(calls)
            assert sum(gate.left for gate in gates) == len(answers) - len(not_sent)

    run(test())
