"""A server that misbehaves on request, byte by byte, and counts what it was sent."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Behaviour", "FaultServer", "Request", "answering", "approved", "http", "reset", "serving"]


@dataclass(slots=True)
class Request:
    """One request as it came, and the way to answer it."""

    server: FaultServer
    writer: asyncio.StreamWriter
    connection: int
    path: str
    body: Any

    def write(self, data: bytes) -> None:
        self.writer.write(data)


Behaviour = Callable[[Request], Awaitable[None]]


@dataclass(slots=True)
class FaultServer:
    """What came in. `behave` is asked for each request; `on_connect` before anything is read."""

    behave: Behaviour
    on_connect: Callable[[asyncio.StreamWriter], Awaitable[bool]] | None = None
    url: str = ""
    bytes_read: int = 0
    connections: int = 0
    requests: list[Request] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer, self.connections)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> None:
        if self.on_connect is not None and not await self.on_connect(writer):
            return
        while not writer.is_closing():
            head = await reader.readuntil(b"\r\n\r\n")
            self.bytes_read += len(head)
            found = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
            body = await reader.readexactly(int(found[1]) if found else 0)
            self.bytes_read += len(body)
            path = head.split(b" ")[1].decode()
            request = Request(self, writer, connection, path, json.loads(body) if body else None)
            self.requests.append(request)
            await self.behave(request)

    async def end(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def serving(
    behave: Behaviour, *, on_connect: Callable[[asyncio.StreamWriter], Awaitable[bool]] | None = None
) -> AsyncIterator[FaultServer]:
    """A server on a free port of this machine."""
    fault_server = FaultServer(behave, on_connect)
    server = await asyncio.start_server(fault_server.accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    fault_server.url = f"http://127.0.0.1:{port}"
    try:
        yield fault_server
    finally:
        server.close()
        await fault_server.end()
        await server.wait_closed()


def http(body: Any, *, status: int = 200, headers: str = "") -> bytes:
    """An HTTP answer."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(content)}\r\n{headers}\r\n".encode() + content


def approved(request: Request) -> dict[str, Any]:
    """The answer that approves what was asked."""
    kinds = {"/authorizations": "authorization", "/captures": "capture", "/voids": "void"}
    answer = {
        "reference": request.body["reference"],
        "type": kinds[request.path],
        "status": "approved",
        "processor_reference": "cn_1",
    }
    if request.path != "/voids":
        answer |= {"amount_minor": request.body["amount_minor"], "currency": request.body["currency"]}
    return answer


def answering(make: Callable[[Request], bytes], *, after_seconds: float = 0.0) -> Behaviour:
    """Answers with the bytes that `make` makes."""

    async def behave(request: Request) -> None:
        if after_seconds:
            await asyncio.sleep(after_seconds)
        request.write(make(request))
        await request.writer.drain()

    return behave


def reset(writer: asyncio.StreamWriter) -> None:
    """End the connection with RST."""
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
