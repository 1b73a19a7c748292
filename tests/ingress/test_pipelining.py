"""Requests that come before those before them are answered, and answers that the client does not take."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ingress.protocol import PIPELINED_MAX, BoundedProtocol
from tests.ingress.conftest import ON_UVLOOP, SECONDS_MAX, World
from tests.ingress.sockets import CREATE, HEAD, HEALTHZ, Client, assert_problem, connected, parsed

pytestmark = [pytest.mark.anyio, ON_UVLOOP, pytest.mark.usefixtures("impatient")]

NOWHERE = HEALTHZ.replace(b"healthz", b"nowhere")
SLOW = HEAD + b"Prefer: wait=1\r\nContent-Length: %d\r\n\r\n" % len(CREATE) + CREATE
LARGE_BYTES = 32 * 1024 * 1024


async def statuses(client: Client, count: int) -> list[int]:
    return [parsed(await client.answer())[0] for _ in range(count)]


async def test_some_are_answered_in_turn(port: int) -> None:
    async with connected(port) as client:
        for _ in range(3):
            client.writer.write((HEALTHZ + NOWHERE) * (PIPELINED_MAX // 2))
            assert await statuses(client, PIPELINED_MAX) == [200, 404] * (PIPELINED_MAX // 2)


@pytest.mark.parametrize("requests", [100, 100_000])
async def test_too_many_end_the_connection_after_the_answers(port: int, requests: int) -> None:
    async with connected(port) as client:
        client.writer.write(HEALTHZ * requests)
        assert await statuses(client, 1 + PIPELINED_MAX) == [200] * (1 + PIPELINED_MAX)
        answer = await client.answer()
        while parsed(answer)[0] == 200:
            answer = await client.answer()
        assert_problem(parsed(answer), 429, "too_many_pipelined")
        assert await client.rest() == b""


@pytest.mark.parametrize("rest", [b"nonsense\r\n\r\n", b"GET /healthz HTTP/1.1\r\n\r\n"])
async def test_what_is_no_http_is_refused_in_turn(world: World, port: int, rest: bytes) -> None:
    world.log.silent = True
    async with connected(port) as client:
        client.writer.write(SLOW + HEALTHZ + rest + HEALTHZ)
        assert await statuses(client, 2) == [202, 200]
        assert_problem(parsed(await client.rest()), 400, "request_malformed")


async def test_a_head_that_does_not_end_is_refused_in_turn(world: World, port: int) -> None:
    world.log.silent = True
    async with connected(port) as client:
        client.writer.write(SLOW)
        await asyncio.sleep(0.1)
        client.writer.write(b"GET /hea")
        assert await statuses(client, 1) == [202]
        assert_problem(parsed(await client.rest()), 408, "head_timeout")


async def test_a_body_that_is_none_is_refused_in_turn(world: World, port: int) -> None:
    world.log.silent = True
    async with connected(port) as client:
        client.writer.write(SLOW + HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n")
        assert await statuses(client, 1) == [202]
        assert_problem(parsed(await client.rest()), 400, "request_malformed")
    assert len(world.log.commands) == 1


async def test_a_body_that_turns_out_to_be_none_is_refused_at_once(world: World, port: int) -> None:
    async with connected(port) as client:
        client.writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{")
        await asyncio.sleep(0.1)
        client.writer.write(b"nonsense")
        assert_problem(parsed(await client.rest()), 400, "request_malformed")
    assert not world.log.commands


async def test_nothing_comes_behind_an_answer_that_is_the_last(
    world: World, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def last(_request: Request) -> Response:
        return Response(headers={"connection": "close"})

    world.app.router.routes.append(Route("/last", last))
    async with connected(port) as client:
        client.writer.write(HEALTHZ.replace(b"healthz", b"last") + SLOW + b"nonsense\r\n\r\n")
        assert await statuses(client, 1) == [200]
        assert await client.rest() == b""
    await asyncio.sleep(0.1)
    assert not world.log.commands
    assert not caplog.records


async def test_a_refused_request_has_no_other_answer(world: World, port: int, caplog: pytest.LogCaptureFixture) -> None:
    async def slow(_request: Request) -> Response:
        await asyncio.sleep(0.2)
        return Response()

    world.app.router.routes.append(Route("/slow", slow))
    async with connected(port) as client:
        client.writer.write(b"GET /slow HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        await asyncio.sleep(0.1)
        client.writer.write(b"nonsense")
        assert_problem(parsed(await client.rest()), 400, "request_malformed")
        await asyncio.sleep(0.15)
    assert not caplog.records


async def test_a_client_that_takes_no_answer_is_left(world: World, port: int) -> None:
    async def large(_request: Request) -> Response:
        return Response(b"x" * LARGE_BYTES)

    world.app.router.routes.append(Route("/large", large))
    async with connected(port) as client:
        client.writer.write(HEALTHZ.replace(b"healthz", b"large") + HEALTHZ)
        await asyncio.sleep(SECONDS_MAX + 0.4)
        assert len(await client.rest()) < LARGE_BYTES


async def test_what_is_left_of_an_answer_holds_no_connection(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However little it is, and though the connection was closed already."""
    made: list[BoundedProtocol] = []
    monkeypatch.setattr(BoundedProtocol, "_limit_connections", lambda protocol: made.append(protocol))
    async with connected(port) as client:
        client.writer.write(HEALTHZ)
        assert await statuses(client, 1) == [200]
        (protocol,) = made
        while not protocol.transport.get_write_buffer_size():
            protocol.transport.write(b"x" * 1_000)
        protocol.transport.close()
        await asyncio.sleep(0.05)
        assert protocol in protocol.connections
        await asyncio.sleep(SECONDS_MAX + 0.2)
        assert protocol not in protocol.connections
