"""Requests as bytes on a connection, which no client library would send, and their answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.ingress.conftest import API_KEY

CREATE = b'{"amount": 1999, "currency": "usd"}'
HEALTHZ = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
HEAD = (
    b"POST /paymentIntent HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/json\r\nIdempotency-Key: a\r\n"
    b"Authorization: Bearer " + API_KEY.encode() + b"\r\n"
)


async def exchange(port: int, *parts: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send the parts, as far as the server takes them, and read the answer up to the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await asyncio.wait_for(writer.drain(), 10)
            await asyncio.sleep(0)
    except ConnectionError:
        pass  # it was refused, and no longer listened to
    answer = b""
    try:
        while chunk := await asyncio.wait_for(reader.read(65_536), 10):
            answer += chunk
            if b"connection: close" not in answer and b"\r\n\r\n" in answer:
                break
    except ConnectionError:
        pass
    writer.close()
    return parsed(answer)


def parsed(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status_line, *fields = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}
    return int(status_line.split()[1]), headers, body


def assert_problem(answer: tuple[int, dict[str, str], bytes], status: int, code: str) -> None:
    assert answer[0] == status, answer
    assert answer[1]["content-type"] == "application/problem+json"
    assert answer[1]["connection"] == "close"
    assert json.loads(answer[2])["code"] == code


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def trickle(self, data: bytes, *, seconds: float = 0.05) -> None:
        """Send byte by byte, until the server has had enough."""
        with suppress(ConnectionError):
            for byte in data:
                self.writer.write(bytes([byte]))
                await self.writer.drain()
                await asyncio.sleep(seconds)

    async def answer(self) -> bytes:
        """One answer, with its head."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)
        return head + await self.reader.readexactly(int(parsed(head)[1]["content-length"]))

    async def rest(self) -> bytes:
        """All that comes until the server ends the connection."""
        return await asyncio.wait_for(self.reader.read(), 10)


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
