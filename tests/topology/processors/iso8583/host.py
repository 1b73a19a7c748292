"""A host that does what a test tells it to, message by message, and keeps what it was sent.

It frames and reads messages by itself, so that it does not share a mistake with the adapter.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import iso8583
from iso8583.specs import default_ascii

__all__ = ["Asked", "Connection", "Document", "Host", "answer", "approve", "hosting", "nothing", "packed"]

Document = dict[str, str]

_ECHOED = ("3", "4", "7", "11", "32", "37", "41", "42", "49", "62")


def packed(document: Document) -> bytes:
    """The frame of a message."""
    body, _ = iso8583.encode(dict(document), default_ascii)
    return struct.pack(">H", len(body)) + bytes(body)


@dataclass(eq=False, slots=True)
class Connection:
    """A connection to the host."""

    writer: asyncio.StreamWriter
    signed_on: bool = False

    def send(self, document: Document) -> None:
        self.writer.write(packed(document))

    def reset(self) -> None:
        """End it with RST."""
        connection: socket.socket = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@dataclass(slots=True)
class Asked:
    """A message that was sent to the host, with its bytes, and the connection that it came in on."""

    document: Document
    body: bytes
    connection: Connection
    host: Host

    def answer(self, code: str = "00", *, on: Connection | None = None, **fields: str) -> None:
        (on or self.connection).send(answer(self.document, code, **fields))


Behaviour = Callable[[Asked], Awaitable[None]]


def answer(request: Document, code: str = "00", **fields: str) -> Document:
    """The answer to a request; `de4="…"` says it otherwise than asked, `de4=""` leaves it out."""
    said = {"t": f"{request['t'][:2]}{int(request['t'][2]) + 1}0", "39": code}
    said |= {name: request[name] for name in _ECHOED if name in request}
    if said["t"] == "0110" and code in ("00", "10"):
        said["38"] = "A1B2C3"
    said |= {name.removeprefix("de"): value for name, value in fields.items()}
    return {name: value for name, value in said.items() if value}


async def approve(asked: Asked) -> None:
    asked.answer()


async def nothing(_asked: Asked) -> None:
    """No answer at all."""


@dataclass(slots=True)
class Host:
    """`behave` is asked for every message but sign-on, echo and sign-off; these are answered with `network_code`."""

    behave: Behaviour = approve
    network_code: str | None = "00"
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    network: list[Document] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)
    accepted: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def types(self) -> list[str]:
        return [each.document["t"] for each in self.asked]

    def codes(self) -> list[str]:
        """Of what there was of network management: sign-on 001, sign-off 002, echo 301."""
        return [document["70"] for document in self.network]

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(writer)
        self.accepted += 1
        self.connections.append(connection)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while True:
                (length,) = struct.unpack(">H", await reader.readexactly(2))
                await self._received(await reader.readexactly(length), connection)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            self.connections.remove(connection)
            writer.close()

    async def _received(self, body: bytes, connection: Connection) -> None:
        document, _ = iso8583.decode(body, default_ascii)
        if document["t"] == "0800":
            self.network.append(document)
            if self.network_code is not None:
                connection.signed_on = self.network_code == "00" and document["70"] != "002"
                said = {name: document[name] for name in ("7", "11", "32", "41", "70")}
                connection.send({"t": "0810", "39": self.network_code, **said})
            return
        assert connection.signed_on, "a message on a connection that is not signed on"
        asked = Asked(document, body, connection, self)
        self.asked.append(asked)
        await self.behave(asked)

    async def until(self, condition: Callable[[], object], *, seconds: float = 5.0) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.005)

    async def until_accepted(self, connections: int) -> None:
        """Wait until so many connections have been made, since the beginning."""
        await self.until(lambda: self.accepted >= connections)

    async def end(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def hosting(
    behave: Behaviour = approve, *, network_code: str | None = "00", receive_buffer_bytes: int | None = None
) -> AsyncIterator[Host]:
    """A host on a free port of this machine; the kernel takes in no more for it than that, where it is said."""
    host = Host(behave, network_code)
    listener = socket.create_server(("127.0.0.1", 0))
    if receive_buffer_bytes is not None:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    server = await asyncio.start_server(host.accept, sock=listener)
    host.port = server.sockets[0].getsockname()[1]
    try:
        yield host
    finally:
        server.close()
        await host.end()
        await server.wait_closed()
