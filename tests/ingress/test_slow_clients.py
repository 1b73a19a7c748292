"""Clients that send slowly or not at all, and clients that are too many: connections end, and others are served."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress

import pytest

from tests.ingress.conftest import ON_UVLOOP, SECONDS_MAX, World
from tests.ingress.sockets import CREATE, HEAD, HEALTHZ, assert_problem, connected, exchange, parsed

pytestmark = [pytest.mark.anyio, ON_UVLOOP, pytest.mark.usefixtures("impatient")]


async def test_a_client_that_says_nothing_is_left(port: int) -> None:
    began = time.monotonic()
    async with connected(port) as client:
        assert await client.rest() == b""
    assert SECONDS_MAX - 0.1 < time.monotonic() - began < SECONDS_MAX + 1


@pytest.mark.parametrize("start", [b"GET /healthz HTTP/1.1\r\nHost: a\r\n", b"G", b"\r\n"])
async def test_a_head_that_does_not_end_is_refused(port: int, start: bytes) -> None:
    began = time.monotonic()
    async with connected(port) as client:
        client.writer.write(start)
        assert_problem(parsed(await client.rest()), 408, "head_timeout")
    assert time.monotonic() - began < SECONDS_MAX + 1


@pytest.mark.parametrize("filling", [b"v", b"\r\n"])
async def test_a_head_that_trickles_is_refused_as_soon(port: int, filling: bytes) -> None:
    began = time.monotonic()
    async with connected(port) as client:
        trickling = asyncio.create_task(client.trickle(filling * 200 if filling != b"v" else b"GET /" + b"v" * 200))
        assert_problem(parsed(await client.rest()), 408, "head_timeout")
        assert time.monotonic() - began < SECONDS_MAX + 1
        trickling.cancel()


@pytest.mark.parametrize("pipelined", [True, False])
async def test_every_head_of_a_connection_has_its_time(port: int, pipelined: bool) -> None:
    start = b"GET /healthz HTTP/1.1\r\nX-Name: "
    async with connected(port) as client:
        client.writer.write(HEALTHZ)
        await client.answer()
        await asyncio.sleep(SECONDS_MAX + 0.2)
        client.writer.write(HEALTHZ + (start if pipelined else b""))
        assert parsed(await client.answer())[0] == 200, "what is idle is not slow"
        trickling = asyncio.create_task(client.trickle(b"v" * 200 if pipelined else start + b"v" * 200))
        began = time.monotonic()
        assert_problem(parsed(await client.rest()), 408, "head_timeout")
        assert time.monotonic() - began < SECONDS_MAX + 1
        trickling.cancel()


async def test_a_body_that_came_is_awaited_no_more(port: int) -> None:
    async with connected(port) as client:
        client.writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(CREATE))
        await asyncio.sleep(SECONDS_MAX / 2)
        client.writer.write(CREATE)
        assert parsed(await client.answer())[0] == 201
        await asyncio.sleep(SECONDS_MAX + 0.2)
        client.writer.write(HEALTHZ)
        assert parsed(await client.answer())[0] == 200, "what is idle is not slow"


async def test_a_body_has_a_time_of_its_own(port: int) -> None:
    async with connected(port) as client:
        await asyncio.sleep(SECONDS_MAX * 0.75)
        client.writer.write(b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
        assert parsed(await client.answer())[0] == 404
        await asyncio.sleep(SECONDS_MAX * 0.5)
        client.writer.write(b"hello" + HEALTHZ)
        assert parsed(await client.answer())[0] == 200


async def test_nothing_comes_before_an_answer_that_takes_its_time(world: World, port: int) -> None:
    world.log.silent = True
    async with connected(port) as client:
        body = b"Prefer: wait=2\r\nContent-Length: %d\r\n\r\n" % len(CREATE) + CREATE
        client.writer.write(HEAD + body + b"GET /hea")
        answers = await client.rest()
    assert parsed(answers)[0] in (201, 202)
    assert answers.count(b"HTTP/1.1 ") <= 2


async def test_a_body_that_trickles_is_refused(world: World, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingress.requests.BODY_TIMEOUT_SECONDS", SECONDS_MAX)
    began = time.monotonic()
    async with connected(port) as client:
        client.writer.write(HEAD + b"Content-Length: 1000\r\n\r\n")
        trickling = asyncio.create_task(client.trickle(b" " * 1000))
        assert_problem(parsed(await client.rest()), 408, "body_timeout")
        assert time.monotonic() - began < 2 * SECONDS_MAX + 1
        trickling.cancel()
    assert not world.log.commands


@pytest.mark.parametrize("length", [b"Content-Length: 1000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n3e8\r\n"])
async def test_a_body_that_nobody_reads_ends_too(port: int, length: bytes) -> None:
    began = time.monotonic()
    async with connected(port) as client:
        client.writer.write(b"POST /nowhere HTTP/1.1\r\nHost: a\r\n" + length)
        assert parsed(await client.answer())[0] == 404
        trickling = asyncio.create_task(client.trickle(b" " * 1000))
        assert await client.rest() == b""
        assert time.monotonic() - began < SECONDS_MAX + 1
        trickling.cancel()


class TestTooMany:
    """A server that holds few connections."""

    @pytest.fixture
    def connections_max(self) -> int:
        return 8

    async def test_one_too_many_is_refused_but_can_look_how_it_is(self, port: int) -> None:
        async with connected(port) as first:
            first.writer.write(HEALTHZ)
            await first.answer()
            idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(7)]
            answer = await exchange(port, HEAD + b"Content-Length: %d\r\n\r\n" % len(CREATE) + CREATE)
            assert_problem(answer, 503, "too_many_connections")
            assert int(answer[1]["retry-after"]) >= 1
            assert_problem(await exchange(port, HEALTHZ.replace(b"healthz", b"readyz")), 503, "too_many_connections")
            assert (await exchange(port, HEALTHZ))[0] == 200
            status, _, metrics = await exchange(port, HEALTHZ.replace(b"healthz", b"metrics"))
            assert status == 200
            assert b'route="none",status="503"' in metrics
            first.writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(CREATE) + CREATE)
            assert parsed(await first.answer())[0] == 201, "who was there before is served"
        for _, writer in idle:
            writer.close()
        await asyncio.sleep(0.1)
        assert (await exchange(port, HEALTHZ.replace(b"healthz", b"readyz")))[0] == 200

    async def test_far_too_many_are_not_even_refused(self, port: int) -> None:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(10)]
        async with connected(port) as client:
            client.writer.write(HEALTHZ)
            with suppress(ConnectionError):
                assert await client.rest() == b""
        for _, writer in held:
            writer.close()


async def test_a_burst_of_silent_clients_leaves_nothing_behind(world: World, port: int) -> None:
    """As many as ingress is meant to hold: all are left, and meanwhile others are served."""
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(300)]
    assert (await exchange(port, HEAD + b"Content-Length: %d\r\n\r\n" % len(CREATE) + CREATE))[0] == 201
    ends = await asyncio.gather(*(asyncio.wait_for(reader.read(), 10) for reader, _ in silent))
    assert set(ends) == {b""}
    for _, writer in silent:
        writer.close()
    assert json.loads((await exchange(port, HEALTHZ))[2]) == {"status": "ok"}
    assert len(world.log.commands) == 1
