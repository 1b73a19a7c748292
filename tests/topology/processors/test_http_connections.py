"""Connections that lie idle, are closed by the server, or fall out of step with what is asked on them."""

from __future__ import annotations

import asyncio

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import StreamWriter

from schemas.processing import CallKind, Outcome
from tests.topology.processors.calls import a_call, adapter, departure, run
from tests.topology.processors.fault_server import Request, answering, approved, http, serving
from topology.processors import Answer, Cause
from topology.processors.http_json import _Exchange, _GatedBody


def test_connections_are_used_again() -> None:
    async def test() -> int:
        async with serving(answering(lambda r: http(approved(r)))) as server, adapter(server.url) as processor:
            for number in range(5):
                answer = await processor.authorize(a_call(number=number), departure())
                assert answer.outcome is Outcome.approved
            return server.connections

    assert run(test()) == 1


def test_an_idle_connection_that_the_server_closed_is_passed_over() -> None:
    async def answer_and_close(request: Request) -> None:
        request.write(http(approved(request)))
        await request.writer.drain()
        request.writer.close()

    async def test() -> list[Outcome]:
        async with serving(answer_and_close) as server, adapter(server.url) as processor:
            outcomes = []
            for number in range(5):
                outcomes.append((await processor.authorize(a_call(number=number), departure())).outcome)
                # The loop has seen the close by then.
                await asyncio.sleep(0.02)
            return outcomes

    assert run(test()) == [Outcome.approved] * 5


def test_a_connection_closed_as_we_write_is_unknown() -> None:
    """Nobody can tell a server that closed its idle connection from one that died after booking."""

    async def close_on_the_second(request: Request) -> None:
        if len(request.server.requests) == 2:
            request.writer.close()
        else:
            request.write(http(approved(request)))

    async def test() -> Answer:
        async with serving(close_on_the_second) as server, adapter(server.url) as processor:
            await processor.authorize(a_call(number=1), departure())
            return await processor.authorize(a_call(number=2), departure())

    answer = run(test())
    assert (answer.outcome, answer.code) == (Outcome.unknown, Cause.connection_broken)


def test_an_answer_that_comes_twice_answers_no_other_call() -> None:
    async def twice(request: Request) -> None:
        request.write(http(approved(request)))
        await request.writer.drain()
        await asyncio.sleep(0.01)
        request.write(http(approved(request)))

    async def test() -> None:
        async with serving(twice) as server, adapter(server.url) as processor:
            for number in range(10):
                answer = await processor.authorize(a_call(number=number), departure())
                # Either the copy had come already, and another connection was taken, or it is seen not to be ours.
                assert answer.outcome is Outcome.approved or answer.code == Cause.mismatched_answer
                await the_copy()
                answer = await processor.authorize(a_call(number=100 + number), departure())
                assert answer.outcome is Outcome.approved
                if number % 2:
                    await the_copy()

    async def the_copy() -> None:
        """Wait until the copy was written, and then once more, so that the loop has read it."""
        await asyncio.sleep(0.03)
        await asyncio.sleep(0.005)

    run(test())


def test_a_connection_out_of_step_is_closed() -> None:
    """Its every answer would be the one before: the first call on it is unknown, and no second is made."""
    last: list[bytes] = []

    async def one_behind(request: Request) -> None:
        if request.connection == 1:
            last.append(http(approved(request)))
            request.write(last[0] if len(last) == 1 else last[-2])
        else:
            request.write(http(approved(request)))

    async def test() -> tuple[list[Answer], list[int]]:
        async with serving(one_behind) as server, adapter(server.url) as processor:
            answers = [await processor.authorize(a_call(number=number), departure()) for number in range(4)]
            return answers, [request.connection for request in server.requests]

    answers, connections = run(test())
    assert [answer.outcome for answer in answers] == [
        Outcome.approved,
        Outcome.unknown,
        Outcome.approved,
        Outcome.approved,
    ]
    assert answers[1].code == Cause.mismatched_answer
    assert connections == [1, 1, 2, 2]


def test_a_stale_not_found_is_no_answer_to_another_look_up() -> None:
    async def twice(request: Request) -> None:
        request.write(http({"error": "not_found"}, status=404))
        await request.writer.drain()
        request.write(http({"error": "not_found"}, status=404))

    async def test() -> tuple[int, int]:
        async with serving(twice) as server, adapter(server.url) as processor:
            for number in range(3):
                answer = await processor.lookup(a_call(CallKind.authorize, number=number), departure())
                assert answer.outcome is Outcome.not_found
                await asyncio.sleep(0.02)
            return server.connections, len(server.requests)

    assert run(test()) == (3, 3)


def test_hundreds_of_calls_at_once() -> None:
    async def test() -> int:
        async with (
            serving(answering(lambda r: http(approved(r)), after_seconds=0.3)) as server,
            adapter(server.url) as processor,
        ):
            calls = (processor.authorize(a_call(number=number), departure()) for number in range(300))
            answers = await asyncio.gather(*calls)
            assert {answer.outcome for answer in answers} == {Outcome.approved}
            return server.connections

    assert run(test()) <= 300


class OpenTransport(asyncio.Transport):
    """A transport that is open and takes everything."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def is_closing(self) -> bool:
        return False

    def write(self, data: object) -> None:
        assert isinstance(data, bytes)
        self.written += data


def test_a_connection_is_looked_at_right_before_the_write() -> None:
    """It may be closed, or be sent what nobody asked for, after the pool has handed it out."""

    async def test() -> list[tuple[bool, bytes]]:
        outcomes = []
        for state in ("closed", "something lies on it", "in order"):
            protocol, transport = ResponseHandler(asyncio.get_running_loop()), OpenTransport()
            if state != "closed":
                protocol.connection_made(transport)
            if state == "something lies on it":
                protocol.set_response_params()
                protocol.data_received(http({"error": "not_found"}, status=404))
            gate = departure()
            writer = StreamWriter(protocol, asyncio.get_running_loop())
            body = _GatedBody(b"{}", _Exchange(a_call(), gate))
            try:
                await body.write_with_length(writer, 2)
            except aiohttp.ClientConnectionError:
                assert not gate.left
            outcomes.append((gate.left, transport.written))
        return outcomes

    assert run(test()) == [(False, b""), (False, b""), (True, b"{}")]
