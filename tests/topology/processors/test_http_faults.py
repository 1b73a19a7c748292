"""What the HTTP adapter says when things go wrong: *not sent* only if no byte of the request can have left."""

from __future__ import annotations

import asyncio
import socket

import pytest

from schemas.processing import CallKind, Outcome
from tests.topology.processors.calls import a_call, adapter, departure, run
from tests.topology.processors.fault_server import (
    Behaviour,
    FaultServer,
    Request,
    answering,
    approved,
    http,
    reset,
    serving,
)
from topology.processors import Answer, Cause, boot_seconds


async def authorize(server: FaultServer, *, deadline_seconds: float = 2.0) -> Answer:
    async with adapter(server.url) as processor:
        return await processor.authorize(a_call(deadline_seconds=deadline_seconds), departure())


def said(answer: Answer) -> tuple[Outcome, str | None]:
    return answer.outcome, answer.code


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_refused() -> None:
    async def test() -> Answer:
        async with adapter(f"http://127.0.0.1:{free_port()}") as processor:
            return await processor.authorize(a_call(), departure())

    assert said(run(test())) == (Outcome.not_sent, Cause.no_connection)


def test_a_name_that_does_not_exist() -> None:
    async def test() -> Answer:
        async with adapter("http://processor.invalid", connect_timeout_seconds=0.5) as processor:
            return await processor.authorize(a_call(), departure())

    assert said(run(test())) == (Outcome.not_sent, Cause.no_connection)


def test_tls_that_fails_before_the_request() -> None:
    async def speak_no_tls(writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        return False

    async def test() -> tuple[Answer, int]:
        async with serving(answering(lambda _: b""), on_connect=speak_no_tls) as server:
            async with adapter(server.url.replace("http:", "https:")) as processor:
                answer = await processor.authorize(a_call(), departure())
            return answer, len(server.requests)

    answer, requests = run(test())
    assert said(answer) == (Outcome.not_sent, Cause.no_connection)
    assert requests == 0


def test_the_pool_is_used_up() -> None:
    async def hang(_request: Request) -> None:
        await asyncio.sleep(30)

    async def test() -> tuple[Answer, int]:
        async with (
            serving(hang) as server,
            adapter(server.url, connections_max=1, connect_timeout_seconds=0.2) as processor,
        ):
            first = asyncio.create_task(processor.authorize(a_call(deadline_seconds=1.0), departure()))
            await asyncio.sleep(0.05)
            second = await processor.authorize(a_call(number=2), departure())
            await first
            return second, len(server.requests)

    answer, requests = run(test())
    assert said(answer) == (Outcome.not_sent, Cause.no_connection)
    assert requests == 1


def test_a_connection_reset_before_anything_is_read_is_never_not_sent_once_a_byte_left() -> None:
    async def reset_at_once(writer: asyncio.StreamWriter) -> bool:
        reset(writer)
        return False

    async def test() -> None:
        async with (
            serving(answering(lambda _: b""), on_connect=reset_at_once) as server,
            adapter(server.url) as processor,
        ):
            for number in range(20):
                gate = departure()
                answer = await processor.authorize(a_call(number=number), gate)
                assert answer.outcome is (Outcome.unknown if gate.left else Outcome.not_sent)
                assert answer.code in (Cause.connection_broken, Cause.no_connection)

    run(test())


async def reset_now(request: Request) -> None:
    reset(request.writer)


async def close_now(request: Request) -> None:
    request.writer.close()


async def hang(_request: Request) -> None:
    await asyncio.sleep(30)


async def half(request: Request) -> None:
    request.write(http(approved(request))[:-20])
    await request.writer.drain()
    request.writer.close()


@pytest.mark.parametrize(
    ("behave", "cause"),
    [
        pytest.param(reset_now, Cause.connection_broken, id="reset after reading"),
        pytest.param(close_now, Cause.connection_broken, id="closed without a word"),
        pytest.param(half, Cause.connection_broken, id="half an answer"),
        pytest.param(hang, Cause.timed_out, id="hangs"),
        pytest.param(answering(lambda _: b"\x00\x01garbage\r\n\r\n"), Cause.unreadable_answer, id="garbage"),
        pytest.param(answering(lambda _: http(b"{not json")), Cause.unreadable_answer, id="no JSON"),
        pytest.param(answering(lambda _: http(b"\xff\xfe")), Cause.unreadable_answer, id="no UTF-8"),
        pytest.param(answering(lambda _: http(b"x" * 100_000)), Cause.connection_broken, id="too long"),
        pytest.param(answering(lambda _: http({"error": "x"}, status=500)), Cause.server_error, id="500"),
        pytest.param(
            answering(lambda r: http(approved(r), status=503)), Cause.server_error, id="503, whatever it says"
        ),
        pytest.param(answering(lambda _: http({"error": "x"}, status=400)), Cause.unexpected_status, id="400"),
        pytest.param(answering(lambda _: http({"error": "x"}, status=409)), Cause.unexpected_status, id="409"),
        pytest.param(
            answering(lambda r: http(b"", status=307, headers=f"Location: {r.server.url}/elsewhere\r\n")),
            Cause.unexpected_status,
            id="redirect",
        ),
        pytest.param(
            answering(lambda r: http(approved(r) | {"reference": "tx_other"})), Cause.mismatched_answer, id="not ours"
        ),
    ],
)
def test_after_the_request_left_nothing_but_an_answer_is_an_answer(behave: Behaviour, cause: Cause) -> None:
    async def test() -> tuple[Answer, int]:
        async with serving(behave) as server:
            return await authorize(server, deadline_seconds=0.4), len(server.requests)

    answer, requests = run(test())
    assert said(answer) == (Outcome.unknown, cause)
    assert requests == 1, "nothing is tried again"


def test_a_slow_answer_within_the_deadline_counts() -> None:
    async def test() -> Answer:
        async with serving(answering(lambda r: http(approved(r)), after_seconds=0.3)) as server:
            return await authorize(server)

    assert run(test()).outcome is Outcome.approved


def test_an_answer_that_drips_in_is_whole_in_the_end() -> None:
    async def drip(request: Request) -> None:
        for byte in http(approved(request)):
            request.write(bytes([byte]))
            await request.writer.drain()

    async def test() -> Answer:
        async with serving(drip) as server:
            return await authorize(server)

    assert run(test()).outcome is Outcome.approved


def test_too_late_to_send_leaves_no_byte() -> None:
    """The machine was suspended between the announcement of the call and its departure."""

    async def test() -> tuple[Answer, FaultServer]:
        async with serving(answering(lambda r: http(approved(r)))) as server, adapter(server.url) as processor:
            answer = await processor.authorize(a_call(), departure(send_before=boot_seconds() - 0.001))
            await asyncio.sleep(0.05)
            return answer, server

    answer, server = run(test())
    assert said(answer) == (Outcome.not_sent, Cause.send_before_passed)
    assert server.bytes_read == 0


def test_held_back_while_it_connects() -> None:
    async def test() -> tuple[Answer, int]:
        async with serving(answering(lambda r: http(approved(r)))) as server, adapter(server.url) as processor:
            gate = departure()
            call = asyncio.create_task(processor.authorize(a_call(), gate))
            await asyncio.sleep(0)
            assert gate.hold_back(Cause.stopping)
            return await call, server.bytes_read

    answer, bytes_read = run(test())
    assert said(answer) == (Outcome.not_sent, Cause.stopping)
    assert bytes_read == 0


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")

    async def test() -> Answer:
        async with serving(answering(lambda r: http(approved(r)))) as server:
            return await authorize(server)

    assert run(test()).outcome is Outcome.approved


def test_a_look_up_is_not_tried_again_either() -> None:
    async def test() -> tuple[Answer, int]:
        async with serving(close_now) as server, adapter(server.url) as processor:
            answer = await processor.lookup(a_call(CallKind.authorize), departure())
            return answer, len(server.requests)

    answer, requests = run(test())
    assert said(answer) == (Outcome.unknown, Cause.connection_broken)
    assert requests == 1
