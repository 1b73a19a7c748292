"""How an answer goes back over HTTP, the unfriendly ways included: hang, reset, twice.

Writes to the client's connection. HTTP servers have no word for resetting a connection, so `TransportProtocol` lends
the transport to the application, and the responses here use it. `app` picks the response.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Coroutine
from http import HTTPStatus
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["HangingResponse", "ResetResponse", "TransportProtocol", "TwiceResponse", "pause"]


class TransportProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, with the connection's transport in the request's state."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"]["transport"] = self.transport


class HangingResponse(Response):
    """Says nothing until the caller leaves, the time is up or the network stops; then closes without a word."""

    def __init__(self, *, hang_seconds: float, stopping: asyncio.Event) -> None:
        super().__init__()
        self._hang_seconds = hang_seconds
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _first_of(_disconnected(receive), self._stopping.wait(), timeout_seconds=self._hang_seconds)
        await _reset(scope, receive)


class ResetResponse(Response):
    """Resets the connection (RST) instead of answering."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _reset(scope, receive)


class TwiceResponse(Response):
    """Answers, and writes the same answer on the connection once more."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await super().__call__(scope, receive, send)
        status = HTTPStatus(self.status_code)
        headers = b"".join(name + b": " + value + b"\r\n" for name, value in self.raw_headers)
        again = f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() + headers + b"\r\n" + bytes(self.body)
        transport = _transport(scope)
        if not transport.is_closing():
            transport.write(again)


async def pause(seconds: float, *, stopping: asyncio.Event) -> None:
    """Wait, but not past the end of the network."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)


def _transport(scope: Scope) -> asyncio.Transport:
    transport: asyncio.Transport = scope["state"]["transport"]
    return transport


async def _reset(scope: Scope, receive: Receive) -> None:
    transport = _transport(scope)
    if not transport.is_closing():
        # Lingering for zero seconds: the kernel drops what it holds and answers with RST, where a plain close says FIN.
        connection: socket.socket = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    # The server would answer 500 for us if we returned before it knew that nobody is there.
    await _disconnected(receive)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _first_of(*waits: Coroutine[Any, Any, object], timeout_seconds: float) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
