"""TCP proxies that can be told to fail: between a stack's processes and Kafka, PostgreSQL and the card network.

`python -m sandbox.proxy --control PORT NAME=LISTEN:UPSTREAM …` (ports on the loopback address). While it runs,
`POST /NAME/cut?seconds=S` on the control port resets all connections and refuses new ones for that long, and
`POST /NAME/stall?seconds=S` lets nothing pass in either direction, without telling anybody. Each is answered when it
is over, with what it did: `{"hit": N}`, the connections that were reset or refused, or the pieces that were held up.
Run by the stack with `--proxied`; the chaos suite gives the orders.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass, field

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

__all__ = ["Link", "application"]

_HOST = "127.0.0.1"
_CHUNK_BYTES = 64 * 1024


@dataclass(eq=False)
class Failure:
    """A cut or a stall under way: how many connections it has ended, or pieces it has held up."""

    hits: int = 0


@dataclass
class Link:
    """One proxy: from a port to another."""

    name: str
    listen: int
    upstream: int
    _cuts: list[Failure] = field(default_factory=list)
    _stalls: list[Failure] = field(default_factory=list)
    _flowing: asyncio.Event = field(default_factory=asyncio.Event)
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    @classmethod
    def parse(cls, text: str) -> Link:
        """NAME=LISTEN:UPSTREAM; raises ValueError."""
        name, _, ports = text.partition("=")
        listen, _, upstream = ports.partition(":")
        return cls(name=name, listen=int(listen), upstream=int(upstream))

    async def serve(self) -> asyncio.Server:
        """Begin to listen."""
        self._flowing.set()
        return await asyncio.start_server(self._handle, _HOST, self.listen)

    async def cut(self, seconds: float) -> int:
        """Reset what is connected and refuse what comes, for a while; how many connections that hit."""
        cut = Failure(hits=len(self._open))
        self._cuts.append(cut)
        for writer in list(self._open):
            self._reset(writer)
        await asyncio.sleep(seconds)
        self._cuts.remove(cut)
        return cut.hits

    async def stall(self, seconds: float) -> int:
        """Let nothing pass for a while; how many pieces that held up."""
        stall = Failure()
        self._stalls.append(stall)
        self._flowing.clear()
        await asyncio.sleep(seconds)
        self._stalls.remove(stall)
        if not self._stalls:
            self._flowing.set()
        return stall.hits

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cuts:
            _count(self._cuts)
            self._reset(writer)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(_HOST, self.upstream)
        except OSError:
            writer.transport.abort()
            return
        both = (writer, far_writer)
        self._open.update(both)
        try:
            # Where one side has broken off, the other hears of it: both are aborted below.
            with contextlib.suppress(OSError):
                await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        finally:
            self._open.difference_update(both)
            for each in both:
                each.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass bytes on in one direction until that ends; the other direction may go on. An end passes as bytes do."""
        try:
            while data := await reader.read(_CHUNK_BYTES):
                _count(self._stalls)
                await self._flowing.wait()
                if writer.is_closing():
                    return
                writer.write(data)
                await writer.drain()
        finally:
            await self._flowing.wait()
        if not writer.is_closing():
            writer.write_eof()

    def _reset(self, writer: asyncio.StreamWriter) -> None:
        """End a connection with an RST."""
        endpoint = writer.get_extra_info("socket")
        # There is none any more where the connection has ended at this very moment.
        if endpoint is not None:
            with contextlib.suppress(OSError):
                endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()


def _count(failures: list[Failure]) -> None:
    for failure in failures:
        failure.hits += 1


def application(links: list[Link]) -> Starlette:
    """Where orders are taken."""
    by_name = {link.name: link for link in links}

    async def fail(request: Request) -> Response:
        link = by_name.get(request.path_params["name"])
        how = {"cut": Link.cut, "stall": Link.stall}.get(request.path_params["how"])
        if link is None or how is None:
            return PlainTextResponse("no such proxy or failure\n", 404)
        # It comes to its end also when whoever ordered it has gone.
        return JSONResponse({"hit": await asyncio.shield(how(link, float(request.query_params["seconds"])))})

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    return Starlette(routes=[Route("/healthz", healthz), Route("/{name}/{how}", fail, methods=["POST"])])


async def _run(links: list[Link], control: int) -> None:
    servers = [await link.serve() for link in links]
    config = uvicorn.Config(application(links), host=_HOST, port=control, log_level="warning", access_log=False)
    await uvicorn.Server(config).serve()
    for server in servers:
        server.close()


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.proxy")
    parser.add_argument("--control", type=int, required=True)
    parser.add_argument("links", nargs="+", type=Link.parse)
    given = parser.parse_args()
    # All that a stack says to its brokers and database passes through here: the quicker loop takes half as long.
    uvloop.run(_run(given.links, given.control))


if __name__ == "__main__":
    main()
