"""The proxy that fails when told to: real sockets on both sides."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator

import httpx
import pytest

from sandbox.proxy import Link, application
from tests.sandbox.card_network.network_process import free_port

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def link() -> AsyncIterator[Link]:
    """A proxy to a server that echoes."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionResetError):
            while data := await reader.read(1_000):
                writer.write(data)
                await writer.drain()
        writer.close()

    upstream = await asyncio.start_server(echo, "127.0.0.1", 0)
    made = Link(name="echo", listen=free_port(), upstream=upstream.sockets[0].getsockname()[1])
    server = await made.serve()
    yield made
    server.close()
    upstream.close()


async def say(link: Link, words: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", link.listen)
    writer.write(words)
    writer.write_eof()
    heard = await reader.read()
    writer.close()
    return heard


async def test_it_passes_everything_both_ways(link: Link) -> None:
    assert await say(link, b"x" * 300_000) == b"x" * 300_000


async def test_a_cut_ends_what_is_connected_and_refuses_what_comes(link: Link) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", link.listen)
    writer.write(b"a")
    assert await reader.read(1) == b"a"
    cut = asyncio.create_task(link.cut(0.3))
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1)
    late, _ = await asyncio.open_connection("127.0.0.1", link.listen)
    with pytest.raises(ConnectionResetError):
        await late.readexactly(1)
    await cut
    assert await say(link, b"again") == b"again"


@pytest.mark.parametrize("during_stall", [False, True])
async def test_whoever_breaks_off_ends_the_connection_of_the_other(during_stall: bool) -> None:
    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        endpoint = writer.get_extra_info("socket")
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    upstream = await asyncio.start_server(break_off, "127.0.0.1", 0)
    made = Link(name="broken", listen=free_port(), upstream=upstream.sockets[0].getsockname()[1])
    server = await made.serve()
    reader, writer = await asyncio.open_connection("127.0.0.1", made.listen)
    # The other direction stays open, with nothing in it.
    writer.write(b"x")
    stall = None
    if during_stall:
        await asyncio.sleep(0.05)
        stall = asyncio.create_task(made.stall(0.3))
    with contextlib.suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(1), 5) == b""
    if stall is not None:
        await stall
    writer.close()
    server.close()
    upstream.close()


async def test_a_stall_holds_what_is_under_way_and_loses_nothing(link: Link) -> None:
    stall = asyncio.create_task(link.stall(0.4))
    await asyncio.sleep(0.05)
    saying = asyncio.create_task(say(link, b"slow"))
    await asyncio.sleep(0.2)
    assert not saying.done()
    await stall
    assert await asyncio.wait_for(saying, 5) == b"slow"


async def test_a_failure_counts_what_it_hit_itself(link: Link) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", link.listen)
    await asyncio.sleep(0.05)
    stall, cut = asyncio.create_task(link.stall(0.3)), asyncio.create_task(link.cut(0.2))
    assert await cut > 0
    assert await stall == 0
    writer.close()


async def test_orders_are_taken_over_http(link: Link) -> None:
    transport = httpx.ASGITransport(application([link]))
    async with httpx.AsyncClient(transport=transport, base_url="http://proxy") as client:
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.post("/nobody/cut", params={"seconds": "1"})).status_code == 404
        stall = asyncio.create_task(client.post("/echo/stall", params={"seconds": "0.3"}))
        await asyncio.sleep(0.05)
        saying = asyncio.create_task(say(link, b"slow"))
        await asyncio.sleep(0.1)
        assert not saying.done()
        assert await asyncio.wait_for(saying, 5) == b"slow"
        assert (await stall).json() == {"hit": 1}
        assert (await client.post("/echo/cut", params={"seconds": "0.1"})).json() == {"hit": 0}
        cut = asyncio.create_task(client.post("/echo/cut", params={"seconds": "0.3"}))
        await asyncio.sleep(0.05)
        with pytest.raises(ConnectionResetError):
            await say(link, b"refused")
        assert (await cut).json() == {"hit": 1}
